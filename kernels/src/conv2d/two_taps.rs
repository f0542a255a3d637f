//! Convolutions along rows with kernels of two taps by Winograd's minimal filtering, F(2, 2): three products for two outputs instead of
//! four, forward and backward.
//!
//! ```text
//! y[2j]     = x[2j] a + x[2j+1] b     = (x[2j] - x[2j+1]) a + x[2j+1] (a + b)
//! y[2j + 1] = x[2j+1] a + x[2j+2] b   =                       x[2j+1] (a + b) + (x[2j+2] - x[2j+1]) b
//! ```
//! x and y are the rows' pixels, a and b matrices of channels by filters. Forward takes the differences v of all rows of some samples,
//! multiplies them by the three kernels, and adds up what belongs together. Backward goes the same way back: each step is linear, and so is
//! its gradient. A last output without a neighbour is computed as it stands, without its second tap where that is padding.
//!
//! The differences are rounded before they are multiplied: an output errs about as much as half as many again terms would.
//!
//! Source: Winograd, "Arithmetic Complexity of Computations", 1980; the sums of F(2, 3) in Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2016, with two taps.

use super::{Conv2dShape, split, split_len};
use crate::activation::Activation;
use crate::gemm::{Matrix, gemm_scratch_len, packed_len};
use crate::table::Kernels;
use std::ops::Range;

/// Values of the differences that one product reads: 256 KB, half of a small L2.
const DIFFERENCES: usize = 64 * 1024;
/// The most samples that share a product.
const SAMPLES: usize = 64;

/// True for kernels of two taps whose rows of output are those of the image.
pub(crate) fn applies(conv: &Conv2dShape) -> bool {
    (conv.kernel_height, conv.kernel_width) == (1, 2)
        && conv.pad_top == 0
        && conv.out_height == conv.height
}

/// How the outputs of a row are paired, and where everything stands in the scratch.
pub(super) struct TwoTaps {
    channels: usize,
    filters: usize,
    /// Pixels of a row of the image.
    width: usize,
    /// Outputs of a row.
    outputs: usize,
    /// Zero pixels before a row of the image.
    pad: usize,
    /// Differences of one row that meet a, a + b and b.
    counts: [usize; 3],
    /// Samples that are worked on at once.
    pub(super) samples: usize,
    /// Lengths of the parts of the scratch: v or its gradient, the products or theirs, the gradient of a + b, zeros for what lies outside, and
    /// what the products need.
    lens: [usize; 5],
}

impl TwoTaps {
    pub(super) fn new(conv: &Conv2dShape, lanes: usize) -> Self {
        let (channels, filters) = (conv.in_channels, conv.out_channels);
        let (pairs, alone) = (conv.out_width / 2, conv.out_width % 2);
        let second_tap = conv.out_width < conv.width + conv.pad_left;
        let counts = [
            pairs + alone,
            pairs,
            pairs + alone * usize::from(second_tap),
        ];
        let in_sample = conv.height * counts.iter().sum::<usize>();
        let samples = (DIFFERENCES / (in_sample * channels)).clamp(1, SAMPLES);
        let most = samples * conv.height * counts[0];
        let gemm = gemm_scratch_len(most, filters, channels, lanes)
            .max(gemm_scratch_len(most, channels, filters, lanes))
            .max(gemm_scratch_len(channels, filters, most, lanes));
        let lens = [
            samples * in_sample * channels,
            samples * in_sample * filters,
            channels * filters,
            channels.max(filters),
            gemm,
        ];
        Self {
            channels,
            filters,
            width: conv.width,
            outputs: conv.out_width,
            pad: conv.pad_left,
            counts,
            samples,
            lens,
        }
    }

    pub(super) fn scratch_len(&self) -> usize {
        split_len(&self.lens)
    }

    fn pairs(&self) -> usize {
        self.counts[1]
    }
}

/// Values of the packed kernel: a + b as it is, then a, a + b and b for forward and their transposes for the input's gradient.
pub(super) fn packed_kernel_len(conv: &Conv2dShape, lanes: usize) -> usize {
    let (depth, filters) = (conv.in_channels, conv.out_channels);
    sum_len(depth, filters)
        + 3 * (packed_len(depth, filters, lanes) + packed_len(filters, depth, lanes))
}

/// Values of a + b, with what keeps the kernels behind it on a cache line.
fn sum_len(depth: usize, filters: usize) -> usize {
    (depth * filters).next_multiple_of(16)
}

