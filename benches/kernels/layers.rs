//! The convolutions of the models.

use sonograd_kernels::{Activation, Conv2dShape, ConvBlock, PoolShape};

/// Padding, output and stride of Keras' `same` and `valid` along one axis: (before, output).
fn extent(len: usize, window: usize, stride: usize, same: bool) -> (usize, usize) {
    if !same {
        return (0, (len - window) / stride + 1);
    }
    let out = len.div_ceil(stride);
    (((out - 1) * stride + window).saturating_sub(len) / 2, out)
}

/// A layer of a model: convolution of `kernel` to `filters`, activation, and a pool of (window, stride, same).
pub(crate) fn block(
    [height, width, in_channels]: [usize; 3],
    filters: usize,
    kernel: [usize; 2],
    same: bool,
    activation: Activation,
    pool: Option<([usize; 2], [usize; 2], bool)>,
) -> ConvBlock {
    let (pad_top, out_height) = extent(height, kernel[0], 1, same);
    let (pad_left, out_width) = extent(width, kernel[1], 1, same);
    let conv = Conv2dShape {
        height,
        width,
        in_channels,
        out_channels: filters,
        kernel_height: kernel[0],
        kernel_width: kernel[1],
        pad_top,
        pad_left,
        out_height,
        out_width,
    };
    let pool = pool.map(|(window, stride, same)| {
        let (pad_top, pooled_height) = extent(out_height, window[0], stride[0], same);
        let (pad_left, pooled_width) = extent(out_width, window[1], stride[1], same);
        PoolShape {
            height: out_height,
            width: out_width,
            channels: filters,
            window_height: window[0],
            window_width: window[1],
            stride_height: stride[0],
            stride_width: stride[1],
            pad_top,
            pad_left,
            out_height: pooled_height,
            out_width: pooled_width,
        }
    });
    ConvBlock::new(conv, activation, pool)
}

/// A convolution of a model with what follows it.
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    pub(crate) block: ConvBlock,
    /// It reads the data: nothing asks for the gradient of its input.
    pub(crate) is_first: bool,
}

impl Layer {
    /// Dense multiplications of a sample's forward pass.
    pub(crate) fn products(&self) -> f64 {
        let conv = &self.block.conv;
        (conv.out_height * conv.out_width * conv.kernel_len()) as f64
    }

    fn first(self) -> Self {
        Self {
            is_first: true,
            ..self
        }
    }
}

/// The layers of the five models.
pub(crate) fn layers() -> Vec<Layer> {
    let leaky = Activation::LeakyRelu { slope: 0.3 };
    let relu = Activation::Relu;
    let square = |name, input, filters, size, same, activation, (window, stride, pool_same)| {
        let pool = Some(([window; 2], [stride; 2], pool_same));
        let block = block(input, filters, [size; 2], same, activation, pool);
        layer(name, block)
    };
    let tower = |name, filters, size, window| {
        let pool = (window, window, false);
        square(name, [80, 80, 1], filters, size, true, leaky, pool).first()
    };
    let fine =
        |name, input, filters, size| square(name, input, filters, size, false, relu, (3, 2, true));
    let line = |name, input: [usize; 2], filters, size, same, activation, pool: Option<usize>| {
        let (input, kernel) = ([1, input[0], input[1]], [1, size]);
        let pool = pool.map(|window| ([1, window], [1, window], false));
        layer(name, block(input, filters, kernel, same, activation, pool))
    };
    vec![
        tower("parallel 8x8 1-3", 3, 8, 4),
        tower("parallel 4x4 1-4", 4, 4, 2),
        line("cnn-rnn 4 80-8", [80, 80], 8, 4, false, leaky, Some(2)).first(),
        line("cnn-rnn 3 8-6", [38, 8], 6, 3, false, leaky, Some(2)),
        fine("efficient 3x3 1-32", [80, 80, 1], 32, 3).first(),
        fine("efficient 3x3 32-32 at 39", [39, 39, 32], 32, 3),
        fine("efficient 3x3 32-32 at 19", [19, 19, 32], 32, 3),
        fine("efficient 2x2 32-32 at 9", [9, 9, 32], 32, 2),
        fine("accurate 3x3 1-64", [80, 80, 1], 64, 3).first(),
        fine("accurate 3x3 64-64 at 39", [39, 39, 64], 64, 3),
        line("window 2 128-256", [5, 128], 256, 2, true, relu, None).first(),
        line("window 2 256-256", [5, 256], 256, 2, true, relu, None),
    ]
}

fn layer(name: &'static str, block: ConvBlock) -> Layer {
    Layer {
        name,
        block,
        is_first: false,
    }
}
