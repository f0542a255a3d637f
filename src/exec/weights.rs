//! The weights of a model, flat, and in the layouts that the kernels read.

use crate::graph::Plan;
use rayon::prelude::*;
use sonograd_kernels::{AlignedVec, Kernels};

/// The weights of a model and what the kernels made of them.
pub(super) struct Weights {
    pub(super) trainable: AlignedVec,
    pub(super) state: AlignedVec,
    pub(super) packed: Vec<AlignedVec>,
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
            .with_max_len(1)
            .for_each(|(step, packed)| {
                let parameters = &trainable[step.trainable.clone()];
                step.op.pack(kernels, parameters, packed);
                if !training {
                    let state = &state[step.state.clone()];
                    step.op.fold(kernels, parameters, state, None, packed);
                }
            });
    }
}

/// All weights of a model at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) trainable: AlignedVec,
    pub(super) state: AlignedVec,
}
