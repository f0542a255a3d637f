//! The training loop: epochs of shuffled batches, validation after each.

use super::history::{Epoch, History};
use super::metrics;
use crate::data::{Dataset, Normalisation, Split, epoch_order};
use crate::error::{Error, Result};
use crate::exec::{Batch, Executor};
use crate::optim::{Optimizer, Schedule, Scheduler};
use std::ops::Range;
use std::time::Instant;

/// Samples of a batch when nothing is trained: fixed, so that the same weights give the same figures anywhere.
pub const PREDICT_BATCH: usize = 128;

/// How long and in what portions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitOptions {
    /// Passes over the training segments.
    pub epochs: usize,
    /// Segments a step; the last one of an epoch has what is left.
    pub batch_size: usize,
    /// Names the order of the segments.
    pub seed: u64,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Stop when the validation loss has not improved for so many epochs, and put back the best epoch's weights.
    pub patience: Option<usize>,
}

/// What training tells while it runs.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A step is done.
    Step {
        /// Counted from 1.
        epoch: usize,
        /// Counted from 1 within the epoch.
        step: usize,
        /// Steps an epoch.
        steps: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// Share of the epoch's segments so far that were answered rightly, before each update.
        accuracy: f64,
    },
    /// An epoch is done.
    Epoch(&'a Epoch),
}

/// What training leaves besides the weights in the executor.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// One entry an epoch.
    pub history: History,
    /// The epoch whose weights were put back; `None` where the last ones stand.
    pub restored: Option<usize>,
    /// Wall time in seconds, validation included.
    pub seconds: f64,
    /// Set where the loss left the numbers: the weights are those of the last whole epoch.
    pub diverged: Option<Diverged>,
}

/// Where the loss left the numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diverged {
    /// Counted from 1 over the whole run.
    pub step: u64,
    /// Counted from 1.
    pub epoch: usize,
    /// NaN or infinite.
    pub loss: f64,
}

impl From<Diverged> for Error {
    fn from(Diverged { step, epoch, loss }: Diverged) -> Self {
        Error::Diverged {
            step,
            epoch,
            loss: loss as f32,
        }
    }
}

/// Some of a set's segments as a batch, normalised as they are laid in.
#[derive(Debug, Clone, Copy)]
pub struct Segments<'a> {
    /// The set.
    pub dataset: &'a Dataset,
    /// Which segments.
    pub indices: &'a [u32],
    /// Of the training part.
    pub normalisation: Normalisation,
}

impl Batch for Segments<'_> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn fill_input(&self, rows: Range<usize>, input: &mut [f32]) {
        let segments = input
            .chunks_exact_mut(self.dataset.segment_len())
            .zip(&self.indices[rows]);
        segments.for_each(|(to, &i)| {
            self.normalisation
                .apply(self.dataset.segment(i as usize), to)
        });
    }

    fn fill_target(&self, rows: Range<usize>, target: &mut [f32]) {
        target.fill(0.0);
        let rows = target
            .chunks_exact_mut(self.dataset.genres.len())
            .zip(&self.indices[rows]);
        rows.for_each(|(to, &i)| to[self.dataset.label(i as usize)] = 1.0);
    }
}

/// Refuses a batch that the training part cannot fill.
///
/// # Errors
/// [`Error::Usage`] with the largest one that it can.
pub fn check_batch(batch_size: usize, segments: usize) -> Result<()> {
    if batch_size <= segments {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "a batch of {batch_size} is larger than the training part of {segments} segments: \
         --batch-size {segments} or smaller"
    )))
}

