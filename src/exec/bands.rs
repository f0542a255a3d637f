//! A prediction of one sample by several threads: wide convolutions are cut into bands of rows, wide dense layers
//! of columns, LSTMs of units.

use super::Shared;
use super::rounds::{Apart, Rounds};
use super::shard::Shard;
use crate::graph::Plan;
use crate::op::{Band, Forward, MAX_INPUTS, RandomKey};
use rayon::prelude::*;
use sonograd_kernels::AlignedVec;
use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering};

/// How each step is computed.
pub(super) struct Bands(Vec<Cut>);

enum Cut {
    /// By one thread.
    Whole,
    /// A band a thread.
    Bands(Vec<Worker>),
    /// The same in rounds.
    Rounds(Rounds),
}

impl Cut {
    /// Threads that it can keep busy.
    fn bands(&self) -> usize {
        match self {
            Self::Whole => 1,
            Self::Bands(workers) => workers.len(),
            Self::Rounds(rounds) => rounds.bands(),
        }
    }
}

/// A band and its thread's scratch.
pub(super) struct Worker {
    pub(super) band: Band,
    scratch: AlignedVec,
}

impl Bands {
    pub(super) fn new(plan: &Plan, threads: usize, lanes: usize) -> Self {
        let worker = |band: Band| {
            let scratch = AlignedVec::zeros(band.op.needs(1, lanes).scratch);
            Worker { band, scratch }
        };
        let steps = plan.steps.iter().map(|step| {
            let bands = step.op.bands(threads).into_iter();
            let workers: Vec<_> = bands.map(worker).collect();
            match (workers.len(), step.op.rounds()) {
                (0, _) => Cut::Whole,
                (_, 1) => Cut::Bands(workers),
                (_, rounds) => Cut::Rounds(Rounds::new(
                    workers,
                    rounds,
                    plan.value_lens[step.output] / rounds,
                )),
            }
        });
        Self(steps.collect())
    }

    /// Predicts a shard's one sample.
    pub(super) fn predict(&mut self, shared: &Shared<'_>, shard: &mut Shard) {
        let this = rayon::current_thread_index();
        let most = self.0.iter().map(Cut::bands).max().unwrap_or(0);
        let helped = Helped::take();
        let helpers = match helped {
            Some(_) => most.saturating_sub(1),
            None => 0,
        };
        let predicted = &Apart(AtomicBool::new(false));
        rayon::scope(|scope| {
            let _end = Raised(predicted);
            for _ in 0..helpers {
                scope.spawn(move |_| wait_awake(this, predicted));
            }
            shard.begin(shared);
            for (i, cut) in self.0.iter_mut().enumerate() {
                match cut {
                    Cut::Whole => shard.predict_step(shared, i),
                    _ => by_bands(shared, shard, i, cut),
                }
            }
        });
    }
}

/// Looks for work until the flag is raised. A step's bands take microseconds, and a thread of the pool that has found nothing for
/// as long goes to sleep, from which it takes as long again to wake it. The thread that predicts, `this`, does not wait for itself.
fn wait_awake(this: Option<usize>, end: &Apart<AtomicBool>) {
    let mut idle = 0_u32;
    while rayon::current_thread_index() != this && !end.0.load(Ordering::Acquire) {
        idle = match rayon::yield_now() {
            Some(rayon::Yield::Executed) => 0,
            _ => idle.wrapping_add(1),
        };
        std::hint::spin_loop();
        // Of more threads than cores one may stand in the way of the one that predicts.
        if idle % 64 == 63 {
            std::thread::yield_now();
        }
    }
}

/// Raises a flag when it goes, also where a kernel panics.
struct Raised<'a>(&'a Apart<AtomicBool>);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

/// The right to keep threads awake, which one prediction of the process has at a time: of two on one pool each could have to wait for
/// its end on the thread that the other one predicts on.
struct Helped;

static HELPED: AtomicBool = AtomicBool::new(false);

impl Helped {
    fn take() -> Option<Self> {
        (!HELPED.swap(true, Ordering::Acquire)).then_some(Self)
    }
}

impl Drop for Helped {
    fn drop(&mut self) {
        HELPED.store(false, Ordering::Release);
    }
}

/// One step of one sample, a band a thread.
fn by_bands(shared: &Shared<'_>, shard: &mut Shard, i: usize, cut: &mut Cut) {
    let (plan, slots) = (shared.plan, shared.slots());
    let step = &plan.steps[i];
    let mut output = take(&mut shard.slots[slots.values[step.output]]);
    let mut inputs: [&[f32]; MAX_INPUTS + 1] = [&[]; MAX_INPUTS + 1];
    for (input, &value) in inputs.iter_mut().zip(&step.inputs) {
        *input = shard.value(shared, value);
    }
    let forward = |worker: &mut Worker, round: usize, before: &[f32], output: &mut [f32]| {
        let Worker { band, scratch } = worker;
        let mut inputs = inputs;
        inputs[0] = &inputs[0][band.input.clone()];
        inputs[step.inputs.len()] = before;
        band.op.forward(&mut Forward {
            kernels: shared.kernels,
            samples: 1,
            slice: round,
            training: false,
            inputs: &inputs[..=step.inputs.len()],
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
    };
    let len = plan.value_lens[step.output];
    match cut {
        Cut::Whole => {}
        Cut::Bands(workers) => {
            let longest = workers.first().map_or(1, |worker| worker.band.output.len());
            let bands = output[..len].par_chunks_mut(longest).zip(workers);
            bands
                .with_max_len(1)
                .for_each(|(output, worker)| forward(worker, 0, &[], output));
        }
        Cut::Rounds(rounds) => rounds.run(forward, &mut output[..len]),
    }
    shard.slots[slots.values[step.output]] = output;
}
