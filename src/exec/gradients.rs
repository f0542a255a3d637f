//! The gradients of a step: the shards' partial ones added up, whole-batch ones computed, block by block. Where an optimiser takes them as
//! they are, it updates a block's weights while the block is in cache.

use super::Executor;
use super::view::StepView;
use crate::optim::Optimizer;
use rayon::prelude::*;
use sonograd_kernels::Kernels;
use std::ops::Range;
use std::sync::PoisonError;

/// Elements of the flat slices that one task adds up: 32 kB, a share of a first-level cache.
const CHUNK: usize = 8192;

impl Executor {
    /// Adds the shards' partial gradients in order, and computes the whole-batch ones in blocks. With an optimiser the weights are updated, by
    /// gradients that are not clipped.
    pub(super) fn set_gradients(&mut self, mut optimizer: Option<&mut Optimizer>) {
        let (kernels, plan, shards) = (self.kernels, &self.plan, &self.shards);
        if let Some(optimizer) = &mut optimizer {
            optimizer.begin();
        }
        let mut blocks = Blocks {
            kernels,
            optimizer,
            weights: &mut self.weights.trainable,
            gradients: &mut self.gradients,
        };
        blocks.each(0..plan.partial_len, CHUNK, |part, sum| {
            for (j, shard) in shards.iter().filter(|shard| shard.samples > 0).enumerate() {
                match j {
                    0 => sum.copy_from_slice(&shard.gradients[part.clone()]),
                    _ => kernels.add_assign(sum, &shard.gradients[part.clone()]),
                }
            }
        });
        let mut first = plan.partial_len;
        for (i, step) in plan.steps.iter().enumerate() {
            let needs = step.op.needs(self.shard_samples, kernels.lanes());
            let block = needs.gradient_block;
            if block == 0 {
                continue;
            }
            let range = first..first + step.trainable.len();
            first = range.end;
            let view = StepView {
                plan,
                shards,
                step: i,
            };
            step.op.gather(kernels, &view, &mut self.gathered);
            let (gathered, scratch) = (&self.gathered, &self.block_scratch);
            blocks.each(range, block, |part, gradient| {
                let scratch = scratch[part.start / block].lock();
                let mut scratch = scratch.unwrap_or_else(PoisonError::into_inner);
                step.op
                    .batch_gradient(kernels, part, &view, gathered, gradient, &mut scratch);
            });
        }
    }
}

/// What the gradients are written to, and who reads them.
struct Blocks<'a> {
    kernels: &'static Kernels,
    optimizer: Option<&'a mut Optimizer>,
    weights: &'a mut [f32],
    gradients: &'a mut [f32],
}

impl Blocks<'_> {
    /// Calls `set` for each block of `range`, with its place in the range, and updates its weights.
    fn each<F>(&mut self, range: Range<usize>, block: usize, set: F)
    where
        F: Fn(Range<usize>, &mut [f32]) + Sync + Send,
    {
        let (weights, gradients) = (&mut *self.weights, &mut *self.gradients);
        match &mut self.optimizer {
            Some(optimizer) => {
                optimizer.update(self.kernels, weights, gradients, range, block, set);
            }
            None => gradients[range]
                .par_chunks_mut(block)
                .with_max_len(1)
                .enumerate()
                .for_each(|(i, gradient)| set(i * block..i * block + gradient.len(), gradient)),
        }
    }
}
