//! Arguments and steps that several commands share.

use super::output::{Output, note, progress_bar};
use super::tune::tuned;
use crate::audio::{self, Extractor, FrontEnd};
use crate::data::{self, Dataset, LoadOptions, MemoryLimit, Source};
use crate::error::{Error, Result};
use crate::exec::thread_pool;
use crate::graph::Plan;
use crate::train::model_file::ModelFile;
use clap::Args;
use sonograd_kernels::{Compute, ConvAlgorithm, GemmAlgorithm, Isa, Precision};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Songs of each genre in the built-in set.
pub(super) const BUILT_IN_SONGS: usize = 25;
/// The built-in set's seed: one set for every run, whatever the run's own seed.
const BUILT_IN_SEED: u64 = 0;

/// Which songs.
#[derive(Debug, Args)]
pub(super) struct DataArguments {
    /// A folder of <genre>/<song>.<wav|mp3|flac|ogg|m4a|aiff|au>; without it the built-in synthetic set is used
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,

    /// Only these genres
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    pub(super) genres: Option<Vec<String>>,

    /// Songs of each genre in the built-in set [default: 25]
    #[arg(long, value_name = "N", conflicts_with = "data", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub(super) songs: Option<u32>,

    /// Fail on the first song that cannot be used, instead of leaving it out
    #[arg(long)]
    pub(super) strict: bool,

    /// Decode and analyse every song anew, and store nothing
    #[arg(long)]
    pub(super) no_cache: bool,

    /// Features kept in memory; where there are more, all of them stand in a file without a name in the cache's folder (or
    /// the system's, with --no-cache), which the system reads in as needed
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    pub(super) memory: u64,
}

/// How many threads.
#[derive(Debug, Args)]
pub(super) struct ThreadArguments {
    /// Threads to use; 0 is one a core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    threads: u16,
}

impl ThreadArguments {
    /// The pool to run on.
    pub(super) fn pool(&self) -> Result<Arc<rayon::ThreadPool>> {
        thread_pool(usize::from(self.threads))
    }
}

impl DataArguments {
    /// Where the songs come from.
    pub(super) fn source(&self) -> Source {
        let genres = self.genres.clone();
        match &self.data {
            Some(path) => Source::Folder {
                path: path.clone(),
                genres,
            },
            None => {
                let songs_per_genre = self.songs.map_or(BUILT_IN_SONGS, |songs| songs as usize);
                Source::BuiltIn {
                    songs_per_genre,
                    seed: BUILT_IN_SEED,
                    genres,
                }
            }
        }
    }

    /// Loads a source with a progress bar, on the pool, and says what was left out.
    pub(super) fn load(
        &self,
        source: &Source,
        front_end: FrontEnd,
        pool: &rayon::ThreadPool,
    ) -> Result<Dataset> {
        let bar = progress_bar(0, "{msg} [{bar:30}] {pos}/{len} songs, {eta} left");
        bar.set_message(match source {
            Source::Folder { .. } => "reading",
            Source::BuiltIn { .. } => "making music",
        });
        let progress = |done: usize, all: usize| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        };
        let cache = if self.no_cache {
            None
        } else {
            data::default_cache()
        };
        let options = LoadOptions {
            strict: self.strict,
            memory: Some(MemoryLimit {
                bytes: self.memory.saturating_mul(1 << 20),
                folder: cache.clone().unwrap_or_else(std::env::temp_dir),
            }),
            cache,
            progress: Some(&progress),
        };
        let loaded = pool.install(|| data::load(source, front_end, &options));
        bar.finish_and_clear();
        let dataset = loaded?;
        dataset
            .notes
            .iter()
            .for_each(|text| note(format!("note: {text}")));
        for song in &dataset.left_out {
            note(format!("left out: {}: {}", song.path, song.reason));
        }
        Ok(dataset)
    }
}

/// The instruction set of the environment.
pub(super) fn isa() -> Result<Isa> {
    Isa::from_environment().map_err(Error::Usage)
}

/// The precision of this name.
pub(super) fn precision(name: &str) -> Result<Precision> {
    name.parse().map_err(Error::Usage)
}

/// What a model is computed with: what was tuned on this machine, and what `SONOGRAD_CONV` and `SONOGRAD_GEMM` ask for.
pub(super) fn compute(isa: Isa, precision: Precision) -> Result<Compute> {
    Ok(Compute {
        isa,
        precision,
        convolution: ConvAlgorithm::from_environment().map_err(Error::Usage)?,
        product: GemmAlgorithm::from_environment().map_err(Error::Usage)?,
        tuned: tuned(isa, precision)?,
    })
}

/// What a finished model is computed with: its own precision.
pub(super) fn compute_of(file: &ModelFile) -> Result<Compute> {
    let name = file.description.made.precision.as_str();
    // Files from before there was a choice have no name.
    let precision = match name {
        "" => Precision::F32,
        name => precision(name)?,
    };
    compute(isa()?, precision)
}

/// The instruction set that `--isa` names, else that of the environment.
pub(super) fn isa_or(name: Option<&str>) -> Result<Isa> {
    name.map_or_else(isa, |name| name.parse().map_err(Error::Usage))
}

/// A file's features in dB, segment after segment; an error names the file.
pub(super) fn features_of(file: &Path, extractor: &Extractor) -> Result<Vec<f32>> {
    let samples = audio::load(file)?;
    let features = extractor.worker().features(&samples);
    features.map_err(|error| match error {
        Error::Data(reason) | Error::Usage(reason) => Error::file(file, reason),
        error => error,
    })
}

/// The number of a model's parameters: all of them, or those that training does not change.
pub(super) fn parameters(plan: &Plan, all: bool) -> u64 {
    let weights = plan.weights().iter();
    weights
        .filter(|weight| all || !weight.parameter.trainable)
        .map(|weight| weight.range.len() as u64)
        .sum()
}

/// What a source is called in a heading: its folder's name.
pub(super) fn place(source: &Source) -> String {
    match source {
        Source::Folder { path, .. } => path.file_name().map_or_else(
            || path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        ),
        Source::BuiltIn { .. } => "the built-in set".into(),
    }
}

/// What the data are, in a line.
pub(super) fn describe(source: &Source, dataset: &Dataset) -> String {
    let place = match source {
        Source::Folder { path, .. } => path.display().to_string(),
        Source::BuiltIn { .. } => "the built-in synthetic set".into(),
    };
    let (songs, genres) = (dataset.songs.len(), dataset.genres.len());
    format!(
        "{songs} songs of {genres} genres, {} segments, from {place}",
        dataset.segment_count()
    )
}

/// `0.8125` as `81.2 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// An interval as `71.0 to 88.4 %`.
pub(super) fn interval((low, high): (f64, f64)) -> String {
    format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high)
}

/// The accuracies in two lines of people's text.
pub(super) fn print_accuracies(
    output: Output,
    evaluation: &crate::train::metrics::Evaluation,
) -> Result<()> {
    for (what, count, accuracy, range) in [
        (
            "segments",
            evaluation.segments,
            evaluation.segment_accuracy,
            evaluation.segment_interval,
        ),
        (
            "songs",
            evaluation.songs,
            evaluation.song_accuracy,
            evaluation.song_interval,
        ),
    ] {
        let (accuracy, range) = (percent(accuracy), interval(range));
        output.text(format!(
            "{what:>9}: {accuracy} of {count} right (95 % interval {range})"
        ))?;
    }
    let chance = 1.0 / evaluation.genres.len() as f64;
    output.text(format!("   chance: {}", percent(chance)))
}
