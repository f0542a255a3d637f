//! A run's folder: its weights, its history, its report.

use super::common::{describe, parameters, place, print_accuracies};
use super::output::Output;
use crate::data::{Dataset, Source};
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::report::html::{self, RunReport, Settings};
use crate::train::run::{Run, RunOptions};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The files of a run.
pub(super) const RUN_FILES: [&str; 4] = [
    "model.safetensors",
    "history.csv",
    "run.json",
    "report.html",
];

/// Nothing of an earlier run is overwritten: a folder with one of these files is refused.
pub(super) fn refuse_used(out: &Path, files: &[&str]) -> Result<()> {
    for name in files {
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
pub(super) fn require_writable(out: &Path) -> Result<()> {
    let existing = out.ancestors().find(|folder| folder.exists());
    // A relative path's last ancestor is the empty one.
    let existing = existing.unwrap_or(Path::new("."));
    tempfile::tempfile_in(existing)
        .map(drop)
        .map_err(Error::io("write into", out))
}

/// Makes a run's folder: the one asked for, or the next free `runs/NAME-1`, `-2`, ...
pub(super) fn make_folder(out: Option<&Path>, name: &str) -> Result<PathBuf> {
    if let Some(out) = out {
        std::fs::create_dir_all(out).map_err(Error::io("create", out))?;
        return Ok(out.to_path_buf());
    }
    let runs = Path::new("runs");
    std::fs::create_dir_all(runs).map_err(Error::io("create", runs))?;
    let mut number = 1;
    loop {
        let folder = runs.join(format!("{name}-{number}"));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Error::io("create", &folder)(error)),
        }
    }
}

/// Everything that the run's folder tells.
pub(super) struct Report<'a> {
    pub(super) options: &'a RunOptions,
    pub(super) source: &'a Source,
    pub(super) dataset: &'a Dataset,
    pub(super) run: &'a Run,
    pub(super) threads: usize,
}

impl Report<'_> {
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
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
            title: format!("{} on {}", options.model, place(self.source)),
            model: options.model.name().into(),
            parameters: parameters(executor.plan(), true),
            not_trained: parameters(executor.plan(), false),
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
                "{}, {} kernels in {}, {} threads",
                crate::machine::describe(),
                options.compute.isa,
                options.compute.precision,
                self.threads
            ),
        }
    }

    pub(super) fn print(&self, output: Output, folder: &Path) -> Result<()> {
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
