//! A whole run: split, normalise, train, judge; and the recipe by which it can be judged again.

use super::fit::{FitOptions, Fitted, Progress, fit, predict};
use super::metrics::{self, Evaluation, SegmentPredictions, Vote};
use super::model_file::ModelFile;
use crate::data::{Dataset, Normalisation, Source, Split, SplitKind, split};
use crate::error::Result;
use crate::exec::Executor;
use crate::models::{Model, Size};
use crate::optim::{Optimizer, Rule, Schedule};
use serde::{Deserialize, Serialize};
use sonograd_kernels::Compute;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a run was asked to do.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Which model.
    pub model: Model,
    /// Multiplies its filters and units.
    pub width: f64,
    /// Which songs are held out.
    pub split: SplitKind,
    /// The share of them, in (0, 1).
    pub validation: f64,
    /// Passes over the training part.
    pub epochs: usize,
    /// Segments a step.
    pub batch_size: usize,
    /// The optimiser.
    pub rule: Rule,
    /// Its learning rate.
    pub learning_rate: f32,
    /// How it changes.
    pub schedule: Schedule,
    /// All gradients together are scaled down to this norm; `None` for no clipping.
    pub clip_norm: Option<f32>,
    /// Early stopping, see [`FitOptions::patience`].
    pub patience: Option<usize>,
    /// Names everything random.
    pub seed: u64,
    /// What it is computed with.
    pub compute: Compute,
}

/// Where a run's songs came from, without the folder's place: that is nobody else's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Origin {
    /// A folder of songs.
    Folder,
    /// The synthesiser.
    BuiltIn {
        /// Songs of each genre.
        songs_per_genre: usize,
        /// Which songs.
        seed: u64,
    },
}

impl From<&Source> for Origin {
    fn from(source: &Source) -> Self {
        match source {
            Source::Folder { .. } => Origin::Folder,
            &Source::BuiltIn {
                songs_per_genre,
                seed,
                ..
            } => Origin::BuiltIn {
                songs_per_genre,
                seed,
            },
        }
    }
}

/// How a model was made: enough to find its validation part again in the same data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Of the program.
    pub version: String,
    /// Where the songs came from.
    pub origin: Origin,
    /// Names the data: songs, genres, content and front end.
    pub fingerprint: String,
    /// The split, never `auto`.
    pub split: SplitKind,
    /// Its share.
    pub validation: f64,
    /// Epochs asked for.
    pub epochs: usize,
    /// Segments a step.
    pub batch_size: usize,
    /// The optimiser.
    pub optimizer: Rule,
    /// Its learning rate.
    pub learning_rate: f32,
    /// How it changed.
    pub schedule: Schedule,
    /// The gradients' largest norm.
    pub clip_norm: Option<f32>,
    /// Early stopping's patience.
    pub patience: Option<usize>,
    /// Of everything random.
    pub seed: u64,
    /// The instruction set that ran.
    pub isa: String,
    /// What forward's products were allowed to lose.
    #[serde(default)]
    pub precision: String,
    /// How each convolution was computed, by its layer's path.
    #[serde(default)]
    pub convolutions: BTreeMap<String, String>,
    /// How each wide dense layer's and LSTM's products were multiplied, by its path.
    #[serde(default)]
    pub products: BTreeMap<String, String>,
}

/// A finished run.
pub struct Run {
    /// The trained weights.
    pub executor: Executor,
    /// The course of training.
    pub fitted: Fitted,
    /// The songs of each side.
    pub split: Split,
    /// Of the training part.
    pub normalisation: Normalisation,
    /// On the validation part, by the mean of the segments' probabilities.
    pub evaluation: Evaluation,
    /// What goes into the model's file.
    pub model_file: ModelFile,
}

