//! The passes around a convolution that writes its whole map: groups of samples, pool and activation in their turn.
//!
//! What a group needs stays in cache: it is a few samples, or one that is larger.

use super::im2col::Cut;
use super::two_taps::TwoTaps;
use super::{ConvAlgorithm, ConvBlock, im2col, naive, split, split_len};
use crate::activation::Activation;
use crate::table::Kernels;

/// How a batch is cut into groups, and the lengths of the parts of the scratch, in order.
struct Parts {
    /// Samples of a group.
    samples: usize,
    /// How the matrix of windows is cut.
    cut: Cut,
    /// What takes that matrix's place.
    taps: Option<TwoTaps>,
    /// The map before the pool, or its gradient.
    map: usize,
    /// The pooled values before the activation, or their gradient.
    pooled: usize,
    /// One group's gradient of the bias.
    d_bias: usize,
    windows: usize,
    d_windows: usize,
    /// What the products need, or two taps.
    products: usize,
}

impl Parts {
    fn new(block: &ConvBlock, algorithm: ConvAlgorithm, lanes: usize) -> Self {
        let conv = &block.conv;
        let cut = Cut::new(conv);
        let taps = (algorithm == ConvAlgorithm::Winograd1d).then(|| TwoTaps::new(conv, lanes));
        let samples = taps.as_ref().map_or(cut.samples, |taps| taps.samples);
        let [windows, d_windows, products] = match (&taps, algorithm) {
            (Some(taps), _) => [0, 0, taps.scratch_len()],
            (None, ConvAlgorithm::Naive) => [0; 3],
            (None, _) => [
                cut.windows_len(conv),
                cut.d_windows_len(conv),
                cut.gemm_len(conv, algorithm.products().unwrap_or_default(), lanes),
            ],
        };
        Self {
            samples,
            map: samples * conv.output_len(),
            pooled: samples * block.output_len(),
            d_bias: conv.out_channels,
            windows,
            d_windows,
            products,
            cut,
            taps,
        }
    }

    /// `[map, pooled, d_bias, windows, d_windows, products]`
    fn lens(&self) -> [usize; 6] {
        [
            self.map,
            self.pooled,
            self.d_bias,
            self.windows,
            self.d_windows,
            self.products,
        ]
    }
}

/// Values of scratch for either pass.
pub(super) fn scratch_len(block: &ConvBlock, algorithm: ConvAlgorithm, lanes: usize) -> usize {
    split_len(&Parts::new(block, algorithm, lanes).lens())
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
    let conv = &block.conv;
    let parts = Parts::new(block, algorithm, kernels.lanes());
    let [map, pooled, no_bias, windows, _, products] = split(parts.lens(), scratch);
    let linear = block.activation == Activation::Linear;
    // Bias and activation follow the pool, as in the direct kernels: see `ConvBlock::codes_len`.
    no_bias.fill(0.0);
    let in_product_bias = if block.pool.is_some() {
        &*no_bias
    } else {
        bias
    };
    let activates = parts.taps.is_some() || algorithm.products().is_some();
    let activated = activates && block.pool.is_none();
    let in_product = match activated {
        true => block.activation,
        false => Activation::Linear,
    };
    let groups = output.chunks_mut(parts.samples * block.output_len());
    for (group, output) in groups.enumerate() {
        let samples = output.len() / block.output_len();
        let first = group * parts.samples;
        let input = &input[first * conv.input_len()..][..samples * conv.input_len()];
        let mut convolve = |map: &mut [f32]| match (&parts.taps, algorithm) {
            (Some(taps), _) => taps.forward(
                kernels,
                in_product,
                input,
                packed,
                in_product_bias,
                map,
                products,
            ),
            (None, ConvAlgorithm::Naive) => {
                naive::forward(conv, samples, input, packed, in_product_bias, map)
            }
            (None, _) => im2col::forward(
                kernels,
                algorithm,
                conv,
                in_product,
                &parts.cut,
                input,
                packed,
                in_product_bias,
                map,
                windows,
                products,
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
    let conv = &block.conv;
    let parts = Parts::new(block, algorithm, kernels.lanes());
    let [map, pooled, group_d_bias, windows, d_windows, products] = split(parts.lens(), scratch);
    d_bias.fill(0.0);
    // Products set it; plain loops, and a batch of no samples, do not.
    if algorithm == ConvAlgorithm::Naive || d_output.is_empty() {
        d_kernel.fill(0.0);
    }
    let (len, filters) = (block.output_len(), conv.out_channels);
    for (group, d_output) in d_output.chunks(parts.samples * len).enumerate() {
        let (first, samples) = (group * parts.samples, d_output.len() / len);
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
        match (&parts.taps, algorithm) {
            (Some(taps), _) => taps.backward(
                kernels,
                input,
                packed,
                gradient,
                d_input,
                d_kernel,
                group > 0,
                products,
            ),
            (None, ConvAlgorithm::Naive) => {
                naive::backward(conv, samples, input, packed, gradient, d_input, d_kernel);
            }
            (None, _) => im2col::backward(
                kernels,
                algorithm,
                conv,
                &parts.cut,
                input,
                packed,
                gradient,
                d_input,
                d_kernel,
                group > 0,
                windows,
                d_windows,
                products,
            ),
        }
    }
}
