//! Power to decibels: librosa's `power_to_db(ref=1.0, amin=1e-10, top_db=80)`.

/// The power that silence counts as: -100 dB.
pub const AMIN: f32 = 1e-10;
/// Decibels that are kept below the loudest value of one spectrogram.
pub const TOP_DB: f32 = 80.0;

/// Turns one spectrogram's powers into decibels in place: 10 log10(max(x, [`AMIN`])), then nothing
/// lower than [`TOP_DB`] below the spectrogram's own loudest value.
pub fn power_to_db(spectrogram: &mut [f32]) {
    for value in spectrogram.iter_mut() {
        *value = decibels(value.max(AMIN));
    }
    // Eight maxima side by side, so that the search runs on whole vectors.
    let mut loudest = [f32::NEG_INFINITY; 8];
    let chunks = spectrogram.chunks_exact(8);
    for (value, loudest) in chunks.remainder().iter().zip(&mut loudest) {
        *loudest = *value;
    }
    for chunk in chunks {
        for lane in 0..8 {
            loudest[lane] = loudest[lane].max(chunk[lane]);
        }
    }
    let floor = loudest.into_iter().fold(f32::NEG_INFINITY, f32::max) - TOP_DB;
    for value in spectrogram {
        *value = value.max(floor);
    }
}

/// 10 log10(x) of a positive normal number, within 2e-5 dB.
///
/// The exponent is read from the bits; of the mantissa m, brought into \[√½, √2), the logarithm is
/// 2 artanh(s) with s = (m - 1) / (m + 1), whose series ends here after s⁷: |s| < 0.172, so what is left
/// out is below 3e-8. No calls and no branches, so that the compiler runs it on whole vectors.
#[inline(always)]
fn decibels(x: f32) -> f32 {
    const SQRT_HALF_BITS: i32 = 0x3f35_04f3;
    const DB_PER_OCTAVE: f32 = 3.010_3;
    const DB_PER_NEPER: f32 = 4.342_944_8;
    let bits = x.to_bits() as i32;
    let exponent = (bits - SQRT_HALF_BITS) >> 23;
    let m = f32::from_bits((bits - (exponent << 23)) as u32);
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let ln = s * (2.0 + q * (2.0 / 3.0 + q * (2.0 / 5.0 + q * (2.0 / 7.0))));
    exponent as f32 * DB_PER_OCTAVE + ln * DB_PER_NEPER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decibels_are_ten_log10() {
        let mut x = 1e-10f32;
        let mut worst = 0.0f64;
        while x < 1e12 {
            let want = 10.0 * f64::from(x).log10();
            worst = worst.max((f64::from(decibels(x)) - want).abs());
            x *= 1.000_37;
        }
        assert!(worst < 2e-5, "{worst} dB off");
        for (x, db) in [
            (1.0, 0.0),
            (2.0, 3.010_299_96),
            (1e-10, -100.0),
            (0.5, -3.010_299_96),
        ] {
            assert!((f64::from(decibels(x)) - db).abs() < 1e-5, "{x}");
        }
    }

    #[test]
    fn the_floor_is_80_db_below_the_loudest() {
        let mut values = vec![
            1e-30, 0.0, 1.0, 1e-5, 100.0, 1e-7, 2e-6, 1e-6, 0.9e-6, 5.0, 1e-9,
        ];
        power_to_db(&mut values);
        let want = [
            -60.0, -60.0, 0.0, -50.0, 20.0, -60.0, -56.9897, -60.0, -60.0, 6.9897, -60.0,
        ];
        for (value, want) in values.iter().zip(want) {
            assert!((value - want).abs() < 1e-4, "{values:?}");
        }
    }

    #[test]
    fn silence_is_minus_100_db() {
        let mut values = vec![0.0; 13];
        power_to_db(&mut values);
        assert!(
            values.iter().all(|v| (v + 100.0).abs() < 1e-4),
            "{values:?}"
        );
        power_to_db(&mut []);
    }
}
