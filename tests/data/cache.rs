//! The feature cache: the second load decodes nothing, and nothing damaged is ever trusted.

use std::path::{Path, PathBuf};

use sonograd::audio::FrontEnd;
use sonograd::data::{Dataset, LoadOptions, MemoryLimit, Source, Stats, load};

use crate::support::Folder;

fn load_cached(source: &Source, cache: &Path) -> Dataset {
    let options = LoadOptions {
        cache: Some(cache.to_path_buf()),
        ..LoadOptions::default()
    };
    load(source, FrontEnd::Segments, &options).unwrap()
}

fn stats(decoded: usize, cached: usize, damaged: usize) -> Stats {
    Stats {
        decoded,
        cached,
        damaged,
    }
}

fn assert_same(a: &Dataset, b: &Dataset) {
    assert_eq!(a.songs, b.songs);
    assert_eq!(a.fingerprint, b.fingerprint);
    for i in 0..a.segment_count() {
        assert_eq!(a.segment(i), b.segment(i));
    }
}

fn entries(cache: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    entries
}

#[test]
fn the_second_load_decodes_nothing_wherever_the_files_are() {
    let songs = ["a/1.wav", "a/2.wav", "b/3.wav"];
    let (folder, cache) = (Folder::with(&songs), tempfile::tempdir().unwrap());
    folder.samples("b/silent.wav", (0..50_000).map(|_| 0.0));
    let first = load_cached(&folder.source(), cache.path());
    assert_eq!(first.stats, stats(3, 0, 0));
    assert_eq!(
        entries(cache.path()).len(),
        3,
        "a song left out is not kept"
    );

    let second = load_cached(&folder.source(), cache.path());
    assert_eq!(second.stats, stats(0, 3, 0));
    assert_eq!(second.left_out, first.left_out);
    assert_same(&first, &second);
    assert_eq!(
        load_cached(&Folder::with(&songs).source(), cache.path()).stats,
        stats(0, 3, 0)
    );

    // Another content or front end is another entry.
    folder.song("a/1.wav", 2.1, 99);
    assert_eq!(
        load_cached(&folder.source(), cache.path()).stats,
        stats(1, 2, 0)
    );
    let options = LoadOptions {
        cache: Some(cache.path().to_path_buf()),
        ..LoadOptions::default()
    };
    assert_eq!(
        load(&folder.source(), FrontEnd::Windows, &options)
            .unwrap()
            .stats,
        stats(3, 0, 0)
    );
}

/// Memory for none, for one song of the three, and for all.
#[test]
fn features_that_leave_memory_are_the_same() {
    let folder = Folder::with(&["a/1.wav", "a/2.wav", "b/3.wav"]);
    let source = folder.source();
    let whole = load(&source, FrontEnd::Segments, &LoadOptions::default()).unwrap();
    let song = whole.songs[0].segments * whole.segment_len() * size_of::<f32>();
    let spill = tempfile::tempdir().unwrap();
    for bytes in [0, song as u64, 3 * song as u64] {
        let options = LoadOptions {
            memory: Some(MemoryLimit {
                bytes,
                folder: spill.path().to_path_buf(),
            }),
            ..LoadOptions::default()
        };
        let limited = load(&source, FrontEnd::Segments, &options).unwrap();
        assert_same(&limited, &whole);
        let fewer = [limited.songs[1].path.clone()].into();
        let (limited, whole) = [&limited, &whole]
            .map(|set| set.without(&fewer, "for the test").unwrap())
            .into();
        assert_same(&limited, &whole);
    }
    assert_eq!(entries(spill.path()).len(), 0, "the file has no name");
}

/// The folder that is to take them is the reason, by its name.
#[test]
fn features_that_find_no_room_are_an_error() {
    let folder = Folder::with(&["a/1.wav", "b/2.wav"]);
    let options = LoadOptions {
        memory: Some(MemoryLimit {
            bytes: 0,
            folder: folder.path().join("a/1.wav/no folder"),
        }),
        ..LoadOptions::default()
    };
    let error = load(&folder.source(), FrontEnd::Segments, &options).unwrap_err();
    assert!(error.to_string().contains("no folder"), "{error}");
}

