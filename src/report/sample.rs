//! Made-up runs for the tests of the reports, and for looking at them.

use super::compare::{Comparison, LeakRow, ModelRow, ModelRun};
use super::html::{RunReport, Settings};
use crate::data::LeftOut;
use crate::train::history::{Epoch, History};
use crate::train::metrics::{Evaluation, SegmentPredictions, Spread, Vote, evaluate};

pub(super) const GENRES: [&str; 8] = [
    "blues",
    "classical",
    "disco",
    "hip-hop",
    "jazz",
    "metal",
    "pop",
    "reggae",
];

/// A small generator of numbers from 0 to 1 (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub(super) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// `songs` songs a genre with 15 segments each; answers are better the higher the `skill`.
pub(super) fn evaluation(genres: &[String], songs: usize, skill: f64, seed: u64) -> Evaluation {
    let mut random = Random(seed);
    let classes = genres.len();
    let song_genres: Vec<usize> = (0..classes * songs).map(|song| song / songs).collect();
    let song_paths: Vec<String> = song_genres
        .iter()
        .enumerate()
        .map(|(song, &genre)| format!("{0}/{0}.{1:05}.wav", genres[genre], song % songs))
        .collect();
    let (mut probabilities, mut of_song) = (Vec::new(), Vec::new());
    for (song, &genre) in song_genres.iter().enumerate() {
        let mood: Vec<f64> = (0..classes).map(|_| 3.0 * random.next()).collect();
        for _ in 0..15 {
            let scores: Vec<f64> = (0..classes)
                .map(|class| {
                    let near = match class.abs_diff(genre) {
                        0 => skill,
                        1 => 0.5 * skill,
                        _ => 0.0,
                    };
                    (mood[class] + 2.0 * random.next() + near).exp()
                })
                .collect();
            let sum: f64 = scores.iter().sum();
            probabilities.extend(scores.iter().map(|score| (score / sum) as f32));
            of_song.push(song);
        }
    }
    evaluate(
        &SegmentPredictions {
            genres,
            probabilities: &probabilities,
            songs: &of_song,
            song_genres: &song_genres,
            song_paths: &song_paths,
        },
        Vote::Mean,
    )
    .unwrap()
}

pub(super) fn history(epochs: usize, limit: f64, seed: u64) -> History {
    let mut random = Random(seed);
    History(
        (1..=epochs)
            .map(|epoch| {
                let learned = 1.0 - (-(epoch as f64) / 9.0).exp();
                let mut noise = || 0.05 * (random.next() - 0.5);
                Epoch {
                    epoch,
                    loss: 2.1 - 1.6 * learned + noise(),
                    accuracy: 0.125 + (limit - 0.08) * learned + noise(),
                    val_loss: 2.1 - 1.3 * learned + 0.006 * epoch as f64 + 2.0 * noise(),
                    val_accuracy: 0.125 + (limit - 0.15) * learned + noise(),
                    learning_rate: 0.005,
                    seconds: 1.4,
                }
            })
            .collect(),
    )
}

pub(super) fn settings() -> Vec<Settings> {
    let group = |group: &str, values: &[(&str, &str)]| Settings {
        group: group.into(),
        values: values
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect(),
    };
    vec![
        group(
            "training",
            &[
                ("optimizer", "SGD"),
                ("learning rate", "0.005"),
                ("batch size", "128"),
                ("epochs", "50"),
                ("seed", "1"),
            ],
        ),
        group(
            "front end",
            &[
                ("kind", "segments"),
                ("sample rate", "22,050 Hz"),
                ("n_fft", "2048"),
                ("hop", "551"),
                ("mels", "80"),
                ("frames", "80"),
            ],
        ),
        group(
            "files",
            &[
                (
                    "data",
                    "/home/somebody/music/a-rather-long-folder-name-without-any-space-in-it-at-all/genres",
                ),
                (
                    "fingerprint",
                    "3f1c5bd6c5a94cf4b0f3f1f2bd6f0b7f5b7bb6ce4e86d1f5",
                ),
            ],
        ),
    ]
}

pub(super) fn run(genres: &[String], songs: usize, epochs: usize) -> RunReport {
    RunReport {
        title: "parallel on genres".into(),
        model: "parallel".into(),
        parameters: 61_071,
        not_trained: 0,
        settings: settings(),
        data: format!(
            "{} songs of {} genres from genres.",
            5 * songs * genres.len(),
            genres.len()
        ),
        split: "by song, stratified, seed 1: 160 songs to train, 40 to validate".into(),
        leak: None,
        history: history(epochs, 0.9, 3),
        evaluation: evaluation(genres, songs, 3.2, 5),
        left_out: vec![LeftOut {
            path: "jazz/jazz.00054.wav".into(),
            reason: "the header is cut off: 0 samples".into(),
        }],
        train_seconds: 74.2,
        machine: "2 threads, AVX-512".into(),
    }
}

