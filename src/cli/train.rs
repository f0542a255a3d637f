//! `sonograd train`: a model from songs, with a report of how good it is.

use super::common::{DataArguments, ThreadArguments, describe, isa, percent, print_accuracies};
use super::output::{Output, note, progress_bar};
use crate::data::{Dataset, Source, SplitKind, check_share};
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::models::{Model, Size};
use crate::report::html::{self, RunReport, Settings};
use crate::train::fit::Progress;
use crate::train::history::Epoch;
use crate::train::problem;
use crate::train::run::{Run, RunOptions, run};
use clap::Args;
use serde::Serialize;
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

    /// Which songs are held out: auto (group where the folder has a groups.csv, else song), song, group, segment
    /// (parts of one song on both sides, as the sources do it: it leaks), fault-filtered (GTZAN)
    #[arg(long, default_value = "auto")]
    split: String,

    /// The share of the songs that is held out
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    validation: f64,

    /// Passes over the training songs [default: the source's, 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,

    /// Segments a step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,

    /// The optimiser's learning rate [default: the source's]
    #[arg(long, value_name = "F")]
    learning_rate: Option<f32>,

    /// sgd, momentum, nesterov, adam, adamw, adadelta, rmsprop [default: the source's]; its own learning rate is the
    /// source's only with the source's optimiser, so give --learning-rate too
    #[arg(long, value_name = "NAME", requires = "learning_rate")]
    optimizer: Option<String>,

    /// How the learning rate changes: constant, step:EPOCHS:FACTOR, cosine:WARM-UP-EPOCHS, plateau:EPOCHS:FACTOR
    #[arg(long, value_name = "PLAN", default_value = "constant")]
    schedule: String,

    /// Scale all gradients together down to this norm where theirs is larger
    #[arg(long, value_name = "F")]
    clip_norm: Option<f32>,

    /// Stop after so many epochs without a lower validation loss and keep the best epoch's weights; 0 for never
    /// [default: the source's: 2 for window, else 0]
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<usize>,

    /// Multiplies the model's filters and units
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    width: f64,

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
        let options = self.options()?;
        let pool = self.threads.pool()?;
        let source = self.data.source();
        match &self.out {
            Some(out) => {
                refuse_used(out)?;
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
        let mut teller = Teller::new(output, options.epochs);
        let run = run(
            &dataset,
            (&source).into(),
            &options,
            pool,
            &mut |progress| teller.tell(&progress),
        )?;
        teller.finish()?;

        let folder = self.folder(options.model)?;
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

    fn options(&self) -> Result<RunOptions> {
        let model: Model = self.model.parse()?;
        let (rule, learning_rate) = model.optimizer();
        let rule = self.optimizer.as_deref().map_or(Ok(rule), str::parse)?;
        if let Some(norm) = self.clip_norm
            && !(norm > 0.0 && norm.is_finite())
        {
            return Err(Error::Usage(format!(
                "--clip-norm {norm}: it is a number above 0"
            )));
        }
        let learning_rate = self.learning_rate.unwrap_or(learning_rate);
        if !(learning_rate > 0.0 && learning_rate.is_finite()) {
            return Err(Error::Usage(format!(
                "--learning-rate {learning_rate}: it is a number above 0"
            )));
        }
        check_share(self.validation)?;
        // A width that no model can have is refused now, not after the songs are read.
        model.build(Size {
            classes: model.classes(),
            width: self.width,
            dropout: true,
        })?;
        Ok(RunOptions {
            model,
            width: self.width,
            split: self.split.parse::<SplitKind>()?,
            validation: self.validation,
            epochs: self.epochs.map_or(model.epochs(), |epochs| epochs as usize),
            batch_size: self.batch_size as usize,
            rule,
            learning_rate,
            schedule: self.schedule.parse()?,
            clip_norm: self.clip_norm,
            patience: self
                .patience
                .map_or(model.patience(), |epochs| (epochs > 0).then_some(epochs)),
            seed: self.seed,
            isa: isa()?,
        })
    }

    /// Makes the run's folder: the one asked for, or the next free one.
    fn folder(&self, model: Model) -> Result<PathBuf> {
        if let Some(out) = &self.out {
            std::fs::create_dir_all(out).map_err(Error::io("create", out))?;
            return Ok(out.clone());
        }
        let runs = Path::new("runs");
        std::fs::create_dir_all(runs).map_err(Error::io("create", runs))?;
        let mut number = 1;
        loop {
            let folder = runs.join(format!("{model}-{number}"));
            match std::fs::create_dir(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::io("create", &folder)(error)),
            }
        }
    }
}

