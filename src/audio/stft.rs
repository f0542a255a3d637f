//! The power spectrum of overlapping frames: librosa's `stft(center=True, pad_mode="constant")`, squared.
//!
//! Two real frames ride through one complex transform: with z = a + i b, the spectra are the even and the
//! odd part of Z, A\[k\] = (Z\[k\] + conj Z\[N-k\]) / 2 and B\[k\] = (Z\[k\] - conj Z\[N-k\]) / 2i, with no twiddle
//! factors. The transform itself is four of a quarter's length, over every fourth sample (the frames are
//! windowed into that order), and one radix-4 step: the quarters fit rustfft's fastest fixed-size code, twice as
//! fast a point as its code for the whole length, and the last step leaves real and imaginary parts apart, as SIMD wants
//! them for the powers.
//!
//! All in `f32`: a transform of 2048 points loses about 1e-7 of the louder frame's amplitude, some 130 dB
//! below it, where the decibels that follow keep 80 dB.

use std::f64::consts::TAU;
use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

/// Samples a transform.
pub const N_FFT: usize = 2_048;
/// Bins from 0 Hz to the Nyquist frequency.
pub const BINS: usize = N_FFT / 2 + 1;

/// Values that are worked on side by side; [`BINS`] - 1 is a multiple of it.
const LANES: usize = 8;
/// Points of the four transforms that make one.
const QUARTER: usize = N_FFT / 4;

/// The transform's plan and its window, made once and shared by all threads.
pub struct Stft {
    /// A transform of [`QUARTER`] points.
    fft: Arc<dyn Fft<f32>>,
    window: Vec<f32>,
    twiddles: [Planar; 3],
}

/// Complex numbers with their parts in two rows.
struct Planar {
    re: Vec<f32>,
    im: Vec<f32>,
}

/// What one thread needs to run an [`Stft`]; nothing is allocated a frame.
pub struct Scratch {
    quarters: Vec<Complex<f32>>,
    fft: Vec<Complex<f32>>,
    spectrum: Planar,
    padded: [Vec<f32>; 2],
}

impl Default for Stft {
    fn default() -> Self {
        Self::new()
    }
}

impl Stft {
    /// Plans the transform; the instructions (AVX where the CPU has it) are chosen here.
    pub fn new() -> Self {
        let phase = |r: usize, k: usize| -TAU * (r * k) as f64 / N_FFT as f64;
        let row = |value: &dyn Fn(usize) -> f64| (0..QUARTER).map(|k| value(k) as f32).collect();
        Self {
            fft: FftPlanner::new().plan_fft_forward(QUARTER),
            window: hann(N_FFT),
            twiddles: [1, 2, 3].map(|r| Planar {
                re: row(&|k| phase(r, k).cos()),
                im: row(&|k| phase(r, k).sin()),
            }),
        }
    }

    /// Working memory for one thread.
    pub fn scratch(&self) -> Scratch {
        let zero = Complex::new(0.0, 0.0);
        Scratch {
            quarters: vec![zero; N_FFT],
            fft: vec![zero; self.fft.get_inplace_scratch_len()],
            spectrum: Planar {
                re: vec![0.0; N_FFT],
                im: vec![0.0; N_FFT],
            },
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
            spectrum,
            padded,
        } = scratch;
        let [padded_a, padded_b] = padded;
        let a = frame(samples, centres[0], padded_a);
        let b = frame(samples, centres[1], padded_b);
        self.quarter(a, b, quarters);
        // rustfft runs over the buffer in chunks of its length: all four at once.
        self.fft.process_with_scratch(quarters, fft);
        self.combine(quarters, spectrum);
        let [power_a, power_b] = powers;
        spectrum.powers(&mut power_a[..BINS], &mut power_b[..BINS]);
    }

    /// z = window x (a + i b), every fourth value from r on in the r-th quarter.
    fn quarter(&self, a: &[f32], b: &[f32], quarters: &mut [Complex<f32>]) {
        let (q0, rest) = quarters.split_at_mut(QUARTER);
        let (q1, rest) = rest.split_at_mut(QUARTER);
        let (q2, q3) = rest.split_at_mut(QUARTER);
        let rows = (a.as_chunks::<4>().0.iter())
            .zip(b.as_chunks::<4>().0)
            .zip(self.window.as_chunks::<4>().0);
        let quarters = q0.iter_mut().zip(q1).zip(q2.iter_mut().zip(q3));
        for (((a, b), w), ((z0, z1), (z2, z3))) in rows.zip(quarters) {
            let re: [f32; 4] = std::array::from_fn(|r| a[r] * w[r]);
            let im: [f32; 4] = std::array::from_fn(|r| b[r] * w[r]);
            *z0 = Complex::new(re[0], im[0]);
            *z1 = Complex::new(re[1], im[1]);
            *z2 = Complex::new(re[2], im[2]);
            *z3 = Complex::new(re[3], im[3]);
        }
    }

