//! burn and candle as peers: `--peer burn` or `--peer candle`, otherwise the options and the lines of
//! `../../protocol.py`.
//!
//! ```text
//! rust-peers --peer candle --model efficient --what train_step --seconds 2
//! rust-peers --peer burn --check
//! ```
//!
//! `RAYON_NUM_THREADS` tells both how many threads to use.

mod burn_peer;
mod candle_peer;
mod protocol;

use std::collections::HashMap;
use std::process::ExitCode;

use serde_json::json;

use protocol::{BATCH, Fallible, Model, Peer, rows_of};

const USAGE: &str = "usage: rust-peers --peer burn|candle [--model NAME] [--mode NAME] [--what NAME] [--seconds N] [--once] [--check]";

/// What the command line asks for; without any of `model`, `mode`, `what`, `once`, `check` standard input is served.
#[derive(Default)]
struct Options {
    peer: Option<String>,
    model: Option<String>,
    mode: Option<String>,
    what: Option<String>,
    seconds: Option<f64>,
    once: bool,
    check: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Fallible<Self> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--peer" => options.peer = Some(value()?),
                "--model" => options.model = Some(value()?),
                "--mode" => options.mode = Some(value()?),
                "--what" => options.what = Some(value()?),
                "--seconds" => options.seconds = Some(value()?.parse()?),
                "--once" => options.once = true,
                "--check" => options.check = true,
                _ => return Err(format!("no option {name}\n{USAGE}").into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, model: Model, mode: &str, what: &str) -> bool {
        let fits = |wish: &Option<String>, have| wish.as_deref().is_none_or(|wish| wish == have);
        fits(&self.model, model.name) && fits(&self.mode, mode) && fits(&self.what, what)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Fallible<bool> {
    let options = Options::parse(std::env::args().skip(1))?;
    let peer = match options.peer.as_deref() {
        Some("burn") => burn_peer::peer(),
        Some("candle") => candle_peer::peer(),
        _ => return Err(USAGE.into()),
    };
    let all = options.model.is_none() && options.mode.is_none() && options.what.is_none();
    if all && !options.once && !options.check {
        peer.serve()?;
        return Ok(true);
    }
    let mut good = true;
    for (model, mode, what) in peer.measures() {
        if !options.wants(model, mode, what) {
            continue;
        }
        if options.check {
            let name = format!("{} {} {mode} {what}", peer.name, model.name);
            match protocol::caught(|| check(&peer, model, mode, what)) {
                Ok(found) => println!("{name}: {found}"),
                Err(error) => {
                    println!("{name}: FAILS: {error}");
                    good = false;
                }
            }
        } else {
            let seconds = options.seconds.unwrap_or(1.0);
            let request =
                json!({"model": model.name, "mode": mode, "what": what, "seconds": seconds});
            peer.tell(&request, &mut HashMap::new())?;
        }
    }
    Ok(good)
}

/// Steps on one batch until the loss must have fallen: SGD on `cnn-rnn` is the slowest.
const STEPS: usize = 12;

/// Whether training on one batch lowers its loss, from about that of a guess, and whether answers are probabilities.
fn check(peer: &Peer, model: Model, mode: &str, what: &str) -> Fallible<String> {
    let mut run = peer.prepare(model, mode, what)?;
    if what != "train_step" {
        let answers = run(0)?;
        let rows = rows_of(what);
        if answers.len() != rows * model.classes {
            return Err(format!("{} answers for {rows} rows", answers.len()).into());
        }
        let off = answers
            .chunks(model.classes)
            .map(|row| (row.iter().sum::<f32>() - 1.0).abs())
            .fold(0.0, f32::max);
        // `max` passes over NaN; the comparison of a plain sum does not.
        if off >= 1e-5 || !answers.iter().sum::<f32>().is_finite() {
            return Err(format!("a row's probabilities sum to 1 within {off:.1e} alone").into());
        }
        return Ok(format!(
            "{rows} x {} probabilities, {} parameters",
            model.classes, model.parameters
        ));
    }
    let losses = (0..STEPS)
        .map(|_| Ok(run(0)?[0]))
        .collect::<Fallible<Vec<f32>>>()?;
    let first = losses[0];
    // Dropout makes the single loss noisy.
    let last = losses[STEPS - 3..].iter().sum::<f32>() / 3.0;
    let guess = (model.classes as f32).ln();
    if !(first < 3.0 * guess && last < first) {
        return Err(format!("the loss of {BATCH} samples does not fall: {losses:?}").into());
    }
    Ok(format!(
        "loss {first:.4} -> {last:.4} in {STEPS} steps (a guess: {guess:.4}), {} parameters",
        model.parameters
    ))
}
