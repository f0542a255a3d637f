//! What a comparison has found so far: the report, the file, the table.

use super::super::common::{interval, percent};
use super::super::output::{Output, note};
use super::{FILES, Job};
use crate::data::SplitKind;
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::models::Model;
use crate::report::compare::{self, Comparison, LeakRow, ModelRow, ModelRun};
use crate::report::html::Settings;
use crate::train::metrics::Spread;
use serde_json::{Value, json};
use sonograd_kernels::Compute;
use std::path::{Path, PathBuf};

/// What a comparison is, before any figure is there.
pub(super) struct About {
    pub(super) title: String,
    pub(super) data: String,
    pub(super) split: String,
    pub(super) kind: SplitKind,
    /// Parts of one song stand on both sides of the split itself.
    pub(super) leaks: bool,
    /// Each model's name and how it is trained.
    pub(super) recipe: Vec<(String, String)>,
    /// Each front end's name and constants.
    pub(super) front_ends: Vec<(String, String)>,
    pub(super) machine: String,
    pub(super) compute: Compute,
    pub(super) threads: usize,
    /// The number of trainings.
    pub(super) jobs: usize,
}

/// How a training ended.
pub(super) enum Outcome {
    Done {
        run: Box<ModelRun>,
        /// The epoch whose weights were put back.
        restored: Option<usize>,
    },
    /// The loss or the answers left the numbers.
    Failed(String),
}

/// Everything found so far; its files are rewritten after every run.
pub(super) struct Results {
    about: About,
    folder: PathBuf,
    models: Vec<Model>,
    rows: Vec<ModelRow>,
    /// Segment accuracies under the split by segment, as many lists as rows.
    leaking: Vec<Vec<f64>>,
    /// The lines of `compare.json`, in the order of training.
    runs: Vec<Value>,
    failed: Vec<String>,
}

