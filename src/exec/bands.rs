//! A prediction of one sample by several threads: wide convolutions are cut into bands of rows, wide dense layers of columns.

use super::shard::Shard;
use super::{Batch, Shared};
use crate::graph::Plan;
use crate::op::{Band, Forward, RandomKey};
use rayon::prelude::*;
use sonograd_kernels::AlignedVec;
use std::mem::take;

/// Each step's bands; none for a step that one thread does.
pub(super) struct Bands(Vec<Vec<Worker>>);

/// A band and its thread's scratch.
struct Worker {
    band: Band,
    scratch: AlignedVec,
}

impl Bands {
    pub(super) fn new(plan: &Plan, threads: usize, lanes: usize) -> Self {
        let workers = |band: Band| {
            let scratch = AlignedVec::zeros(band.op.needs(1, lanes).scratch);
            Worker { band, scratch }
        };
        let bands = plan.steps.iter().map(|step| step.op.bands(threads));
        Self(
            bands
                .map(|bands| bands.into_iter().map(workers).collect())
                .collect(),
        )
    }

    /// Predicts a shard's one sample.
    pub(super) fn predict(&mut self, shared: &Shared<'_>, shard: &mut Shard, batch: &dyn Batch) {
        shard.begin(shared, batch);
        for (i, workers) in self.0.iter_mut().enumerate() {
            if workers.is_empty() {
                shard.predict_step(shared, i);
            } else {
                by_bands(shared, shard, i, workers);
            }
        }
    }
}

/// One step of one sample, a band a thread.
fn by_bands(shared: &Shared<'_>, shard: &mut Shard, i: usize, workers: &mut [Worker]) {
    let (plan, slots) = (shared.plan, shared.slots());
    let step = &plan.steps[i];
    let Some(longest) = workers.first().map(|worker| worker.band.output.len()) else {
        return;
    };
    let mut output = take(&mut shard.slots[slots.values[step.output]]);
    let input = &shard.slots[slots.values[step.inputs[0]]];
    output[..plan.value_lens[step.output]]
        .par_chunks_mut(longest)
        .zip(workers)
        .with_max_len(1)
        .for_each(|(output, Worker { band, scratch })| {
            band.op.forward(&mut Forward {
                kernels: shared.kernels,
                samples: 1,
                slice: 0,
                training: false,
                inputs: &[&input[band.input.clone()]],
                parameters: &shared.weights.trainable[step.trainable.clone()],
                state: &shared.weights.state[step.state.clone()],
                packed: &shared.weights.packed[i],
                sums: &shared.sums.forward[i],
                output,
                codes: &mut [],
                workspace: &mut [],
                scratch,
                random: RandomKey::default(),
            });
        });
    shard.slots[slots.values[step.output]] = output;
}