/// Trains the executor's weights on the split's training part.
///
/// # Errors
/// [`Error::Usage`] where the batch is larger than the training part or there are no epochs.
pub fn fit(
    executor: &mut Executor,
    optimizer: &mut Optimizer,
    dataset: &Dataset,
    split: &Split,
    normalisation: Normalisation,
    options: FitOptions,
    tell: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Fitted> {
    let (segments, batch_size) = (split.train.len(), options.batch_size);
    check_batch(batch_size, segments)?;
    if options.epochs == 0 {
        return Err(Error::Usage("0 epochs: at least 1 is wanted".into()));
    }
    let begin = Instant::now();
    let mut fitted = Fitted {
        history: History(Vec::new()),
        restored: None,
        seconds: 0.0,
        diverged: None,
    };
    let mut good = executor.snapshot();
    let mut best: Option<(usize, f64)> = None;
    let mut step_count = 0;
    let mut scheduler = Scheduler::new(
        options.schedule,
        optimizer.learning_rate,
        options.epochs,
        segments.div_ceil(batch_size),
    );
    for epoch in 1..=options.epochs {
        let epoch_begin = Instant::now();
        let order = epoch_order(&split.train, options.seed, epoch);
        let steps = segments.div_ceil(batch_size);
        let (mut loss, mut correct, mut seen) = (0.0, 0, 0);
        for (step, indices) in order.chunks(batch_size).enumerate() {
            step_count += 1;
            optimizer.learning_rate = scheduler.rate(epoch - 1, step);
            let outcome = executor.train_step(
                &Segments {
                    dataset,
                    indices,
                    normalisation,
                },
                optimizer,
            )?;
            if !outcome.loss.is_finite() {
                executor.restore(&good);
                fitted.diverged = Some(Diverged {
                    step: step_count,
                    epoch,
                    loss: outcome.loss,
                });
                fitted.seconds = begin.elapsed().as_secs_f64();
                return Ok(fitted);
            }
            loss += outcome.loss * outcome.samples as f64;
            correct += outcome.correct;
            seen += outcome.samples;
            let (loss, accuracy) = (loss / seen as f64, correct as f64 / seen as f64);
            tell(Progress::Step {
                epoch,
                step: step + 1,
                steps,
                loss,
                accuracy,
            });
        }
        let probabilities = predict(executor, dataset, &split.validation, normalisation)?;
        let labels: Vec<usize> = split
            .validation
            .iter()
            .map(|&i| dataset.label(i as usize))
            .collect();
        let classes = dataset.genres.len();
        let record = Epoch {
            epoch,
            loss: loss / seen as f64,
            accuracy: correct as f64 / seen as f64,
            val_loss: metrics::cross_entropy(&probabilities, &labels, classes),
            val_accuracy: metrics::accuracy(&probabilities, &labels, classes),
            learning_rate: f64::from(optimizer.learning_rate),
            seconds: epoch_begin.elapsed().as_secs_f64(),
        };
        tell(Progress::Epoch(&record));
        let val_loss = record.val_loss;
        scheduler.after_epoch(val_loss);
        fitted.history.0.push(record);
        let improved = best.is_none_or(|(_, lowest)| val_loss < lowest);
        if improved {
            best = Some((epoch, val_loss));
        }
        match options.patience {
            None => good = executor.snapshot(),
            Some(_) if improved => good = executor.snapshot(),
            Some(patience) => {
                let since = best.map_or(0, |(best_epoch, _)| epoch - best_epoch);
                if since >= patience {
                    break;
                }
            }
        }
    }
    if let (Some(_), Some((epoch, _))) = (options.patience, best) {
        executor.restore(&good);
        fitted.restored = Some(epoch);
    }
    fitted.seconds = begin.elapsed().as_secs_f64();
    Ok(fitted)
}

/// The probabilities of some of a set's segments, segments x classes.
///
/// # Errors
/// As [`Executor::predict`].
pub fn predict(
    executor: &mut Executor,
    dataset: &Dataset,
    indices: &[u32],
    normalisation: Normalisation,
) -> Result<Vec<f32>> {
    let classes = dataset.genres.len();
    let mut probabilities = vec![0.0; indices.len() * classes];
    let batch = PREDICT_BATCH.min(executor.batch_size());
    for (indices, out) in indices
        .chunks(batch)
        .zip(probabilities.chunks_mut(batch * classes))
    {
        executor.predict(
            &Segments {
                dataset,
                indices,
                normalisation,
            },
            out,
        )?;
    }
    Ok(probabilities)
}
