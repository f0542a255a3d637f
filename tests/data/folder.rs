//! Which files are songs, what is left out, and what stops a load.

use sonograd::Error;
use sonograd::audio::{Extractor, FrontEnd};
use sonograd::data::{LoadOptions, Source, load};

use crate::support::{Folder, SPEC, message};

fn paths(dataset: &sonograd::data::Dataset) -> Vec<&str> {
    dataset
        .songs
        .iter()
        .map(|song| song.path.as_str())
        .collect()
}

#[test]
fn songs_are_files_of_an_audio_format_straight_in_a_genre_folder() {
    let folder = Folder::with(&[
        "jazz/b.wav",
        "jazz/a.WAV",
        "blues/x y.wav",
        "blues/live/nested.wav",
    ]);
    folder.file("jazz/.hidden.wav", "not heard");
    folder.file("jazz/cover.jpg", "");
    folder.file("jazz/notes.txt", "");
    folder.file("manifest.csv", "anything\n");
    folder.file("README", "");
    folder.file("docs/readme.txt", "");
    folder.file(".trash/old.wav", "");
    std::fs::create_dir_all(folder.path().join("jazz/folder.wav")).unwrap();

    let dataset = folder.load().unwrap();
    assert_eq!(dataset.genres, ["blues", "jazz"]);
    assert_eq!(
        paths(&dataset),
        ["blues/x y.wav", "jazz/a.WAV", "jazz/b.wav"]
    );
    assert!(dataset.left_out.is_empty());
    assert_eq!(dataset.stats.decoded, 3);
    assert!(!dataset.has_groups);
    assert!(
        dataset
            .notes
            .iter()
            .any(|note| note.contains("genre 'blues': 1 folder(s)")),
        "{:?}",
        dataset.notes
    );
    assert!(
        dataset
            .notes
            .iter()
            .any(|note| note.contains("folder 'docs' left out: no audio file"))
    );
}

