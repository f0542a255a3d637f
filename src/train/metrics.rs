//! How good the answers are: accuracy by segment and by song with intervals, confusion, precision and recall, calibration.
//!
//! Everything is computed in `f64` from the probabilities that the model gave.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

mod calibration;
mod interval;
mod pooled;
mod score;
mod vote;

pub use calibration::{Calibration, CalibrationBin};
pub use interval::{Spread, Z_975, cluster_wilson, student_t_975, wilson};
pub use pooled::Pooled;
pub use score::{Score, accuracy_of, chance_of, macro_f1, scores};
pub use vote::{SongAnswer, Vote, argmax};

/// What a model answered for the segments of some songs, and what they are.
#[derive(Debug, Clone, Copy)]
pub struct SegmentPredictions<'a> {
    /// The names of the genres, in the order of the model's outputs.
    pub genres: &'a [String],
    /// `[segments, genres]` row by row, each 0 to 1.
    pub probabilities: &'a [f32],
    /// `[segments]`: which song each segment is from, an index into the two below. Segments of a song need not stand
    /// together, and a song may have none: then it is not judged.
    pub songs: &'a [usize],
    /// `[songs]`: the true genre, an index into `genres`.
    pub song_genres: &'a [usize],
    /// `[songs]`: the file.
    pub song_paths: &'a [String],
}

/// How good a model's answers are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The names of the genres, in the order of every table here.
    pub genres: Vec<String>,
    /// How the segments of a song decided together.
    pub vote: Vote,
    /// The number of segments judged.
    pub segments: u64,
    /// The number of songs judged: those with at least one segment.
    pub songs: u64,
    /// Share of the segments named rightly, 0 to 1.
    pub segment_accuracy: f64,
    /// Its 95 % interval, songs being what was drawn: [`cluster_wilson`].
    pub segment_interval: (f64, f64),
    /// Share of the songs named rightly, 0 to 1.
    pub song_accuracy: f64,
    /// Its 95 % interval: [`wilson`].
    pub song_interval: (f64, f64),
    /// Mean cross-entropy of the segments in nats: [`cross_entropy`].
    pub segment_loss: f64,
    /// F1 of the songs, the plain mean over the genres: [`macro_f1`].
    pub macro_f1: f64,
    /// F1 of the segments, the plain mean over the genres.
    pub segment_macro_f1: f64,
    /// Segments by `[true genre][predicted genre]`.
    pub confusion_segments: Vec<Vec<u64>>,
    /// Songs by `[true genre][predicted genre]`.
    pub confusion_songs: Vec<Vec<u64>>,
    /// One entry a genre.
    pub per_genre: Vec<GenreScore>,
    /// How far the segments' probabilities can be believed.
    pub calibration: Calibration,
    /// How far the songs' probabilities can be believed.
    pub song_calibration: Calibration,
    /// Every song judged, in the order of [`SegmentPredictions::song_paths`].
    pub judged: Vec<JudgedSong>,
    /// The songs named wrongly, the surest answers first.
    pub wrong_songs: Vec<WrongSong>,
}

/// How well one genre is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenreScore {
    /// The genre.
    pub genre: String,
    /// By song.
    pub songs: Score,
    /// By segment.
    pub segments: Score,
}

/// What became of one song.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedSong {
    /// The file.
    pub path: String,
    /// Whether it was named rightly.
    pub right: bool,
    /// The number of its segments named rightly.
    pub segments_right: u64,
    /// The number of its segments.
    pub segments: u64,
}

/// A song that was named wrongly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrongSong {
    /// The file.
    pub path: String,
    /// What it is.
    pub genre: String,
    /// What it was named.
    pub predicted: String,
    /// The song's probability of `predicted`, 0 to 1; what it is depends on the [`Vote`].
    pub probability: f64,
    /// The number of its segments named rightly.
    pub segments_right: u64,
    /// The number of its segments.
    pub segments: u64,
}

