//! The mel filter bank: librosa's `filters.mel` with Slaney's scale and area norm.
//!
//! The scale is that of Malcolm Slaney's Auditory Toolbox (1998): linear up to 1 kHz at 200/3 Hz a mel, then
//! logarithmic with 27 mels to a factor of 6.4.

use crate::audio::SAMPLE_RATE;
use crate::audio::stft::{BINS, N_FFT};

/// Hz a mel below [`BREAK_HZ`].
const LINEAR_HZ: f64 = 200.0 / 3.0;
/// Where the scale turns logarithmic.
const BREAK_HZ: f64 = 1_000.0;
/// [`BREAK_HZ`] in mels.
const BREAK_MEL: f64 = BREAK_HZ / LINEAR_HZ;
/// Mels to a factor of [`LOG_FACTOR`] in frequency above [`BREAK_HZ`].
const LOG_MELS: f64 = 27.0;
/// See [`LOG_MELS`].
const LOG_FACTOR: f64 = 6.4;
/// The bank's upper end in Hz; its lower end is 0.
pub const NYQUIST: f64 = SAMPLE_RATE as f64 / 2.0;
/// Values summed side by side: every row is padded with zero weights to a multiple of this, so that
/// its sum is whole SIMD vectors.
const LANES: usize = 8;
/// The length that a spectrum must have to be read by [`MelBank::apply`]: [`BINS`] and room for a row's padding.
pub const PADDED_BINS: usize = BINS + LANES;

/// Hz to mels.
pub fn hz_to_mel(hz: f64) -> f64 {
    if hz < BREAK_HZ {
        hz / LINEAR_HZ
    } else {
        BREAK_MEL + LOG_MELS * (hz / BREAK_HZ).ln() / LOG_FACTOR.ln()
    }
}

/// Mels to Hz.
pub fn mel_to_hz(mel: f64) -> f64 {
    if mel < BREAK_MEL {
        mel * LINEAR_HZ
    } else {
        BREAK_HZ * ((mel - BREAK_MEL) * LOG_FACTOR.ln() / LOG_MELS).exp()
    }
}

/// Triangular filters from 0 Hz to [`NYQUIST`] as a sparse product: of each row only the range
/// that is not zero.
pub struct MelBank {
    rows: Vec<Row>,
    weights: Vec<f32>,
}

/// One filter: `len` weights, a multiple of [`LANES`], for the bins from `bin` on.
struct Row {
    bin: usize,
    len: usize,
}

impl MelBank {
    /// A bank of `mels` filters for spectra of [`N_FFT`] points at [`SAMPLE_RATE`].
    pub fn new(mels: usize) -> Self {
        let top = hz_to_mel(NYQUIST);
        // Corner i is the low end of filter i, the peak of i - 1 and the high end of i - 2.
        let corners: Vec<f64> = (0..mels + 2)
            .map(|i| mel_to_hz(top * i as f64 / (mels + 1) as f64))
            .collect();
        let hz = |bin: usize| bin as f64 * f64::from(SAMPLE_RATE) / N_FFT as f64;
        let mut bank = Self {
            rows: Vec::with_capacity(mels),
            weights: Vec::new(),
        };
        for filter in corners.windows(3) {
            let (low, peak, high) = (filter[0], filter[1], filter[2]);
            let area = 2.0 / (high - low);
            let row: Vec<f32> = (0..BINS)
                .map(|bin| {
                    let rise = (hz(bin) - low) / (peak - low);
                    let fall = (high - hz(bin)) / (high - peak);
                    (area * rise.min(fall).max(0.0)) as f32
                })
                .collect();
            let bin = row.iter().position(|w| *w > 0.0).unwrap_or(0);
            let end = row
                .iter()
                .rposition(|w| *w > 0.0)
                .map_or(bin, |last| last + 1);
            let len = (end - bin).next_multiple_of(LANES);
            bank.rows.push(Row { bin, len });
            let start = bank.weights.len();
            bank.weights.extend(&row[bin..end]);
            bank.weights.resize(start + len, 0.0);
        }
        bank
    }

