//! How a song is cut into the spectrograms that a model sees.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::audio::decibel::{AMIN, TOP_DB};
use crate::audio::stft::N_FFT;
use crate::audio::{SAMPLE_RATE, resample};
use crate::error::{Error, Result};
use crate::shape::Shape;

/// A way to cut a song into slices, and each slice into frames and mels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrontEnd {
    /// Segments of two seconds, one after the other: 80 frames of 80 mels each.
    Segments,
    /// Windows of 100 ms, 50 ms apart: 5 frames of 128 mels each.
    Windows,
}

/// Samples from one segment to the next, and in one: two seconds.
const SEGMENT: usize = 2 * SAMPLE_RATE as usize;
/// Samples in one window: 100 ms; the next starts half as many later.
const WINDOW: usize = SAMPLE_RATE as usize / 10;

impl FrontEnd {
    /// All of them, in the order of help texts.
    pub const ALL: [Self; 2] = [Self::Segments, Self::Windows];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Segments => "segments",
            Self::Windows => "windows",
        }
    }

    /// Frames (time steps) in one slice.
    pub fn frames(self) -> usize {
        match self {
            Self::Segments => 80,
            Self::Windows => 5,
        }
    }

    /// Mel bands in one frame.
    pub fn mels(self) -> usize {
        match self {
            Self::Segments => 80,
            Self::Windows => 128,
        }
    }

    /// The shape of one slice's features, [frames, mels].
    pub fn shape(self) -> Shape {
        Shape::from([self.frames(), self.mels()])
    }

    /// Samples from one frame's centre to the next; the first frame's centre is the slice's first sample.
    pub fn hop(self) -> usize {
        match self {
            Self::Segments => 551,
            Self::Windows => 512,
        }
    }

    /// Samples in one slice.
    pub fn slice_len(self) -> usize {
        match self {
            Self::Segments => SEGMENT,
            Self::Windows => WINDOW,
        }
    }

    /// The first sample of slice `i`: 44,100 i for segments, 1102.5 i rounded half to even for windows.
    pub fn slice_start(self, i: usize) -> usize {
        match self {
            Self::Segments => SEGMENT * i,
            Self::Windows => {
                let twice = WINDOW * i;
                let floor = twice / 2;
                // A half goes up only from an odd number.
                floor + (twice & floor & 1)
            }
        }
    }

    /// Whole slices in a song of this many samples; 0 where not even one fits.
    pub fn slice_count(self, samples: usize) -> usize {
        let Some(room) = samples.checked_sub(self.slice_len()) else {
            return 0;
        };
        match self {
            Self::Segments => room / SEGMENT + 1,
            Self::Windows => {
                let last = 2 * room / WINDOW;
                // Rounding down may let one more window in.
                last + 1 + usize::from(self.slice_start(last + 1) <= room)
            }
        }
    }

    /// [`slice_count`](Self::slice_count) for a song that must have one.
    ///
    /// # Errors
    /// [`Error::Data`] that says how long the song is and how long it must be.
    pub fn require_slice(self, samples: usize) -> Result<usize> {
        match self.slice_count(samples) {
            0 => {
                let seconds = |samples: usize| samples as f64 / f64::from(SAMPLE_RATE);
                Err(Error::Data(format!(
                    "the song lasts {:.2} s and `{self}` needs at least {:.2} s of it",
                    // Rounded down: a song just too short must not look long enough.
                    (seconds(samples) * 100.0).floor() / 100.0,
                    seconds(self.slice_len())
                )))
            }
            count => Ok(count),
        }
    }

    /// When slice `i` starts and ends, in seconds from the song's start.
    pub fn slice_seconds(self, i: usize) -> (f64, f64) {
        let start = self.slice_start(i);
        let rate = f64::from(SAMPLE_RATE);
        (
            start as f64 / rate,
            (start + self.slice_len()) as f64 / rate,
        )
    }

    /// Every constant between a file's bytes and its features, as text: equal text means equal
    /// features. Part of the feature cache's key and of a saved model.
    pub fn constants(self) -> String {
        let spacing = match self {
            Self::Segments => SEGMENT.to_string(),
            Self::Windows => "1102.5 half-even".to_owned(),
        };
        format!(
            "front_end={self} sample_rate={SAMPLE_RATE} mono=mean resampler={} slice={} spacing={spacing} \
             n_fft={N_FFT} hop={} frames={} window=hann-periodic center=true pad=zero power=2 mels={} \
             mel=slaney norm=slaney fmin=0 fmax=nyquist ref=1 amin={AMIN:e} top_db={TOP_DB} layout=time-mel",
            resample::DESCRIPTION,
            self.slice_len(),
            self.hop(),
            self.frames(),
            self.mels(),
        )
    }
}

impl fmt::Display for FrontEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FrontEnd {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|front_end| front_end.name() == text)
            .ok_or_else(|| {
                Error::Usage(format!(
                    "unknown front end '{text}': take `segments` or `windows`"
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[int(round(1102.5 * i)) for i in range(10)]` in Python, whose round is half to even.
    #[test]
    fn windows_start_rounded_half_to_even() {
        let starts: Vec<usize> = (0..10).map(|i| FrontEnd::Windows.slice_start(i)).collect();
        assert_eq!(
            starts,
            [0, 1102, 2205, 3308, 4410, 5512, 6615, 7718, 8820, 9922]
        );
    }

    #[test]
    fn thirty_seconds_are_15_segments_or_599_windows() {
        assert_eq!(FrontEnd::Segments.slice_count(661_500), 15);
        assert_eq!(FrontEnd::Segments.slice_count(661_499), 14);
        assert_eq!(FrontEnd::Windows.slice_count(661_500), 599);
        assert_eq!(FrontEnd::Windows.slice_count(661_499), 598);
        assert_eq!(FrontEnd::Segments.slice_seconds(14), (28.0, 30.0));
        let (start, end) = FrontEnd::Windows.slice_seconds(598);
        assert!((start - 29.9).abs() < 1e-9 && (end - 30.0).abs() < 1e-9);
    }

    #[test]
    fn counts_are_those_of_trying_every_slice() {
        for front_end in FrontEnd::ALL {
            let fits = |n: usize| {
                (0..)
                    .take_while(|i| front_end.slice_start(*i) + front_end.slice_len() <= n)
                    .count()
            };
            for n in (0..12_000).chain(44_000..44_200).chain(88_100..88_300) {
                assert_eq!(
                    front_end.slice_count(n),
                    fits(n),
                    "{front_end} of {n} samples"
                );
            }
        }
    }

    #[test]
    fn a_short_song_is_told_its_length() {
        assert_eq!(FrontEnd::Segments.require_slice(44_100).unwrap(), 1);
        let error = FrontEnd::Segments
            .require_slice(44_099)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("1.99 s") && error.contains("2.00 s"),
            "{error}"
        );
        assert!(FrontEnd::Windows.require_slice(0).is_err());
    }

    #[test]
    fn names_go_both_ways() {
        for front_end in FrontEnd::ALL {
            assert_eq!(
                front_end.to_string().parse::<FrontEnd>().unwrap(),
                front_end
            );
            let json = serde_json::to_string(&front_end).unwrap();
            assert_eq!(json, format!("\"{front_end}\""));
            assert_eq!(serde_json::from_str::<FrontEnd>(&json).unwrap(), front_end);
        }
        assert!(
            "segment"
                .parse::<FrontEnd>()
                .unwrap_err()
                .to_string()
                .contains("segments")
        );
        assert_ne!(
            FrontEnd::Segments.constants(),
            FrontEnd::Windows.constants()
        );
    }
}
