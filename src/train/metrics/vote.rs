//! From the answers for a song's segments to one answer for the song.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How the segments of a song decide together.
///
/// Ties go to the genre with the higher mean probability, then to the lower index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vote {
    /// The mean of the segments' probabilities.
    #[default]
    Mean,
    /// Each segment has one vote; the song's probabilities are the shares of the votes.
    Majority,
    /// The highest probability that any segment gives; the song's probabilities are these, scaled to sum to 1.
    Maximum,
}

impl Vote {
    /// Every way to vote, in the order of their names in messages.
    pub const ALL: [Self; 3] = [Self::Mean, Self::Majority, Self::Maximum];

    /// The song's answer from its segments' probabilities, one slice of the same `classes` values a segment.
    ///
    /// NaN counts as lower than every number. Without segments, and where no probability is a number, the genre is 0.
    ///
    /// # Panics
    /// Where a slice is shorter than `classes`.
    pub fn decide<'a>(
        self,
        segments: impl IntoIterator<Item = &'a [f32]>,
        classes: usize,
    ) -> SongAnswer {
        let mut mean = vec![0.0; classes];
        let mut maximum = vec![0.0f64; classes];
        let mut votes = vec![0.0; classes];
        let mut count = 0.0;
        for segment in segments {
            let segment = &segment[..classes];
            for class in 0..classes {
                mean[class] += f64::from(segment[class]);
                maximum[class] = maximum[class].max(f64::from(segment[class]));
            }
            if classes > 0 {
                votes[argmax(segment)] += 1.0;
            }
            count += 1.0;
        }
        if count > 0.0 {
            mean.iter_mut().for_each(|value| *value /= count);
        }
        let mut probabilities = match self {
            Self::Mean => mean.clone(),
            Self::Majority => votes,
            Self::Maximum => maximum,
        };
        let genre = highest(classes, |a, b| {
            greater(probabilities[a], probabilities[b])
                .or_else(|| greater(mean[a], mean[b]))
                .unwrap_or(false)
        });
        if self != Self::Mean {
            let sum: f64 = probabilities.iter().sum();
            if sum > 0.0 {
                probabilities.iter_mut().for_each(|value| *value /= sum);
            }
        }
        SongAnswer {
            probabilities,
            genre,
        }
    }
}

/// What the segments of a song say together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SongAnswer {
    /// One value a genre, 0 to 1, summing to 1; what they are is the [`Vote`]'s to say.
    pub probabilities: Vec<f64>,
    /// The genre decided on.
    pub genre: usize,
}

/// The index of the highest value, the lowest of equals; NaN is lower than every number. 0 for an empty slice.
pub fn argmax(values: &[f32]) -> usize {
    highest(values.len(), |a, b| {
        greater(values[a].into(), values[b].into()).unwrap_or(false)
    })
}

/// The first index of `0..count` that no other beats.
fn highest(count: usize, beats: impl Fn(usize, usize) -> bool) -> usize {
    (1..count).fold(0, |best, next| if beats(next, best) { next } else { best })
}

/// Whether `a > b` with NaN below every number; `None` where they are equal.
fn greater(a: f64, b: f64) -> Option<bool> {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => None,
        (false, true) => Some(true),
        (true, false) => Some(false),
        (false, false) => (a != b).then_some(a > b),
    }
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mean => "mean",
            Self::Majority => "majority",
            Self::Maximum => "maximum",
        })
    }
}

impl FromStr for Vote {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|vote| vote.to_string() == text)
            .ok_or_else(|| {
                Error::Usage(format!(
                    "unknown vote '{text}': choose mean, majority or maximum"
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::close;
    use super::*;

    fn decide(vote: Vote, segments: &[[f32; 3]]) -> SongAnswer {
        vote.decide(segments.iter().map(<[f32; 3]>::as_slice), 3)
    }

    #[test]
    fn three_ways_to_vote_three_answers() {
        // Two votes for 0, one very sure segment for 1, the best mean for 2.
        let segments = [
            [0.42, 0.17, 0.41],
            [0.42, 0.17, 0.41],
            [0.10, 0.50, 0.40],
            [0.10, 0.00, 0.45],
        ];
        let mean = decide(Vote::Mean, &segments);
        assert_eq!(mean.genre, 2);
        close(mean.probabilities[2], 1.67 / 4.0, 1e-7);
        let majority = decide(Vote::Majority, &segments);
        assert_eq!(
            (majority.genre, majority.probabilities),
            (0, vec![0.5, 0.25, 0.25])
        );
        let maximum = decide(Vote::Maximum, &segments);
        assert_eq!(maximum.genre, 1);
        close(maximum.probabilities[1], 0.5 / 1.37, 1e-7);
    }

    #[test]
    fn ties_go_to_the_mean_then_to_the_lower_index() {
        let one_each = [
            [0.6, 0.4, 0.0],
            [0.0, 0.9, 0.1],
            [0.55, 0.45, 0.0],
            [0.0, 0.8, 0.2],
        ];
        assert_eq!(decide(Vote::Majority, &one_each).genre, 1);
        let same_peak = [[0.7, 0.1, 0.2], [0.1, 0.2, 0.7]];
        assert_eq!(decide(Vote::Maximum, &same_peak).genre, 2);
        for vote in Vote::ALL {
            assert_eq!(
                decide(vote, &[[0.2, 0.4, 0.4], [0.2, 0.4, 0.4]]).genre,
                1,
                "{vote}"
            );
        }
    }

    #[test]
    fn odd_input_gives_an_answer() {
        const NAN: f32 = f32::NAN;
        for vote in Vote::ALL {
            assert_eq!(decide(vote, &[]).genre, 0);
            assert_eq!(decide(vote, &[[NAN; 3]]).genre, 0);
            assert_eq!(vote.decide([[].as_slice()], 0).genre, 0);
        }
        assert_eq!(decide(Vote::Mean, &[[NAN, 0.1, 0.2]]).genre, 2);
        assert_eq!(argmax(&[NAN, 0.1, NAN, 0.3]), 3);
        assert_eq!(argmax(&[]), 0);
    }

    #[test]
    fn names_read_back() {
        for vote in Vote::ALL {
            assert_eq!(vote.to_string().parse::<Vote>().unwrap(), vote);
            assert_eq!(serde_json::to_string(&vote).unwrap(), format!("\"{vote}\""));
        }
        let message = "median".parse::<Vote>().unwrap_err().to_string();
        assert!(
            message.contains("median") && message.contains("majority"),
            "{message}"
        );
    }
}
