//! Age: hiss, hum, crackle, an unsteady motor, an early sampler.

use super::super::RATE;
use super::Biquad;
use crate::random::Random;

/// Noise of RMS `level`, falling from `cutoff` Hz up.
pub(crate) fn hiss(x: &mut [f32], level: f64, cutoff: f64, r: &mut Random) {
    let mut filter = Biquad::low_pass(cutoff, 0.5);
    // Uniform noise in [-1, 1) has RMS 1/sqrt(3).
    let gain = (level * 3_f64.sqrt()) as f32;
    for x in x {
        *x += filter.next((r.uniform_f32() * 2.0 - 1.0) * gain);
    }
}

/// Mains hum at `frequency` Hz with its second and third harmonic.
pub(crate) fn hum(x: &mut [f32], level: f64, frequency: f64) {
    let turn = std::f64::consts::TAU * frequency / RATE;
    for (n, x) in x.iter_mut().enumerate() {
        let a = turn * n as f64;
        *x += (level * (a.sin() + 0.6 * (2.0 * a).sin() + 0.4 * (3.0 * a).sin())) as f32;
    }
}

/// Scratches of a record: `rate` clicks a second, of very different strength around `level`.
pub(crate) fn crackle(x: &mut [f32], level: f64, rate: f64, r: &mut Random) {
    let mut at = 0.0;
    loop {
        at += -(1.0 - r.uniform_f64()).ln() / rate * RATE;
        let strength = level * (1.0 * r.normal()).exp();
        let sign = if r.chance(0.5) { 1.0 } else { -1.0 };
        let ring = r.range(2.0, 9.0);
        let Some(rest) = x.get_mut(at as usize..) else {
            return;
        };
        for (i, x) in rest.iter_mut().take(40).enumerate() {
            let t = i as f64;
            *x += (sign * strength * (-t / ring).exp() * (t * 1.3).cos()) as f32;
        }
    }
}

/// A motor that is not steady: plays up to `depth` seconds early or late, at `rate` Hz.
pub(crate) fn wow(x: &mut [f32], rate: f64, depth: f64) {
    let still = x.to_vec();
    let last = still.len().saturating_sub(2);
    for (n, x) in x.iter_mut().enumerate() {
        let turn = std::f64::consts::TAU * rate * n as f64 / RATE;
        let at = (n as f64 + depth * RATE * turn.sin()).clamp(0.0, last as f64);
        let part = at.fract() as f32;
        let (from, to) = (still[at as usize], still[(at as usize + 1).min(last)]);
        *x = from + (to - from) * part;
    }
}

/// An early sampler: `bits` a sample, each one held for `hold` samples.
pub(crate) fn crush(x: &mut [f32], bits: u32, hold: usize) {
    let peak = x.iter().fold(1e-6_f32, |peak, x| peak.max(x.abs()));
    let steps = (1_u32 << (bits.clamp(2, 16) - 1)) as f32 / peak;
    for chunk in x.chunks_mut(hold.max(1)) {
        let value = (chunk[0] * steps).round() / steps;
        chunk.fill(value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::rms;
    use super::*;

    #[test]
    fn noise_has_its_level() {
        let mut x = vec![0.0; 50_000];
        hiss(&mut x, 0.01, 10_500.0, &mut Random::new(&[1]));
        assert!((rms(&x) / 0.01 - 1.0).abs() < 0.25, "{}", rms(&x));
    }

    #[test]
    fn a_steady_motor_changes_nothing() {
        let mut x: Vec<f32> = (0..1_000).map(|n| (n as f32 * 0.1).sin()).collect();
        let before = x.clone();
        wow(&mut x, 0.5, 0.0);
        assert_eq!(x[..990], before[..990]);
        crackle(&mut x, 0.1, 2.0, &mut Random::new(&[1]));
        wow(&mut [], 1.0, 0.1);
        crush(&mut x, 8, 3);
        assert!(x.chunks(3).all(|held| held.iter().all(|&x| x == held[0])));
    }
}
