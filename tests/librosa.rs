//! Features against librosa's recorded answers, both front ends.
//!
//! The fixture is four seconds; `SONOGRAD_REFERENCE` may name a folder with the whole recording
//! (`signal.wav`, `signal.safetensors`) to be held to the same tolerance.

#![allow(clippy::unwrap_used, reason = "what a test misses is its failure")]

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use sonograd::audio::{self, Extractor, FrontEnd};

/// Allowed on the mean of the absolute differences, in dB.
const MEAN: f64 = 1e-3;
/// Allowed at most where librosa's value is more than [`ABOVE_FLOOR`] over its spectrogram's floor, in dB.
const MAX: f64 = 0.02;
/// See [`MAX`].
const ABOVE_FLOOR: f32 = 20.0;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn words(file: &SafeTensors<'_>, name: &str) -> Option<Vec<[u8; 4]>> {
    let tensor = file.tensor(name).ok()?;
    let bytes = tensor.data();
    Some(
        bytes
            .chunks_exact(4)
            .map(|b| [b[0], b[1], b[2], b[3]])
            .collect(),
    )
}

/// Mean and maximum of the differences, the latter where librosa's value stands clear of its floor.
fn differences(got: &[f32], want: &[f32], slice: usize) -> (f64, f64) {
    assert_eq!(got.len(), want.len());
    let (mut sum, mut max) = (0.0, 0.0f64);
    for (got, want) in got.chunks_exact(slice).zip(want.chunks_exact(slice)) {
        let floor = want.iter().copied().fold(f32::INFINITY, f32::min);
        for (got, want) in got.iter().zip(want) {
            let difference = f64::from((got - want).abs());
            assert!(difference.is_finite());
            sum += difference;
            if *want > floor + ABOVE_FLOOR {
                max = max.max(difference);
            }
        }
    }
    (sum / got.len() as f64, max)
}

fn check(wav: &Path, recorded: &Path) {
    let samples = audio::load(wav).unwrap();
    let bytes = std::fs::read(recorded).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for front_end in FrontEnd::ALL {
        let slice = front_end.shape().len();
        let want: Vec<f32> = words(&file, front_end.name())
            .unwrap()
            .into_iter()
            .map(f32::from_le_bytes)
            .collect();
        let extractor = Extractor::new(front_end);
        let all = extractor.worker().features(&samples).unwrap();
        assert_eq!(all.len(), front_end.slice_count(samples.len()) * slice);
        let chosen = format!("{}_index", front_end.name().trim_end_matches('s'));
        let got: Vec<f32> = match words(&file, &chosen) {
            Some(index) => index
                .into_iter()
                .map(|word| i32::from_le_bytes(word) as usize)
                .flat_map(|i| all[i * slice..(i + 1) * slice].to_vec())
                .collect(),
            None => all,
        };
        let (mean, max) = differences(&got, &want, slice);
        eprintln!(
            "{front_end}: {} slices, mean {mean:.2e} dB, max {max:.2e} dB",
            got.len() / slice
        );
        assert!(mean <= MEAN, "{front_end}: mean {mean} dB");
        assert!(max <= MAX, "{front_end}: max {max} dB");
    }
}

#[test]
fn features_are_librosas() {
    let folder = fixtures();
    check(
        &folder.join("librosa.wav"),
        &folder.join("librosa.safetensors"),
    );
}

#[test]
fn features_of_the_whole_recording_are_librosas() {
    if let Some(folder) = std::env::var_os("SONOGRAD_REFERENCE") {
        let folder = Path::new(&folder);
        check(
            &folder.join("signal.wav"),
            &folder.join("signal.safetensors"),
        );
    }
}

/// The comparison itself must be able to fail.
#[test]
fn a_shift_of_one_sample_is_noticed() {
    let folder = fixtures();
    let samples = audio::load(&folder.join("librosa.wav")).unwrap();
    let extractor = Extractor::new(FrontEnd::Segments);
    let right = extractor.worker().features(&samples[..44_100]).unwrap();
    let shifted = extractor.worker().features(&samples[1..44_101]).unwrap();
    let (mean, max) = differences(&shifted, &right, 6_400);
    assert!(mean > MEAN && max > MAX, "mean {mean}, max {max}");
}
