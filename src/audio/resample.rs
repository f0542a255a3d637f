//! Any sample rate to any other, by rubato's synchronous resampler.

use std::ops::RangeInclusive;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

use crate::error::{Error, Result};

/// The sample rates that are taken, in Hz.
pub const RATES: RangeInclusive<u32> = 1_000..=384_000;

/// What makes a resampled song what it is, for [`constants`](crate::audio::FrontEnd::constants).
pub const DESCRIPTION: &str = "rubato-fft-2048-blackmanharris2";

/// The least length of the anti-aliasing filter, in samples of the lower rate: its band ends at 99 % of
/// the lower Nyquist frequency, and what would alias is 100 dB down and more.
const FILTER: usize = 2_048;

/// Resamples mono sound: sample n of the answer is the input at n x from / to, without delay, and
/// there are exactly round(len x to / from) of them.
///
/// # Errors
/// [`Error::Data`] where a rate is outside [`RATES`].
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>> {
    for rate in [from, to] {
        if !RATES.contains(&rate) {
            return Err(Error::Data(format!(
                "a sample rate of {rate} Hz is not between {} and {} Hz",
                RATES.start(),
                RATES.end()
            )));
        }
    }
    if from == to || samples.is_empty() {
        return Ok(samples.to_vec());
    }
    let wanted = {
        let (len, from, to) = (samples.len() as u128, u128::from(from), u128::from(to));
        ((2 * len * to + from) / (2 * from)) as usize
    };
    let failed = |error: &dyn std::fmt::Display| {
        Error::Data(format!(
            "cannot resample from {from} Hz to {to} Hz: {error}"
        ))
    };

    let block = block(from, to);
    let mut resampler = Fft::<f32>::new_custom(
        from as usize,
        to as usize,
        block,
        1,
        1,
        WindowFunction::BlackmanHarris2,
        FixedSync::Both,
    )
    .map_err(|error| failed(&error))?;
    let input = InterleavedSlice::new(samples, 1, samples.len()).map_err(|error| failed(&error))?;
    let output = resampler
        .process_all(&input, samples.len(), None)
        .map_err(|error| failed(&error))?;
    let mut output = output.take_data();
    // rubato rounds the length up; where its ratio is not exact in f64 it may be one off either way.
    output.resize(wanted, 0.0);
    Ok(output)
}

/// Samples of input a block: a whole number of output samples, and an even number on both sides, for
/// the filter's delay is half a block and rubato trims whole samples only.
fn block(from: u32, to: u32) -> usize {
    let (from, to) = (from as usize, to as usize);
    let (mut a, mut b) = (from, to);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    let least = 2 * from / a;
    let filter = FILTER * from / from.min(to);
    filter.next_multiple_of(least)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn sine(hz: f64, rate: u32, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|n| (0.5 * (TAU * hz * n as f64 / f64::from(rate)).sin()) as f32)
            .collect()
    }

    /// Signal to error in dB, away from the ends where the sine's sudden start rings.
    fn snr(got: &[f32], want: &[f32]) -> f64 {
        let inner = got.len() / 4..got.len() * 3 / 4;
        let (mut signal, mut error) = (0.0, 1e-30);
        for (got, want) in got[inner.clone()].iter().zip(&want[inner]) {
            signal += f64::from(*want).powi(2);
            error += f64::from(got - want).powi(2);
        }
        10.0 * (signal / error).log10()
    }

    #[test]
    fn a_sine_stays_itself_and_in_place() {
        for rate in [
            8_000, 11_025, 16_000, 22_051, 32_000, 44_100, 48_000, 96_000, 192_000, 37_123,
        ] {
            let hz = 0.35 * f64::from(rate.min(22_050));
            let got = resample(&sine(hz, rate, rate as usize), rate, 22_050).unwrap();
            let db = snr(&got, &sine(hz, 22_050, 22_050));
            assert_eq!(got.len(), 22_050, "{rate}");
            assert!(db > 95.0, "{rate} Hz: {db} dB");
        }
    }

    #[test]
    fn what_would_alias_is_gone() {
        for (rate, hz) in [(44_100, 11_500.0), (48_000, 15_000.0), (96_000, 40_000.0)] {
            let got = resample(&sine(hz, rate, rate as usize), rate, 22_050).unwrap();
            let inner = &got[5_000..17_000];
            let power =
                inner.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / inner.len() as f64;
            assert!(10.0 * (power / 0.125).log10() < -100.0, "{hz} Hz of {rate}");
        }
    }

    #[test]
    fn the_length_is_rounded_to_the_nearest() {
        for rate in [1_000, 8_000, 22_049, 44_100, 48_000, 383_999, 384_000] {
            for len in [1usize, 2, 3, 999, 1_000, 4_411] {
                let exact = len as f64 * 22_050.0 / f64::from(rate);
                let got = resample(&sine(100.0, rate, len), rate, 22_050).unwrap();
                assert!(
                    (got.len() as f64 - exact).abs() <= 0.5,
                    "{len} at {rate} Hz: {}",
                    got.len()
                );
                assert!(got.iter().all(|x| x.is_finite()));
            }
        }
    }

    #[test]
    fn an_impulse_stays_where_it_is() {
        for (rate, at) in [(44_100, 20_000usize), (11_025, 5_000), (33_075, 15_000)] {
            let mut impulse = vec![0.0; rate as usize];
            impulse[at] = 1.0;
            let got = resample(&impulse, rate, 22_050).unwrap();
            let peak = (0..got.len())
                .max_by(|a, b| got[*a].total_cmp(&got[*b]))
                .unwrap();
            assert_eq!(peak, at * 22_050 / rate as usize, "{rate}");
        }
    }

    #[test]
    fn odd_rates_and_nothing_are_answered() {
        assert!(resample(&[], 44_100, 22_050).unwrap().is_empty());
        assert_eq!(
            resample(&[0.5, -0.25], 22_050, 22_050).unwrap(),
            [0.5, -0.25]
        );
        for rate in [0, 999, 384_001, u32::MAX] {
            assert!(resample(&[0.0; 10], rate, 22_050).is_err());
        }
    }
}
