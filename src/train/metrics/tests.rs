use serde_json::Value;

use super::*;

/// What scikit-learn, statsmodels and SciPy say: `fixtures/metrics/record.py`.
pub(super) fn recorded() -> Value {
    serde_json::from_str(include_str!("../../../fixtures/metrics/recorded.json")).unwrap()
}

#[track_caller]
pub(super) fn close(ours: f64, expected: f64, tolerance: f64) {
    assert!(
        (ours - expected).abs() <= tolerance,
        "{ours} is not {expected} within {tolerance}"
    );
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

struct Case {
    genres: Vec<String>,
    probabilities: Vec<f32>,
    songs: Vec<usize>,
    song_genres: Vec<usize>,
    song_paths: Vec<String>,
}

impl Case {
    fn new(genres: &[&str], probabilities: &[f32], songs: &[usize], song_genres: &[usize]) -> Self {
        Self {
            genres: genres.iter().map(ToString::to_string).collect(),
            probabilities: probabilities.to_vec(),
            songs: songs.to_vec(),
            song_genres: song_genres.to_vec(),
            song_paths: (0..song_genres.len())
                .map(|song| format!("song{song}.wav"))
                .collect(),
        }
    }

    fn evaluate(&self, vote: Vote) -> Result<Evaluation> {
        evaluate(
            &SegmentPredictions {
                genres: &self.genres,
                probabilities: &self.probabilities,
                songs: &self.songs,
                song_genres: &self.song_genres,
                song_paths: &self.song_paths,
            },
            vote,
        )
    }
}

fn recorded_case(recorded: &Value) -> Case {
    let song_genres: Vec<usize> = read(&recorded["song_genres"]);
    Case {
        genres: read(&recorded["genres"]),
        probabilities: read(&recorded["probabilities"]),
        songs: read(&recorded["songs"]),
        song_paths: (0..song_genres.len())
            .map(|song| format!("{song}.wav"))
            .collect(),
        song_genres,
    }
}

#[track_caller]
fn same_scores(ours: &[Score], confusion: &[Vec<u64>], macro_f1: f64, theirs: &Value) {
    assert_eq!(confusion, read::<Vec<Vec<u64>>>(&theirs["confusion"]));
    close(macro_f1, read(&theirs["macro_f1"]), 1e-12);
    for (genre, score) in ours.iter().enumerate() {
        close(score.precision, read(&theirs["precision"][genre]), 1e-12);
        close(score.recall, read(&theirs["recall"][genre]), 1e-12);
        close(score.f1, read(&theirs["f1"][genre]), 1e-12);
        assert_eq!(score.support, read::<u64>(&theirs["support"][genre]));
    }
}

#[test]
fn figures_are_scikit_learns() {
    let recorded = recorded();
    let case = recorded_case(&recorded);
    for vote in Vote::ALL {
        let ours = case.evaluate(vote).unwrap();
        let segments: Vec<Score> = ours.per_genre.iter().map(|genre| genre.segments).collect();
        let songs: Vec<Score> = ours.per_genre.iter().map(|genre| genre.songs).collect();
        let theirs = &recorded["segments"];
        same_scores(
            &segments,
            &ours.confusion_segments,
            ours.segment_macro_f1,
            theirs,
        );
        close(ours.segment_accuracy, read(&theirs["accuracy"]), 1e-12);
        close(ours.segment_loss, read(&recorded["segment_loss"]), 1e-6);

        let theirs = &recorded["song"][vote.to_string()];
        same_scores(&songs, &ours.confusion_songs, ours.macro_f1, theirs);
        close(ours.song_accuracy, read(&theirs["accuracy"]), 1e-12);
        let (low, high): (f64, f64) = read(&theirs["wilson"]);
        close(ours.song_interval.0, low, 1e-12);
        close(ours.song_interval.1, high, 1e-12);
        assert_eq!((ours.songs, ours.segments), (14, 57));
        assert_eq!(
            ours.wrong_songs.len() as f64,
            (14.0 * (1.0 - ours.song_accuracy)).round()
        );
    }
}

#[test]
fn songs_are_calibrated_by_their_own_confidence() {
    let probabilities = [
        [0.9, 0.1, 0.0],
        [0.9, 0.1, 0.0],
        [0.1, 0.1, 0.8],
        [0.6, 0.4, 0.0],
    ];
    let case = Case::new(
        &["a", "b", "c"],
        probabilities.as_flattened(),
        &[0, 0, 1, 1],
        &[0, 2],
    );
    let ours = case.evaluate(Vote::Mean).unwrap();
    // Songs: right with 0.9 and with (0.8 + 0) / 2. Segments: right with 0.9, 0.9 and 0.8, wrong with 0.6.
    close(ours.song_calibration.ece, (0.1 + 0.6) / 2.0, 1e-6);
    close(ours.calibration.ece, (0.1 + 0.1 + 0.2 + 0.6) / 4.0, 1e-6);
    let right: Vec<(u64, bool)> = ours
        .judged
        .iter()
        .map(|song| (song.segments_right, song.right))
        .collect();
    assert_eq!(right, [(2, true), (1, true)]);
}

#[test]
fn the_segment_interval_is_the_cluster_robust_one() {
    let recorded = recorded();
    let ours = recorded_case(&recorded).evaluate(Vote::Mean).unwrap();
    let (low, high): (f64, f64) = read(&recorded["cluster_interval"]);
    close(ours.segment_interval.0, low, 1e-9);
    close(ours.segment_interval.1, high, 1e-9);
    // Wider than as if the segments were independent.
    let (naive_low, naive_high): (f64, f64) = read(&recorded["segments"]["wilson"]);
    assert!(low < naive_low && high > naive_high);
}

#[test]
fn calibration_is_scikit_learns() {
    let recorded = recorded();
    let ours = recorded_case(&recorded)
        .evaluate(Vote::Mean)
        .unwrap()
        .calibration;
    let theirs = &recorded["calibration"];
    close(ours.ece, read(&theirs["ece"]), 1e-9);
    let counts: Vec<u64> = ours.bins.iter().map(|bin| bin.count).collect();
    assert_eq!(counts, read::<Vec<u64>>(&theirs["count"]));
    let filled: Vec<_> = ours.bins.iter().filter(|bin| bin.count > 0).collect();
    let accuracy: Vec<f64> = read(&theirs["accuracy"]);
    let confidence: Vec<f64> = read(&theirs["confidence"]);
    assert_eq!(filled.len(), accuracy.len());
    for (bin, (accuracy, confidence)) in filled.iter().zip(accuracy.iter().zip(&confidence)) {
        close(bin.accuracy, *accuracy, 1e-9);
        close(bin.confidence, *confidence, 1e-9);
    }
}

#[test]
fn wrong_songs_come_surest_first_with_their_segments() {
    let probabilities = [
        0.9, 0.1, // song 0: right
        0.3, 0.7, // song 1: wrong, one of two segments right
        0.6, 0.4, //
        0.0, 1.0, // song 3: wrong beyond doubt
    ];
    let case = Case::new(&["a", "b"], &probabilities, &[0, 1, 1, 3], &[0, 0, 1, 0]);
    let evaluation = case.evaluate(Vote::Mean).unwrap();
    assert_eq!(evaluation.songs, 3, "song 2 has no segments");
    assert_eq!(evaluation.confusion_songs, [[1, 2], [0, 0]]);
    let [first, second] = &evaluation.wrong_songs[..] else {
        panic!()
    };
    assert_eq!((first.path.as_str(), first.probability), ("song3.wav", 1.0));
    assert_eq!(
        (second.path.as_str(), second.genre.as_str()),
        ("song1.wav", "a")
    );
    assert_eq!((second.segments_right, second.segments), (1, 2));
    close(second.probability, 0.55, 1e-7);
    // -ln 0.9, -ln 0.3, -ln 0.6 and -ln 1e-7.
    close(
        evaluation.segment_loss,
        (0.105361 + 1.203973 + 0.510826 + 16.118096) / 4.0,
        1e-5,
    );
}

#[test]
fn one_song_all_right_is_not_certain() {
    let case = Case::new(&["a", "b"], &[1.0, 0.0, 1.0, 0.0], &[0, 0], &[0]);
    let evaluation = case.evaluate(Vote::Mean).unwrap();
    assert_eq!(
        (evaluation.song_accuracy, evaluation.segment_accuracy),
        (1.0, 1.0)
    );
    for (low, high) in [evaluation.song_interval, evaluation.segment_interval] {
        assert_eq!(high, 1.0);
        close(low, 0.206549, 1e-6);
    }
    let text = serde_json::to_string(&evaluation).unwrap();
    assert_eq!(
        serde_json::from_str::<Evaluation>(&text).unwrap(),
        evaluation
    );
}

#[test]
fn input_that_does_not_fit_is_named() {
    let good = || Case::new(&["a", "b"], &[0.5, 0.5, 0.2, 0.8], &[0, 1], &[0, 1]);
    type Break = fn(&mut Case);
    let cases: [(Break, &str); 8] = [
        (|case| case.genres.clear(), "0 genres"),
        (|case| case.songs.clear(), "0 segments"),
        (
            |case| case.probabilities.truncate(3),
            "3 probabilities are not 2 segments of 2",
        ),
        (|case| case.songs[1] = 2, "song 2 of 2"),
        (|case| case.song_genres[1] = 2, "song1.wav is of genre 2"),
        (
            |case| case.song_paths.truncate(1),
            "2 songs have a genre, 1 a path",
        ),
        (
            |case| case.probabilities[2] = f32::NAN,
            "gives song1.wav the probability NaN of a",
        ),
        (
            |case| case.probabilities[3] = f32::INFINITY,
            "probability inf of b",
        ),
    ];
    assert!(good().evaluate(Vote::Mean).is_ok());
    for (damage, expected) in cases {
        let mut case = good();
        damage(&mut case);
        let message = case.evaluate(Vote::Mean).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}\n  lacks: {expected}");
    }
}

#[test]
fn nan_is_a_wrong_answer_and_a_nan_loss() {
    let probabilities = [f32::NAN, f32::NAN, 0.9, 0.1];
    assert_eq!(accuracy(&probabilities, &[0, 0], 2), 0.5);
    assert!(cross_entropy(&probabilities, &[0, 0], 2).is_nan());
    close(
        cross_entropy(&probabilities[2..], &[0], 2),
        0.105360516,
        1e-7,
    );
    assert!(accuracy(&[], &[], 2).is_nan());
}