#[test]
fn features_are_the_front_ends_song_after_song() {
    let folder = Folder::new();
    folder.song("a/one.wav", 5.0, 1);
    folder.song("a/two.wav", 2.0, 2);
    folder.song("b/three.wav", 6.0, 3);
    for front_end in [FrontEnd::Segments, FrontEnd::Windows] {
        let dataset = load(&folder.source(), front_end, &LoadOptions::default()).unwrap();
        // Whole segments of 2 s; windows of 0.1 s that start each 0.05 s.
        let counts: Vec<usize> = dataset.songs.iter().map(|song| song.segments).collect();
        match front_end {
            FrontEnd::Segments => assert_eq!(counts, [2, 1, 3]),
            FrontEnd::Windows => assert_eq!(counts, [99, 39, 119]),
        }
        let extractor = Extractor::new(front_end);
        let mut next = 0;
        for (number, song) in dataset.songs.iter().enumerate() {
            let samples: Vec<f32> = hound::WavReader::open(folder.path().join(&song.path))
                .unwrap()
                .samples::<i16>()
                .map(|sample| f32::from(sample.unwrap()) / 32768.0)
                .collect();
            let expected = extractor.worker().features(&samples).unwrap();
            assert_eq!(song.first_segment, next);
            for (i, expected) in expected.chunks(dataset.segment_len()).enumerate() {
                assert_eq!(dataset.segment(next + i), expected);
                assert_eq!(dataset.song_of(next + i), number);
                assert_eq!(dataset.label(next + i), song.genre);
            }
            next += song.segments;
        }
        assert_eq!(dataset.segment_count(), next);
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_a_broken_one_is_left_out() {
    let folder = Folder::with(&["a/1.wav", "elsewhere-is-no-genre.txt/x/2.wav"]);
    let other = Folder::with(&["b/3.wav"]);
    std::os::unix::fs::symlink(
        other.path().join("b/3.wav"),
        folder.path().join("a/link.wav"),
    )
    .unwrap();
    std::os::unix::fs::symlink(other.path().join("b"), folder.path().join("linked-genre")).unwrap();
    std::os::unix::fs::symlink("nowhere.wav", folder.path().join("a/broken.wav")).unwrap();
    let dataset = folder.load().unwrap();
    assert_eq!(
        paths(&dataset),
        ["a/1.wav", "a/link.wav", "linked-genre/3.wav"]
    );
    assert_eq!(dataset.left_out.len(), 1);
    assert_eq!(dataset.left_out[0].path, "a/broken.wav");
    assert!(
        dataset.left_out[0].reason.contains("cannot read it"),
        "{:?}",
        dataset.left_out
    );
}

/// Six kinds of bad songs beside two good ones.
fn damaged() -> Folder {
    let folder = Folder::with(&["a/good.wav", "b/good.wav"]);
    folder.song("a/short.wav", 1.5, 0);
    folder.samples("a/silent.wav", (0..60_000).map(|_| 0.0));
    // 2 of 32768 is -84 dBFS.
    folder.samples(
        "a/nearly_silent.wav",
        (0..60_000).map(|i| f64::from(i % 2) * 2.0 / 32767.0),
    );
    folder.file("a/text.wav", "this is no sound\n");
    folder.file("b/empty.wav", "");
    let spec = hound::WavSpec {
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
        ..SPEC
    };
    let mut writer = hound::WavWriter::create(folder.place("b/nan.wav"), spec).unwrap();
    for i in 0..60_000 {
        writer
            .write_sample(if i == 30_000 { f32::NAN } else { 0.1 })
            .unwrap();
    }
    writer.finalize().unwrap();
    folder.song("beside.wav", 3.0, 9);
    folder
}

#[test]
fn songs_that_cannot_be_used_are_left_out_with_the_reason() {
    let dataset = damaged().load().unwrap();
    assert_eq!(paths(&dataset), ["a/good.wav", "b/good.wav"]);
    let expected = [
        (
            "a/nearly_silent.wav",
            "-84.3 dBFS, and below -80 dBFS is silence",
        ),
        ("a/short.wav", "1.50 s"),
        ("a/silent.wav", "silent: every sample is zero"),
        ("a/text.wav", ""),
        ("b/empty.wav", ""),
        ("b/nan.wav", "NaN"),
        ("beside.wav", "beside the genre folders"),
    ];
    assert_eq!(
        dataset.left_out.len(),
        expected.len(),
        "{:?}",
        dataset.left_out
    );
    for (left_out, (path, reason)) in dataset.left_out.iter().zip(expected) {
        assert_eq!(left_out.path, path);
        assert!(
            !left_out.reason.is_empty() && left_out.reason.contains(reason),
            "{left_out:?}"
        );
        assert!(
            !left_out.reason.contains(".wav"),
            "the path is said once: {left_out:?}"
        );
    }
}

#[test]
fn strictly_the_first_bad_song_is_an_error_that_names_it() {
    let folder = damaged();
    message(folder.load_strictly(), &["beside.wav", "without --strict"]);
    std::fs::remove_file(folder.path().join("beside.wav")).unwrap();
    let error = message(
        folder.load_strictly(),
        &["a/nearly_silent.wav: silent", "without --strict"],
    );
    assert!(
        error.starts_with(folder.path().to_str().unwrap()),
        "{error}"
    );
    assert!(
        Folder::with(&["a/1.wav", "b/2.wav"])
            .load_strictly()
            .is_ok()
    );
}

#[test]
fn folders_that_are_no_data_say_the_way_out() {
    let folder = Folder::new();
    let load_at = |name: &str| {
        let source = Source::Folder {
            path: folder.path().join(name),
            genres: None,
        };
        load(&source, FrontEnd::Segments, &LoadOptions::default())
    };
    message(
        load_at("missing"),
        &["missing: no such folder", "<genre>/<song>"],
    );
    folder.file("file.wav", "");
    message(
        load_at("file.wav"),
        &["file.wav: not a folder", "<genre>/<song>"],
    );
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    message(
        load_at("empty"),
        &["empty: no genre folder", "<genre>/<song>"],
    );
    folder.song("flat/1.wav", 2.1, 1);
    folder.song("flat/2.wav", 2.1, 2);
    message(
        load_at("flat"),
        &[
            "flat: no genre folder",
            "2 audio file(s) lie straight in it",
            "folder above",
        ],
    );
    folder.song("single/jazz/1.wav", 2.1, 1);
    message(
        load_at("single"),
        &["single: only one genre, 'jazz'", "takes two"],
    );
    // An archive with the genres one floor down, as GTZAN's.
    folder.song("archive/genres/blues/1.wav", 2.1, 1);
    folder.song("archive/genres/jazz/1.wav", 2.1, 2);
    folder.file("archive/pictures/blues/1.png", "");
    message(
        load_at("archive"),
        &["'genres' holds genre folders", "give", "archive/genres"],
    );
}

#[test]
fn a_genre_that_lost_all_its_songs_is_an_error() {
    let folder = Folder::with(&["a/1.wav", "b/2.wav"]);
    folder.file("c/1.wav", "no sound");
    folder.file("c/2.wav", "no sound either");
    message(
        folder.load(),
        &["no song of genre 'c'", "2 left out; c/1.wav: ", "--genres"],
    );
    assert_eq!(folder.load_genres(&["a", "b"]).unwrap().genres, ["a", "b"]);
}

#[test]
fn chosen_genres_make_one_set_in_any_order() {
    let folder = Folder::with(&["blues/1.wav", "jazz/2.wav", "rock/3.wav"]);
    folder.file("docs/readme.txt", "");
    let dataset = folder.load_genres(&["rock", " blues", "rock"]).unwrap();
    assert_eq!(dataset.genres, ["blues", "rock"]);
    assert_eq!(
        dataset.fingerprint,
        folder.load_genres(&["blues", "rock"]).unwrap().fingerprint
    );

    let error = folder.load_genres(&["blues", "jaz"]).unwrap_err();
    assert!(matches!(error, Error::Usage(_)));
    message::<()>(
        Err(error),
        &["'jaz'", "did you mean 'jazz'", "blues, docs, jazz, rock"],
    );
    assert!(matches!(
        folder.load_genres(&["jazz"]),
        Err(Error::Usage(_))
    ));
    message(
        folder.load_genres(&["jazz"]),
        &["'jazz' only", "at least two", "blues"],
    );
    message(folder.load_genres(&[]), &["at least two"]);
    message(
        folder.load_genres(&["blues", "docs"]),
        &["docs: no audio file", "--genres"],
    );
}

#[test]
fn groups_are_read_and_mismatches_are_told() {
    let folder = Folder::with(&["a/1.wav", "a/2.wav", "b/3.wav"]);
    folder.file(
        "groups.csv",
        "path,group,why\na/1.wav,one,artist\nb/3.wav,two,\nb/gone.wav,two,\nother/9.wav,x,\n",
    );
    let dataset = folder.load().unwrap();
    assert!(dataset.has_groups);
    let groups: Vec<Option<&str>> = dataset
        .songs
        .iter()
        .map(|song| song.group.as_deref())
        .collect();
    assert_eq!(groups, [Some("one"), None, Some("two")]);
    let notes = dataset.notes.join("\n");
    assert!(
        notes.contains("1 song(s) not listed, each a group of its own (first: a/2.wav)"),
        "{notes}"
    );
    assert!(
        notes.contains("1 listed path(s) not among the songs, ignored (first: b/gone.wav)"),
        "{notes}"
    );

    folder.file("groups.csv", "path,group\na/1.wav,one\na/2.wav\n");
    message(folder.load(), &["groups.csv: line 3: no group"]);
    folder.file("groups.csv", "path,group\n");
    assert!(folder.load().unwrap().has_groups, "an empty list is a list");
}

#[test]
fn the_fingerprint_tells_names_contents_groups_and_front_ends_apart() {
    let songs = ["a/1.wav", "a-b/2.wav", "b/3.wav"];
    let folder = Folder::with(&songs);
    let first = folder.load().unwrap();
    assert_eq!(first.fingerprint.len(), 64);
    assert_eq!(
        first.fingerprint,
        Folder::with(&songs).load().unwrap().fingerprint,
        "whatever its folder"
    );
    let windows = load(&folder.source(), FrontEnd::Windows, &LoadOptions::default()).unwrap();
    assert_ne!(first.fingerprint, windows.fingerprint);
    folder.file("groups.csv", "path,group\na/1.wav,one\n");
    let grouped = folder.load().unwrap().fingerprint;
    assert_ne!(first.fingerprint, grouped);
    std::fs::rename(folder.path().join("a/1.wav"), folder.path().join("b/1.wav")).unwrap();
    folder.song("a/1.wav", 2.1, 17);
    assert_ne!(grouped, folder.load().unwrap().fingerprint);
}

#[test]
fn threads_change_nothing_and_progress_counts_to_the_end() {
    let names: Vec<String> = (0..40)
        .map(|i| format!("{}/{i:02}.wav", ["a", "b", "c"][i % 3]))
        .collect();
    let folder = Folder::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let load_with = |threads: usize| {
        let told = std::sync::Mutex::new(Vec::new());
        let progress = |done: usize, total: usize| told.lock().unwrap().push((done, total));
        let options = LoadOptions {
            progress: Some(&progress),
            ..LoadOptions::default()
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let dataset = pool
            .install(|| load(&folder.source(), FrontEnd::Segments, &options))
            .unwrap();
        let mut told = told.into_inner().unwrap();
        told.sort_unstable();
        assert_eq!(told, (1..=40).map(|done| (done, 40)).collect::<Vec<_>>());
        dataset
    };
    let (one, three) = (load_with(1), load_with(3));
    assert_eq!(one.songs, three.songs);
    assert_eq!(one.fingerprint, three.fingerprint);
    for i in 0..one.segment_count() {
        assert_eq!(one.segment(i), three.segment(i));
    }
}
