//! The kernel's gradient over the whole batch: blocks of its rows, each a product whose inner extent is all samples, so that a tile of
//! the gradient is written once.
//!
//! Few units would leave the lanes empty. Their block is computed as its transpose, with the lanes over the inputs, shard by shard from
//! where these stand: units x inputs stay in cache, and nothing is copied.

use super::{Dense, MULTIPLIED_UNITS, rows, transposed};
use crate::op::BatchView;
use sonograd_kernels::Kernels;
use sonograd_kernels::activation::Activation;
use sonograd_kernels::gemm::gemm_scratch_len;
use std::ops::Range;

/// Elements of the gradient that one task computes.
const BLOCK: usize = 8_192;
/// The fewest rows of the kernel in a task: fewer would read the batch again and again.
const ROWS: usize = 64;

/// Values from a sample of the gathered batch to the next: a line more than the block, which would put all samples' values of a
/// column into the same few lines of the first-level cache where it is a power of two.
fn sample_stride(width: usize) -> usize {
    width + 16
}

/// What one shard's part of x has of a block.
struct BlockPart<'a> {
    /// Samples of the shards before.
    before: usize,
    samples: usize,
    /// samples x stride, from the block's first input on.
    x: &'a [f32],
    stride: usize,
    /// Its inputs' places in the block.
    inputs: Range<usize>,
}

impl Dense {
    fn is_narrow(&self) -> bool {
        self.units < MULTIPLIED_UNITS
    }

    /// Rows of the kernel that one task computes.
    pub(super) fn block_rows(&self) -> usize {
        (BLOCK / self.units).clamp(ROWS, self.inputs.max(ROWS))
    }

    /// The gradients before the activation, samples x units, and behind them, unless the units are few, the same as B of the products.
    pub(super) fn gather_gradients(
        &self,
        kernels: &'static Kernels,
        batch: &dyn BatchView,
        gathered: &mut [f32],
    ) {
        let units = self.units;
        let mut samples = 0;
        for i in 0..batch.shards() {
            let shard = batch.shard(i);
            let d_output = self.before_activation(shard.d_output, shard.workspace);
            gathered[samples * units..][..d_output.len()].copy_from_slice(d_output);
            samples += shard.samples;
        }
        if !self.is_narrow() {
            let (d_output, packed) = gathered.split_at_mut(samples * units);
            kernels.product_pack(self.products, samples, units, rows(d_output, units), packed);
        }
    }

    /// The elements `part` of the kernel with the bias as its last row, whole rows.
    pub(super) fn gradient_of_block(
        &self,
        kernels: &'static Kernels,
        part: Range<usize>,
        batch: &dyn BatchView,
        gathered: &[f32],
        d_parameters: &mut [f32],
        scratch: &mut [f32],
    ) {
        let units = self.units;
        let inputs = part.start / units..(part.end / units).min(self.inputs);
        let (d_kernel, d_bias) = d_parameters.split_at_mut(inputs.len() * units);
        let samples: usize = (0..batch.shards()).map(|i| batch.shard(i).samples).sum();
        let (d_output, packed) = gathered.split_at(samples * units);
        match self.is_narrow() {
            true => self.narrow_gradient(kernels, inputs, batch, d_output, d_kernel, scratch),
            false => self.wide_gradient(kernels, inputs, batch, samples, packed, d_kernel, scratch),
        }
        if !d_bias.is_empty() {
            kernels.column_sums(samples, units, d_output, d_bias);
        }
    }

    /// The shards' parts of x where they have some of the block's inputs, shard by shard.
    fn block_parts<'a>(
        &'a self,
        batch: &'a dyn BatchView,
        block: &'a Range<usize>,
    ) -> impl Iterator<Item = BlockPart<'a>> {
        let mut before = 0;
        (0..batch.shards()).flat_map(move |i| {
            let shard = batch.shard(i);
            let first = before;
            before += shard.samples;
            shard
                .inputs
                .into_iter()
                .zip(self.parts())
                .filter_map(move |(x, part)| {
                    let (from, end) = (block.start.max(part.start), block.end.min(part.end));
                    (from < end).then(|| BlockPart {
                        before: first,
                        samples: shard.samples,
                        x: &x[from - part.start..],
                        stride: part.len(),
                        inputs: from - block.start..end - block.start,
                    })
                })
        })
    }

    fn wide_gradient(
        &self,
        kernels: &'static Kernels,
        inputs: Range<usize>,
        batch: &dyn BatchView,
        samples: usize,
        packed: &[f32],
        d_kernel: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (units, width) = (self.units, inputs.len());
        let stride = sample_stride(width);
        for part in self.block_parts(batch, &inputs) {
            let to = &mut scratch[part.before * stride + part.inputs.start..];
            for (x, to) in part
                .x
                .chunks(part.stride)
                .zip(to.chunks_mut(stride))
                .take(part.samples)
            {
                to[..part.inputs.len()].copy_from_slice(&x[..part.inputs.len()]);
            }
        }
        let (x, scratch) = scratch.split_at_mut(samples * stride);
        kernels.product(
            self.products,
            true,
            (width, 0..units, samples),
            transposed(x, stride),
            false,
            packed,
            d_kernel,
            units,
            false,
            None,
            Activation::Linear,
            scratch,
        );
    }

    fn narrow_gradient(
        &self,
        kernels: &'static Kernels,
        inputs: Range<usize>,
        batch: &dyn BatchView,
        d_output: &[f32],
        d_kernel: &mut [f32],
        scratch: &mut [f32],
    ) {
        let (units, width) = (self.units, inputs.len());
        if width == 0 {
            return;
        }
        let (sums, scratch) = scratch.split_at_mut((units * width).next_multiple_of(16));
        for part in self.block_parts(batch, &inputs) {
            kernels.gemm(
                units,
                part.inputs.len(),
                part.samples,
                transposed(&d_output[part.before * units..], units),
                rows(part.x, part.stride),
                &mut sums[part.inputs.start..],
                width,
                part.before > 0,
                scratch,
            );
        }
        for (input, d_kernel) in d_kernel.chunks_exact_mut(units).enumerate() {
            for (d, sums) in d_kernel.iter_mut().zip(sums.chunks_exact(width)) {
                *d = sums[input];
            }
        }
    }

    /// f32 values that `gather_gradients` writes, and of scratch for a block.
    pub(super) fn whole_batch_needs(&self, samples: usize, lanes: usize) -> (usize, usize) {
        let (rows, units, products) = (self.block_rows(), self.units, self.products);
        let d_output = samples * units;
        if self.is_narrow() {
            let gemm = gemm_scratch_len(units, rows, samples, lanes);
            return (d_output, (units * rows).next_multiple_of(16) + gemm);
        }
        (
            d_output + products.packed_len(samples, units, lanes),
            samples * sample_stride(rows) + products.scratch_len(rows, units, samples, lanes),
        )
    }
}
