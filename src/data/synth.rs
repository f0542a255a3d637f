//! The built-in music: eight genres played by a synthesiser, so that a model can be trained with no data at hand.
//!
//! Every song is written bar by bar by the rules of its genre (`genres`), on instruments that the genres share
//! (`instruments`), and mixed (`mix`) so that neither loudness nor brightness nor tempo gives the genre away: what is
//! left to learn is rhythm, harmony, phrasing and sound together, as in real music. Some traits of some songs are
//! borrowed from a neighbouring genre on purpose.
//!
//! The same genre, song and seed give the same samples, bit for bit, on one machine and build, whatever the threads.

mod effects;
mod genres;
mod instruments;
mod melody;
mod mix;
mod score;
mod theory;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::random::Random;
use crate::{Error, Result};

/// The genres, in alphabetical order: an index into this list is a genre's number.
pub const GENRES: [&str; 8] = [
    "blues",
    "classical",
    "disco",
    "hip-hop",
    "jazz",
    "metal",
    "pop",
    "reggae",
];

/// Seconds that a song lasts.
pub const SONG_SECONDS: f64 = 30.0;

/// Samples a second, as everywhere in this program.
pub const SAMPLE_RATE: u32 = 22_050;

/// Raised whenever the same song would sound otherwise: part of the keys of caches.
pub const VERSION: u32 = 2;

/// [`SAMPLE_RATE`] for arithmetic.
const RATE: f64 = SAMPLE_RATE as f64;

/// Renders song number `song` of a genre: 661,500 mono samples at 22,050 Hz, finite, within ±0.99.
///
/// One thread does all of it; render songs side by side for speed.
///
/// # Panics
/// If `genre` is not an index into [`GENRES`].
pub fn render(genre: usize, song: u64, seed: u64) -> Vec<f32> {
    assert!(
        genre < GENRES.len(),
        "there are {} genres, not {genre}",
        GENRES.len()
    );
    let mut r = Random::new(&[seed, genre as u64, song]);
    let samples = (SONG_SECONDS * RATE) as usize;
    let parts = genres::compose(genre, SONG_SECONDS, &mut r.split());
    mix::produce(&parts, samples, &mut r)
}

/// Where a song lies in a folder, named as GTZAN names its songs: `blues/blues.00003.wav`.
///
/// # Panics
/// If `genre` is not an index into [`GENRES`].
pub fn song_name(genre: usize, song: u64) -> String {
    format!("{0}/{0}.{song:05}.wav", GENRES[genre])
}

/// Writes `songs_per_genre` songs of each genre below `dir` as 16-bit mono WAV at 22,050 Hz, named by [`song_name`].
///
/// Songs are rendered in parallel on rayon's current pool; `progress(done, total)` is called after each, from any
/// thread. A file appears under its name only when it is whole.
///
/// # Errors
/// [`Error::Usage`] where `dir` holds anything already or no songs are asked for; [`Error::Io`] or [`Error::File`]
/// where a folder or file cannot be written.
pub fn write_folder(
    dir: &Path,
    songs_per_genre: usize,
    seed: u64,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<()> {
    if songs_per_genre == 0 {
        return Err(Error::Usage(
            "0 songs a genre: ask for at least 1".to_owned(),
        ));
    }
    if dir.exists() {
        let mut entries = std::fs::read_dir(dir).map_err(Error::io("list", dir))?;
        if entries.next().is_some() {
            return Err(Error::Usage(format!(
                "{} is not empty: nothing was written; name a new or an empty folder",
                dir.display()
            )));
        }
    }
    for genre in GENRES {
        let folder = dir.join(genre);
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    }
    let total = GENRES.len() * songs_per_genre;
    let done = AtomicUsize::new(0);
    (0..total).into_par_iter().try_for_each(|index| {
        // Songs of one number side by side, so that what is written first is a set of all genres.
        let (song, genre) = ((index / GENRES.len()) as u64, index % GENRES.len());
        write_song(
            &dir.join(song_name(genre, song)),
            &render(genre, song, seed),
        )?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        Ok(())
    })
}

/// Writes one WAV file whole: under another name beside it first.
fn write_song(path: &Path, samples: &[f32]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("create", path))?;
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let failed = |error: hound::Error| match error {
        hound::Error::IoError(source) => Error::io("write", path)(source),
        other => Error::file(path, format!("cannot be written as WAV: {other}")),
    };
    let mut writer =
        hound::WavWriter::new(std::io::BufWriter::new(file.as_file_mut()), spec).map_err(failed)?;
    for &x in samples {
        writer
            .write_sample((x * 32_767.0).round() as i16)
            .map_err(failed)?;
    }
    writer.finalize().map_err(failed)?;
    file.persist(path)
        .map_err(|error| Error::io("write", path)(error.error))?;
    Ok(())
}
