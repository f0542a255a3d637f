//! Which segments train and which validate.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::dataset::Dataset;
use crate::data::fault_filtered::{self, List};
use crate::error::{Error, Result};
use crate::names;
use crate::random::Random;

mod divide;
mod notes;
mod units;

use divide::Unit;
use units::units;

/// The first word of the random key that shuffles segments.
const SEGMENTS: u64 = 0x736567;

/// How training and validation are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitKind {
    /// [`SplitKind::Group`] where the folder has a `groups.csv`, else [`SplitKind::Song`].
    #[default]
    Auto,
    /// Whole songs, the same share of every genre.
    Song,
    /// Whole groups of songs (an artist's, an album's), as near to the same share of every genre as they allow.
    Group,
    /// Segments, whatever their song: a song's parts stand on both sides, so the figures are too high. The published
    /// comparisons were made so; this reproduces them.
    Segment,
    /// GTZAN's published lists without its faults, so that figures compare with the literature.
    FaultFiltered,
}

impl SplitKind {
    /// All kinds, the default first.
    pub const ALL: [Self; 5] = [
        Self::Auto,
        Self::Song,
        Self::Group,
        Self::Segment,
        Self::FaultFiltered,
    ];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Song => "song",
            Self::Group => "group",
            Self::Segment => "segment",
            Self::FaultFiltered => "fault-filtered",
        }
    }

    /// The kind that `Auto` stands for with this set; any other kind is itself.
    pub fn resolve(self, dataset: &Dataset) -> Self {
        match self {
            Self::Auto if dataset.has_groups => Self::Group,
            Self::Auto => Self::Song,
            kind => kind,
        }
    }
}

impl fmt::Display for SplitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SplitKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| Error::Usage(names::unknown("split", text, &Self::ALL.map(Self::name))))
    }
}

/// Which segments of a [`Dataset`] train and which validate.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// How they were told apart; never [`SplitKind::Auto`].
    pub kind: SplitKind,
    /// The training segments, rising.
    pub train: Vec<u32>,
    /// The validation segments, rising.
    pub validation: Vec<u32>,
    /// True where a song, or two files with the same bytes, have segments on both sides: validation figures are then
    /// too high.
    pub leaks: bool,
    /// The songs that have a segment in training.
    pub songs_train: usize,
    /// The songs that have a segment in validation.
    pub songs_validation: usize,
    /// What a person should know, a sentence each: the shares, what leaks, what was set aside.
    pub notes: Vec<String>,
}

/// Splits a set; the same arguments always give the same split.
///
/// `validation` is the wanted share of songs (of segments for [`SplitKind::Segment`]), above 0 and below 1;
/// [`SplitKind::FaultFiltered`] has its own. Every genre stands on both sides of a split by song or group. Files with
/// the same bytes count as one song.
///
/// # Errors
/// [`Error::Usage`] where `validation` is not above 0 and below 1. [`Error::Data`], naming the genre and the way out,
/// where the data allow no such split: one song or group only, none of GTZAN's names.
pub fn split(dataset: &Dataset, kind: SplitKind, validation: f64, seed: u64) -> Result<Split> {
    check_share(validation)?;
    let kind = kind.resolve(dataset);
    match kind {
        SplitKind::Segment => by_segment(dataset, validation, seed),
        SplitKind::FaultFiltered => by_lists(dataset),
        _ => {
            let units = units(dataset, kind, 2)?;
            let validates = divide::divide(&units, dataset.genres.len(), validation, seed);
            let mut split = from_units(dataset, kind, &units, |unit| validates[unit]);
            require_both_sides(dataset, &split)?;
            split.notes.extend(notes::copies(dataset));
            split.notes.extend(notes::parted_groups(dataset, &split));
            Ok(split)
        }
    }
}

/// Splits a set `folds` ways, so that every song validates in exactly one of them: cross-validation.
///
/// # Errors
/// [`Error::Usage`]: fewer than two folds, a kind other than song, group or auto. [`Error::Data`], naming the genre
/// and the way out: a genre with fewer songs or groups than folds.
pub fn folds(dataset: &Dataset, kind: SplitKind, folds: usize, seed: u64) -> Result<Vec<Split>> {
    if folds < 2 {
        return Err(Error::Usage(format!(
            "{folds} fold(s) cannot validate: use 2 or more"
        )));
    }
    let kind = kind.resolve(dataset);
    if !matches!(kind, SplitKind::Song | SplitKind::Group) {
        return Err(Error::Usage(format!(
            "folds are by song or group, not '{kind}': use --split song or --split group"
        )));
    }
    let units = units(dataset, kind, folds)?;
    let fold_of = divide::deal(&units, dataset.genres.len(), folds, seed);
    let copies = notes::copies(dataset);
    (0..folds)
        .map(|fold| {
            let mut split = from_units(dataset, kind, &units, |unit| fold_of[unit] == fold);
            require_both_sides(dataset, &split)?;
            split.notes.extend(copies.clone());
            split.notes.extend(notes::parted_groups(dataset, &split));
            Ok(split)
        })
        .collect()
}

/// The split where the units for which `validates` holds validate.
fn from_units(
    dataset: &Dataset,
    kind: SplitKind,
    units: &[Unit],
    validates: impl Fn(usize) -> bool,
) -> Split {
    let mut side = vec![Side::Train; dataset.songs.len()];
    for (index, unit) in units.iter().enumerate() {
        if validates(index) {
            for song in &unit.songs {
                side[*song] = Side::Validation;
            }
        }
    }
    let mut split = from_songs(dataset, kind, &side);
    split.notes.push(notes::shares(dataset, &split, &side));
    split
}