#[test]
fn damaged_entries_are_rebuilt_and_equal() {
    let (folder, cache) = (
        Folder::with(&["a/1.wav", "b/2.wav"]),
        tempfile::tempdir().unwrap(),
    );
    let first = load_cached(&folder.source(), cache.path());
    let [one, other] = &entries(cache.path())[..] else {
        panic!("one entry a song");
    };
    let whole = std::fs::read(one).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let cases: [(&str, Vec<u8>); 6] = [
        ("one byte flipped", flipped),
        ("cut in half", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("longer", [&whole[..], &[0]].concat()),
        ("not ours", b"PK\x03\x04 something else entirely".to_vec()),
        ("another song's", std::fs::read(other).unwrap()),
    ];
    for (what, bytes) in cases {
        std::fs::write(one, bytes).unwrap();
        let again = load_cached(&folder.source(), cache.path());
        assert_eq!(again.stats, stats(1, 1, 1), "{what}");
        assert_same(&first, &again);
        assert_eq!(
            std::fs::read(one).unwrap(),
            whole,
            "{what}: the entry is mended"
        );
    }
    assert_eq!(
        load_cached(&folder.source(), cache.path()).stats,
        stats(0, 2, 0)
    );
}

#[test]
fn a_cache_that_cannot_be_written_is_only_a_note() {
    let folder = Folder::with(&["a/1.wav", "b/2.wav"]);
    folder.file("no-folder", "");
    let dataset = load_cached(&folder.source(), &folder.path().join("no-folder/cache"));
    assert_eq!(dataset.stats.decoded, 2);
    assert_eq!(dataset.notes.len(), 1, "{:?}", dataset.notes);
    assert!(
        dataset.notes[0].contains("cannot create") && dataset.notes[0].contains("SONOGRAD_CACHE")
    );
}

#[test]
fn two_loads_at_once_share_a_cache() {
    let (folder, cache) = (
        Folder::with(&["a/1.wav", "a/2.wav", "b/3.wav", "b/4.wav"]),
        tempfile::tempdir().unwrap(),
    );
    std::thread::scope(|scope| {
        let loads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| load_cached(&folder.source(), cache.path())))
            .collect();
        let loaded: Vec<Dataset> = loads.into_iter().map(|load| load.join().unwrap()).collect();
        for dataset in &loaded {
            assert_eq!(dataset.stats.damaged, 0);
            assert!(dataset.notes.is_empty(), "{:?}", dataset.notes);
            assert_same(&loaded[0], dataset);
        }
    });
    assert_eq!(entries(cache.path()).len(), 4);
}

#[test]
fn the_built_in_set_is_rendered_once() {
    let cache = tempfile::tempdir().unwrap();
    let source = |songs_per_genre, seed| Source::BuiltIn {
        songs_per_genre,
        seed,
        genres: Some(vec!["metal".into(), "blues".into()]),
    };
    let first = load_cached(&source(1, 3), cache.path());
    assert_eq!(first.genres, ["blues", "metal"]);
    assert_eq!(first.songs.len(), 2);
    assert!(
        first.songs.iter().all(|song| song.segments == 15),
        "30 s each"
    );
    assert!(first.songs[1].path.starts_with("metal/"));
    assert_eq!(first.stats, stats(2, 0, 0));
    let second = load_cached(&source(1, 3), cache.path());
    assert_eq!(second.stats, stats(0, 2, 0));
    assert_same(&first, &second);
    // More songs keep the ones that were; another seed keeps none.
    let more = load_cached(&source(2, 3), cache.path());
    assert_eq!(more.stats, stats(2, 2, 0));
    assert_eq!(more.segment(0), first.segment(0));
    assert_eq!(
        load_cached(&source(1, 4), cache.path()).stats,
        stats(2, 0, 0)
    );
}

#[test]
fn a_built_in_set_of_nothing_is_a_usage_error() {
    let load_with = |songs_per_genre, genres: Option<&[&str]>| {
        let genres = genres.map(|genres| genres.iter().map(ToString::to_string).collect());
        let source = Source::BuiltIn {
            songs_per_genre,
            seed: 0,
            genres,
        };
        load(&source, FrontEnd::Segments, &LoadOptions::default())
    };
    for result in [
        load_with(0, None),
        load_with(1, Some(&["polka", "blues"])),
        load_with(1, Some(&["blues"])),
    ] {
        assert!(matches!(result, Err(sonograd::Error::Usage(_))));
    }
}
