//! Training's progress, told while it runs.

use super::common::percent;
use super::output::{Output, note, progress_bar};
use crate::error::{Error, Result};
use crate::train::fit::Progress;
use crate::train::history::Epoch;
use serde::Serialize;

/// Shows training's progress: a bar on a terminal, else a line an epoch; a JSON object an epoch where asked for.
pub(super) struct Teller {
    output: Output,
    /// Stands before every line: `parallel, seed 1, `.
    label: String,
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
    /// `label` names the run where there are several, and ends with a blank; else it is empty.
    pub(super) fn new(output: Output, label: impl Into<String>, epochs: usize) -> Self {
        let bar = progress_bar(0, "{prefix} [{bar:30}] {msg}, {eta} left");
        Self {
            output,
            label: label.into(),
            epochs,
            bar,
            failed: None,
        }
    }

    pub(super) fn tell(&mut self, progress: &Progress<'_>) {
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
                self.bar
                    .set_prefix(format!("{}epoch {epoch}/{}", self.label, self.epochs));
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
                    "{}epoch {number}/{}: loss {loss:.4}, accuracy {}, validation loss {val_loss:.4}, accuracy {}, {seconds:.2} s",
                    self.label,
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

    pub(super) fn finish(self) -> Result<()> {
        self.bar.finish_and_clear();
        self.failed.map_or(Ok(()), Err)
    }
}