impl Results {
    pub(super) fn new(about: About, folder: PathBuf) -> Self {
        Self {
            about,
            folder,
            models: Vec::new(),
            rows: Vec::new(),
            leaking: Vec::new(),
            runs: Vec::new(),
            failed: Vec::new(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The runs that are added from now on are this model's.
    pub(super) fn begin(&mut self, model: Model, parameters: u64, predict_one_ms: f64) {
        self.models.push(model);
        self.leaking.push(Vec::new());
        self.rows.push(ModelRow {
            model: model.to_string(),
            parameters,
            runs: Vec::new(),
            predict_one_ms: Some(predict_one_ms),
        });
    }

    /// Takes a run in and brings the files up to date; gives the run's line.
    pub(super) fn add(&mut self, model: Model, job: &Job, outcome: Outcome) -> Result<Value> {
        let mut line = json!({
            "event": "run",
            "model": model.name(),
            "run": job.name,
            "seed": job.options.seed,
            "split": job.split.kind,
            "songs_train": job.split.songs_train,
            "songs_validation": job.split.songs_validation,
        });
        let more = match &outcome {
            Outcome::Done { run, restored } => {
                let evaluation = &run.evaluation;
                json!({
                    "segment_accuracy": evaluation.segment_accuracy,
                    "segment_interval": evaluation.segment_interval,
                    "song_accuracy": evaluation.song_accuracy,
                    "song_interval": evaluation.song_interval,
                    "macro_f1": evaluation.macro_f1,
                    "calibration_error": evaluation.calibration.ece,
                    "song_calibration_error": evaluation.song_calibration.ece,
                    "loss": evaluation.segment_loss,
                    "train_seconds": run.train_seconds,
                    "epochs": run.history.0.len(),
                    "restored_epoch": restored,
                    "confusion": evaluation.confusion_songs,
                })
            }
            Outcome::Failed(reason) => json!({ "failed": reason }),
        };
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        match outcome {
            Outcome::Done { run, .. } if job.leak => {
                if let Some(leaking) = self.leaking.last_mut() {
                    leaking.push(run.evaluation.segment_accuracy);
                }
            }
            Outcome::Done { run, .. } => {
                if let Some(row) = self.rows.last_mut() {
                    row.runs.push(*run);
                }
            }
            Outcome::Failed(reason) => {
                let split = if job.leak { ", split by segment" } else { "" };
                let text = format!("{model}, {}{split}: {reason}", job.name);
                note(format!("failed: {text}"));
                self.failed.push(text);
            }
        }
        self.runs.push(line.clone());
        self.write()?;
        Ok(line)
    }

    fn leak(&self) -> Vec<LeakRow> {
        let rows = self.models.iter().zip(&self.rows).zip(&self.leaking);
        rows.filter_map(|((model, row), leaking)| {
            Some(LeakRow {
                model: model.to_string(),
                segment_split_segment_accuracy: Spread::of(leaking)?,
                song_split_segment_accuracy: row.spread(|run| run.evaluation.segment_accuracy)?,
                published: Some(model.published_accuracy()),
            })
        })
        .collect()
    }

    fn comparison(&self) -> Comparison {
        let about = &self.about;
        let settings = |group: &str, values: &[(String, String)]| Settings {
            group: group.into(),
            values: values.to_vec(),
        };
        let (done, all) = (self.runs.len(), about.jobs);
        Comparison {
            title: about.title.clone(),
            data: about.data.clone(),
            split: about.split.clone(),
            unfinished: (done < all).then(|| format!("{done} of {all} runs are done.")),
            leak_warning: about.leaks.then(|| {
                "Parts of one song stand on both sides of this split: the models have heard these songs.".into()
            }),
            rows: self.rows.clone(),
            leak: self.leak(),
            failed: self.failed.clone(),
            settings: vec![
                settings("training", &about.recipe),
                settings("front end", &about.front_ends),
            ],
            machine: format!(
                "{}, {} kernels in {}, {} threads",
                about.machine, about.compute.isa, about.compute.precision, about.threads
            ),
        }
    }

    /// The figures of each model and what the leak is worth.
    pub(super) fn summary(&self) -> Value {
        let models: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let pooled = row.pooled();
                json!({
                    "model": row.model,
                    "parameters": row.parameters,
                    "predict_one_ms": row.predict_one_ms,
                    "segment_accuracy": row.spread(|run| run.evaluation.segment_accuracy),
                    "segment_interval": pooled.map(|pooled| pooled.segment_interval),
                    "song_accuracy": row.spread(|run| run.evaluation.song_accuracy),
                    "song_interval": pooled.map(|pooled| pooled.song_interval),
                    "distinct_songs": pooled.map(|pooled| pooled.songs),
                    "macro_f1": row.spread(|run| run.evaluation.macro_f1),
                    "train_seconds": row.spread(|run| run.train_seconds),
                })
            })
            .collect();
        json!({
            "event": "done",
            "finished": self.runs.len() == self.about.jobs,
            "report": self.folder.join(FILES[0]),
            "models": models,
            "leak": self.leak(),
            "failed": self.failed,
        })
    }

    fn write(&self) -> Result<()> {
        compare::write(self.folder.join(FILES[0]), &self.comparison())?;
        let about = &self.about;
        let summary = self.summary();
        let json = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "finished": summary["finished"],
            "machine": about.machine,
            "isa": about.compute.isa.to_string(),
            "precision": about.compute.precision.to_string(),
            "threads": about.threads,
            "data": about.data,
            "split": about.kind,
            "split_described": about.split,
            "recipes": about.recipe,
            "front_ends": about.front_ends,
            "models": summary["models"],
            "leak": summary["leak"],
            "failed": summary["failed"],
            "runs": self.runs,
        });
        let text = serde_json::to_string_pretty(&json)
            .map_err(|error| Error::Data(format!("cannot write {}: {error}", FILES[1])))?;
        atomic::write(&self.folder.join(FILES[1]), text.as_bytes())
    }

    /// The tables for people.
    pub(super) fn print(&self, output: Output) -> Result<()> {
        output.text(&self.about.data)?;
        output.text(&self.about.split)?;
        output.text(format!(
            "{:10} {:>10}  {:>14}  {:>14}  {:>16}  {:>8}  {:>9}  {:>11}",
            "model",
            "parameters",
            "segments",
            "songs",
            "95 % interval",
            "macro F1",
            "training",
            "one segment"
        ))?;
        for row in &self.rows {
            let spread = |figure: fn(&ModelRun) -> f64| row.spread(figure);
            let mean = |spread: Option<Spread>| spread.map_or(f64::NAN, |spread| spread.mean);
            output.text(format!(
                "{:10} {:>10}  {:>14}  {:>14}  {:>16}  {:>8.3}  {:>7.1} s  {:>8.3} ms",
                row.model,
                row.parameters,
                with_spread(spread(|run| run.evaluation.segment_accuracy)),
                with_spread(spread(|run| run.evaluation.song_accuracy)),
                row.pooled()
                    .map_or("-".into(), |pooled| interval(pooled.song_interval)),
                mean(spread(|run| run.evaluation.macro_f1)),
                mean(spread(|run| run.train_seconds)),
                row.predict_one_ms.unwrap_or(f64::NAN),
            ))?;
        }
        output.text(
            "Means over the runs, ± their standard deviation. The interval is the songs': each distinct song counts once, however \
             many runs judged it.",
        )?;
        let leak = self.leak();
        if !leak.is_empty() {
            output.text(format!(
                "{:10} {:>16}  {:>14}  {:>10}  {:>9}",
                "leak", "split by segment", "by song", "difference", "published"
            ))?;
        }
        for row in &leak {
            let (by_segment, by_song) = (
                row.segment_split_segment_accuracy,
                row.song_split_segment_accuracy,
            );
            output.text(format!(
                "{:10} {:>16}  {:>14}  {:>+10.1}  {:>9}",
                row.model,
                with_spread(Some(by_segment)),
                with_spread(Some(by_song)),
                100.0 * (by_segment.mean - by_song.mean),
                row.published.map_or("-".into(), percent),
            ))?;
        }
        let report = self.folder.join(FILES[0]);
        output.text(format!("the report: {}", report.display()))
    }

    /// The error of a comparison in which runs failed.
    pub(super) fn failure(&self) -> Option<Error> {
        (!self.failed.is_empty()).then(|| {
            Error::Data(format!(
                "{} of {} runs gave no figure: {}",
                self.failed.len(),
                self.about.jobs,
                self.failed.join("; ")
            ))
        })
    }
}

/// `45.2 ± 1.3 %`; without ± of one run, and a dash without runs.
fn with_spread(spread: Option<Spread>) -> String {
    let Some(Spread {
        mean, deviation, ..
    }) = spread
    else {
        return "-".into();
    };
    match deviation {
        Some(deviation) => format!("{:.1} ± {:.1} %", 100.0 * mean, 100.0 * deviation),
        None => percent(mean),
    }
}