pub(super) fn comparison(runs: usize) -> Comparison {
    let genres = names(&GENRES);
    let models = [
        ("parallel", 61_071, 2.6, 0.75),
        ("cnn-rnn", 100_654, 2.4, 0.7),
        ("efficient", 97_896, 4.0, 0.9),
        ("accurate", 320_936, 4.4, 0.95),
        ("window", 1_650_442, 2.0, 0.6),
    ];
    Comparison {
        title: "Five models on genres".into(),
        data: "200 songs of 8 genres from genres.".into(),
        split: format!("By song, {runs} seed(s)."),
        leak_warning: None,
        unfinished: None,
        failed: Vec::new(),
        rows: models
            .iter()
            .enumerate()
            .map(|(at, &(model, parameters, skill, limit))| ModelRow {
                model: model.into(),
                parameters,
                runs: (0..runs)
                    .map(|seed| ModelRun {
                        name: format!("seed {seed}"),
                        history: history(
                            if at == 4 { 10 + seed } else { 50 },
                            limit,
                            (10 * at + seed) as u64,
                        ),
                        evaluation: evaluation(&genres, 5, skill, (100 * at + seed) as u64),
                        train_seconds: 20.0 * (at + 1) as f64,
                    })
                    .collect(),
                predict_one_ms: (at != 3).then_some(0.041 * (at + 1) as f64),
            })
            .collect(),
        leak: models
            .iter()
            .map(|&(model, _, _, limit)| LeakRow {
                model: model.into(),
                segment_split_segment_accuracy: Spread::of(&[limit, limit + 0.01, limit - 0.02])
                    .unwrap(),
                song_split_segment_accuracy: Spread::of(&[limit - 0.2, limit - 0.25, limit - 0.21])
                    .unwrap(),
                published: (model != "window").then_some(limit),
            })
            .collect(),
        settings: settings(),
        machine: "2 threads, AVX-512".into(),
    }
}

/// Parses the report as XML and checks what no report may lack or have.
#[track_caller]
pub(super) fn well_formed(html: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    let document = roxmltree::Document::parse_with_options(html, options).expect("well-formed");
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        let name = node.tag_name().name();
        assert!(
            !["script", "iframe", "img", "object", "embed", "base", "form"].contains(&name),
            "<{name}>"
        );
        for attribute in node.attributes() {
            let (key, value) = (attribute.name(), attribute.value());
            assert!(!key.starts_with("on"), "{key}");
            assert!(!["src", "srcset", "action"].contains(&key), "{key}");
            assert!(key != "href" || value == "data:,", "{key}={value}");
            for word in ["NaN", "inf"] {
                let drawn = [
                    "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "points", "width", "height",
                    "style",
                ];
                assert!(
                    !drawn.contains(&key) || !value.contains(word),
                    "{name} {key}={value}"
                );
            }
            assert!(
                !["width", "height"].contains(&key) || !value.starts_with('-'),
                "{name} {key}={value}"
            );
        }
    }
    assert!(
        !html.contains("url(") && !html.contains("@import"),
        "nothing from elsewhere"
    );
    document
}

/// Writes reports to look at into the folder that `SONOGRAD_SAMPLES` names.
#[test]
#[ignore = "for looking at: SONOGRAD_SAMPLES=folder cargo test --lib report::sample -- --ignored"]
fn write_samples() {
    let folder =
        std::path::PathBuf::from(std::env::var("SONOGRAD_SAMPLES").expect("SONOGRAD_SAMPLES"));
    super::html::write(folder.join("run.html"), &run(&names(&GENRES), 5, 50)).unwrap();
    let many: Vec<String> = (0..30)
        .map(|genre| match genre {
            3 => "a genre whose name is exactly sixty characters long, really!".into(),
            7 => "日本の歌謡曲".into(),
            _ => format!("genre-{genre:02}"),
        })
        .collect();
    let mut odd = run(&many, 2, 1);
    odd.leak = Some("Parts of one song stand in training and in validation. Use --split song to see what the model makes of new songs.".into());
    super::html::write(folder.join("odd.html"), &odd).unwrap();
    let tiny = run(
        &names(&["Chanson française des années soixante et des suivantes, live"]),
        1,
        2,
    );
    super::html::write(folder.join("tiny.html"), &tiny).unwrap();
    super::compare::write(folder.join("compare.html"), &comparison(3)).unwrap();
    super::compare::write(folder.join("compare-one.html"), &comparison(1)).unwrap();
}
