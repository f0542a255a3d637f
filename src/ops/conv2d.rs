//! Convolution with bias, and what it absorbs: an activation and a max-pool, in one pass.

use super::window::{Padding, as_one_row, output_extent};
use super::{Activate, MaxPool2d};
use crate::op::{Backward, Band, Forward, Initializer, Needs, Op, Parameter};
use crate::shape::Shape;
use sonograd_kernels::activation::Activation;
use sonograd_kernels::conv2d::{Conv2dShape, ConvBlock};
use sonograd_kernels::{Kernels, reference};
use std::any::Any;

/// Floating-point operations that one thread does as fast as two that have to be given their bands: about 4 us.
const MOST_ALONE: f64 = 4e5;

/// A convolution of stride 1 over height x width x channels; a 1-D convolution has height 1.
#[derive(Debug, Clone)]
pub struct Conv2d {
    /// What one pass does.
    pub block: ConvBlock,
    one_dimensional: bool,
}

impl Conv2d {
    /// `filters` kernels of `kernel` = height x width over an input of height x width x channels.
    ///
    /// # Errors
    /// A message where the input has not three axes, an extent is 0, or the kernel does not fit.
    pub fn new(
        input: &Shape,
        filters: usize,
        kernel: [usize; 2],
        padding: Padding,
    ) -> Result<Self, String> {
        let &[height, width, in_channels] = input.extents() else {
            return Err(format!(
                "its input is height x width x channels, not {input}"
            ));
        };
        if filters == 0 {
            return Err("0 filters: it must have at least 1".into());
        }
        let (out_height, pad_top) = output_extent(height, kernel[0], 1, padding)?;
        let (out_width, pad_left) = output_extent(width, kernel[1], 1, padding)?;
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
        let block = ConvBlock::new(conv, Activation::Linear, None);
        Ok(Self {
            block,
            one_dimensional: false,
        })
    }

    /// `filters` kernels of `kernel` steps over an input of steps x channels.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_1d(
        input: &Shape,
        filters: usize,
        kernel: usize,
        padding: Padding,
    ) -> Result<Self, String> {
        let input = as_one_row(input)?;
        Ok(Self {
            one_dimensional: true,
            ..Self::new(&input, filters, [1, kernel], padding)?
        })
    }

    /// The same layer with an activation of its output.
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.block.activation = activation;
        self
    }

    /// The block's bands of rows, each made an operation by `wrap`; none where there is little to do.
    pub(super) fn bands_of(&self, count: usize, wrap: impl Fn(Self) -> Box<dyn Op>) -> Vec<Band> {
        let (conv, rows) = (&self.block.conv, self.block.output_rows());
        if count < 2 || rows < count || self.flops() < MOST_ALONE {
            return Vec::new();
        }
        let image_row = conv.width * conv.in_channels;
        let output_row = self.block.output_len() / rows;
        let starts = (0..rows).step_by(rows.div_ceil(count));
        let bands = starts.map(|start| {
            let band = start..rows.min(start + rows.div_ceil(count));
            let (block, read) = self.block.band(band.clone())?;
            Some(Band {
                op: wrap(Self {
                    block,
                    ..self.clone()
                }),
                input: read.start * image_row..read.end * image_row,
                output: band.start * output_row..band.end * output_row,
            })
        });
        bands.collect::<Option<_>>().unwrap_or_default()
    }

    /// With the activation or the pool behind it, where the block has not one yet.
    pub(super) fn fused(&self, next: &dyn Op) -> Option<Self> {
        let mut fused = self.clone();
        let next: &dyn Any = next;
        if let Some(next) = next.downcast_ref::<Activate>()
            && self.block.activation == Activation::Linear
            && self.block.pool.is_none()
        {
            fused.block.activation = next.activation;
            return Some(fused);
        }
        let pool = next.downcast_ref::<MaxPool2d>()?;
        if self.block.pool.is_some() {
            return None;
        }
        fused.block.pool = Some(pool.shape);
        Some(fused)
    }
}

