//! Which songs stay together: those of one group, and files with the same bytes.

use std::collections::{BTreeMap, HashMap};

use super::SplitKind;
use super::divide::{self, Unit};
use crate::data::dataset::Dataset;
use crate::error::{Error, Result};

/// The sets of songs that stay together, each genre having at least `least` of them.
pub(super) fn units(dataset: &Dataset, kind: SplitKind, least: usize) -> Result<Vec<Unit>> {
    let songs = &dataset.songs;
    // Each song's set is named by its first song; joining two renames the later one.
    let mut set_of: Vec<usize> = (0..songs.len()).collect();
    let root = |set_of: &[usize], mut song: usize| {
        while set_of[song] != song {
            song = set_of[song];
        }
        song
    };
    let mut by_content: HashMap<[u8; 32], usize> = HashMap::new();
    let mut by_group: HashMap<&str, usize> = HashMap::new();
    for (index, song) in songs.iter().enumerate() {
        let mut join = vec![*by_content.entry(song.content).or_insert(index)];
        if let (SplitKind::Group, Some(group)) = (kind, &song.group) {
            join.push(*by_group.entry(group).or_insert(index));
        }
        for other in join {
            let (a, b) = (root(&set_of, index), root(&set_of, other));
            set_of[a.max(b)] = a.min(b);
        }
    }
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in 0..songs.len() {
        sets.entry(root(&set_of, index)).or_default().push(index);
    }
    let units: Vec<Unit> = sets
        .into_values()
        .map(|members| {
            let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
            for song in &members {
                *counts.entry(songs[*song].genre).or_default() += 1;
            }
            Unit {
                songs: members,
                counts: counts.into_iter().collect(),
            }
        })
        .collect();

    let mut held = vec![0; dataset.genres.len()];
    for (genre, _) in units.iter().flat_map(|unit| &unit.counts) {
        held[*genre] += 1;
    }
    let totals = divide::totals(&units, dataset.genres.len());
    match (0..held.len()).find(|genre| held[*genre] < least) {
        Some(genre) => Err(too_few(
            dataset,
            kind,
            genre,
            held[genre],
            totals[genre],
            least,
        )),
        None => Ok(units),
    }
}

/// The error for a genre with too few songs or groups to stand on every side.
fn too_few(
    dataset: &Dataset,
    kind: SplitKind,
    genre: usize,
    units: usize,
    songs: usize,
    least: usize,
) -> Error {
    let name = &dataset.genres[genre];
    let wanted = match least {
        2 => "a split needs one to train and one to validate".into(),
        folds => format!("{folds} folds need one each"),
    };
    let what = match (kind, units < songs) {
        (SplitKind::Group, _) => format!("{units} group(s) ({songs} songs)"),
        (_, true) => {
            format!("{units} different song(s) ({songs} files, some the same byte for byte)")
        }
        (_, false) => format!("{units} song(s)"),
    };
    let way_out = match kind {
        SplitKind::Group if songs >= least => "add songs of other groups, or use --split song",
        _ => "add songs",
    };
    Error::Data(format!(
        "genre '{name}' has {what} and {wanted}: {way_out}, or leave it out by --genres"
    ))
}
