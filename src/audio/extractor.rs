//! Features: from a song's samples to decibels on the mel scale.

use crate::audio::decibel::power_to_db;
use crate::audio::front_end::FrontEnd;
use crate::audio::largest_magnitude;
use crate::audio::mel::{MelBank, PADDED_BINS};
use crate::audio::stft::{Scratch, Stft};
use crate::error::{Error, Result};
use sonograd_kernels::Kernels;

/// What all songs share: the transform's plan, the window and the mel filter bank. `Send` and `Sync`: make it
/// once, and one [`Worker`] a thread.
pub struct Extractor {
    front_end: FrontEnd,
    stft: Stft,
    bank: MelBank,
}

/// An [`Extractor`] with one thread's working memory.
pub struct Worker<'a> {
    extractor: &'a Extractor,
    scratch: Scratch,
    powers: [Vec<f32>; 2],
}

impl Extractor {
    /// Plans for one front end, with the best instructions that the CPU has.
    pub fn new(front_end: FrontEnd) -> Self {
        Self {
            front_end,
            stft: Stft::new(Kernels::best()),
            bank: MelBank::new(front_end.mels()),
        }
    }

    /// The front end that this was made for.
    pub fn front_end(&self) -> FrontEnd {
        self.front_end
    }

    /// Working memory for one thread.
    pub fn worker(&self) -> Worker<'_> {
        Worker {
            extractor: self,
            scratch: self.stft.scratch(),
            powers: [vec![0.0; PADDED_BINS], vec![0.0; PADDED_BINS]],
        }
    }
}

impl Worker<'_> {
    /// The features of a song at [`SAMPLE_RATE`](crate::audio::SAMPLE_RATE): [count, frames, mels] in dB,
    /// where count is the front end's [`slice_count`](FrontEnd::slice_count).
    ///
    /// # Errors
    /// [`Error::Data`] where the song is shorter than one slice or has samples that are not finite.
    pub fn features(&mut self, samples: &[f32]) -> Result<Vec<f32>> {
        let count = self.extractor.front_end.require_slice(samples.len())?;
        let mut features = vec![0.0; count * self.slice_features()];
        self.features_into(samples, &mut features)?;
        Ok(features)
    }

    /// [`features`](Self::features) into a slice that the caller has; answers the number of slices written.
    /// Nothing is allocated.
    ///
    /// # Errors
    /// As [`features`](Self::features), and [`Error::Data`] where `features` has not exactly count x frames x mels values.
    pub fn features_into(&mut self, samples: &[f32], features: &mut [f32]) -> Result<usize> {
        let front_end = self.extractor.front_end;
        let count = front_end.require_slice(samples.len())?;
        let each = self.slice_features();
        if features.len() != count * each {
            return Err(Error::Data(format!(
                "{count} slices of {} features need {} values, not {}",
                front_end.shape(),
                count * each,
                features.len()
            )));
        }
        if !largest_magnitude(samples).is_finite()
            && let Some(at) = samples.iter().position(|sample| !sample.is_finite())
        {
            return Err(Error::Data(format!(
                "sample {at} is {}: the sound is damaged",
                samples[at]
            )));
        }
        for (i, features) in features.chunks_exact_mut(each).enumerate() {
            let start = front_end.slice_start(i);
            self.slice(&samples[start..start + front_end.slice_len()], features);
        }
        Ok(count)
    }

    /// Values in one slice's features: frames x mels.
    fn slice_features(&self) -> usize {
        let front_end = self.extractor.front_end;
        front_end.frames() * front_end.mels()
    }

    /// One slice on its own: frames in pairs to power, to mels, all of them to decibels.
    fn slice(&mut self, samples: &[f32], features: &mut [f32]) {
        let Extractor {
            front_end,
            stft,
            bank,
        } = self.extractor;
        let [power_a, power_b] = &mut self.powers;
        for (i, pair) in features.chunks_mut(2 * bank.mels()).enumerate() {
            let centre = 2 * i * front_end.hop();
            // The last of an odd number rides with a frame that nobody reads. Never with the next
            // slice's first: a slice must not depend on another's samples, not even by rounding.
            stft.power_pair(
                samples,
                [centre, centre + front_end.hop()],
                &mut self.scratch,
                [power_a, power_b],
            );
            let (a, b) = pair.split_at_mut(bank.mels());
            bank.apply(power_a, a);
            if !b.is_empty() {
                bank.apply(power_b, b);
            }
        }
        power_to_db(features);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(samples: usize) -> Vec<f32> {
        (0..samples).map(|n| (n as f32 * 0.1).sin() * 0.5).collect()
    }

    #[test]
    fn a_slice_depends_on_its_own_samples_only() {
        for front_end in FrontEnd::ALL {
            let extractor = Extractor::new(front_end);
            let mut worker = extractor.worker();
            let song = tone(100_000);
            let features = worker.features(&song).unwrap();
            let each = front_end.frames() * front_end.mels();
            assert_eq!(features.len(), each * front_end.slice_count(song.len()));
            for i in [0, 1] {
                let start = front_end.slice_start(i);
                let alone = &song[start..start + front_end.slice_len()];
                let want = extractor.worker().features(alone).unwrap();
                assert_eq!(&features[i * each..(i + 1) * each], want, "{front_end} {i}");
            }
        }
    }

    #[test]
    fn silence_is_minus_100_db_everywhere() {
        for front_end in FrontEnd::ALL {
            let extractor = Extractor::new(front_end);
            let features = extractor.worker().features(&vec![0.0; 50_000]).unwrap();
            assert!(features.iter().all(|v| (v + 100.0).abs() < 1e-4));
        }
    }

    #[test]
    fn a_tone_is_loudest_in_its_own_band() {
        let hz = 0.1 * f64::from(crate::audio::SAMPLE_RATE) / std::f64::consts::TAU;
        let extractor = Extractor::new(FrontEnd::Segments);
        let features = extractor.worker().features(&tone(44_100)).unwrap();
        let frame = &features[40 * 80..41 * 80];
        let loudest = (0..80)
            .max_by(|a, b| frame[*a].total_cmp(&frame[*b]))
            .unwrap();
        let top = crate::audio::mel::hz_to_mel(crate::audio::mel::NYQUIST);
        let band = crate::audio::mel::hz_to_mel(hz) / top * 81.0 - 1.0;
        assert!(
            (loudest as f64 - band).abs() <= 0.6,
            "{loudest} instead of {band}"
        );
    }

    #[test]
    fn bad_samples_and_bad_lengths_are_errors() {
        let extractor = Extractor::new(FrontEnd::Windows);
        let mut worker = extractor.worker();
        let mut song = tone(5_000);
        let mut features = vec![0.0; 3 * 5 * 128];
        assert_eq!(worker.features_into(&song, &mut features).unwrap(), 3);
        assert!(worker.features_into(&song, &mut features[1..]).is_err());
        song[4_321] = f32::NAN;
        let error = worker.features(&song).unwrap_err().to_string();
        assert!(error.contains("4321") && error.contains("NaN"), "{error}");
        assert!(
            worker
                .features(&song[..2_204])
                .unwrap_err()
                .to_string()
                .contains("0.10 s")
        );
        assert!(worker.features(&[]).is_err());
    }

    #[test]
    fn an_extractor_is_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&Extractor::new(FrontEnd::Segments));
    }
}