/// Judges the answers, the songs' by `vote`.
///
/// # Errors
/// [`Error::Data`] where there are no segments, where the lengths do not fit each other or an index is out of range, and
/// where a probability is NaN or not within 0 to 1: it names the song, for the weights are then damaged.
pub fn evaluate(predictions: &SegmentPredictions<'_>, vote: Vote) -> Result<Evaluation> {
    check(predictions)?;
    let SegmentPredictions {
        genres,
        probabilities,
        songs,
        song_genres,
        song_paths,
    } = *predictions;
    let classes = genres.len();
    let rows: Vec<&[f32]> = probabilities.chunks_exact(classes).collect();
    let labels: Vec<usize> = songs.iter().map(|&song| song_genres[song]).collect();

    let mut confusion_segments = vec![vec![0u64; classes]; classes];
    let mut members = vec![Vec::new(); song_genres.len()];
    for (segment, row) in rows.iter().enumerate() {
        confusion_segments[labels[segment]][argmax(row)] += 1;
        members[songs[segment]].push(segment);
    }

    let mut confusion_songs = vec![vec![0u64; classes]; classes];
    let (mut judged, mut sure_of_song) = (Vec::new(), Vec::new());
    let mut wrong_songs = Vec::new();
    for (song, segments) in members.iter().enumerate().filter(|(_, m)| !m.is_empty()) {
        let genre = song_genres[song];
        let answer = vote.decide(segments.iter().map(|&segment| rows[segment]), classes);
        let right = segments
            .iter()
            .filter(|&&segment| argmax(rows[segment]) == genre)
            .count() as u64;
        judged.push(JudgedSong {
            path: song_paths[song].clone(),
            right: answer.genre == genre,
            segments_right: right,
            segments: segments.len() as u64,
        });
        let confidence = answer.probabilities[answer.genre] as f32;
        sure_of_song.push((confidence, answer.genre == genre));
        confusion_songs[genre][answer.genre] += 1;
        if answer.genre != genre {
            wrong_songs.push(WrongSong {
                path: song_paths[song].clone(),
                genre: genres[genre].clone(),
                predicted: genres[answer.genre].clone(),
                probability: answer.probabilities[answer.genre],
                segments_right: right,
                segments: segments.len() as u64,
            });
        }
    }
    wrong_songs.sort_by(|a, b| {
        b.probability
            .total_cmp(&a.probability)
            .then_with(|| a.path.cmp(&b.path))
    });

    let songs = judged.len() as u64;
    let right_of_song: Vec<(u64, u64)> = judged
        .iter()
        .map(|song| (song.segments_right, song.segments))
        .collect();
    let by_song = scores(&confusion_songs);
    let by_segment = scores(&confusion_segments);
    Ok(Evaluation {
        vote,
        segments: rows.len() as u64,
        songs,
        segment_accuracy: accuracy_of(&confusion_segments),
        segment_interval: cluster_wilson(&right_of_song),
        song_accuracy: accuracy_of(&confusion_songs),
        song_interval: wilson(songs - wrong_songs.len() as u64, songs),
        segment_loss: cross_entropy(probabilities, &labels, classes),
        macro_f1: macro_f1(&confusion_songs),
        segment_macro_f1: macro_f1(&confusion_segments),
        per_genre: genres
            .iter()
            .zip(by_song)
            .zip(by_segment)
            .map(|((genre, songs), segments)| GenreScore {
                genre: genre.clone(),
                songs,
                segments,
            })
            .collect(),
        calibration: Calibration::of(rows.iter().zip(&labels).map(|(row, &label)| {
            let answer = argmax(row);
            (row[answer], answer == label)
        })),
        song_calibration: Calibration::of(sure_of_song),
        confusion_segments,
        confusion_songs,
        judged,
        wrong_songs,
        genres: genres.to_vec(),
    })
}

/// The lengths, the indices and the probabilities of what is to be judged.
fn check(predictions: &SegmentPredictions<'_>) -> Result<()> {
    let SegmentPredictions {
        genres,
        probabilities,
        songs,
        song_genres,
        song_paths,
    } = *predictions;
    let fail = |reason: String| Err(Error::Data(format!("cannot judge the answers: {reason}")));
    if genres.is_empty() || songs.is_empty() {
        return fail(format!("{} genres, {} segments", genres.len(), songs.len()));
    }
    if probabilities.len() != songs.len() * genres.len() {
        return fail(format!(
            "{} probabilities are not {} segments of {} genres",
            probabilities.len(),
            songs.len(),
            genres.len()
        ));
    }
    if song_genres.len() != song_paths.len() {
        return fail(format!(
            "{} songs have a genre, {} a path",
            song_genres.len(),
            song_paths.len()
        ));
    }
    if let Some(song) = songs.iter().find(|&&song| song >= song_genres.len()) {
        return fail(format!(
            "a segment is from song {song} of {}",
            song_genres.len()
        ));
    }
    if let Some(song) = (0..song_genres.len()).find(|&song| song_genres[song] >= genres.len()) {
        return fail(format!(
            "{} is of genre {} of {}",
            song_paths[song],
            song_genres[song],
            genres.len()
        ));
    }
    // A softmax may exceed 1 by rounding.
    let sound = |probability: &f32| (0.0..=1.0 + 1e-5).contains(probability);
    if let Some(at) = probabilities.iter().position(|p| !sound(p)) {
        return fail(format!(
            "the model gives {} the probability {} of {}: its weights are damaged or its training diverged",
            song_paths[songs[at / genres.len()]],
            probabilities[at],
            genres[at % genres.len()]
        ));
    }
    Ok(())
}

/// Mean cross-entropy in nats of `probabilities`, `[labels, classes]` row by row; NaN without labels.
///
/// Probabilities are held within 1e-7 and 1 - 1e-7, as Keras' `categorical_crossentropy` does, so that one segment that is
/// wrong beyond doubt costs 16.1 and not infinity. A NaN probability of the true class makes the loss NaN.
///
/// # Panics
/// Where `probabilities` is too short, or a label not below `classes`.
pub fn cross_entropy(probabilities: &[f32], labels: &[usize], classes: usize) -> f64 {
    let sum: f64 = labels
        .iter()
        .enumerate()
        .map(|(row, &label)| {
            assert!(label < classes, "label {label} of {classes} classes");
            -f64::from(probabilities[row * classes + label])
                .clamp(1e-7, 1.0 - 1e-7)
                .ln()
        })
        .sum();
    sum / labels.len() as f64
}

/// Share of the rows of `probabilities`, `[labels, classes]`, whose highest value stands at the label; a row without
/// a number among its values is wrong. NaN without labels.
///
/// # Panics
/// Where `probabilities` is too short.
pub fn accuracy(probabilities: &[f32], labels: &[usize], classes: usize) -> f64 {
    let right = labels
        .iter()
        .enumerate()
        .filter(|&(row, &label)| {
            let row = &probabilities[row * classes..][..classes];
            argmax(row) == label && !row[label].is_nan()
        })
        .count();
    right as f64 / labels.len() as f64
}

#[cfg(test)]
mod tests;
