//! Batch normalisation and the convolution behind it in one pass: the normalised map is never written.
//!
//! With y = scale * x + shift, channel by channel, a convolution of y is one of x with the kernel `scale * kernel` and the
//! bias `bias + sum of shift * kernel`. Backward needs no second look at the map for the normalisation's own sums either:
//! where every tap meets the whole output (`valid` padding), with D the convolution's gradient by y, G its gradient by the
//! bias and K that by a kernel that reads x,
//!
//! ```text
//! sum of D     = sum over taps and filters of kernel * G
//! sum of D * x = sum over taps and filters of kernel * K
//! d_kernel     = scale * K + shift * G
//! ```

use super::{BatchNormalization, Conv2d};
use crate::op::{Backward, Band, Forward, Needs, Op, Parameter};
use crate::shape::Shape;
use sonograd_kernels::{ConvBlock, Kernels, NormGradient};

/// A [`BatchNormalization`] and the [`Conv2d`] that alone reads it.
#[derive(Debug, Clone)]
pub struct NormConv2d {
    norm: BatchNormalization,
    conv: Conv2d,
}

/// Filters whose shifts are summed up at once.
const TOGETHER: usize = 64;

/// What a map is multiplied by and what is added, a channel.
struct Affine {
    scale: f64,
    shift: f64,
}

/// One part of the packed weights after another.
struct Packed<'a> {
    /// Scaled, in Keras' layout.
    kernel: &'a mut [f32],
    bias: &'a mut [f32],
    /// The scaled kernel as forward reads it.
    forward: &'a mut [f32],
    /// The kernel as it is, as backward reads it.
    backward: &'a mut [f32],
}

impl NormConv2d {
    /// `None` where the padding lets a tap miss some of the outputs: the sums above do not hold there.
    pub fn new(norm: &BatchNormalization, conv: &Conv2d) -> Option<Self> {
        let shape = &conv.block.conv;
        let whole = |len, out, kernel, pad| pad == 0 && out + kernel == len + 1;
        let valid = whole(
            shape.height,
            shape.out_height,
            shape.kernel_height,
            shape.pad_top,
        ) && whole(
            shape.width,
            shape.out_width,
            shape.kernel_width,
            shape.pad_left,
        );
        valid.then(|| Self {
            norm: norm.clone(),
            conv: conv.clone(),
        })
    }

    fn channels(&self) -> usize {
        self.conv.block.conv.in_channels
    }

    fn filters(&self) -> usize {
        self.conv.block.conv.out_channels
    }

    /// Cuts trainable weights, or their gradients, into the normalisation's and the convolution's.
    fn split<'a>(&self, parameters: &'a [f32]) -> (&'a [f32], &'a [f32]) {
        parameters.split_at(2 * self.channels())
    }

    fn packed<'a>(&self, packed: &'a mut [f32]) -> Packed<'a> {
        let (kernel, rest) = packed.split_at_mut(self.conv.block.conv.kernel_len());
        let (bias, rest) = rest.split_at_mut(self.filters());
        let (forward, backward) = rest.split_at_mut(rest.len() / 2);
        Packed {
            kernel,
            bias,
            forward,
            backward,
        }
    }

    /// `(folded bias, forward, backward)`
    fn read_packed<'a>(&self, packed: &'a [f32]) -> (&'a [f32], &'a [f32], &'a [f32]) {
        let (bias, rest) = packed[self.conv.block.conv.kernel_len()..].split_at(self.filters());
        let (forward, backward) = rest.split_at(rest.len() / 2);
        (bias, forward, backward)
    }

    /// The normalisation of one channel.
    fn affine(&self, parameters: &[f32], mean: f64, inverse_deviation: f64, c: usize) -> Affine {
        let (gamma, beta) = (parameters[c], parameters[self.channels() + c]);
        let scale = f64::from(gamma) * inverse_deviation;
        let shift = f64::from(beta) - scale * mean;
        Affine { scale, shift }
    }
}

