//! Splits: nothing on both sides, every genre on each, the same for the same seed.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sonograd::Error;
use sonograd::audio::FrontEnd;
use sonograd::data::{Dataset, LoadOptions, Source, Split, SplitKind, folds, load, split};

use crate::support::{Folder, Invented, invent, message};

fn songs_of(dataset: &Dataset, segments: &[u32]) -> BTreeSet<usize> {
    segments
        .iter()
        .map(|segment| dataset.song_of(*segment as usize))
        .collect()
}

fn genres_of(dataset: &Dataset, segments: &[u32]) -> BTreeSet<usize> {
    segments
        .iter()
        .map(|segment| dataset.label(*segment as usize))
        .collect()
}

/// Both sides together are all segments, each once.
fn assert_covers(dataset: &Dataset, split: &Split) {
    let mut all = [&split.train[..], &split.validation[..]].concat();
    all.sort_unstable();
    assert_eq!(all, (0..dataset.segment_count() as u32).collect::<Vec<_>>());
    assert!(split.train.is_sorted() && split.validation.is_sorted());
    assert_eq!(split.songs_train, songs_of(dataset, &split.train).len());
    assert_eq!(
        split.songs_validation,
        songs_of(dataset, &split.validation).len()
    );
}

/// `genres` genres, each with at least `least` groups of 1 to 4 songs of 1 to 5 segments; some songs in no group.
fn invented(least: usize) -> impl Strategy<Value = (usize, Vec<Invented>)> {
    let song = 1usize..6;
    let group = prop::collection::vec(song, 1..5);
    let genre = prop::collection::vec((group, any::<bool>()), least..8);
    prop::collection::vec(genre, 2..6).prop_map(|genres| {
        let mut names = 0..;
        let mut songs = Vec::new();
        let count = genres.len();
        for (genre, groups) in genres.into_iter().enumerate() {
            for (group, listed) in groups {
                let name = names.next();
                // A song in no group is a group of its own.
                let lengths = if listed { group } else { group[..1].to_vec() };
                songs.extend(
                    lengths
                        .into_iter()
                        .map(|segments| (genre, name.filter(|_| listed), segments)),
                );
            }
        }
        (count, songs)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn by_song_no_song_is_parted_and_every_genre_has_its_share(
        (genres, songs) in invented(2), fraction in 0.02f64..0.98, seed: u64,
    ) {
        let dataset = invent(genres, &songs);
        let split = split(&dataset, SplitKind::Song, fraction, seed).unwrap();
        assert_covers(&dataset, &split);
        let validates = songs_of(&dataset, &split.validation);
        prop_assert!(validates.is_disjoint(&songs_of(&dataset, &split.train)));
        prop_assert!(!split.leaks);
        for (genre, total) in dataset.songs_by_genre().into_iter().enumerate() {
            let held = validates.iter().filter(|song| dataset.songs[**song].genre == genre).count();
            let wanted = (fraction * total as f64).clamp(1.0, total as f64 - 1.0);
            prop_assert!((held as f64 - wanted).abs() <= 0.5 + 1e-9, "{held} of {total} at {fraction}");
        }
    }

    #[test]
    fn by_group_no_group_is_parted_and_every_genre_is_on_both_sides(
        (genres, songs) in invented(2), fraction in 0.02f64..0.98, seed: u64,
    ) {
        let dataset = invent(genres, &songs);
        let split = split(&dataset, SplitKind::Group, fraction, seed).unwrap();
        assert_covers(&dataset, &split);
        let groups = |segments: &[u32]| -> BTreeSet<String> {
            songs_of(&dataset, segments).iter().filter_map(|song| dataset.songs[*song].group.clone()).collect()
        };
        prop_assert!(groups(&split.train).is_disjoint(&groups(&split.validation)));
        prop_assert!(songs_of(&dataset, &split.train).is_disjoint(&songs_of(&dataset, &split.validation)));
        prop_assert_eq!(genres_of(&dataset, &split.train).len(), genres);
        prop_assert_eq!(genres_of(&dataset, &split.validation).len(), genres);
        prop_assert!(!split.leaks);
    }

    #[test]
    fn folds_validate_every_song_once((genres, songs) in invented(4), count in 2usize..5, seed: u64) {
        let dataset = invent(genres, &songs);
        for kind in [SplitKind::Song, SplitKind::Group] {
            let folds = folds(&dataset, kind, count, seed).unwrap();
            prop_assert_eq!(folds.len(), count);
            let mut validated = Vec::new();
            for fold in &folds {
                assert_covers(&dataset, fold);
                prop_assert!(!fold.leaks);
                prop_assert_eq!(genres_of(&dataset, &fold.validation).len(), genres);
                validated.extend_from_slice(&fold.validation);
            }
            validated.sort_unstable();
            prop_assert_eq!(validated, (0..dataset.segment_count() as u32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn by_segment_the_share_is_of_segments((genres, songs) in invented(2), fraction in 0.02f64..0.98, seed: u64) {
        let dataset = invent(genres, &songs);
        let split = split(&dataset, SplitKind::Segment, fraction, seed).unwrap();
        assert_covers(&dataset, &split);
        let both = !songs_of(&dataset, &split.train).is_disjoint(&songs_of(&dataset, &split.validation));
        prop_assert_eq!(split.leaks, both);
        let wanted = fraction * dataset.segment_count() as f64;
        let most = dataset.segment_count() as f64 - 1.0;
        prop_assert!((split.validation.len() as f64 - wanted.clamp(1.0, most)).abs() <= 0.5 + 1e-9);
    }
}

/// Three genres of 20 songs of 15 segments in groups of two.
fn regular() -> Dataset {
    let songs: Vec<Invented> = (0..60)
        .map(|song| (song / 20, Some(song / 2), 15))
        .collect();
    invent(3, &songs)
}

#[test]
fn a_fifth_of_each_genre_validates() {
    let dataset = regular();
    for kind in [SplitKind::Song, SplitKind::Group] {
        let split = split(&dataset, kind, 0.2, 0).unwrap();
        assert_eq!((split.songs_train, split.songs_validation), (48, 12));
        assert_eq!((split.train.len(), split.validation.len()), (720, 180));
        assert_eq!(
            split.notes[0],
            "validation holds 12 of 60 songs (20.0 %): genre0 4 of 20, genre1 4 of 20, genre2 4 of 20"
        );
    }
    let by_song = split(&dataset, SplitKind::Song, 0.2, 0).unwrap();
    assert!(
        by_song.notes[1].contains("--split group"),
        "{:?}",
        by_song.notes
    );
    assert_eq!(
        split(&dataset, SplitKind::Group, 0.2, 0)
            .unwrap()
            .notes
            .len(),
        1
    );
    let split = split(&dataset, SplitKind::Segment, 0.2, 0).unwrap();
    assert_eq!((split.train.len(), split.validation.len()), (720, 180));
    assert!(
        split.leaks && split.notes[0].contains("too high"),
        "{:?}",
        split.notes
    );
}

#[test]
fn a_seed_gives_one_split_and_another_gives_another() {
    let dataset = regular();
    for kind in [SplitKind::Song, SplitKind::Group, SplitKind::Segment] {
        let with = |seed| split(&dataset, kind, 0.2, seed).unwrap();
        assert_eq!(with(1), with(1));
        let different: BTreeSet<Vec<u32>> = (0..20).map(|seed| with(seed).validation).collect();
        assert_eq!(different.len(), 20, "{kind}");
    }
    let with = |seed| folds(&dataset, SplitKind::Group, 5, seed).unwrap();
    assert_eq!(with(1), with(1));
    assert_ne!(with(1)[0].validation, with(2)[0].validation);
}

#[test]
fn auto_is_by_group_where_there_are_groups() {
    assert_eq!(
        split(&regular(), SplitKind::Auto, 0.2, 0).unwrap().kind,
        SplitKind::Group
    );
    let alone: Vec<Invented> = (0..8).map(|song| (song / 4, None, 1)).collect();
    assert_eq!(
        split(&invent(2, &alone), SplitKind::Auto, 0.25, 0)
            .unwrap()
            .kind,
        SplitKind::Song
    );
}

#[test]
fn what_cannot_be_split_names_the_genre_and_the_way_out() {
    let one_song = invent(2, &[(0, None, 3), (0, None, 3), (1, None, 3)]);
    message(
        split(&one_song, SplitKind::Song, 0.2, 0),
        &["genre 'genre1' has 1 song(s)", "add songs", "--genres"],
    );
    let one_group = invent(
        2,
        &[
            (0, Some(0), 1),
            (0, Some(1), 1),
            (1, Some(2), 1),
            (1, Some(2), 1),
        ],
    );
    message(
        split(&one_group, SplitKind::Auto, 0.2, 0),
        &["genre 'genre1' has 1 group(s) (2 songs)", "--split song"],
    );
    assert!(split(&one_group, SplitKind::Song, 0.5, 0).is_ok());
    message(
        folds(&regular(), SplitKind::Group, 11, 0),
        &["'genre0' has 10 group(s)", "11 folds"],
    );
    // Three artists, each of two of three genres: whoever validates, a genre is missing somewhere.
    let mut songs: Vec<Invented> = Vec::new();
    for (artist, (a, b)) in [(0, 1), (1, 2), (2, 0)].into_iter().enumerate() {
        songs.extend([(a, Some(artist), 1), (b, Some(artist), 1)]);
    }
    message(
        split(&invent(3, &songs), SplitKind::Group, 0.3, 0),
        &["groups span genres", "--split song"],
    );
}

#[test]
fn values_that_cannot_be_used_are_usage_errors() {
    let dataset = regular();
    for fraction in [0.0, 1.0, -0.1, 1.5, f64::NAN, f64::INFINITY] {
        for kind in SplitKind::ALL {
            assert!(
                matches!(split(&dataset, kind, fraction, 0), Err(Error::Usage(_))),
                "{fraction}"
            );
        }
    }
    for count in [0, 1] {
        assert!(matches!(
            folds(&dataset, SplitKind::Song, count, 0),
            Err(Error::Usage(_))
        ));
    }
    for kind in [SplitKind::Segment, SplitKind::FaultFiltered] {
        message(folds(&dataset, kind, 3, 0), &["--split song"]);
    }
}

#[test]
fn kinds_have_one_name_everywhere() {
    for kind in SplitKind::ALL {
        assert_eq!(kind.to_string().parse::<SplitKind>().unwrap(), kind);
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
    }
    message(
        "grup".parse::<SplitKind>(),
        &["'grup'", "did you mean 'group'", "fault-filtered"],
    );
}

#[test]
fn copies_stay_together_in_any_split_by_song() {
    // Two genres of four songs; in each, song 2 is a copy of song 0.
    let folder = Folder::new();
    for (genre, first) in [("a", 0), ("b", 10)] {
        for (song, number) in [(0, 0), (1, 1), (2, 0), (3, 3)] {
            folder.song(&format!("{genre}/{song}.wav"), 2.1, first + number);
        }
    }
    let dataset = folder.load().unwrap();
    for seed in 0..20 {
        let song = split(&dataset, SplitKind::Song, 0.5, seed).unwrap();
        assert!(!song.leaks);
        let validates = songs_of(&dataset, &song.validation);
        assert_eq!(validates.len(), 4);
        for first in [0, 4] {
            assert_eq!(validates.contains(&first), validates.contains(&(first + 2)));
        }
        assert!(
            song.notes[1].starts_with("2 song(s) are byte for byte copies")
                && song.notes[1].contains("a/2.wav is a/0.wav"),
            "{:?}",
            song.notes
        );
    }
    // Nothing but copies cannot be split.
    let copies = Folder::with(&["a/1.wav", "a/2.wav", "b/1.wav"]);
    copies.song("b/2.wav", 2.1, 2);
    message(
        split(&copies.load().unwrap(), SplitKind::Song, 0.5, 0),
        &["'b' has 1 different song(s) (2 files"],
    );
}

/// Songs named as GTZAN's, with their published list and one that is in none.
const GTZAN: [(&str, &str); 10] = [
    ("blues.00029", "train"),
    ("blues.00030", "train"),
    ("blues.00000", "valid"),
    ("blues.00012", "test"),
    ("blues.00100", "none"),
    ("jazz.00054", "train"),
    ("jazz.00000", ""),
    ("jazz.00001", ""),
    ("jazz.00002", ""),
    ("jazz.00051", ""),
];

#[test]
fn the_published_lists_decide_whatever_the_fraction() {
    let published = std::fs::read_to_string("fixtures/gtzan/fault_filtered_split.csv").unwrap();
    let list = |song: &str| {
        let row = published
            .lines()
            .find(|line| line.ends_with(&format!(",{song}")));
        row.map_or("none", |line| line.split_once(',').unwrap().0)
    };
    // All of jazz, so that every list has some of it.
    let names: Vec<String> = GTZAN
        .iter()
        .map(|(song, _)| song.to_string())
        .filter(|song| song.starts_with("blues"))
        .chain((0..100).map(|song| format!("jazz.{song:05}")))
        .collect();
    for (song, expected) in GTZAN.iter().filter(|(_, expected)| !expected.is_empty()) {
        assert_eq!(&list(song), expected, "{song}");
    }
    let files: Vec<String> = names
        .iter()
        .map(|song| format!("{}/{song}.wav", song.split('.').next().unwrap()))
        .collect();
    let folder = Folder::with(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let dataset = folder.load().unwrap();
    let split = split(&dataset, SplitKind::FaultFiltered, 0.7, 5).unwrap();
    let (train, validation) = (
        songs_of(&dataset, &split.train),
        songs_of(&dataset, &split.validation),
    );
    let mut counts = [0; 4];
    for (index, song) in dataset.songs.iter().enumerate() {
        let expected = list(
            song.path
                .split('/')
                .nth(1)
                .unwrap()
                .strip_suffix(".wav")
                .unwrap(),
        );
        assert_eq!(train.contains(&index), expected == "train", "{}", song.path);
        assert_eq!(
            validation.contains(&index),
            expected == "valid",
            "{}",
            song.path
        );
        counts[["train", "valid", "test", "none"]
            .iter()
            .position(|list| *list == expected)
            .unwrap()] += 1;
    }
    assert_eq!(
        (split.songs_train, split.songs_validation),
        (counts[0], counts[1])
    );
    assert!(!split.leaks);
    let note = &split.notes[1];
    for part in [
        format!("{} of 443 training", counts[0]),
        format!("{} of 197 validation", counts[1]),
        format!("{} test song(s) in neither", counts[2]),
        format!("{} song(s) in no list", counts[3]),
    ] {
        assert!(note.contains(&part), "no '{part}' in {note}");
    }
}

#[test]
fn the_published_lists_need_gtzan() {
    message(
        split(&regular(), SplitKind::FaultFiltered, 0.2, 0),
        &["GTZAN", "--split song"],
    );
    // Named as GTZAN's, and not GTZAN's.
    let source = Source::BuiltIn {
        songs_per_genre: 1,
        seed: 0,
        genres: Some(vec!["blues".into(), "jazz".into()]),
    };
    let built_in = load(&source, FrontEnd::Segments, &LoadOptions::default()).unwrap();
    message(
        split(&built_in, SplitKind::FaultFiltered, 0.2, 0),
        &["built-in songs are not GTZAN's", "--split song"],
    );
    let folder = Folder::with(&[
        "blues/blues.00029.wav",
        "blues/blues.00000.wav",
        "polka/1.wav",
        "polka/2.wav",
    ]);
    message(
        split(&folder.load().unwrap(), SplitKind::FaultFiltered, 0.2, 0),
        &["genre 'polka' has no song in the training list", "--genres"],
    );
}
