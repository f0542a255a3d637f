//! The passes around a convolution that writes its whole map: groups of samples, pool and activation in their turn.
//!
//! What a group needs stays in cache: it is a few samples, or one that is larger.

use super::im2col::Cut;
use super::{ConvAlgorithm, ConvBlock, im2col, naive};
use crate::activation::Activation;
use crate::table::Kernels;

/// Lengths of the parts of the scratch, in order.
struct Parts {
    /// The map before the pool, or its gradient.
    map: usize,
    /// The pooled values before the activation, or their gradient.
    pooled: usize,
    /// One group's gradient of the bias.
    d_bias: usize,
    windows: usize,
    d_windows: usize,
    gemm: usize,
}

impl Parts {
    fn new(block: &ConvBlock, algorithm: ConvAlgorithm, cut: &Cut, lanes: usize) -> Self {
        let conv = &block.conv;
        let products = algorithm != ConvAlgorithm::Naive;
        Self {
            map: cut.samples * conv.output_len(),
            pooled: cut.samples * block.output_len(),
            d_bias: conv.out_channels,
            windows: if products { cut.windows_len(conv) } else { 0 },
            d_windows: if products { cut.d_windows_len(conv) } else { 0 },
            gemm: if products {
                cut.gemm_len(conv, algorithm.products().unwrap_or_default(), lanes)
            } else {
                0
            },
        }
    }

    /// The parts, each on a cache line where the scratch begins on one: `[map, pooled, d_bias, windows, d_windows, gemm]`.
    fn split<'a>(&self, mut scratch: &'a mut [f32]) -> [&'a mut [f32]; 6] {
        self.lens().map(|len| {
            let (part, rest) = std::mem::take(&mut scratch).split_at_mut(len.next_multiple_of(16));
            scratch = rest;
            &mut part[..len]
        })
    }

    fn lens(&self) -> [usize; 6] {
        [
            self.map,
            self.pooled,
            self.d_bias,
            self.windows,
            self.d_windows,
            self.gemm,
        ]
    }
}

/// Values of scratch for either pass.
pub(super) fn scratch_len(block: &ConvBlock, algorithm: ConvAlgorithm, lanes: usize) -> usize {
    let parts = Parts::new(block, algorithm, &Cut::new(&block.conv), lanes);
    parts
        .lens()
        .iter()
        .map(|len| len.next_multiple_of(16))
        .sum()
}

/// See [`Kernels::conv_block_forward`].
pub(super) fn forward(
    kernels: &Kernels,
    block: &ConvBlock,
    algorithm: ConvAlgorithm,
    input: &[f32],
    packed: &[f32],
    bias: &[f32],
    output: &mut [f32],
    codes: &mut [u8],
    scratch: &mut [f32],
) {
    let (conv, cut) = (&block.conv, Cut::new(&block.conv));
    let parts = Parts::new(block, algorithm, &cut, kernels.lanes());
    let [map, pooled, no_bias, windows, _, gemm] = parts.split(scratch);
    let linear = block.activation == Activation::Linear;
    // Bias and activation follow the pool, as in the direct kernels: see `ConvBlock::codes_len`.
    no_bias.fill(0.0);
    let in_product_bias = if block.pool.is_some() {
        &*no_bias
    } else {
        bias
    };
    let activated = algorithm.products().is_some() && block.pool.is_none();
    let in_product = match activated {
        true => block.activation,
        false => Activation::Linear,
    };
    let groups = output.chunks_mut(cut.samples * block.output_len());
    for (group, output) in groups.enumerate() {
        let samples = output.len() / block.output_len();
        let first = group * cut.samples;
        let input = &input[first * conv.input_len()..][..samples * conv.input_len()];
        let mut convolve = |map: &mut [f32]| match algorithm {
            ConvAlgorithm::Naive => {
                naive::forward(conv, samples, input, packed, in_product_bias, map)
            }
            _ => im2col::forward(
                kernels,
                algorithm,
                conv,
                in_product,
                &cut,
                input,
                packed,
                in_product_bias,
                map,
                windows,
                gemm,
            ),
        };
        if block.pool.is_none() && (linear || activated) {
            convolve(output);
            continue;
        }
        let map = &mut map[..samples * conv.output_len()];
        convolve(map);
        let Some(pool) = &block.pool else {
            kernels.activation_forward(block.activation, map, output);
            continue;
        };
        let codes = match codes.is_empty() {
            true => &mut [],
            false => &mut codes[first * block.codes_len()..][..samples * block.codes_len()],
        };
        let mut pool_into = |to: &mut [f32]| {
            kernels.max_pool_forward(pool, samples, map, to, codes);
            let pixels = to.chunks_exact_mut(conv.out_channels);
            pixels.for_each(|pixel| kernels.add_assign(pixel, bias));
        };
        if linear {
            pool_into(output);
        } else {
            let pooled = &mut pooled[..output.len()];
            pool_into(pooled);
            kernels.activation_forward(block.activation, pooled, output);
        }
    }
}

/// See [`Kernels::conv_block_backward`].
pub(super) fn backward(
    kernels: &Kernels,
    block: &ConvBlock,
    algorithm: ConvAlgorithm,
    input: &[f32],
    output: &[f32],
    codes: &[u8],
    d_output: &[f32],
    packed: &[f32],
    mut d_input: Option<&mut [f32]>,
    d_kernel: &mut [f32],
    d_bias: &mut [f32],
    scratch: &mut [f32],
) {
    let (conv, cut) = (&block.conv, Cut::new(&block.conv));
    let parts = Parts::new(block, algorithm, &cut, kernels.lanes());
    let [map, pooled, group_d_bias, windows, d_windows, gemm] = parts.split(scratch);
    d_bias.fill(0.0);
    // Products set it; plain loops, and a batch of no samples, do not.
    if algorithm == ConvAlgorithm::Naive || d_output.is_empty() {
        d_kernel.fill(0.0);
    }
    let (len, filters) = (block.output_len(), conv.out_channels);
    for (group, d_output) in d_output.chunks(cut.samples * len).enumerate() {
        let (first, samples) = (group * cut.samples, d_output.len() / len);
        let input_part = first * conv.input_len()..(first + samples) * conv.input_len();
        let mut gradient = d_output;
        if block.activation != Activation::Linear {
            let before = &mut pooled[..d_output.len()];
            let output = &output[first * len..][..d_output.len()];
            kernels.activation_backward(block.activation, output, d_output, before);
            gradient = before;
        }
        kernels.column_sums(gradient.len() / filters, filters, gradient, group_d_bias);
        kernels.add_assign(d_bias, group_d_bias);
        if let Some(pool) = &block.pool {
            let codes = &codes[first * len..][..gradient.len()];
            let map = &mut map[..samples * conv.output_len()];
            kernels.max_pool_backward(pool, samples, gradient, codes, map);
            gradient = map;
        }
        let d_input = d_input.as_deref_mut().map(|d| &mut d[input_part.clone()]);
        let input = &input[input_part];
        if algorithm == ConvAlgorithm::Naive {
            naive::backward(conv, samples, input, packed, gradient, d_input, d_kernel);
        } else {
            im2col::backward(
                kernels,
                algorithm,
                conv,
                &cut,
                input,
                packed,
                gradient,
                d_input,
                d_kernel,
                group > 0,
                windows,
                d_windows,
                gemm,
            );
        }
    }
}
