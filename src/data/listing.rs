//! What a source holds before anything is decoded: its genres and songs, and where each song comes from.

use std::fs::File;
use std::path::PathBuf;

use crate::audio;
use crate::data::dataset::LeftOut;
use crate::data::synth;
use crate::error::{Error, Result};
use crate::names;

/// The songs of a source, by genre and then name.
pub(super) struct Listing {
    /// What to call the source in an error.
    pub(super) name: String,
    /// The classes, sorted by name.
    pub(super) genres: Vec<String>,
    /// The songs, sorted by genre and name.
    pub(super) entries: Vec<Entry>,
    /// Audio files that can belong to no genre.
    pub(super) left_out: Vec<LeftOut>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
    /// True where the folder says which songs belong together.
    pub(super) has_groups: bool,
    /// True where the synthesiser makes the songs.
    pub(super) built_in: bool,
}

/// One song that is yet to be read.
pub(super) struct Entry {
    /// `<genre>/<song>`, with `/` on every system.
    pub(super) path: String,
    /// Index into [`Listing::genres`].
    pub(super) genre: usize,
    /// What it must not be parted from.
    pub(super) group: Option<String>,
    /// Where its samples come from.
    pub(super) origin: Origin,
}

/// Where a song's samples come from.
pub(super) enum Origin {
    /// An audio file.
    File(PathBuf),
    /// The built-in synthesiser: its genre (index into [`synth::GENRES`]), song and seed.
    Rendered { genre: usize, song: u64, seed: u64 },
}

impl Origin {
    /// Tells one content from another: the hash of the file's bytes, or of what the synthesiser makes the song from.
    pub(super) fn content(&self) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        match self {
            Self::File(path) => {
                let file = File::open(path).map_err(Error::io("read", path))?;
                hasher
                    .update_reader(file)
                    .map_err(Error::io("read", path))?;
            }
            Self::Rendered { genre, song, seed } => {
                let name = synth::GENRES[*genre];
                let version = synth::VERSION;
                hasher.update(format!("synth {version} {name} {song} {seed}").as_bytes());
            }
        }
        Ok(*hasher.finalize().as_bytes())
    }

    /// The mono samples at [`audio::SAMPLE_RATE`].
    pub(super) fn samples(&self) -> Result<Vec<f32>> {
        match self {
            Self::File(path) => audio::load(path),
            Self::Rendered { genre, song, seed } => Ok(synth::render(*genre, *song, *seed)),
        }
    }
}

/// The songs of the built-in synthesiser.
///
/// # Errors
/// [`Error::Usage`]: no songs, an unknown genre, fewer than two genres.
pub(super) fn built_in(songs: usize, seed: u64, chosen: Option<&[String]>) -> Result<Listing> {
    if songs == 0 {
        return Err(Error::Usage(
            "the built-in set needs at least one song a genre, not 0".into(),
        ));
    }
    let genres = choose(&synth::GENRES.map(str::to_owned), chosen)?;
    let mut entries = Vec::with_capacity(genres.len() * songs);
    for (label, name) in genres.iter().enumerate() {
        for (genre, _) in synth::GENRES
            .iter()
            .enumerate()
            .filter(|(_, known)| *known == name)
        {
            entries.extend((0..songs as u64).map(|song| Entry {
                path: synth::song_name(genre, song),
                genre: label,
                group: None,
                origin: Origin::Rendered { genre, song, seed },
            }));
        }
    }
    Ok(Listing {
        name: "the built-in set".into(),
        genres,
        entries,
        left_out: Vec::new(),
        notes: Vec::new(),
        has_groups: false,
        built_in: true,
    })
}

/// The chosen genres, or all of them: sorted by name, so that one choice in any order gives one model.
///
/// # Errors
/// [`Error::Usage`]: an unknown name, fewer than two chosen.
pub(super) fn choose(known: &[String], chosen: Option<&[String]>) -> Result<Vec<String>> {
    let mut known = known.to_vec();
    known.sort_unstable();
    let Some(chosen) = chosen else {
        return Ok(known);
    };
    let mut genres: Vec<String> = chosen.iter().map(|name| name.trim().to_owned()).collect();
    if let Some(name) = genres.iter().find(|name| !known.contains(name)) {
        return Err(Error::Usage(names::unknown("genre", name, &known)));
    }
    genres.sort_unstable();
    genres.dedup();
    if genres.len() < 2 {
        return Err(Error::Usage(format!(
            "--genres names {}: choose at least two of {}",
            genres
                .first()
                .map_or("none".into(), |name| format!("'{name}' only")),
            known.join(", ")
        )));
    }
    Ok(genres)
}
