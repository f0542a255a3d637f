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
    ConvBlock {
        conv,
        activation,
        pool,
    }
}

/// The convolutions of the five models with what follows them.
pub(crate) fn layers() -> Vec<(&'static str, ConvBlock)> {
    let leaky = Activation::LeakyRelu { slope: 0.3 };
    let relu = Activation::Relu;
    let square = |name, input, filters, size, same, activation, (window, stride, pool_same)| {
        let pool = Some(([window; 2], [stride; 2], pool_same));
        (
            name,
            block(input, filters, [size; 2], same, activation, pool),
        )
    };
    let line = |name,
                [steps, channels]: [usize; 2],
                filters,
                size,
                same,
                activation,
                pool: Option<usize>| {
        let pool = pool.map(|window| ([1, window], [1, window], false));
        (
            name,
            block(
                [1, steps, channels],
                filters,
                [1, size],
                same,
                activation,
                pool,
            ),
        )
    };
    let fine = (3, 2, true);
    vec![
        square(
            "parallel 8x8 1-3",
            [80, 80, 1],
            3,
            8,
            true,
            leaky,
            (4, 4, false),
        ),
        square(
            "parallel 4x4 1-4",
            [80, 80, 1],
            4,
            4,
            true,
            leaky,
            (2, 2, false),
        ),
        line("cnn-rnn 4 80-8", [80, 80], 8, 4, false, leaky, Some(2)),
        line("cnn-rnn 3 8-6", [38, 8], 6, 3, false, leaky, Some(2)),
        square("efficient 3x3 1-32", [80, 80, 1], 32, 3, false, relu, fine),
        square(
            "efficient 3x3 32-32 at 39",
            [39, 39, 32],
            32,
            3,
            false,
            relu,
            fine,
        ),
        square(
            "efficient 3x3 32-32 at 19",
            [19, 19, 32],
            32,
            3,
            false,
            relu,
            fine,
        ),
        square(
            "efficient 2x2 32-32 at 9",
            [9, 9, 32],
            32,
            2,
            false,
            relu,
            fine,
        ),
        square("accurate 3x3 1-64", [80, 80, 1], 64, 3, false, relu, fine),
        square(
            "accurate 3x3 64-64 at 39",
            [39, 39, 64],
            64,
            3,
            false,
            relu,
            fine,
        ),
        line("window 2 128-256", [5, 128], 256, 2, true, relu, None),
        line("window 2 256-256", [5, 256], 256, 2, true, relu, None),
    ]
}
