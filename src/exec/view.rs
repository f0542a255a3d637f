//! What a whole-batch gradient sees of the shards.

use super::shard::Shard;
use crate::graph::Plan;
use crate::op::{BatchView, MAX_INPUTS, ShardView};

/// The shards of one step, for its whole-batch gradient.
pub(super) struct StepView<'a> {
    pub(super) plan: &'a Plan,
    pub(super) shards: &'a [Shard],
    pub(super) step: usize,
}

impl BatchView for StepView<'_> {
    fn shards(&self) -> usize {
        self.shards.iter().filter(|shard| shard.samples > 0).count()
    }

    fn shard(&self, index: usize) -> ShardView<'_> {
        let (shard, step) = (&self.shards[index], &self.plan.steps[self.step]);
        let slots = &self.plan.train;
        let len = |value: usize| self.plan.value_lens[value] * shard.samples;
        let mut inputs: [&[f32]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        for (input, &value) in inputs.iter_mut().zip(&step.inputs) {
            *input = &shard.slots[slots.values[value]][..len(value)];
        }
        ShardView {
            samples: shard.samples,
            inputs,
            d_output: &shard.slots[slots.gradients[step.output]][..len(step.output)],
            workspace: shard.workspace(self.step),
        }
    }
}