    /// The number of filters.
    pub fn mels(&self) -> usize {
        self.rows.len()
    }

    /// Each filter's weighted sum of a power spectrum: `power` [`PADDED_BINS`] → `out` `[mels]`.
    ///
    /// The values behind [`BINS`] must be finite; they count as nothing.
    ///
    /// # Panics
    /// Where a slice is shorter than said.
    pub fn apply(&self, power: &[f32], out: &mut [f32]) {
        let mut weights = self.weights.as_slice();
        for (row, out) in self.rows.iter().zip(&mut out[..self.rows.len()]) {
            let (own, rest) = weights.split_at(row.len);
            weights = rest;
            let mut sums = [0.0f32; LANES];
            for (power, weight) in power[row.bin..row.bin + row.len]
                .chunks_exact(LANES)
                .zip(own.chunks_exact(LANES))
            {
                for lane in 0..LANES {
                    sums[lane] += power[lane] * weight[lane];
                }
            }
            *out = sums.iter().sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bank as a dense [mels, BINS] matrix, by applying it to every unit spectrum.
    fn dense(mels: usize) -> Vec<Vec<f32>> {
        let bank = MelBank::new(mels);
        let mut matrix = vec![vec![0.0; BINS]; mels];
        let mut out = vec![f32::NAN; mels];
        for bin in 0..BINS {
            let mut power = vec![0.0; PADDED_BINS];
            power[bin] = 1.0;
            bank.apply(&power, &mut out);
            for (row, out) in matrix.iter_mut().zip(&out) {
                row[bin] = *out;
            }
        }
        matrix
    }

    #[test]
    fn the_scale_is_slaneys() {
        // librosa.hz_to_mel(60) and its documentation's [110, 220, 440] → [1.65, 3.3, 6.6].
        for (hz, mel) in [
            (60.0, 0.9),
            (110.0, 1.65),
            (220.0, 3.3),
            (440.0, 6.6),
            (1e3, 15.0),
            (6.4e3, 42.0),
        ] {
            assert!((hz_to_mel(hz) - mel).abs() < 1e-12, "{hz} Hz");
            assert!((mel_to_hz(mel) - hz).abs() < 1e-9, "{mel} mel");
        }
        for mel in (0..500).map(|i| f64::from(i) * 0.1) {
            assert!((hz_to_mel(mel_to_hz(mel)) - mel).abs() < 1e-9);
        }
    }

    #[test]
    fn neighbours_are_triangles_that_sum_to_one() {
        // Without the area norm, a bin between two peaks is shared between their two filters wholly.
        for mels in [80, 128] {
            let matrix = dense(mels);
            let top = hz_to_mel(NYQUIST);
            let corner = |i: usize| mel_to_hz(top * i as f64 / (mels + 1) as f64);
            for bin in 0..BINS {
                let hz = bin as f64 * f64::from(SAMPLE_RATE) / N_FFT as f64;
                if hz < corner(1) || hz > corner(mels) {
                    continue;
                }
                let sum: f64 = (0..mels)
                    .map(|m| f64::from(matrix[m][bin]) * (corner(m + 2) - corner(m)) / 2.0)
                    .sum();
                assert!((sum - 1.0).abs() < 1e-5, "{mels} mels, bin {bin}: {sum}");
            }
            for (m, row) in matrix.iter().enumerate() {
                assert!(
                    row.iter().any(|w| *w > 0.0),
                    "filter {m} of {mels} is empty"
                );
                assert!(row.iter().all(|w| *w >= 0.0));
            }
        }
    }

    #[test]
    fn padding_behind_the_bins_counts_as_nothing() {
        let bank = MelBank::new(80);
        let mut power = vec![1.0; PADDED_BINS];
        let (mut clean, mut dirty) = (vec![0.0; 80], vec![0.0; 80]);
        bank.apply(&power, &mut clean);
        power[BINS..].fill(1e30);
        bank.apply(&power, &mut dirty);
        assert_eq!(clean, dirty);
    }
}
