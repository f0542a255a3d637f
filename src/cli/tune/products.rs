//! The products of one layer by each algorithm: whole training steps of its model on all threads, as dense layers share their
//! weights over the shards.

use super::{TURNS, turn};
use crate::error::Result;
use crate::exec::{Executor, SliceBatch, thread_pool};
use crate::models::{Model, Size};
use crate::random::Random;
use sonograd_kernels::{Compute, GemmAlgorithm};
use std::collections::BTreeMap;
use std::time::Instant;

/// Samples of a step.
const SAMPLES: usize = 128;

/// Seconds a sample by each candidate for the layer of these `sizes`, the least of many steps, in turns.
///
/// # Errors
/// As [`Executor::new`] and [`Executor::loss_and_gradients`].
pub(super) fn times(
    model: Model,
    size: Size,
    sizes: &str,
    compute: &Compute,
    candidates: &[GemmAlgorithm],
    seconds: f64,
) -> Result<BTreeMap<GemmAlgorithm, f64>> {
    let pool = thread_pool(0)?;
    let mut ways = Vec::new();
    for &algorithm in candidates {
        let mut compute = compute.clone();
        compute.tuned.products.insert(sizes.into(), algorithm);
        let plan = model.compile(size)?;
        let mut executor = Executor::new(plan, SAMPLES, pool.clone(), compute)?;
        executor.initialize(0);
        ways.push((algorithm, executor, f64::INFINITY));
    }
    let mut random = Random::new(&[4]);
    let len = ways
        .first()
        .map_or(0, |(_, executor, _)| executor.plan().input_shape().len());
    let inputs: Vec<_> = (0..SAMPLES * len).map(|_| random.normal() as f32).collect();
    let mut targets = vec![0.0; SAMPLES * size.classes];
    for row in targets.chunks_mut(size.classes) {
        row[random.below(size.classes)] = 1.0;
    }
    let batch = SliceBatch {
        inputs: &inputs,
        targets: &targets,
        samples: SAMPLES,
    };
    for _ in 0..TURNS {
        for (_, executor, best) in &mut ways {
            let begin = Instant::now();
            for repeat in 0.. {
                if repeat > 1 && begin.elapsed() > turn(seconds) {
                    break;
                }
                let start = Instant::now();
                executor.loss_and_gradients(&batch)?;
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
    }
    let times = ways.iter();
    Ok(times
        .map(|&(algorithm, _, best)| (algorithm, best / SAMPLES as f64))
        .collect())
}