/// Nothing of an earlier run is overwritten.
fn refuse_used(out: &Path) -> Result<()> {
    for name in [
        "model.safetensors",
        "history.csv",
        "run.json",
        "report.html",
    ] {
        if out.join(name).exists() {
            return Err(Error::file(
                out,
                format!("it holds {name} of another run: choose another --out"),
            ));
        }
    }
    if out.exists() && !out.is_dir() {
        return Err(Error::file(out, "it is a file: --out is a folder"));
    }
    Ok(())
}

/// A folder that cannot be written is told before training, not after it. Nothing is made yet: the data may be refused.
fn require_writable(out: &Path) -> Result<()> {
    let existing = out.ancestors().find(|folder| folder.exists());
    // A relative path's last ancestor is the empty one.
    let existing = existing.unwrap_or(Path::new("."));
    tempfile::tempfile_in(existing)
        .map(drop)
        .map_err(Error::io("write into", out))
}

/// Shows training's progress: a bar on a terminal, else a line an epoch; a JSON object an epoch where asked for.
struct Teller {
    output: Output,
    epochs: usize,
    bar: indicatif::ProgressBar,
    failed: Option<Error>,
}

#[derive(Serialize)]
struct EpochEvent<'a> {
    event: &'static str,
    #[serde(flatten)]
    epoch: &'a Epoch,
}

impl Teller {
    fn new(output: Output, epochs: usize) -> Self {
        let bar = progress_bar(0, "epoch {prefix} [{bar:30}] {msg}, {eta} left");
        Self {
            output,
            epochs,
            bar,
            failed: None,
        }
    }

    fn tell(&mut self, progress: &Progress<'_>) {
        match *progress {
            Progress::Step {
                epoch,
                step,
                steps,
                loss,
                accuracy,
            } => {
                self.bar.set_length((self.epochs * steps) as u64);
                self.bar.set_position(((epoch - 1) * steps + step) as u64);
                self.bar.set_prefix(format!("{epoch}/{}", self.epochs));
                self.bar
                    .set_message(format!("loss {loss:.4}, accuracy {}", percent(accuracy)));
            }
            Progress::Epoch(epoch) => {
                let Epoch {
                    epoch: number,
                    loss,
                    accuracy,
                    val_loss,
                    val_accuracy,
                    seconds,
                    ..
                } = epoch;
                let line = format!(
                    "epoch {number}/{}: loss {loss:.4}, accuracy {}, validation loss {val_loss:.4}, accuracy {}, {seconds:.2} s",
                    self.epochs,
                    percent(*accuracy),
                    percent(*val_accuracy),
                );
                if self.bar.is_hidden() {
                    note(line);
                } else {
                    self.bar.println(line);
                }
                let told = self.output.object(&EpochEvent {
                    event: "epoch",
                    epoch,
                });
                self.failed = self.failed.take().or(told.err());
            }
        }
    }

    fn finish(self) -> Result<()> {
        self.bar.finish_and_clear();
        self.failed.map_or(Ok(()), Err)
    }
}

/// Everything that the run's folder tells.
struct Report<'a> {
    options: &'a RunOptions,
    source: &'a Source,
    dataset: &'a Dataset,
    run: &'a Run,
    threads: usize,
}