impl Op for Conv2d {
    fn kind(&self) -> &'static str {
        if self.one_dimensional {
            "Conv1D"
        } else {
            "Conv2D"
        }
    }

    fn output_shape(&self) -> Shape {
        let conv = &self.block.conv;
        let (height, width) = match &self.block.pool {
            Some(pool) => (pool.out_height, pool.out_width),
            None => (conv.out_height, conv.out_width),
        };
        match self.one_dimensional {
            true => Shape::from([width, conv.out_channels]),
            false => Shape::from([height, width, conv.out_channels]),
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        let Conv2dShape {
            kernel_height,
            kernel_width,
            in_channels,
            out_channels,
            ..
        } = self.block.conv;
        let kernel = match self.one_dimensional {
            true => Shape::from([kernel_width, in_channels, out_channels]),
            false => Shape::from([kernel_height, kernel_width, in_channels, out_channels]),
        };
        vec![
            Parameter::new("kernel", kernel, Initializer::GlorotUniform),
            Parameter::new("bias", [out_channels], Initializer::Zeros),
        ]
    }

    fn flops(&self) -> f64 {
        let conv = &self.block.conv;
        2.0 * (conv.out_height * conv.out_width * conv.kernel_len()) as f64
    }

    fn needs(&self, _: usize, lanes: usize) -> Needs {
        let block = &self.block;
        Needs {
            codes: block.codes_len(),
            scratch: block
                .forward_scratch_len(lanes)
                .max(block.backward_scratch_len(lanes)),
            packed: block.packed_len(lanes),
            reads_inputs: true,
            reads_output: true,
            takes_norm: block.takes_norm(lanes),
            ..Needs::default()
        }
    }

    fn convolution(&mut self) -> Option<&mut ConvBlock> {
        Some(&mut self.block)
    }

    fn bands(&self, count: usize) -> Vec<Band> {
        self.bands_of(count, |op| Box::new(op))
    }

    fn absorb(&self, next: &dyn Op) -> Option<Box<dyn Op>> {
        Some(Box::new(self.fused(next)?))
    }

    fn pack(&self, kernels: &'static Kernels, _: usize, parameters: &[f32], packed: &mut [f32]) {
        kernels.conv_block_pack(
            &self.block,
            &parameters[..self.block.conv.kernel_len()],
            packed,
        );
    }

    fn forward(&self, call: &mut Forward<'_>) {
        let bias = &call.parameters[self.block.conv.kernel_len()..];
        call.kernels.conv_block_forward(
            &self.block,
            call.samples,
            call.inputs[0],
            call.packed,
            bias,
            call.output,
            call.codes,
            call.scratch,
        );
    }

    fn backward(&self, call: &mut Backward<'_>) {
        let (d_kernel, d_bias) = call.d_parameters.split_at_mut(self.block.conv.kernel_len());
        call.kernels.conv_block_backward(
            &self.block,
            call.samples,
            call.inputs[0],
            call.output,
            call.codes,
            call.d_output,
            call.norm,
            call.packed,
            call.d_inputs[0].as_deref_mut(),
            d_kernel,
            d_bias,
            call.scratch,
        );
    }

    fn oracle(&self, samples: usize, inputs: &[&[f64]], parameters: &[f64]) -> Vec<f64> {
        let (kernel, bias) = parameters.split_at(self.block.conv.kernel_len());
        let map = reference::conv2d_forward(&self.block.conv, samples, inputs[0], kernel, bias);
        let map = reference::activation_forward(self.block.activation, &map);
        match &self.block.pool {
            Some(pool) => reference::max_pool_forward(pool, samples, &map).0,
            None => map,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;
    use sonograd_kernels::ConvAlgorithm;

    /// The fused form is checked as well as the plain one: they are different kernels.
    #[test]
    fn gradients_alone_and_fused() {
        let cases = [
            (
                [9, 10, 1],
                3,
                [8, 8],
                Padding::Same,
                Activation::LeakyRelu { slope: 0.3 },
                ([4, 4], [4, 4], Padding::Valid),
            ),
            (
                [9, 8, 1],
                4,
                [4, 4],
                Padding::Same,
                Activation::LeakyRelu { slope: 0.3 },
                ([2, 2], [2, 2], Padding::Valid),
            ),
            (
                [11, 9, 1],
                17,
                [3, 3],
                Padding::Valid,
                Activation::Relu,
                ([3, 3], [2, 2], Padding::Same),
            ),
            (
                [9, 10, 5],
                9,
                [3, 3],
                Padding::Valid,
                Activation::Relu,
                ([3, 3], [2, 2], Padding::Same),
            ),
            (
                [5, 6, 32],
                32,
                [2, 2],
                Padding::Valid,
                Activation::Relu,
                ([3, 3], [2, 2], Padding::Same),
            ),
            (
                [1, 1, 2],
                3,
                [1, 1],
                Padding::Same,
                Activation::Linear,
                ([1, 1], [1, 1], Padding::Valid),
            ),
        ];
        for (input, filters, kernel, padding, activation, (window, stride, pool_padding)) in cases {
            let input = Shape::from(input);
            let plain = Conv2d::new(&input, filters, kernel, padding).unwrap();
            let map = plain.output_shape();
            let pool = MaxPool2d::new(&map, window, stride, pool_padding).unwrap();
            let active = plain.absorb(&Activate::new(activation, &map));
            let pooled = active.as_ref().and_then(|op| op.absorb(&pool)).unwrap();
            assert_eq!(pooled.output_shape(), pool.output_shape());
            check::op(&plain, std::slice::from_ref(&input), 3);
            check::op(&*active.unwrap(), std::slice::from_ref(&input), 3);
            check::op(&*pooled, &[input], 3);
        }
    }

    #[test]
    fn gradients_in_one_dimension() {
        for (input, filters, kernel, padding) in [
            ([13, 7], 8, 4, Padding::Valid),
            ([5, 16], 24, 2, Padding::Same),
            ([6, 3], 6, 3, Padding::Same),
        ] {
            let input = Shape::from(input);
            let plain = Conv2d::new_1d(&input, filters, kernel, padding).unwrap();
            let pool = MaxPool2d::new_1d(&plain.output_shape(), 2, 2, Padding::Valid).unwrap();
            check::op(
                &*plain.absorb(&pool).unwrap(),
                std::slice::from_ref(&input),
                2,
            );
            check::op(&plain, &[input], 2);
        }
    }

    #[test]
    fn gradients_by_every_algorithm() {
        let input = Shape::from([6, 7, 3]);
        let plain = Conv2d::new(&input, 17, [3, 2], Padding::Same).unwrap();
        let pool = MaxPool2d::new(&plain.output_shape(), [2, 3], [2, 2], Padding::Same).unwrap();
        let plain = plain.with_activation(Activation::Relu);
        // What rounding to bf16 loses is above this check's tolerance: the kernels' tests bound it.
        let exact = |&algorithm: &ConvAlgorithm| {
            !matches!(algorithm, ConvAlgorithm::Bf16 | ConvAlgorithm::Im2colBf16)
        };
        for algorithm in ConvAlgorithm::ALL.iter().copied().filter(exact) {
            let mut op = plain.clone();
            op.block.algorithm = Some(algorithm);
            check::op(&*op.absorb(&pool).unwrap(), std::slice::from_ref(&input), 3);
            check::op(&op, std::slice::from_ref(&input), 3);
        }
    }

    #[test]
    fn a_kernel_longer_than_its_input_is_refused_with_both_lengths() {
        let error = Conv2d::new_1d(&Shape::from([3, 4]), 8, 5, Padding::Valid).unwrap_err();
        assert!(error.contains("5 does not fit into 3"), "{error}");
    }
}
