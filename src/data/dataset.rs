//! A set of songs by genre with the log-mel features of each.

use super::features::{Features, FeaturesWriter, MemoryLimit};
use crate::audio::FrontEnd;
use crate::error::{Error, Result};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Songs by genre and their features.
///
/// A song is cut into segments (of either front end); all segments of all songs stand one after the other, song
/// after song, in the order of [`Dataset::songs`].
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The classes, sorted by name; a label is an index into them.
    pub genres: Vec<String>,
    /// The songs, sorted by genre and name.
    pub songs: Vec<Song>,
    /// The front end that made the features.
    pub front_end: FrontEnd,
    /// Songs that could not be used, by path, and why.
    pub left_out: Vec<LeftOut>,
    /// What a person should know about the folder and the cache, a sentence each.
    pub notes: Vec<String>,
    /// Where the features came from.
    pub stats: Stats,
    /// True where a `groups.csv` says which songs belong together: then `group` is the default split.
    pub has_groups: bool,
    /// True for the built-in synthesiser's songs.
    pub built_in: bool,
    /// Names this set: BLAKE3, in hexadecimal, over the front end's constants and each song's path, genre, group
    /// and content, in the order of paths. Another folder with the same files has the same fingerprint.
    pub fingerprint: String,
    features: Features,
    /// When the features of a set made of this one leave memory.
    limit: Option<MemoryLimit>,
    /// The number of values of a segment.
    segment_len: usize,
    /// The song of each segment.
    song_of: Vec<u32>,
}

/// One song of a [`Dataset`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Song {
    /// `<genre>/<song>`, relative to the data folder, with `/` on every system.
    pub path: String,
    /// Index into [`Dataset::genres`].
    pub genre: usize,
    /// Songs of one group (artist, album) stay on one side of a `group` split; `None` is a group of its own.
    pub group: Option<String>,
    /// BLAKE3 of the file's bytes: songs with one content stay on one side of a split.
    pub content: [u8; 32],
    /// Index of its first segment.
    pub first_segment: usize,
    /// How many segments it has, at least 1.
    pub segments: usize,
}

/// A song that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftOut {
    /// `<genre>/<song>`, relative to the data folder.
    pub path: String,
    /// Why, for a person.
    pub reason: String,
}

/// Where the features of a [`Dataset`] came from, in songs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Decoded or rendered, and put through the front end.
    pub decoded: usize,
    /// Taken from the cache.
    pub cached: usize,
    /// Of the decoded ones, those with a damaged or stale cache entry, which was not used.
    pub damaged: usize,
}

/// One song with its features, on the way into a [`Dataset`].
#[derive(Debug, Clone)]
pub struct SongFeatures {
    /// `<genre>/<song>`.
    pub path: String,
    /// Index into the genres.
    pub genre: usize,
    /// What it must not be parted from.
    pub group: Option<String>,
    /// Tells one content from another.
    pub content: [u8; 32],
    /// Its segments one after the other, [segments, frames, mels], in dB.
    pub features: Vec<f32>,
}

impl Dataset {
    /// A set from features that are at hand.
    ///
    /// # Errors
    /// [`Error::Data`]: no song, a genre without one, features that are not whole segments or none, over 2^32 segments.
    pub fn from_songs(
        genres: Vec<String>,
        front_end: FrontEnd,
        songs: Vec<SongFeatures>,
    ) -> Result<Self> {
        let mut builder = Builder::new(genres, front_end, None);
        for song in songs {
            builder.push(song)?;
        }
        builder.finish()
    }

    /// A set without songs.
    fn empty(genres: Vec<String>, front_end: FrontEnd) -> Self {
        Self {
            genres,
            segment_len: front_end.shape().len(),
            songs: Vec::new(),
            front_end,
            left_out: Vec::new(),
            notes: Vec::new(),
            stats: Stats::default(),
            has_groups: false,
            built_in: false,
            fingerprint: String::new(),
            features: Features::Memory(Vec::new()),
            limit: None,
            song_of: Vec::new(),
        }
    }

    /// The set without the songs of these paths, which are listed as left out for this reason.
    ///
    /// # Errors
    /// [`Error::Data`] where a genre has no other song.
    pub fn without(&self, paths: &BTreeSet<String>, reason: &str) -> Result<Self> {
        let mut builder = Builder::new(self.genres.clone(), self.front_end, self.limit.clone());
        let dataset = &mut builder.dataset;
        dataset.left_out = self.left_out.clone();
        dataset.notes = self.notes.clone();
        dataset.stats = self.stats;
        dataset.built_in = self.built_in;
        for song in &self.songs {
            if paths.contains(&song.path) {
                builder.dataset.left_out.push(LeftOut {
                    path: song.path.clone(),
                    reason: reason.into(),
                });
                continue;
            }
            let (first, length) = (song.first_segment, self.segment_len);
            builder.push(SongFeatures {
                path: song.path.clone(),
                genre: song.genre,
                group: song.group.clone(),
                content: song.content,
                features: self.features[first * length..(first + song.segments) * length].to_vec(),
            })?;
        }
        builder.dataset.has_groups = self.has_groups;
        builder.finish()
    }