impl Report<'_> {
    fn write(&self, folder: &Path) -> Result<()> {
        self.run
            .fitted
            .history
            .write_csv(folder.join("history.csv"))?;
        let json = serde_json::to_string_pretty(&self.run_json())
            .map_err(|error| Error::Data(format!("cannot write run.json: {error}")))?;
        atomic::write(&folder.join("run.json"), json.as_bytes())?;
        html::write(folder.join("report.html"), &self.html())?;
        self.run.model_file.write(&folder.join("model.safetensors"))
    }

    /// The songs of some segments, by path.
    fn songs(&self, segments: &[u32]) -> Vec<&str> {
        let mut songs: Vec<usize> = segments
            .iter()
            .map(|&i| self.dataset.song_of(i as usize))
            .collect();
        songs.sort_unstable();
        songs.dedup();
        songs
            .into_iter()
            .map(|song| self.dataset.songs[song].path.as_str())
            .collect()
    }

    fn run_json(&self) -> serde_json::Value {
        let Run {
            fitted,
            split,
            normalisation,
            evaluation,
            model_file,
            ..
        } = self.run;
        let folder = match self.source {
            Source::Folder { path, .. } => {
                Some(std::fs::canonicalize(path).unwrap_or_else(|_| path.clone()))
            }
            Source::BuiltIn { .. } => None,
        };
        json!({
            "model": self.options.model.name(),
            "width": self.options.width,
            "recipe": model_file.description.made,
            "threads": self.threads,
            "machine": crate::machine::describe(),
            "data": {
                "folder": folder,
                "description": describe(self.source, self.dataset),
                "genres": self.dataset.genres,
                "front_end": self.dataset.front_end.constants(),
                "fingerprint": self.dataset.fingerprint,
                "left_out": self.dataset.left_out,
                "notes": self.dataset.notes,
            },
            "split": {
                "kind": split.kind,
                "leaks": split.leaks,
                "notes": split.notes,
                "train": self.songs(&split.train),
                "validation": self.songs(&split.validation),
            },
            "normalisation": normalisation,
            "results": {
                "train_seconds": fitted.seconds,
                "epochs": fitted.history.0.len(),
                "restored_epoch": fitted.restored,
                "diverged_at_step": fitted.diverged.map(|diverged| diverged.step),
                "evaluation": evaluation,
            },
        })
    }

    fn html(&self) -> RunReport {
        let Run {
            executor,
            fitted,
            split,
            evaluation,
            ..
        } = self.run;
        let options = self.options;
        let weights = executor.plan().weights();
        let count = |trained: bool| -> u64 {
            let some = weights
                .iter()
                .filter(|weight| trained || !weight.parameter.trainable);
            some.map(|weight| weight.range.len() as u64).sum()
        };
        let text = |pairs: &[(&str, String)]| {
            pairs
                .iter()
                .map(|(k, v)| (k.to_string(), v.clone()))
                .collect()
        };
        let mut training = vec![
            ("optimiser", options.rule.to_string()),
            (
                "learning rate",
                format!("{}, {}", options.learning_rate, options.schedule),
            ),
            ("batch size", options.batch_size.to_string()),
            ("epochs", options.epochs.to_string()),
            ("seed", options.seed.to_string()),
            ("width", options.width.to_string()),
        ];
        if let Some(norm) = options.clip_norm {
            training.push(("gradient norm", format!("at most {norm}")));
        }
        if let Some(epoch) = fitted.restored {
            let chosen = format!(
                "epoch {epoch}, chosen by the lowest loss on the validation songs themselves"
            );
            training.push(("weights", chosen));
        }
        let data = vec![
            ("front end", self.dataset.front_end.constants()),
            ("fingerprint", self.dataset.fingerprint.clone()),
        ];
        let leak = split.leaks.then(|| {
            "Parts of one song stand on both sides of this split: the model has heard these songs. \
             The figures show how well it knows them, not how well it knows the genres."
                .to_string()
        });
        let (train, validation) = (split.songs_train, split.songs_validation);
        let notes: Vec<String> = std::iter::once(format!(
            "Split '{}': {train} songs to train on, {validation} held out.",
            split.kind
        ))
        .chain(split.notes.clone())
        .collect();
        RunReport {
            title: format!("{} on {}", options.model, self.place()),
            model: options.model.name().into(),
            parameters: count(true),
            not_trained: count(false),
            settings: vec![
                Settings {
                    group: "Training".into(),
                    values: text(&training),
                },
                Settings {
                    group: "Data".into(),
                    values: text(&data),
                },
            ],
            data: describe(self.source, self.dataset),
            split: notes.join(" "),
            leak,
            history: fitted.history.clone(),
            evaluation: evaluation.clone(),
            left_out: self.dataset.left_out.clone(),
            train_seconds: fitted.seconds,
            machine: format!(
                "{}, {} kernels, {} threads",
                crate::machine::describe(),
                options.isa,
                self.threads
            ),
        }
    }

    fn place(&self) -> String {
        match self.source {
            Source::Folder { path, .. } => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
            Source::BuiltIn { .. } => "the built-in set".into(),
        }
    }

    fn print(&self, output: Output, folder: &Path) -> Result<()> {
        let Run {
            fitted,
            split,
            evaluation,
            ..
        } = self.run;
        let (train, validation) = (split.songs_train, split.songs_validation);
        output.text(format!(
            "split '{}': {train} songs to train on, {validation} held out",
            split.kind
        ))?;
        for text in &split.notes {
            output.text(format!("note: {text}"))?;
        }
        if let Some(epoch) = fitted.restored {
            output.text(format!(
                "note: the weights are epoch {epoch}'s, chosen on the validation songs themselves"
            ))?;
        }
        print_accuracies(output, evaluation)?;
        output.text(format!(
            "trained in {:.1} s; the report: {}",
            fitted.seconds,
            folder.join("report.html").display()
        ))
    }
}