/// Trains a model on a set and judges it on the part held out.
///
/// # Errors
/// [`crate::Error::Usage`] and [`crate::Error::Data`] where the options do not fit the data. A loss that leaves the
/// numbers is no error here: see [`Fitted::diverged`].
pub fn run(
    dataset: &Dataset,
    origin: Origin,
    options: &RunOptions,
    pool: Arc<rayon::ThreadPool>,
    tell: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Run> {
    let split = split(dataset, options.split, options.validation, options.seed)?;
    run_on(dataset, origin, options, split, pool, tell)
}

/// As [`run`], on a split that is made already.
///
/// # Errors
/// As [`run`].
pub fn run_on(
    dataset: &Dataset,
    origin: Origin,
    options: &RunOptions,
    split: Split,
    pool: Arc<rayon::ThreadPool>,
    tell: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Run> {
    let normalisation = Normalisation::of(dataset, &split.train)?;
    let size = Size {
        classes: dataset.genres.len(),
        width: options.width,
        dropout: true,
    };
    let plan = options.model.compile(size)?;
    let trainable = plan.trainable_len();
    let mut executor = Executor::new(
        plan,
        options.batch_size,
        Arc::clone(&pool),
        options.compute.clone(),
    )?;
    executor.initialize(options.seed);
    let mut optimizer = Optimizer::new(options.rule, options.learning_rate, trainable);
    optimizer.clip_norm = options.clip_norm;
    let fit_options = FitOptions {
        epochs: options.epochs,
        batch_size: options.batch_size,
        seed: options.seed,
        schedule: options.schedule,
        patience: options.patience,
    };
    // The whole loop runs inside the pool, so that a step is not handed over from outside each time.
    let fitted = pool.install(|| {
        fit(
            &mut executor,
            &mut optimizer,
            dataset,
            &split,
            normalisation,
            fit_options,
            tell,
        )
    })?;
    let recipe = Recipe {
        version: env!("CARGO_PKG_VERSION").into(),
        origin,
        fingerprint: dataset.fingerprint.clone(),
        split: split.kind,
        validation: options.validation,
        epochs: options.epochs,
        batch_size: options.batch_size,
        optimizer: options.rule,
        learning_rate: options.learning_rate,
        clip_norm: options.clip_norm,
        schedule: options.schedule,
        patience: options.patience,
        seed: options.seed,
        isa: options.compute.isa.to_string(),
        precision: options.compute.precision.to_string(),
        convolutions: executor.convolutions(),
        products: executor.products(),
    };
    let model_file = ModelFile::of(
        &executor,
        options.model,
        options.width,
        &dataset.genres,
        normalisation,
        recipe,
    )?;
    // Judged from the file's weights in an executor of its own batch size, as `evaluate` does: the same figures.
    let mut judge =
        model_file.executor(super::fit::PREDICT_BATCH, pool, options.compute.clone())?;
    let evaluation = evaluate(
        &mut judge,
        dataset,
        &split.validation,
        normalisation,
        Vote::Mean,
    )?;
    Ok(Run {
        executor,
        fitted,
        split,
        normalisation,
        evaluation,
        model_file,
    })
}

/// How good a model's answers are for some of a set's segments.
///
/// # Errors
/// As [`Executor::predict`], and [`crate::Error::Data`] where there is nothing to judge.
pub fn evaluate(
    executor: &mut Executor,
    dataset: &Dataset,
    indices: &[u32],
    normalisation: Normalisation,
    vote: Vote,
) -> Result<Evaluation> {
    let probabilities = predict(executor, dataset, indices, normalisation)?;
    // Songs are numbered anew: only those that have a segment here count.
    let mut number = vec![usize::MAX; dataset.songs.len()];
    let (mut songs, mut song_genres, mut song_paths) = (Vec::new(), Vec::new(), Vec::new());
    for &i in indices {
        let song = dataset.song_of(i as usize);
        if number[song] == usize::MAX {
            number[song] = song_genres.len();
            song_genres.push(dataset.songs[song].genre);
            song_paths.push(dataset.songs[song].path.clone());
        }
        songs.push(number[song]);
    }
    let predictions = SegmentPredictions {
        genres: &dataset.genres,
        probabilities: &probabilities,
        songs: &songs,
        song_genres: &song_genres,
        song_paths: &song_paths,
    };
    metrics::evaluate(&predictions, vote)
}
