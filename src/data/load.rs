//! From a source to a [`Dataset`]: decode, check, extract features, all songs in parallel.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::audio::{Extractor, FrontEnd, Worker};
use crate::data::cache::{Cache, Found};
use crate::data::dataset::{Builder, Dataset, LeftOut, SongFeatures};
use crate::data::features::MemoryLimit;
use crate::data::folder;
use crate::data::listing::{self, Entry};
use crate::error::{Error, Result};

/// A song whose samples all lie below this is silent, in dB relative to full scale.
pub const SILENCE_DBFS: f32 = -80.0;

/// Where songs come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder of `<genre>/<song>`: any audio format, one folder a genre, folders inside those not searched.
    ///
    /// Hidden files and files of other kinds are ignored; links are followed. Songs that must not be parted may be
    /// listed in `groups.csv` (columns `path` and `group`) in the folder.
    Folder {
        /// The folder.
        path: PathBuf,
        /// The genres to use; `None` for all folders that have a song.
        genres: Option<Vec<String>>,
    },
    /// The built-in synthesiser's songs.
    BuiltIn {
        /// How many songs each genre has.
        songs_per_genre: usize,
        /// Another seed gives other songs.
        seed: u64,
        /// The genres to use; `None` for all.
        genres: Option<Vec<String>>,
    },
}

/// How to load a [`Source`].
#[derive(Clone, Default)]
pub struct LoadOptions<'a> {
    /// A song that cannot be used is an error, where otherwise it is left out and listed.
    pub strict: bool,
    /// The feature cache's folder, as [`super::default_cache`] gives it; `None` for no cache.
    pub cache: Option<PathBuf>,
    /// When features leave memory; `None` for never.
    pub memory: Option<MemoryLimit>,
    /// Told of each song that is done: songs done and songs in all. Called from several threads.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
}

/// One song after reading it.
struct Loaded {
    content: [u8; 32],
    features: Vec<f32>,
    provenance: Provenance,
}

enum Provenance {
    Decoded,
    Cached,
    Rebuilt,
}

/// Loads a source: decodes or renders its songs and extracts their features, in parallel on the current rayon pool.
///
/// Songs that cannot be read, are silent (all below [`SILENCE_DBFS`]), shorter than one segment or hold values that
/// are not finite are left out and listed in [`Dataset::left_out`]. Classes and songs are sorted by name, so the
/// same files give the same set, whatever the number of threads. Samples are held for one song a thread only, features
/// up to [`LoadOptions::memory`].
///
/// # Errors
/// - [`Error::File`], [`Error::Io`]: no such folder, fewer than two genres in it, a bad `groups.csv`; with
///   [`LoadOptions::strict`] the first song that cannot be used, in the order of names.
/// - [`Error::Usage`]: a genre that the source has not (with the nearest that it has), fewer than two chosen, no song.
/// - [`Error::Data`]: a genre of which no song can be used.
pub fn load(source: &Source, front_end: FrontEnd, options: &LoadOptions<'_>) -> Result<Dataset> {
    let (listing, root) = match source {
        Source::Folder { path, genres } => {
            (folder::list(path, genres.as_deref())?, Some(path.as_path()))
        }
        Source::BuiltIn {
            songs_per_genre,
            seed,
            genres,
        } => (
            listing::built_in(*songs_per_genre, *seed, genres.as_deref())?,
            None,
        ),
    };
    if let (true, Some(song)) = (options.strict, listing.left_out.iter().min()) {
        return Err(refused(root, &song.path, &song.reason));
    }

    let cache = options
        .cache
        .as_deref()
        .map(|folder| Cache::new(folder, front_end));
    let extractor = Extractor::new(front_end);
    let (done, total) = (AtomicUsize::new(0), listing.entries.len());
    let mut builder = Builder::new(listing.genres, front_end, options.memory.clone());
    let dataset = &mut builder.dataset;
    dataset.has_groups = listing.has_groups;
    dataset.built_in = listing.built_in;
    dataset.left_out = listing.left_out;
    dataset.notes = listing.notes;

    // A chunk at a time: enough songs to keep every thread at work, few enough to hold twice in memory.
    let mut entries = listing.entries.into_iter().peekable();
    while entries.peek().is_some() {
        let chunk: Vec<Entry> = entries
            .by_ref()
            .take(16 * rayon::current_num_threads())
            .collect();
        let loaded: Vec<Result<Loaded>> = chunk
            .par_iter()
            .map_init(
                || extractor.worker(),
                |worker, entry| {
                    let loaded = load_song(entry, cache.as_ref(), worker);
                    let done = 1 + done.fetch_add(1, Ordering::Relaxed);
                    if let Some(progress) = options.progress {
                        progress(done, total);
                    }
                    loaded
                },
            )
            .collect();
        for (entry, loaded) in chunk.into_iter().zip(loaded) {
            match loaded {
                Ok(song) => add(&mut builder, entry, song)?,
                Err(error) => {
                    let reason = reason(error);
                    if options.strict {
                        return Err(refused(root, &entry.path, &reason));
                    }
                    builder.dataset.left_out.push(LeftOut {
                        path: entry.path,
                        reason,
                    });
                }
            }
        }
    }
    let dataset = &mut builder.dataset;
    if let Some(failure) = cache.as_ref().and_then(Cache::failure) {
        dataset.notes.push(format!(
            "features are not kept for the next run: {failure} (set SONOGRAD_CACHE to a folder that can be written)"
        ));
    }
    require_songs(dataset, &listing.name)?;
    builder.finish()
}

