//! `sonograd train`: a model from songs, with a report of how good it is.

use super::common::{DataArguments, ThreadArguments, describe, isa};
use super::output::{Output, note};
use super::progress::Teller;
use super::recipe::RecipeArguments;
use super::run_folder::{RUN_FILES, Report, make_folder, refuse_used, require_writable};
use crate::error::Result;
use crate::train::problem;
use crate::train::run::run;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Train a model on a folder of songs, or on the built-in synthetic set
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sonograd train parallel
      on the built-in set, with nothing downloaded
  sonograd train parallel --data music --epochs 50 --seed 1
      on your own folder: music/<genre>/<song>.mp3
  sonograd train parallel --data gtzan/genres --split fault-filtered
      on GTZAN with its published fault-filtered split

The run's folder holds model.safetensors, history.csv, run.json and report.html.")]
pub(super) struct Train {
    /// The model; `sonograd models` lists them
    model: String,

    #[command(flatten)]
    data: DataArguments,

    #[command(flatten)]
    recipe: RecipeArguments,

    /// Names everything random: weights, order, split
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    threads: ThreadArguments,

    /// The run's folder; it must not hold a run already [default: runs/MODEL-1, -2, ...]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Also write all that the run trains on (normalised segments, targets, order, first weights) as safetensors, so
    /// that another framework can repeat it: fixtures/train_keras.py reads it
    #[arg(long, value_name = "FILE.safetensors")]
    problem: Option<PathBuf>,

    /// Results as JSON lines on standard output, text on standard error
    #[arg(long)]
    json: bool,
}

impl Train {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let output = Output { json: self.json };
        let compute = self.recipe.compute(isa()?)?;
        let options = self
            .recipe
            .options(self.model.parse()?, self.seed, &compute)?;
        let pool = self.threads.pool()?;
        let source = self.data.source();
        match &self.out {
            Some(out) => {
                refuse_used(out, &RUN_FILES)?;
                require_writable(out)?;
            }
            None => require_writable(Path::new("runs"))?,
        }
        let dataset = self.data.load(&source, options.model.front_end(), &pool)?;
        output.text(describe(&source, &dataset))?;
        if let Some(path) = &self.problem {
            problem::export(&dataset, &options, &pool)?.write(path)?;
            output.text(format!("the problem: {}", path.display()))?;
        }
        let threads = pool.current_num_threads();
        let mut teller = Teller::new(output, "", options.epochs);
        let run = run(
            &dataset,
            (&source).into(),
            &options,
            pool,
            &mut |progress| teller.tell(&progress),
        )?;
        teller.finish()?;

        let folder = make_folder(self.out.as_deref(), options.model.name())?;
        let report = Report {
            options: &options,
            source: &source,
            dataset: &dataset,
            run: &run,
            threads,
        };
        report.write(&folder)?;
        let model = folder.join("model.safetensors");
        if let Some(diverged) = run.fitted.diverged {
            note(format!(
                "the weights of the last whole epoch are in {}",
                model.display()
            ));
            return Err(diverged.into());
        }
        report.print(output, &folder)?;
        output.object(&json!({
            "event": "done",
            "model": model,
            "segment_accuracy": run.evaluation.segment_accuracy,
            "song_accuracy": run.evaluation.song_accuracy,
            "train_seconds": run.fitted.seconds,
            "songs_train": run.split.songs_train,
            "songs_validation": run.split.songs_validation,
        }))?;
        Ok(ExitCode::SUCCESS)
    }
}
