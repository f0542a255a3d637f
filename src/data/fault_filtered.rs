//! GTZAN's published fault-filtered lists: which of its songs train, validate and test.
//!
//! C. Kereliuk, B. L. Sturm and J. Larsen, "Deep Learning and Music Adversaries", 2015: replicas, distorted songs and
//! most mislabelled ones left out, no artist in two lists; 443 training, 197 validation and 290 test songs.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The list that a song stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Train,
    Validation,
    Test,
}

static LISTS: LazyLock<HashMap<&'static str, List>> = LazyLock::new(|| {
    include_str!("../../fixtures/gtzan/fault_filtered_split.csv")
        .lines()
        .filter_map(|line| {
            let (list, song) = line.trim_end().split_once(',')?;
            let list = match list {
                "train" => List::Train,
                "valid" => List::Validation,
                "test" => List::Test,
                _ => return None,
            };
            Some((song, list))
        })
        .collect()
});

/// The list of a song by its path: `blues/blues.00029.wav` is `blues.00029`, whatever its folder and extension.
pub(super) fn list_of(path: &str) -> Option<List> {
    let name = path.rsplit('/').next()?;
    let (stem, _) = name.rsplit_once('.')?;
    LISTS.get(stem.to_ascii_lowercase().as_str()).copied()
}

/// The number of songs in a list.
pub(super) fn length(list: List) -> usize {
    LISTS.values().filter(|of| **of == list).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_whole() {
        // The counts of the publication.
        assert_eq!(length(List::Train), 443);
        assert_eq!(length(List::Validation), 197);
        assert_eq!(length(List::Test), 290);
        assert_eq!(LISTS.len(), 930);
    }

    #[test]
    fn a_song_is_found_by_its_stem() {
        assert_eq!(list_of("blues/blues.00029.wav"), Some(List::Train));
        assert_eq!(list_of("jazz/JAZZ.00054.au"), Some(List::Train));
        assert_eq!(
            list_of("blues/blues.00029"),
            None,
            "'.00029' is not an extension of audio"
        );
        assert_eq!(list_of("blues/blues.029.wav"), None);
        assert_eq!(list_of("blues/song.wav"), None);
    }
}