pub(super) fn pack(kernels: &Kernels, conv: &Conv2dShape, kernel: &[f32], packed: &mut [f32]) {
    let (depth, filters) = (conv.in_channels, conv.out_channels);
    let (a, b) = kernel.split_at(depth * filters);
    let (sum, mut packed) = packed.split_at_mut(sum_len(depth, filters));
    let sum = &mut sum[..a.len()];
    sum.copy_from_slice(a);
    kernels.add_assign(sum, b);
    let lens = [
        packed_len(depth, filters, kernels.lanes()),
        packed_len(filters, depth, kernels.lanes()),
    ];
    for (transposed, len) in [false, true].into_iter().zip(lens) {
        for matrix in [a, &*sum, b] {
            let (to, rest) = std::mem::take(&mut packed).split_at_mut(len);
            packed = rest;
            let matrix = Matrix::row_major(matrix, filters);
            match transposed {
                false => kernels.gemm_pack(depth, filters, matrix, to),
                true => kernels.gemm_pack(filters, depth, matrix.transposed(), to),
            }
        }
    }
}

impl TwoTaps {
    /// The place of row j of the image's row `line` among `lines`, in matrix `k` of rows of `len` values.
    fn place(&self, k: usize, line: usize, j: usize, lines: usize, len: usize) -> Range<usize> {
        let before: usize = self.counts[..k].iter().sum();
        let row = lines * before + line * self.counts[k] + j;
        row * len..(row + 1) * len
    }

    /// `(k, j)` of all differences of one row.
    fn differences_of_row(&self) -> impl Iterator<Item = (usize, usize)> {
        let counts = self.counts;
        (0..3).flat_map(move |k| (0..counts[k]).map(move |j| (k, j)))
    }

