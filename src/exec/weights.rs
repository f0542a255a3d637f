//! The weights of a model, flat, and in the layouts that the kernels read.

use crate::graph::Plan;
use crate::op::Op;
use rayon::prelude::*;
use sonograd_kernels::{AlignedVec, Kernels};

/// The weights of a model and what the kernels made of them.
pub(super) struct Weights {
    pub(super) trainable: AlignedVec,
    pub(super) state: AlignedVec,
    pub(super) packed: Vec<AlignedVec>,
    /// Each step's parts of its packed ones.
    pub(super) packed_lens: Vec<Vec<usize>>,
    /// True where the packed ones are not of these weights, for a prediction.
    pub(super) stale: bool,
}

impl Weights {
    pub(super) fn slice_mut(
        &mut self,
        trainable: bool,
        range: std::ops::Range<usize>,
    ) -> &mut [f32] {
        if trainable {
            &mut self.trainable[range]
        } else {
            &mut self.state[range]
        }
    }

    /// Lays the weights out for the kernels, where they changed since. Training folds its batches' statistics into them
    /// later and moves the state: they are stale after it.
    pub(super) fn pack(&mut self, plan: &Plan, kernels: &'static Kernels, training: bool) {
        if !std::mem::replace(&mut self.stale, training) {
            return;
        }
        let (trainable, state) = (&self.trainable, &self.state);
        plan.steps
            .par_iter()
            .zip(&mut self.packed)
            .zip(&self.packed_lens)
            .with_max_len(1)
            .for_each(|((step, packed), lens)| {
                let parameters = &trainable[step.trainable.clone()];
                pack_parts(&*step.op, kernels, parameters, 0, lens, packed);
                if !training {
                    let state = &state[step.state.clone()];
                    step.op.fold(kernels, parameters, state, None, packed);
                }
            });
    }
}

/// Packs the parts from `first` on, whose lengths are `lens`, on as many threads as are free.
fn pack_parts(
    op: &dyn Op,
    kernels: &'static Kernels,
    parameters: &[f32],
    first: usize,
    lens: &[usize],
    packed: &mut [f32],
) {
    if lens.len() <= 1 {
        return op.pack(kernels, first, parameters, packed);
    }
    let (left, right) = lens.split_at(lens.len() / 2);
    let second = first + left.len();
    let (a, b) = packed.split_at_mut(left.iter().sum());
    rayon::join(
        || pack_parts(op, kernels, parameters, first, left, a),
        || pack_parts(op, kernels, parameters, second, right, b),
    );
}

/// All weights of a model at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) trainable: AlignedVec,
    pub(super) state: AlignedVec,
}