    /// One radix-4 step (Cooley and Tukey, decimation in time):
    /// Z\[k + q N/4\] = Σ_r (-i)^(q r) W^(r k) Y_r\[k\] with W = exp(-2πi/N).
    fn combine(&self, quarters: &[Complex<f32>], spectrum: &mut Planar) {
        let [w1, w2, w3] = &self.twiddles;
        let quarter = |r: usize| &quarters[r * QUARTER..][..QUARTER];
        let (y0, y1, y2, y3) = (quarter(0), quarter(1), quarter(2), quarter(3));
        let ([re0, re1, re2, re3], [im0, im1, im2, im3]) =
            (in_quarters(&mut spectrum.re), in_quarters(&mut spectrum.im));
        let (w1_re, w1_im) = (&w1.re[..QUARTER], &w1.im[..QUARTER]);
        let (w2_re, w2_im) = (&w2.re[..QUARTER], &w2.im[..QUARTER]);
        let (w3_re, w3_im) = (&w3.re[..QUARTER], &w3.im[..QUARTER]);
        for k in 0..QUARTER {
            let t1_re = y1[k].re * w1_re[k] - y1[k].im * w1_im[k];
            let t1_im = y1[k].re * w1_im[k] + y1[k].im * w1_re[k];
            let t2_re = y2[k].re * w2_re[k] - y2[k].im * w2_im[k];
            let t2_im = y2[k].re * w2_im[k] + y2[k].im * w2_re[k];
            let t3_re = y3[k].re * w3_re[k] - y3[k].im * w3_im[k];
            let t3_im = y3[k].re * w3_im[k] + y3[k].im * w3_re[k];
            let (a_re, a_im) = (y0[k].re + t2_re, y0[k].im + t2_im);
            let (b_re, b_im) = (y0[k].re - t2_re, y0[k].im - t2_im);
            let (c_re, c_im) = (t1_re + t3_re, t1_im + t3_im);
            let (d_re, d_im) = (t1_re - t3_re, t1_im - t3_im);
            (re0[k], im0[k]) = (a_re + c_re, a_im + c_im);
            (re1[k], im1[k]) = (b_re + d_im, b_im - d_re);
            (re2[k], im2[k]) = (a_re - c_re, a_im - c_im);
            (re3[k], im3[k]) = (b_re - d_im, b_im + d_re);
        }
    }
}

impl Planar {
    /// The powers of the two frames in a pair's spectrum, bins 0 to N/2.
    fn powers(&self, power_a: &mut [f32], power_b: &mut [f32]) {
        let (re, im) = (&self.re[..N_FFT], &self.im[..N_FFT]);
        (power_a[0], power_b[0]) = (re[0] * re[0], im[0] * im[0]);
        // Bins 1 to N/2, each with its mirror N-1 down to N/2; at N/2 the bin is its own mirror. In chunks, for the
        // compiler makes no SIMD of a row that is read backwards.
        let z = re[1..BINS]
            .as_chunks::<LANES>()
            .0
            .iter()
            .zip(im[1..BINS].as_chunks::<LANES>().0);
        let mirror_re = re[BINS - 1..].as_chunks::<LANES>().0.iter().rev();
        let mirror_im = im[BINS - 1..].as_chunks::<LANES>().0.iter().rev();
        let a = power_a[1..].as_chunks_mut::<LANES>().0.iter_mut();
        let b = power_b[1..].as_chunks_mut::<LANES>().0.iter_mut();
        for ((((z_re, z_im), m_re), m_im), (a, b)) in z.zip(mirror_re).zip(mirror_im).zip(a.zip(b))
        {
            let (mut m_re, mut m_im) = (*m_re, *m_im);
            m_re.reverse();
            m_im.reverse();
            for k in 0..LANES {
                // Sums before squares: squares first would lose a quiet frame beside a loud one.
                let (a_re, a_im) = (z_re[k] + m_re[k], z_im[k] - m_im[k]);
                let (b_re, b_im) = (z_im[k] + m_im[k], m_re[k] - z_re[k]);
                a[k] = 0.25 * (a_re * a_re + a_im * a_im);
                b[k] = 0.25 * (b_re * b_re + b_im * b_im);
            }
        }
    }
}

/// A row of [`N_FFT`] values in its four quarters.
fn in_quarters(row: &mut [f32]) -> [&mut [f32]; 4] {
    let (front, back) = row.split_at_mut(N_FFT / 2);
    let (q0, q1) = front.split_at_mut(QUARTER);
    let (q2, q3) = back.split_at_mut(QUARTER);
    [q0, q1, q2, &mut q3[..QUARTER]]
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
        let stft = Stft::new();
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
        let stft = Stft::new();
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
