//! What a person should know of a split.

use std::collections::{HashMap, HashSet};

use super::{Side, Split};
use crate::data::dataset::Dataset;

/// `validation holds 47 of 243 songs (19.3 %): ambient 4 of 27, ...`
pub(super) fn shares(dataset: &Dataset, split: &Split, side: &[Side]) -> String {
    let mut used = vec![0; dataset.genres.len()];
    let mut held = vec![0; dataset.genres.len()];
    for (song, side) in dataset.songs.iter().zip(side) {
        used[song.genre] += usize::from(*side != Side::Neither);
        held[song.genre] += usize::from(*side == Side::Validation);
    }
    let genres: Vec<String> = (0..used.len())
        .map(|genre| {
            format!(
                "{} {} of {}",
                dataset.genres[genre], held[genre], used[genre]
            )
        })
        .collect();
    let songs = split.songs_train + split.songs_validation;
    format!(
        "validation holds {} of {songs} songs ({:.1} %): {}",
        split.songs_validation,
        100.0 * split.songs_validation as f64 / songs as f64,
        genres.join(", ")
    )
}

/// What to say of files with the same bytes.
pub(super) fn copies(dataset: &Dataset) -> Option<String> {
    let mut first: HashMap<[u8; 32], usize> = HashMap::new();
    let mut pairs = Vec::new();
    for (index, song) in dataset.songs.iter().enumerate() {
        match first.get(&song.content) {
            Some(original) => pairs.push((&dataset.songs[*original], song)),
            None => {
                first.insert(song.content, index);
            }
        }
    }
    let (original, copy) = pairs.first()?;
    let genres = match pairs
        .iter()
        .filter(|(original, copy)| original.genre != copy.genre)
        .count()
    {
        0 => String::new(),
        count => format!(
            "; {count} stand under another genre than their original, where no model can be right"
        ),
    };
    Some(format!(
        "{} song(s) are byte for byte copies of others and stay on one side with them (first: {} is {}){genres}",
        pairs.len(),
        copy.path,
        original.path
    ))
}

/// What to say of groups that a split by song parts.
pub(super) fn parted_groups(dataset: &Dataset, split: &Split) -> Option<String> {
    let groups = |segments: &[u32]| -> HashSet<&str> {
        segments
            .iter()
            .filter_map(|segment| {
                dataset.songs[dataset.song_of(*segment as usize)]
                    .group
                    .as_deref()
            })
            .collect()
    };
    let parted = groups(&split.train)
        .intersection(&groups(&split.validation))
        .count();
    (parted > 0).then(|| {
        format!("{parted} group(s) of groups.csv have songs on both sides, which flatters the figures: --split group \
             keeps them whole")
    })
}
