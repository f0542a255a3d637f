//! What both peers share: the requests of `../../protocol.py` answered in Rust, and how a figure is taken.

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use serde_json::{Value, json};

/// Samples of `train_step` and `predict_batch`.
pub const BATCH: usize = 128;
/// Different batches used in turn, each its own buffer, so that no step finds its input in a cache.
pub const BUFFERS: usize = 8;
/// What can be timed, in the protocol's words.
pub const WHATS: [&str; 3] = ["train_step", "predict_batch", "predict_one"];

pub type Fallible<T> = Result<T, Box<dyn Error>>;

/// One of the five models.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub name: &'static str,
    /// Shape of one sample, channels first: (mel, time) where mels are the channels, (time, mel) for the images.
    pub shape: [usize; 2],
    pub classes: usize,
    /// Weights, moving statistics among them.
    pub parameters: usize,
    pub optimizer: Optimizer,
}

/// The published optimisers. Neither framework has `window`'s Adadelta: Adam stands in, which keeps as many
/// accumulators a weight and computes about as much.
#[derive(Clone, Copy, Debug)]
pub enum Optimizer {
    Sgd(f64),
    Adam(f64),
}

/// Keras' epsilon, as in the other peers.
pub const ADAM_EPSILON: f64 = 1e-7;

const fn model(
    name: &'static str,
    shape: [usize; 2],
    classes: usize,
    parameters: usize,
    optimizer: Optimizer,
) -> Model {
    Model {
        name,
        shape,
        classes,
        parameters,
        optimizer,
    }
}

pub const MODELS: [Model; 5] = [
    model("parallel", [80, 80], 8, 61_071, Optimizer::Sgd(5e-3)),
    model("cnn-rnn", [80, 80], 8, 100_654, Optimizer::Sgd(1e-1)),
    model("efficient", [80, 80], 8, 97_896, Optimizer::Adam(1e-3)),
    model("accurate", [80, 80], 8, 320_936, Optimizer::Adam(1e-3)),
    model("window", [128, 5], 10, 1_650_442, Optimizer::Adam(1e-3)),
];

/// A random batch: inputs in rows of the model's shape, one class a row.
pub struct Batch {
    pub inputs: Vec<f32>,
    pub classes: Vec<u32>,
}

/// `BUFFERS` batches of `rows` samples.
pub fn problem(model: Model, rows: usize) -> Vec<Batch> {
    let mut random = StdRng::seed_from_u64(0);
    let values = rows * model.shape.iter().product::<usize>();
    (0..BUFFERS)
        .map(|_| Batch {
            inputs: (&mut random)
                .sample_iter(StandardNormal)
                .take(values)
                .collect(),
            classes: (0..rows)
                .map(|_| random.random_range(0..model.classes as u32))
                .collect(),
        })
        .collect()
}

/// Rows of a batch of `what`.
pub fn rows_of(what: &str) -> usize {
    if what == "predict_one" { 1 } else { BATCH }
}

/// The loss, or the answers row by row, of one step or prediction on buffer `i % BUFFERS`.
pub type Run = Box<dyn FnMut(usize) -> Fallible<Vec<f32>>>;

/// A framework that can be asked.
pub struct Peer {
    pub name: &'static str,
    pub version: String,
    pub threads: usize,
    pub modes: &'static [&'static str],
    pub prepare: fn(Model, mode: &str, what: &str) -> Fallible<Run>,
}

impl Peer {
    /// The `(model, mode, what)` on offer.
    pub fn measures(&self) -> Vec<(Model, &'static str, &'static str)> {
        let mut found = Vec::new();
        for model in MODELS {
            for &mode in self.modes {
                found.extend(WHATS.map(|what| (model, mode, what)));
            }
        }
        found
    }

    /// Builds a run. A framework that panics has failed like one that says so.
    pub fn prepare(&self, model: Model, mode: &str, what: &str) -> Fallible<Run> {
        caught(|| (self.prepare)(model, mode, what))
    }

    /// Answers the requests on standard input, one JSON object a line, until it ends.
    pub fn serve(&self) -> Fallible<()> {
        let mut ready = HashMap::new();
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            if !line.trim().is_empty() {
                self.tell(&serde_json::from_str(&line)?, &mut ready)?;
            }
        }
        Ok(())
    }

    /// Answers one request with one line on standard output.
    pub fn tell(&self, request: &Value, ready: &mut HashMap<String, Run>) -> Fallible<()> {
        let mut answer = match self.answer(request, ready) {
            Ok(answer) => answer,
            // One measure that fails must not end the others' run.
            Err(error) => {
                let mut answer = request.clone();
                let text: String = error.to_string().chars().take(500).collect();
                answer["error"] = text.into();
                answer
            }
        };
        answer["peer"] = self.name.into();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        Ok(out.flush()?)
    }

    fn answer(&self, request: &Value, ready: &mut HashMap<String, Run>) -> Fallible<Value> {
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        if text("what") == "describe" {
            let measures: Vec<_> = self
                .measures()
                .iter()
                .map(|(model, mode, what)| json!([model.name, mode, what]))
                .collect();
            return Ok(
                json!({"version": self.version, "threads": self.threads, "measures": measures}),
            );
        }
        let wanted = (text("model"), text("mode"), text("what"));
        let key = format!("{} {} {}", wanted.0, wanted.1, wanted.2);
        let (model, mode, what) = self
            .measures()
            .into_iter()
            .find(|(model, mode, what)| (model.name, *mode, *what) == wanted)
            .ok_or_else(|| format!("{} offers no {key}", self.name))?;
        let mut run = match ready.remove(&key) {
            Some(run) => run,
            None => self.prepare(model, mode, what)?,
        };
        let seconds = request["seconds"].as_f64().unwrap_or(1.0);
        let mut figures = caught(|| measure(&mut run, seconds))?;
        // What was built for one request stays for the next of its kind.
        ready.insert(key, run);
        figures["model"] = model.name.into();
        figures["mode"] = mode.into();
        figures["what"] = what.into();
        Ok(figures)
    }
}

/// Calls `run`, a panic made into an error.
pub fn caught<T>(run: impl FnOnce() -> Fallible<T>) -> Fallible<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic");
        Err(format!("panicked: {text}").into())
    })
}

/// Milliseconds of `run(i)`, i = 0, 1, ...: three calls untimed, then for `seconds`, 3 at least.
fn measure(run: &mut Run, seconds: f64) -> Fallible<Value> {
    for i in 0..3 {
        run(i)?;
    }
    let end = Instant::now() + Duration::try_from_secs_f64(seconds)?;
    let mut times = Vec::new();
    let mut last = Vec::new();
    while times.len() < 3 || Instant::now() < end {
        let start = Instant::now();
        last = black_box(run(3 + times.len())?);
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    if last.iter().any(|value| !value.is_finite()) {
        return Err("the last result is not finite: the time means nothing".into());
    }
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    let median = if times.len() % 2 == 1 {
        times[middle]
    } else {
        (times[middle - 1] + times[middle]) / 2.0
    };
    let rounded = |ms: f64| (ms * 1e4).round() / 1e4;
    Ok(json!({"min_ms": rounded(times[0]), "median_ms": rounded(median), "runs": times.len()}))
}
