//! Second-order filters after Robert Bristow-Johnson's "Audio EQ Cookbook".

use crate::data::synth::RATE;

/// A second-order filter, transposed direct form II, with its state.
#[derive(Clone, Debug)]
pub(crate) struct Biquad {
    /// b0, b1, b2, a1, a2, divided by a0.
    coefficients: [f32; 5],
    state: [f32; 2],
}

impl Biquad {
    fn new(b: [f64; 3], a: [f64; 3]) -> Self {
        let by = |x: f64| (x / a[0]) as f32;
        Self {
            coefficients: [by(b[0]), by(b[1]), by(b[2]), by(a[1]), by(a[2])],
            state: [0.0; 2],
        }
    }

    /// cos(w0) and alpha of the cookbook; the frequency in Hz is kept below the Nyquist frequency.
    fn angle(frequency: f64, q: f64) -> (f64, f64) {
        let w = std::f64::consts::TAU * frequency.clamp(5.0, 0.49 * RATE) / RATE;
        (w.cos(), w.sin() / (2.0 * q))
    }

    pub(crate) fn low_pass(frequency: f64, q: f64) -> Self {
        let (c, alpha) = Self::angle(frequency, q);
        Self::new(
            [(1.0 - c) / 2.0, 1.0 - c, (1.0 - c) / 2.0],
            [1.0 + alpha, -2.0 * c, 1.0 - alpha],
        )
    }

    pub(crate) fn high_pass(frequency: f64, q: f64) -> Self {
        let (c, alpha) = Self::angle(frequency, q);
        Self::new(
            [(1.0 + c) / 2.0, -1.0 - c, (1.0 + c) / 2.0],
            [1.0 + alpha, -2.0 * c, 1.0 - alpha],
        )
    }

    /// 0 dB at its centre.
    pub(crate) fn band_pass(frequency: f64, q: f64) -> Self {
        let (c, alpha) = Self::angle(frequency, q);
        Self::new([alpha, 0.0, -alpha], [1.0 + alpha, -2.0 * c, 1.0 - alpha])
    }

    pub(crate) fn peak(frequency: f64, q: f64, gain_db: f64) -> Self {
        let (c, alpha) = Self::angle(frequency, q);
        let a = 10_f64.powf(gain_db / 40.0);
        Self::new(
            [1.0 + alpha * a, -2.0 * c, 1.0 - alpha * a],
            [1.0 + alpha / a, -2.0 * c, 1.0 - alpha / a],
        )
    }

    pub(crate) fn low_shelf(frequency: f64, gain_db: f64) -> Self {
        Self::shelf(frequency, gain_db, 1.0)
    }

    pub(crate) fn high_shelf(frequency: f64, gain_db: f64) -> Self {
        Self::shelf(frequency, gain_db, -1.0)
    }

    /// Low (`side` 1) or high (`side` -1) shelf with Q = 1/sqrt(2).
    fn shelf(frequency: f64, gain_db: f64, side: f64) -> Self {
        let (c, alpha) = Self::angle(frequency, std::f64::consts::FRAC_1_SQRT_2);
        let a = 10_f64.powf(gain_db / 40.0);
        let root = 2.0 * a.sqrt() * alpha;
        let (up, down, turned) = (a + 1.0, a - 1.0, side * c);
        Self::new(
            [
                a * (up - down * turned + root),
                side * 2.0 * a * (down - up * turned),
                a * (up - down * turned - root),
            ],
            [
                up + down * turned + root,
                side * -2.0 * (down + up * turned),
                up + down * turned - root,
            ],
        )
    }

    /// Takes over another filter's coefficients and keeps the state.
    pub(crate) fn retune(&mut self, other: &Self) {
        self.coefficients = other.coefficients;
    }

    #[inline]
    pub(crate) fn next(&mut self, x: f32) -> f32 {
        let [b0, b1, b2, a1, a2] = self.coefficients;
        let y = b0 * x + self.state[0];
        self.state[0] = b1 * x - a1 * y + self.state[1];
        self.state[1] = b2 * x - a2 * y;
        y
    }

    pub(crate) fn apply(&mut self, x: &mut [f32]) {
        for x in x {
            *x = self.next(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gain in dB that a sine of `frequency` Hz comes out with.
    fn gain(filter: &Biquad, frequency: f64) -> f64 {
        let mut filter = filter.clone();
        let mut power = [0.0_f64; 2];
        for n in 0..20_000 {
            let x = (std::f64::consts::TAU * frequency * f64::from(n) / RATE).sin();
            let y = f64::from(filter.next(x as f32));
            if n >= 8_000 {
                power[0] += x * x;
                power[1] += y * y;
            }
        }
        10.0 * (power[1] / power[0]).log10()
    }

    #[test]
    fn filters_have_the_gains_they_name() {
        let q = std::f64::consts::FRAC_1_SQRT_2;
        let cases = [
            (Biquad::low_pass(1_000.0, q), 1_000.0, -3.01),
            (Biquad::low_pass(1_000.0, q), 50.0, 0.0),
            (Biquad::high_pass(1_000.0, q), 1_000.0, -3.01),
            (Biquad::high_pass(200.0, q), 5_000.0, 0.0),
            (Biquad::band_pass(2_000.0, 2.0), 2_000.0, 0.0),
            (Biquad::peak(1_500.0, 1.0, -7.0), 1_500.0, -7.0),
            (Biquad::peak(1_500.0, 1.0, 9.0), 30.0, 0.0),
            (Biquad::low_shelf(800.0, 6.0), 30.0, 6.0),
            (Biquad::low_shelf(800.0, 6.0), 9_000.0, 0.0),
            (Biquad::low_shelf(800.0, 6.0), 800.0, 3.0),
            (Biquad::high_shelf(800.0, -8.0), 10_000.0, -8.0),
            (Biquad::high_shelf(800.0, -8.0), 40.0, 0.0),
        ];
        for (filter, frequency, expected) in cases {
            let found = gain(&filter, frequency);
            assert!(
                (found - expected).abs() < 0.15,
                "{filter:?} at {frequency}: {found} dB, not {expected}"
            );
        }
        assert!(gain(&Biquad::low_pass(1_000.0, q), 8_000.0) < -30.0);
    }
}