/// Where a song stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Train,
    Validation,
    Neither,
}

/// The split that puts all segments of a song on the song's side.
fn from_songs(dataset: &Dataset, kind: SplitKind, side: &[Side]) -> Split {
    let of = |wanted: Side| -> Vec<u32> {
        (0..dataset.segment_count() as u32)
            .filter(|segment| side[dataset.song_of(*segment as usize)] == wanted)
            .collect()
    };
    assemble(dataset, kind, of(Side::Train), of(Side::Validation))
}

/// Counts the songs of both sides and finds what stands on both.
fn assemble(dataset: &Dataset, kind: SplitKind, train: Vec<u32>, validation: Vec<u32>) -> Split {
    let songs = |segments: &[u32]| {
        let mut songs: Vec<usize> = segments
            .iter()
            .map(|segment| dataset.song_of(*segment as usize))
            .collect();
        songs.dedup();
        songs
    };
    let (train_songs, validation_songs) = (songs(&train), songs(&validation));
    let trained: HashSet<_> = train_songs
        .iter()
        .map(|song| dataset.songs[*song].content)
        .collect();
    Split {
        kind,
        leaks: validation_songs
            .iter()
            .any(|song| trained.contains(&dataset.songs[*song].content)),
        songs_train: train_songs.len(),
        songs_validation: validation_songs.len(),
        train,
        validation,
        notes: Vec::new(),
    }
}

fn by_segment(dataset: &Dataset, fraction: f64, seed: u64) -> Result<Split> {
    let count = dataset.segment_count();
    if count < 2 {
        return Err(Error::Data("one segment cannot be split: add songs".into()));
    }
    let mut order: Vec<u32> = (0..count as u32).collect();
    Random::new(&[SEGMENTS, seed]).shuffle(&mut order);
    let held = ((fraction * count as f64).round() as usize).clamp(1, count - 1);
    let mut train = order.split_off(held);
    order.sort_unstable();
    train.sort_unstable();
    let mut split = assemble(dataset, SplitKind::Segment, train, order);
    if split.leaks {
        split.notes.push(
            "split by segment: parts of one song train and validate, so the validation figures are too high; \
             --split song gives honest ones"
                .into(),
        );
    }
    Ok(split)
}

fn by_lists(dataset: &Dataset) -> Result<Split> {
    let lists: Vec<Option<List>> = dataset
        .songs
        .iter()
        .map(|song| fault_filtered::list_of(&song.path))
        .collect();
    let count = |wanted: Option<List>| lists.iter().filter(|list| **list == wanted).count();
    // The built-in songs have names of the same form, and are not GTZAN's.
    if dataset.built_in || count(None) == lists.len() {
        let what = match dataset.built_in {
            true => "the built-in songs are not GTZAN's",
            false => "no song is named as GTZAN names its own, <genre>/<genre>.00029.wav",
        };
        return Err(Error::Data(format!(
            "{what}, and --split fault-filtered is the published split of GTZAN: use --split song"
        )));
    }
    let side: Vec<Side> = lists
        .iter()
        .map(|list| match list {
            Some(List::Train) => Side::Train,
            Some(List::Validation) => Side::Validation,
            Some(List::Test) | None => Side::Neither,
        })
        .collect();
    let mut split = from_songs(dataset, SplitKind::FaultFiltered, &side);
    require_both_sides(dataset, &split)?;
    split.notes.push(notes::shares(dataset, &split, &side));
    split.notes.push(format!(
        "the published lists, whatever --validation says: {} of {} training songs and {} of {} validation songs are \
         here; {} test song(s) in neither, {} song(s) in no list set aside",
        count(Some(List::Train)),
        fault_filtered::length(List::Train),
        count(Some(List::Validation)),
        fault_filtered::length(List::Validation),
        count(Some(List::Test)),
        count(None),
    ));
    if split.leaks {
        split.notes.push(
            "files with the same bytes are in the training and the validation list: figures are too high".into(),
        );
    }
    Ok(split)
}

/// Every genre must have a song on either side.
fn require_both_sides(dataset: &Dataset, split: &Split) -> Result<()> {
    let (train, validation) = (
        genres_of(dataset, &split.train),
        genres_of(dataset, &split.validation),
    );
    for (genre, name) in dataset.genres.iter().enumerate() {
        let side = match (train[genre], validation[genre]) {
            (true, true) => continue,
            (false, _) => "training",
            (true, false) => "validation",
        };
        return Err(Error::Data(match split.kind {
            SplitKind::FaultFiltered => format!(
                "genre '{name}' has no song in the {side} list of GTZAN: add its songs, use --split song, or leave it \
                 out by --genres"
            ),
            _ => format!(
                "no way found to keep groups whole and have songs of genre '{name}' in {side}, as groups span genres: \
                 use --split song, or leave it out by --genres"
            ),
        }));
    }
    Ok(())
}

/// Which genres the segments are of.
fn genres_of(dataset: &Dataset, segments: &[u32]) -> Vec<bool> {
    let mut here = vec![false; dataset.genres.len()];
    for segment in segments {
        here[dataset.label(*segment as usize)] = true;
    }
    here
}

/// Refuses a share that cannot be held out, before any song is read.
///
/// # Errors
/// [`Error::Usage`] where `validation` is not above 0 and below 1.
pub fn check_share(validation: f64) -> Result<()> {
    if validation > 0.0 && validation < 1.0 {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "a validation share of {validation} is not above 0 and below 1: try 0.2"
    )))
}
