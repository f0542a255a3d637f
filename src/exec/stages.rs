//! The order in which a shard does a training step, cut where sums over the whole batch are needed.

use super::SHARD_SAMPLES;
use crate::graph::Plan;
use crate::graph::plan::Step;
use crate::op::Needs;

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
pub(super) type Stage = Vec<Action>;

/// As many samples as keep a model's largest value inside [`PART_BYTES`].
pub(super) fn part_samples(plan: &Plan) -> usize {
    let largest = plan.value_lens.iter().max().map_or(1, |&len| len.max(1));
    (PART_BYTES / (largest * size_of::<f32>())).clamp(1, SHARD_SAMPLES)
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
    let mut stages = vec![Vec::new()];
    let mut push = |action: Action, barrier: bool| {
        stages
            .last_mut()
            .into_iter()
            .for_each(|stage: &mut Stage| stage.push(action));
        if barrier {
            stages.push(Vec::new());
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
    stages
}
