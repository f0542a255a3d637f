//! The power spectrum of overlapping frames: librosa's `stft(center=True, pad_mode="constant")`, squared.
//!
//! Two real frames ride through one complex transform, which is four of a quarter's length, over every fourth sample (the frames are
//! windowed into that order), and one radix-4 step: the quarters fit rustfft's fastest fixed-size code, twice as
//! fast a point as its code for the whole length, and the last step goes straight on to the powers. Window, step and powers are
//! this project's kernels, see [`Kernels::window_quarters`] and [`Kernels::power_pair`].
//!
//! All in `f32`: a transform of 2048 points loses about 1e-7 of the louder frame's amplitude, some 130 dB
//! below it, where the decibels that follow keep 80 dB.

use std::f64::consts::TAU;
use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};
use sonograd_kernels::Kernels;

/// Samples a transform.
pub const N_FFT: usize = 2_048;
/// Bins from 0 Hz to the Nyquist frequency.
pub const BINS: usize = N_FFT / 2 + 1;

/// Points of the four transforms that make one.
const QUARTER: usize = N_FFT / 4;

/// The transform's plan and its window, made once and shared by all threads.
pub struct Stft {
    kernels: &'static Kernels,
    /// A transform of [`QUARTER`] points.
    fft: Arc<dyn Fft<f32>>,
    window: Vec<f32>,
    /// As [`Kernels::power_pair`] reads them.
    twiddles: Vec<f32>,
}

/// What one thread needs to run an [`Stft`]; nothing is allocated a frame.
pub struct Scratch {
    quarters: Vec<Complex<f32>>,
    fft: Vec<Complex<f32>>,
    padded: [Vec<f32>; 2],
}

impl Stft {
    /// Plans the transform; its instructions (AVX where the CPU has it) are chosen here.
    pub fn new(kernels: &'static Kernels) -> Self {
        let phase = |r: usize, k: usize| -TAU * (r * k) as f64 / N_FFT as f64;
        let row = |value: &dyn Fn(usize) -> f64| -> Vec<f32> {
            (0..QUARTER).map(|k| value(k) as f32).collect()
        };
        let twiddles =
            (1..4).flat_map(|r| [row(&|k| phase(r, k).cos()), row(&|k| phase(r, k).sin())]);
        Self {
            kernels,
            fft: FftPlanner::new().plan_fft_forward(QUARTER),
            window: hann(N_FFT),
            twiddles: twiddles.flatten().collect(),
        }
    }

    /// Working memory for one thread.
    pub fn scratch(&self) -> Scratch {
        let zero = Complex::new(0.0, 0.0);
        Scratch {
            quarters: vec![zero; N_FFT],
            fft: vec![zero; self.fft.get_inplace_scratch_len()],
            padded: [vec![0.0; N_FFT], vec![0.0; N_FFT]],
        }
    }

    /// The power |X|² of the frames that are centred on the samples `centres[0]` and `centres[1]`, each
    /// into the first [`BINS`] values of its slice. Outside of `samples` is silence.
    ///
    /// # Panics
    /// Where a slice is shorter than [`BINS`].
    pub fn power_pair(
        &self,
        samples: &[f32],
        centres: [usize; 2],
        scratch: &mut Scratch,
        powers: [&mut [f32]; 2],
    ) {
        let Scratch {
            quarters,
            fft,
            padded,
        } = scratch;
        let [padded_a, padded_b] = padded;
        let frames = [
            frame(samples, centres[0], padded_a),
            frame(samples, centres[1], padded_b),
        ];
        self.kernels.window_quarters(frames, &self.window, quarters);
        // rustfft runs over the buffer in chunks of its length: all four at once.
        self.fft.process_with_scratch(quarters, fft);
        self.kernels.power_pair(quarters, &self.twiddles, powers);
    }
}

/// The [`N_FFT`] samples around `centre`; a frame that reaches over an end is completed with zeros in `padded`.
fn frame<'a>(samples: &'a [f32], centre: usize, padded: &'a mut [f32]) -> &'a [f32] {
    let end = centre + N_FFT / 2;
    if centre >= N_FFT / 2 && end <= samples.len() {
        return &samples[centre - N_FFT / 2..end];
    }
    let missing = (N_FFT / 2).saturating_sub(centre);
    let first = centre.saturating_sub(N_FFT / 2).min(samples.len());
    let there = &samples[first..end.min(samples.len())];
    padded.fill(0.0);
    padded[missing..missing + there.len()].copy_from_slice(there);
    padded
}