    /// The same songs with their genres numbered as in `genres`, which may have more.
    ///
    /// # Errors
    /// [`Error::Data`] where `genres` lacks one of the set's.
    pub fn with_genres(mut self, genres: &[String]) -> Result<Self> {
        for song in &mut self.songs {
            let name = &self.genres[song.genre];
            let number = genres.iter().position(|genre| genre == name);
            song.genre = number
                .ok_or_else(|| Error::Data(format!("genre '{name}' is not among the others")))?;
        }
        self.genres = genres.to_vec();
        Ok(self)
    }

    /// The number of segments of all songs.
    pub fn segment_count(&self) -> usize {
        self.song_of.len()
    }

    /// The features of segment `i` in dB, [frames, mels] row by row.
    ///
    /// # Panics
    /// Where `i` is not below [`Dataset::segment_count`]; so do [`Dataset::song_of`] and [`Dataset::label`].
    pub fn segment(&self, i: usize) -> &[f32] {
        let length = self.segment_len;
        &self.features[i * length..(i + 1) * length]
    }

    /// The song of segment `i`: an index into [`Dataset::songs`].
    pub fn song_of(&self, i: usize) -> usize {
        self.song_of[i] as usize
    }

    /// The genre of segment `i`: an index into [`Dataset::genres`].
    pub fn label(&self, i: usize) -> usize {
        self.songs[self.song_of(i)].genre
    }

    /// The shape of a segment: [frames, mels].
    pub fn segment_shape(&self) -> Shape {
        self.front_end.shape()
    }

    /// The number of values of a segment: frames times mels.
    pub fn segment_len(&self) -> usize {
        self.segment_len
    }

    /// The number of songs of each genre.
    pub fn songs_by_genre(&self) -> Vec<usize> {
        let mut songs = vec![0; self.genres.len()];
        for song in &self.songs {
            songs[song.genre] += 1;
        }
        songs
    }

    fn compute_fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        // A length before each text, so that no two sets can run into the same bytes.
        let mut text = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        text(&self.front_end.constants());
        let mut songs: Vec<&Song> = self.songs.iter().collect();
        songs.sort_by(|a, b| a.path.cmp(&b.path));
        for song in songs {
            text(&song.path);
            text(&self.genres[song.genre]);
            text(if song.group.is_some() {
                "group"
            } else {
                "alone"
            });
            text(song.group.as_deref().unwrap_or_default());
            text(blake3::Hash::from_bytes(song.content).to_hex().as_str());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// A [`Dataset`] in the making.
pub(super) struct Builder {
    /// Everything but the features.
    pub(super) dataset: Dataset,
    features: FeaturesWriter,
}

impl Builder {
    pub(super) fn new(
        genres: Vec<String>,
        front_end: FrontEnd,
        limit: Option<MemoryLimit>,
    ) -> Self {
        Self {
            dataset: Dataset {
                limit: limit.clone(),
                ..Dataset::empty(genres, front_end)
            },
            features: FeaturesWriter::new(limit),
        }
    }

    /// Adds a song's segments behind those of the others.
    pub(super) fn push(&mut self, song: SongFeatures) -> Result<()> {
        let set = &mut self.dataset;
        let length = set.segment_len;
        let segments = song.features.len() / length;
        if segments == 0
            || !song.features.len().is_multiple_of(length)
            || song.genre >= set.genres.len()
        {
            return Err(Error::Data(format!(
                "{}: {} values of genre {} are not segments of {} of one of {} genres",
                song.path,
                song.features.len(),
                song.genre,
                set.segment_shape(),
                set.genres.len()
            )));
        }
        let first_segment = set.song_of.len();
        if u32::try_from(first_segment + segments).is_err() {
            return Err(Error::Data("over 2^32 segments: use fewer songs".into()));
        }
        set.song_of
            .resize(first_segment + segments, set.songs.len() as u32);
        self.features.push(&song.features)?;
        set.has_groups |= song.group.is_some();
        set.songs.push(Song {
            path: song.path,
            genre: song.genre,
            group: song.group,
            content: song.content,
            first_segment,
            segments,
        });
        Ok(())
    }

    /// Checks the whole and computes the fingerprint.
    pub(super) fn finish(self) -> Result<Dataset> {
        let mut set = self.dataset;
        if let Some(genre) = set.songs_by_genre().iter().position(|songs| *songs == 0) {
            return Err(Error::Data(format!(
                "genre '{}' has no song",
                set.genres[genre]
            )));
        }
        if set.songs.is_empty() {
            return Err(Error::Data("no song".into()));
        }
        set.left_out.sort_unstable();
        set.fingerprint = set.compute_fingerprint();
        set.features = self.features.finish()?;
        Ok(set)
    }
}
