//! `sonograd bench`: how long a training step and a prediction take on this machine.

use super::common::{ThreadArguments, compute, isa_or, precision};
use super::output::Output;
use crate::error::{Error, Result};
use crate::exec::{Executor, SliceBatch};
use crate::machine;
use crate::models::{Model, Size};
use crate::optim::Optimizer;
use crate::random::Random;
use clap::Args;
use serde::Serialize;
use sonograd_kernels::{Compute, Kernels};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time training steps and predictions of the models on this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sonograd bench
  sonograd bench parallel efficient --batch-size 128 --threads 2 --json

Batches of random numbers in turn, more than the caches hold. Times are wall clock, in milliseconds.")]
pub(super) struct Bench {
    /// The models; none: all of them
    models: Vec<String>,

    /// Segments a step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,

    /// Multiplies the models' filters and units
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    width: f64,

    /// portable, avx2, avx512 [default: the best that this CPU has]
    #[arg(long)]
    isa: Option<String>,

    /// f32, fast, bf16: see `sonograd train --help`
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: String,

    /// Seconds a measurement
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,

    #[command(flatten)]
    threads: ThreadArguments,

    /// One JSON object a model on standard output
    #[arg(long)]
    json: bool,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Times {
    pub(super) min: f64,
    median: f64,
}

/// The figures of one model.
#[derive(Debug, Serialize)]
struct Figures {
    model: &'static str,
    precision: &'static str,
    isa: String,
    threads: usize,
    batch_size: usize,
    train_step_ms: Times,
    predict_batch_ms: Times,
    predict_one_ms: Times,
    /// What one core's matrix product reaches, all of it in the first-level cache.
    peak_gflops: f64,
    /// Floating-point operations of a step if every gradient were computed densely: forward, and twice as many back,
    /// less the input's gradient of the first layer.
    train_gflop: f64,
}

/// Batches in turn: 8 of 128 segments are 26 MB.
const BATCHES: usize = 8;

impl Bench {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let output = Output { json: self.json };
        if !(self.seconds > 0.0 && self.seconds <= 3600.0) {
            return Err(Error::Usage(format!(
                "--seconds {}: it is above 0 and at most 3600",
                self.seconds
            )));
        }
        let models = Model::chosen(&self.models)?;
        let isa = isa_or(self.isa.as_deref())?;
        let compute = compute(isa, precision(&self.precision)?)?;
        let pool = self.threads.pool()?;
        let peak_gflops = Kernels::of(isa).map_or(f64::NAN, machine::peak_gflops);
        for model in models {
            let figures = self.measure(model, &compute, &pool, peak_gflops)?;
            output.object(&figures)?;
            let Figures {
                train_step_ms: train,
                predict_batch_ms: batch,
                predict_one_ms: one,
                ..
            } = &figures;
            output.text(format!(
                "{model:10} train step {:.2} ms (median {:.2}), prediction of {} {:.2} ms ({:.2}), of one {:.3} ms ({:.3})",
                train.min, train.median, self.batch_size, batch.min, batch.median, one.min, one.median
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn measure(
        &self,
        model: Model,
        compute: &Compute,
        pool: &Arc<rayon::ThreadPool>,
        peak_gflops: f64,
    ) -> Result<Figures> {
        let size = Size {
            classes: model.classes(),
            width: self.width,
            dropout: true,
        };
        let plan = model.compile(size)?;
        let train_gflop = plan.dense_flops() * f64::from(self.batch_size) / 1e9;
        let (rule, learning_rate) = model.optimizer();
        let mut optimizer = Optimizer::new(rule, learning_rate, plan.trainable_len());
        let (len, samples) = (plan.input_shape().len(), self.batch_size as usize);
        let mut random = Random::new(&[1]);
        let batches: Vec<(Vec<f32>, Vec<f32>)> = (0..BATCHES)
            .map(|_| {
                let inputs = (0..samples * len).map(|_| random.normal() as f32).collect();
                let mut targets = vec![0.0; samples * size.classes];
                targets
                    .chunks_mut(size.classes)
                    .for_each(|row| row[random.below(size.classes)] = 1.0);
                (inputs, targets)
            })
            .collect();
        let mut executor = Executor::new(plan, samples, Arc::clone(pool), compute.clone())?;
        executor.initialize(0);
        let mut probabilities = vec![0.0; samples * size.classes];
        let mut turn = (0..BATCHES).cycle();
        let mut next = || &batches[turn.next().unwrap_or(0)];
        pool.install(|| {
            let train_step_ms = times(self.seconds, &mut || {
                let (inputs, targets) = next();
                executor
                    .train_step(
                        &SliceBatch {
                            inputs,
                            targets,
                            samples,
                        },
                        &mut optimizer,
                    )
                    .map(|_| ())
            })?;
            let predict_batch_ms = times(self.seconds, &mut || {
                let (inputs, targets) = next();
                executor.predict(
                    &SliceBatch {
                        inputs,
                        targets,
                        samples,
                    },
                    &mut probabilities,
                )
            })?;
            let predict_one_ms = predict_one(model, size, compute, pool, self.seconds)?;
            Ok(Figures {
                model: model.name(),
                precision: compute.precision.name(),
                isa: compute.isa.to_string(),
                threads: pool.current_num_threads(),
                batch_size: samples,
                train_step_ms,
                predict_batch_ms,
                predict_one_ms,
                peak_gflops,
                train_gflop,
            })
        })
    }
}

/// Times the prediction for one segment of random numbers, eight in turn.
pub(super) fn predict_one(
    model: Model,
    size: Size,
    compute: &Compute,
    pool: &Arc<rayon::ThreadPool>,
    seconds: f64,
) -> Result<Times> {
    let plan = model.compile(size)?;
    let mut random = Random::new(&[2]);
    let len = plan.input_shape().len();
    let inputs: Vec<f32> = (0..BATCHES * len).map(|_| random.normal() as f32).collect();
    let mut executor = Executor::new(plan, 1, Arc::clone(pool), compute.clone())?;
    executor.initialize(0);
    let mut probabilities = vec![0.0; size.classes];
    let mut turn = inputs.chunks_exact(len).cycle();
    pool.install(|| {
        times(seconds, &mut || {
            let batch = SliceBatch {
                inputs: turn.next().unwrap_or_default(),
                targets: &[],
                samples: 1,
            };
            executor.predict(&batch, &mut probabilities)
        })
    })
}

/// Repeats `work` for so many seconds after a warm-up of a tenth of it.
fn times(seconds: f64, work: &mut dyn FnMut() -> Result<()>) -> Result<Times> {
    let warm_up = Instant::now();
    while warm_up.elapsed() < Duration::from_secs_f64(seconds / 10.0) {
        work()?;
    }
    let mut milliseconds = Vec::new();
    let begin = Instant::now();
    while milliseconds.len() < 5 || begin.elapsed() < Duration::from_secs_f64(seconds) {
        let start = Instant::now();
        work()?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds.sort_by(f64::total_cmp);
    Ok(Times {
        min: milliseconds[0],
        median: milliseconds[milliseconds.len() / 2],
    })
}