    /// The three matrices of rows of `len` values.
    fn matrices<'a>(&self, lines: usize, len: usize, rows: &'a [f32]) -> [&'a [f32]; 3] {
        let (first, rest) = rows.split_at(lines * self.counts[0] * len);
        let (second, rest) = rest.split_at(lines * self.counts[1] * len);
        [first, second, &rest[..lines * self.counts[2] * len]]
    }

    /// v of the image's rows.
    fn differences(&self, kernels: &Kernels, x: &[f32], zeros: &[f32], v: &mut [f32]) {
        let (len, lines) = (self.channels, x.len() / (self.width * self.channels));
        let zeros = &zeros[..len];
        for (line, x) in x.chunks_exact(self.width * len).enumerate() {
            let pixel = |at: usize| {
                let at = at.checked_sub(self.pad).filter(|&at| at < self.width);
                at.map_or(zeros, |at| &x[at * len..][..len])
            };
            for (k, j) in self.differences_of_row() {
                let alone = j == self.pairs();
                let (of, less) = match k {
                    0 if alone => (pixel(2 * j), zeros),
                    0 => (pixel(2 * j), pixel(2 * j + 1)),
                    2 if !alone => (pixel(2 * j + 2), pixel(2 * j + 1)),
                    _ => (pixel(2 * j + 1), zeros),
                };
                let v = &mut v[self.place(k, line, j, lines, len)];
                kernels.combine([of, zeros, zeros], [less, zeros], Activation::Linear, v);
            }
        }
    }

    /// The gradient of the image's rows from that of v.
    fn differences_back(&self, kernels: &Kernels, d_v: &[f32], zeros: &[f32], d_x: &mut [f32]) {
        let (len, lines) = (self.channels, d_x.len() / (self.width * self.channels));
        let zeros = &zeros[..len];
        for (row, d_x) in d_x.chunks_exact_mut(len).enumerate() {
            let (line, at) = (row / self.width, row % self.width + self.pad);
            let j = at / 2;
            let part = |k: usize, j: usize, most: usize| match j < most {
                true => &d_v[self.place(k, line, j, lines, len)],
                false => zeros,
            };
            let [first, pairs, last] = self.counts;
            let (plus, minus) = match at % 2 {
                0 => (
                    [part(0, j, first), part(2, j.wrapping_sub(1), pairs)],
                    [zeros, zeros],
                ),
                _ if j < pairs => (
                    [part(1, j, pairs), zeros],
                    [part(0, j, first), part(2, j, last)],
                ),
                _ => ([part(2, j, last), zeros], [zeros, zeros]),
            };
            kernels.combine([plus[0], plus[1], zeros], minus, Activation::Linear, d_x);
        }
    }

    /// The outputs of all rows from their products.
    fn outputs(
        &self,
        kernels: &Kernels,
        m: &[f32],
        bias: &[f32],
        activation: Activation,
        zeros: &[f32],
        y: &mut [f32],
    ) {
        let (len, lines) = (self.filters, y.len() / (self.outputs * self.filters));
        let zeros = &zeros[..len];
        for (row, y) in y.chunks_exact_mut(len).enumerate() {
            let (line, at) = (row / self.outputs, row % self.outputs);
            let j = at / 2;
            let part = |k: usize| match j < self.counts[k] {
                true => &m[self.place(k, line, j, lines, len)],
                false => zeros,
            };
            let sum = match at % 2 {
                0 if j < self.pairs() => [part(0), part(1), bias],
                0 => [part(0), part(2), bias],
                _ => [part(2), part(1), bias],
            };
            kernels.combine(sum, [zeros, zeros], activation, y);
        }
    }

    /// The gradient of the products from that of the outputs.
    fn outputs_back(&self, kernels: &Kernels, d_y: &[f32], zeros: &[f32], d_m: &mut [f32]) {
        let (len, lines) = (self.filters, d_y.len() / (self.outputs * self.filters));
        let zeros = &zeros[..len];
        for (line, d_y) in d_y.chunks_exact(self.outputs * len).enumerate() {
            let output = |at: usize| &d_y[at * len..][..len];
            for (k, j) in self.differences_of_row() {
                let sum = match k {
                    0 => [output(2 * j), zeros, zeros],
                    1 => [output(2 * j), output(2 * j + 1), zeros],
                    _ if j < self.pairs() => [output(2 * j + 1), zeros, zeros],
                    _ => [output(2 * j), zeros, zeros],
                };
                let d_m = &mut d_m[self.place(k, line, j, lines, len)];
                kernels.combine(sum, [zeros, zeros], Activation::Linear, d_m);
            }
        }
    }

    /// `map = activation(convolution + bias)` of up to `samples` samples.
    pub(super) fn forward(
        &self,
        kernels: &Kernels,
        activation: Activation,
        input: &[f32],
        packed: &[f32],
        bias: &[f32],
        map: &mut [f32],
        scratch: &mut [f32],
    ) {
        let [v, m, _, zeros, gemm] = split(self.lens, scratch);
        zeros.fill(0.0);
        let (depth, filters) = (self.channels, self.filters);
        self.differences(kernels, input, zeros, v);
        let lines = input.len() / (self.width * depth);
        let packed = &packed[sum_len(depth, filters)..];
        self.multiply(kernels, (filters, depth), lines, v, packed, m, gemm);
        self.outputs(kernels, m, bias, activation, zeros, map);
    }

    /// The three products of rows of `depth` values with kernels of depth x `n`.
    fn multiply(
        &self,
        kernels: &Kernels,
        (n, depth): (usize, usize),
        lines: usize,
        from: &[f32],
        packed: &[f32],
        mut to: &mut [f32],
        gemm: &mut [f32],
    ) {
        let kernel_len = packed_len(depth, n, kernels.lanes());
        for (k, a) in self.matrices(lines, depth, from).into_iter().enumerate() {
            let rows = lines * self.counts[k];
            let (c, rest) = std::mem::take(&mut to).split_at_mut(rows * n);
            to = rest;
            let (a, b) = (
                Matrix::row_major(a, depth),
                &packed[k * kernel_len..][..kernel_len],
            );
            let linear = Activation::Linear;
            kernels.gemm_packed(rows, n, depth, a, b, c, n, false, None, linear, gemm);
        }
    }

    /// Sets `d_kernel`, or adds to it where `accumulate`; sets `d_input`. Up to `samples` samples.
    pub(super) fn backward(
        &self,
        kernels: &Kernels,
        input: &[f32],
        packed: &[f32],
        d_map: &[f32],
        d_input: Option<&mut [f32]>,
        d_kernel: &mut [f32],
        accumulate: bool,
        scratch: &mut [f32],
    ) {
        let [v, m, sum, zeros, gemm] = split(self.lens, scratch);
        zeros.fill(0.0);
        let (depth, filters) = (self.channels, self.filters);
        let lines = input.len() / (self.width * depth);
        self.differences(kernels, input, zeros, v);
        self.outputs_back(kernels, d_map, zeros, m);
        let (d_a, d_b) = d_kernel.split_at_mut(depth * filters);
        let products = self
            .matrices(lines, depth, v)
            .into_iter()
            .zip(self.matrices(lines, filters, m));
        for ((k, (v, m)), to) in products.enumerate().zip([&mut *d_a, &mut *sum, &mut *d_b]) {
            let rows = lines * self.counts[k];
            let (a, b) = (
                Matrix::row_major(v, depth).transposed(),
                Matrix::row_major(m, filters),
            );
            let add = accumulate && k != 1;
            kernels.gemm(depth, filters, rows, a, b, to, filters, add, gemm);
        }
        // a + b's goes to both.
        kernels.add_assign(d_a, sum);
        kernels.add_assign(d_b, sum);
        if let Some(d_input) = d_input {
            let forward = 3 * packed_len(depth, filters, kernels.lanes());
            let packed = &packed[sum_len(depth, filters) + forward..];
            self.multiply(kernels, (depth, filters), lines, m, packed, v, gemm);
            self.differences_back(kernels, v, zeros, d_input);
        }
    }
}
