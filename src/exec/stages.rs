//! The order in which a shard does a training step, cut where sums over the whole batch are needed.

use super::SHARD_SAMPLES;
use crate::graph::Plan;
use crate::graph::plan::Step;
use crate::op::Needs;
use std::mem::take;

/// Bytes of a value that a stage passes from one operation to the next: a share of a second-level cache.
pub(crate) const PART_BYTES: usize = 1 << 20;

/// One thing that a shard does in a stage; the number is the step's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Forward(usize),
    ForwardSums(usize),
    Loss(usize),
    Backward(usize),
    BackwardSums(usize),
}

/// What every shard does between two barriers; the last action's sums, if it makes any, are combined at the barrier.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) actions: Vec<Action>,
    /// Samples of a shard that go through all actions at once.
    pub(super) part: usize,
}

impl Stage {
    /// With parts of as many samples as keep what one action passes to the next inside [`PART_BYTES`]: each part costs a
    /// gradient of the weights that is added to the others.
    fn new(plan: &Plan, actions: Vec<Action>) -> Self {
        let passing = actions.split_last().map_or(&[][..], |(_, passing)| passing);
        let written = |&action: &Action| {
            let step = |i: usize| &plan.steps[i];
            let values = match action {
                Action::Forward(i) => std::slice::from_ref(&step(i).output),
                Action::ForwardSums(_) => &[],
                Action::Loss(i) | Action::Backward(i) | Action::BackwardSums(i) => &step(i).inputs,
            };
            values.iter().map(|&value| plan.value_lens[value])
        };
        let largest = passing.iter().flat_map(written).max().unwrap_or(0).max(1);
        Self {
            actions,
            part: (PART_BYTES / (largest * size_of::<f32>())).clamp(1, SHARD_SAMPLES),
        }
    }
}

/// A prediction has no barrier.
pub(super) fn predict_stages(plan: &Plan) -> Vec<Stage> {
    let actions = (0..plan.steps.len()).map(Action::Forward).collect();
    vec![Stage::new(plan, actions)]
}

/// For each step the batch normalisation behind it that its backward takes along: the one that alone reads its output.
pub(super) fn norms_behind(plan: &Plan, needs: &[Needs]) -> Vec<Option<usize>> {
    let behind = |(step, needs_of_step): (&Step, &Needs)| {
        let mut readers = (0..needs.len()).filter(|&j| plan.steps[j].inputs.contains(&step.output));
        let alone = readers.next().filter(|_| readers.next().is_none());
        alone.filter(|&j| needs_of_step.takes_norm && needs[j].norm_gradient > 0)
    };
    plan.steps.iter().zip(needs).map(behind).collect()
}

/// The stages of a training step: forward, the loss at the head, backward in reverse, without that of the normalisations that the
/// steps before them take along.
pub(super) fn train_stages(plan: &Plan, needs: &[Needs], norms: &[Option<usize>]) -> Vec<Stage> {
    let (mut stages, mut actions) = (Vec::new(), Vec::new());
    let mut push = |action: Action, barrier: bool| {
        actions.push(action);
        if barrier {
            stages.push(Stage::new(plan, take(&mut actions)));
        }
    };
    // A softmax inside a model is an operation like others: the last one alone is trained against targets.
    let Some((_, inner)) = plan.steps.split_last() else {
        return stages;
    };
    for i in 0..=inner.len() {
        if needs[i].forward_sums > 0 {
            push(Action::ForwardSums(i), true);
        }
        let head = i == inner.len();
        push(
            if head {
                Action::Loss(i)
            } else {
                Action::Forward(i)
            },
            false,
        );
    }
    for (i, step) in inner.iter().enumerate().rev() {
        if !step.has_backward {
            continue;
        }
        if needs[i].backward_sums > 0 {
            push(Action::BackwardSums(i), true);
        }
        if !norms.contains(&Some(i)) {
            push(Action::Backward(i), false);
        }
    }
    if !actions.is_empty() {
        stages.push(Stage::new(plan, actions));
    }
    stages
}
