//! How sure an accuracy is that several runs give, whose validation songs overlap.

use std::collections::BTreeMap;

use super::Evaluation;
use super::interval::{cluster_wilson, wilson};

/// The answers of several runs, such as seeds or folds, put together song by song.
///
/// Runs with other seeds hold out other songs, but many songs more than once: their answers are no independent
/// trials, however many runs there are. So each distinct song is one cluster with all the answers that it got in any
/// run, and the interval is [`cluster_wilson`]'s over these clusters: more runs make it narrower only as far as they judge
/// more songs, or as a song's answers differ from run to run. Where every song is judged once, as in
/// cross-validation, the songs' interval is [`wilson`]'s.
///
/// It covers the luck of which songs there are. What a run's weights do to all its songs alike is not in it: that is
/// the spread over the runs, which belongs beside it. Nor is it that the runs share training songs, or that songs of one
/// artist are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pooled {
    /// The number of distinct songs, told apart by path.
    pub songs: usize,
    /// The 95 % interval of the share of songs named rightly.
    pub song_interval: (f64, f64),
    /// The 95 % interval of the share of segments named rightly.
    pub segment_interval: (f64, f64),
}

impl Pooled {
    /// Of the songs that these evaluations judged; both intervals are (0, 1) without any.
    pub fn of<'a>(evaluations: impl IntoIterator<Item = &'a Evaluation>) -> Self {
        // By song: answers that are right, answers; segments that are right, segments.
        let mut by_song: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
        for song in evaluations.into_iter().flat_map(|each| &each.judged) {
            let sums = by_song.entry(&song.path).or_default();
            sums[0] += u64::from(song.right);
            sums[1] += 1;
            sums[2] += song.segments_right;
            sums[3] += song.segments;
        }
        let pairs = |at: usize| -> Vec<(u64, u64)> {
            by_song
                .values()
                .map(|sums| (sums[at], sums[at + 1]))
                .collect()
        };
        let songs = pairs(0);
        let song_interval = if songs.iter().all(|(_, answers)| *answers == 1) {
            wilson(songs.iter().map(|song| song.0).sum(), songs.len() as u64)
        } else {
            cluster_wilson(&songs)
        };
        Self {
            songs: songs.len(),
            song_interval,
            segment_interval: cluster_wilson(&pairs(2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::close;
    use super::super::{SegmentPredictions, Vote, evaluate};
    use super::*;
    use crate::random::Random;

    /// An evaluation of these songs, each with two segments: both right, or both wrong.
    fn evaluation(songs: &[(usize, bool)]) -> Evaluation {
        let genres = ["a".to_string(), "b".to_string()];
        let paths: Vec<String> = songs.iter().map(|(song, _)| song.to_string()).collect();
        let of_segment: Vec<usize> = (0..songs.len()).flat_map(|song| [song, song]).collect();
        let probabilities: Vec<f32> = of_segment
            .iter()
            .flat_map(|&song| {
                if songs[song].1 {
                    [0.9, 0.1]
                } else {
                    [0.1, 0.9]
                }
            })
            .collect();
        let predictions = SegmentPredictions {
            genres: &genres,
            probabilities: &probabilities,
            songs: &of_segment,
            song_genres: &vec![0; songs.len()],
            song_paths: &paths,
        };
        evaluate(&predictions, Vote::Mean).unwrap()
    }

    #[test]
    fn the_same_songs_again_make_nothing_surer() {
        let songs: Vec<(usize, bool)> = (0..20).map(|song| (song, song % 3 > 0)).collect();
        let once = evaluation(&songs);
        let twice = Pooled::of([&once, &once]);
        let thrice = Pooled::of([&once, &once, &once]);
        assert_eq!(thrice.songs, 20);
        close(twice.song_interval.0, thrice.song_interval.0, 1e-12);
        close(twice.song_interval.1, thrice.song_interval.1, 1e-12);
        // As wide as what one run knows, or a little wider.
        let width = |(low, high): (f64, f64)| high - low;
        assert!(width(thrice.song_interval) >= width(once.song_interval));
        assert!(width(thrice.song_interval) < 1.1 * width(once.song_interval));
        assert_eq!(Pooled::of([&once]).segment_interval, once.segment_interval);
        assert_eq!(Pooled::of([&once]).song_interval, once.song_interval);
    }

    #[test]
    fn folds_are_one_evaluation_of_all_songs() {
        let folds: Vec<Evaluation> = (0..4)
            .map(|fold| evaluation(&[(2 * fold, true), (2 * fold + 1, fold == 0)]))
            .collect();
        let pooled = Pooled::of(&folds);
        assert_eq!((pooled.songs, pooled.song_interval), (8, wilson(5, 8)));
        assert_eq!(Pooled::of([]).song_interval, (0.0, 1.0));
    }

    /// Songs of all difficulties are drawn, five runs judge 8 of 40 each with noise of their own, and the interval
    /// holds the share among all songs there could be, 60 %, about 95 times in 100.
    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        let mut random = Random::new(&[4]);
        let mut uniform = || random.below(1_000_000) as f64 / 1e6;
        let (trials, mut held) = (400, 0);
        for _ in 0..trials {
            // Difficulties with mean 0.6: near 0 or near 1, as songs are.
            let chance: Vec<f64> = (0..40)
                .map(|_| if uniform() < 0.6 { 0.9 } else { 0.15 })
                .collect();
            let runs: Vec<Evaluation> = (0..5)
                .map(|_| {
                    let mut songs: Vec<usize> = (0..40).collect();
                    for at in 0..8 {
                        let other = at + (uniform() * (40 - at) as f64) as usize;
                        songs.swap(at, other);
                    }
                    let judged: Vec<(usize, bool)> = songs[..8]
                        .iter()
                        .map(|&song| (song, uniform() < chance[song]))
                        .collect();
                    evaluation(&judged)
                })
                .collect();
            let (low, high) = Pooled::of(&runs).song_interval;
            held += u32::from(low <= 0.6 && 0.6 <= high);
        }
        let share = f64::from(held) / f64::from(trials);
        assert!((0.92..=0.99).contains(&share), "{share}");
    }
}