impl Op for NormConv2d {
    fn kind(&self) -> &'static str {
        self.conv.kind()
    }

    fn output_shape(&self) -> Shape {
        self.conv.output_shape()
    }

    fn parameters(&self) -> Vec<Parameter> {
        [self.norm.parameters(), self.conv.parameters()].concat()
    }

    fn flops(&self) -> f64 {
        self.conv.flops()
    }

    fn needs(&self, samples: usize, lanes: usize) -> Needs {
        let (norm, conv) = (
            self.norm.needs(samples, lanes),
            self.conv.needs(samples, lanes),
        );
        Needs {
            packed: self.conv.block.conv.kernel_len() + self.filters() + 2 * conv.packed,
            scratch: conv.scratch.max(norm.scratch),
            forward_sums: norm.forward_sums,
            backward_sums: norm.backward_sums,
            norm_gradient: 4 * self.channels(),
            ..conv
        }
    }

    fn convolution(&mut self) -> Option<&mut ConvBlock> {
        self.conv.convolution()
    }

    fn bands(&self, count: usize) -> Vec<Band> {
        self.conv.bands_of(count, |conv| {
            Box::new(Self {
                norm: self.norm.clone(),
                conv,
            })
        })
    }

    fn absorb(&self, next: &dyn Op) -> Option<Box<dyn Op>> {
        let conv = self.conv.fused(next)?;
        Some(Box::new(Self {
            conv,
            ..self.clone()
        }))
    }

    fn pack(&self, kernels: &'static Kernels, _: usize, parameters: &[f32], packed: &mut [f32]) {
        let block = &self.conv.block;
        let kernel = &self.split(parameters).1[..block.conv.kernel_len()];
        kernels.conv_block_pack_backward(block, kernel, self.packed(packed).backward);
    }

    fn fold(
        &self,
        kernels: &'static Kernels,
        parameters: &[f32],
        state: &[f32],
        sums: Option<&[f64]>,
        packed: &mut [f32],
    ) {
        let (channels, filters) = (self.channels(), self.filters());
        let (_, weights) = self.split(parameters);
        let (kernel, bias) = weights.split_at(weights.len() - filters);
        let packed = self.packed(packed);
        let affine = |i: usize| {
            let c = i % channels;
            let (mean, inverse) = self.norm.channel_statistics(state, sums, c);
            self.affine(parameters, mean, inverse, c)
        };
        let rows = kernel.chunks_exact(filters).enumerate();
        for ((i, row), folded) in rows.clone().zip(packed.kernel.chunks_exact_mut(filters)) {
            let scale = affine(i).scale as f32;
            folded
                .iter_mut()
                .zip(row)
                .for_each(|(folded, w)| *folded = scale * w);
        }
        for first in (0..filters).step_by(TOGETHER) {
            let mut sums = [0.0; TOGETHER];
            for (i, row) in rows.clone() {
                let shift = affine(i).shift;
                for (sum, &w) in sums.iter_mut().zip(&row[first..]) {
                    *sum += shift * f64::from(w);
                }
            }
            let folded = packed.bias[first..].iter_mut().zip(&bias[first..]);
            for ((folded, &bias), sum) in folded.zip(sums) {
                *folded = (f64::from(bias) + sum) as f32;
            }
        }
        let block = &self.conv.block;
        kernels.conv_block_pack(block, packed.kernel, packed.forward);
    }

    fn forward_sums(&self, call: &mut Forward<'_>, sums: &mut [f64]) {
        self.norm.forward_sums(call, sums);
    }

    fn combine_forward(&self, samples: usize, shards: &[f64], sums: &mut [f64], state: &mut [f32]) {
        self.norm.combine_forward(samples, shards, sums, state);
    }

    fn forward(&self, call: &mut Forward<'_>) {
        let (bias, forward, _) = self.read_packed(call.packed);
        call.kernels.conv_block_forward(
            &self.conv.block,
            call.samples,
            call.inputs[0],
            forward,
            bias,
            call.output,
            call.codes,
            call.scratch,
        );
    }

    /// The gradient by the normalised map goes to the input's, where [`backward`](Op::backward) turns it into that by
    /// the input.
    fn backward_sums(&self, call: &mut Backward<'_>, sums: &mut [f64]) {
        let (channels, filters) = (self.channels(), self.filters());
        let (_, _, backward) = self.read_packed(call.packed);
        let (d_norm, d_conv) = call.d_parameters.split_at_mut(2 * channels);
        let (d_kernel, d_bias) = d_conv.split_at_mut(d_conv.len() - filters);
        call.kernels.conv_block_backward(
            &self.conv.block,
            call.samples,
            call.inputs[0],
            call.output,
            call.codes,
            call.d_output,
            call.norm,
            backward,
            call.d_inputs[0].as_deref_mut(),
            d_kernel,
            d_bias,
            call.scratch,
        );
        let (_, weights) = self.split(call.parameters);
        let (scale, rest) = call.scratch.split_at_mut(channels);
        let shift = &mut rest[..channels];
        for c in 0..channels {
            let (mean, inverse) = self.norm.channel_statistics(&[], Some(call.sums), c);
            let affine = self.affine(call.parameters, mean, inverse, c);
            (scale[c], shift[c]) = (affine.scale as f32, affine.shift as f32);
        }
        let kernel = &weights[..d_kernel.len()];
        call.kernels
            .norm_kernel_gradient(kernel, d_bias, scale, shift, d_kernel, sums);
        let (sum, product) = sums.split_at_mut(channels);
        let (d_gamma, d_beta) = d_norm.split_at_mut(channels);
        for c in 0..channels {
            let (mean, inverse) = self.norm.channel_statistics(&[], Some(call.sums), c);
            product[c] = (product[c] - mean * sum[c]) * inverse;
            (d_gamma[c], d_beta[c]) = (product[c] as f32, sum[c] as f32);
        }
    }

    fn combine_backward(&self, samples: usize, shards: &[f64], sums: &mut [f64]) {
        self.norm.combine_backward(samples, shards, sums);
    }

    fn backward(&self, call: &mut Backward<'_>) {
        let Some(d_input) = &mut call.d_inputs[0] else {
            return;
        };
        let channels = self.channels();
        let gradient =
            self.norm
                .gradient(call.parameters, call.sums, call.backward_sums, call.scratch);
        call.kernels.norm_backward_in_place(
            d_input.len() / channels,
            channels,
            call.inputs[0],
            gradient,
            d_input,
        );
    }

    fn norm_gradient<'a>(
        &self,
        parameters: &'a [f32],
        sums: &[f64],
        backward_sums: &[f64],
        scratch: &'a mut [f32],
    ) -> Option<NormGradient<'a>> {
        Some(self.norm.gradient(parameters, sums, backward_sums, scratch))
    }

    fn oracle(&self, samples: usize, inputs: &[&[f64]], parameters: &[f64]) -> Vec<f64> {
        let (norm, conv) = parameters.split_at(2 * self.channels());
        let y = self.norm.oracle(samples, inputs, norm);
        self.conv.oracle(samples, &[&y], conv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::window::Padding;
    use crate::ops::{Activate, MaxPool2d, check};
    use sonograd_kernels::activation::Activation;

    #[test]
    fn gradients_alone_and_with_activation_and_pool() {
        for (input, filters, kernel, samples) in [
            ([7, 6, 5], 9, [3, 3], 3),
            ([5, 6, 32], 32, [2, 2], 2),
            ([4, 4, 1], 3, [3, 3], 5),
            ([3, 1, 17], 8, [1, 1], 4),
        ] {
            let input = Shape::from(input);
            let norm = BatchNormalization::new(&input).unwrap();
            let conv = Conv2d::new(&input, filters, kernel, Padding::Valid).unwrap();
            let fused = norm.absorb(&conv).unwrap();
            check::op(&*fused, std::slice::from_ref(&input), samples);
            let map = conv.output_shape();
            let active = fused
                .absorb(&Activate::new(Activation::Relu, &map))
                .unwrap();
            let pool = MaxPool2d::new(&map, [3, 3], [2, 2], Padding::Same).unwrap();
            let pooled = active.absorb(&pool).unwrap();
            check::op(&*pooled, &[input], samples);
        }
    }

    #[test]
    fn in_one_dimension() {
        let input = Shape::from([9, 6]);
        let norm = BatchNormalization::new(&input).unwrap();
        let conv = Conv2d::new_1d(&input, 8, 3, Padding::Valid).unwrap();
        check::op(&*norm.absorb(&conv).unwrap(), &[input], 3);
    }

    /// At the border fewer taps meet an output: the closed forms do not hold.
    #[test]
    fn padding_is_left_alone() {
        let input = Shape::from([7, 6, 5]);
        let norm = BatchNormalization::new(&input).unwrap();
        let conv = Conv2d::new(&input, 4, [3, 3], Padding::Same).unwrap();
        assert!(norm.absorb(&conv).is_none());
    }
}