/// Reads one song, from the cache where it is there and whole.
fn load_song(entry: &Entry, cache: Option<&Cache>, worker: &mut Worker<'_>) -> Result<Loaded> {
    let content = entry.origin.content()?;
    let mut provenance = Provenance::Decoded;
    if let Some(cache) = cache {
        match cache.get(&content) {
            Found::Features(features) => {
                return Ok(Loaded {
                    content,
                    features,
                    provenance: Provenance::Cached,
                });
            }
            Found::Damaged => provenance = Provenance::Rebuilt,
            Found::Nothing => {}
        }
    }
    let samples = entry.origin.samples()?;
    let features = worker.features(&samples)?;
    if let Some(reason) = silence(&samples) {
        return Err(Error::Data(reason));
    }
    if let Some(cache) = cache {
        cache.put(&content, &features);
    }
    Ok(Loaded {
        content,
        features,
        provenance,
    })
}

/// Why finite samples are no music; `None` where they are.
fn silence(samples: &[f32]) -> Option<String> {
    let peak = samples
        .iter()
        .fold(0.0, |peak: f32, sample| peak.max(sample.abs()));
    let decibels = 20.0 * peak.log10();
    (decibels < SILENCE_DBFS).then(|| match peak {
        0.0 => "silent: every sample is zero".into(),
        _ => format!("silent: its loudest sample is at {decibels:.1} dBFS, and below {SILENCE_DBFS} dBFS is silence"),
    })
}

fn add(builder: &mut Builder, entry: Entry, song: Loaded) -> Result<()> {
    let stats = &mut builder.dataset.stats;
    match song.provenance {
        Provenance::Cached => stats.cached += 1,
        Provenance::Decoded => stats.decoded += 1,
        Provenance::Rebuilt => {
            stats.decoded += 1;
            stats.damaged += 1;
        }
    }
    builder.push(SongFeatures {
        path: entry.path,
        genre: entry.genre,
        group: entry.group,
        content: song.content,
        features: song.features,
    })
}

/// An error as the reason beside a path: without the path.
fn reason(error: Error) -> String {
    match error {
        Error::File { reason, .. } => reason,
        Error::Io { action, source, .. } => format!("cannot {action} it: {source}"),
        other => other.to_string(),
    }
}

/// The error for a song that `strict` does not let pass.
fn refused(root: Option<&Path>, song: &str, reason: &str) -> Error {
    let path = root.map_or_else(|| PathBuf::from(song), |root| root.join(song));
    Error::file(
        path,
        format!("{reason} (mend or remove it; without --strict it is left out)"),
    )
}

/// Every genre must have kept a song: another set of classes would be another task.
fn require_songs(dataset: &Dataset, name: &str) -> Result<()> {
    let songs = dataset.songs_by_genre();
    let Some(genre) = songs.iter().position(|songs| *songs == 0) else {
        return Ok(());
    };
    let genre = &dataset.genres[genre];
    let mut lost = dataset
        .left_out
        .iter()
        .filter(|song| song.path.split('/').next() == Some(genre));
    let first = match lost.next() {
        Some(song) => format!(
            " ({} left out; {}: {})",
            1 + lost.count(),
            song.path,
            song.reason
        ),
        None => String::new(),
    };
    Err(Error::Data(format!(
        "{name}: no song of genre '{genre}' can be used{first}: mend its songs, or choose other genres by --genres"
    )))
}