/// The periodic Hann window, 0.5 - 0.5 cos(2πn/N): `scipy.signal.get_window("hann", length)`.
pub fn hann(length: usize) -> Vec<f32> {
    (0..length)
        .map(|n| (0.5 - 0.5 * (TAU * n as f64 / length as f64).cos()) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in ±1 from a linear congruential generator.
    fn noise(length: usize, mut state: u64) -> Vec<f32> {
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..length).map(|_| next()).collect()
    }

    /// The definition, sample by sample in f64.
    fn naive(samples: &[f32], centre: usize, bin: usize) -> f64 {
        let (mut re, mut im) = (0.0, 0.0);
        for n in 0..N_FFT {
            let at = (centre + n).checked_sub(N_FFT / 2);
            let x = f64::from(*at.and_then(|at| samples.get(at)).unwrap_or(&0.0));
            let w = 0.5 - 0.5 * (TAU * n as f64 / N_FFT as f64).cos();
            let phase = TAU * ((n * bin) % N_FFT) as f64 / N_FFT as f64;
            re += x * w * phase.cos();
            im -= x * w * phase.sin();
        }
        re * re + im * im
    }

    fn check(samples: &[f32], centres: [usize; 2]) {
        let stft = Stft::new(Kernels::best());
        let mut scratch = stft.scratch();
        scratch.padded.iter_mut().for_each(|p| p.fill(f32::NAN));
        let (mut a, mut b) = (vec![f32::NAN; BINS + 3], vec![f32::NAN; BINS]);
        stft.power_pair(samples, centres, &mut scratch, [&mut a, &mut b]);
        let want = centres.map(|centre| -> Vec<f64> {
            (0..BINS).map(|bin| naive(samples, centre, bin)).collect()
        });
        let loudest = want.iter().flatten().fold(1e-12, |m: f64, w| m.max(*w));
        for ((centre, want), power) in centres.into_iter().zip(&want).zip([&a[..BINS], &b[..]]) {
            for bin in 0..BINS {
                // Amplitude errors of 1e-6 of the pair's loudest bin.
                let error = (f64::from(power[bin]).sqrt() - want[bin].sqrt()).abs();
                assert!(
                    error < 1e-6 * loudest.sqrt(),
                    "centre {centre} bin {bin}: {} instead of {}",
                    power[bin],
                    want[bin]
                );
            }
        }
        assert!(a[BINS..].iter().all(|x| x.is_nan()), "wrote past the bins");
    }

    #[test]
    fn a_pair_of_frames_is_the_definition() {
        let samples = noise(6_000, 1);
        check(&samples, [2_000, 2_551]);
        check(&samples, [1_024, 4_976]);
    }

    #[test]
    fn frames_over_the_ends_are_padded_with_silence() {
        let samples = noise(2_205, 2);
        check(&samples, [0, 512]);
        check(&samples, [1_536, 2_048]);
        check(&samples, [2_205, 9_000]);
        check(&noise(7, 3), [0, 3]);
        check(&[], [0, 1]);
    }

    #[test]
    fn a_quiet_frame_beside_a_loud_one_keeps_its_spectrum() {
        // A loud first half, a second half 60 dB below it: the pair shares one transform.
        let mut samples = noise(4_096, 4);
        samples[2_048..].iter_mut().for_each(|x| *x *= 1e-3);
        let stft = Stft::new(Kernels::best());
        let (mut a, mut b) = (vec![0.0; BINS], vec![0.0; BINS]);
        let mut scratch = stft.scratch();
        stft.power_pair(&samples, [1_024, 3_072], &mut scratch, [&mut a, &mut b]);
        for bin in (0..BINS).step_by(37) {
            let want = naive(&samples, 3_072, bin);
            let db = 10.0 * (f64::from(b[bin]) / want).log10();
            assert!(db.abs() < 0.05, "bin {bin}: {db} dB off");
        }
    }

    #[test]
    fn the_window_is_periodic() {
        let window = hann(N_FFT);
        assert_eq!(window[0], 0.0);
        assert_eq!(window[N_FFT / 2], 1.0);
        assert_eq!(window[1], window[N_FFT - 1]);
        assert!((window.iter().map(|w| f64::from(*w)).sum::<f64>() - 1_024.0).abs() < 1e-3);
    }
}
