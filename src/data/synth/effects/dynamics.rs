//! Loudness: compressor, limiter, overdrive.

use super::super::RATE;

/// Root mean square; 0 for nothing.
pub(crate) fn rms(x: &[f32]) -> f64 {
    let power: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    (power / x.len().max(1) as f64).sqrt()
}

/// Soft clipping by tanh's Padé approximant x (27 + x²) / (27 + 9 x²), which reaches ±1 at ±3.
#[inline]
fn soft(x: f32) -> f32 {
    let x = x.clamp(-3.0, 3.0);
    x * (27.0 + x * x) / (27.0 + 9.0 * x * x)
}

/// Overdrive: `gain` into a slightly asymmetric soft clipper, as a valve has; halfway between samples too, so that
/// less of what lies above the Nyquist frequency folds back.
pub(crate) fn drive(x: &mut [f32], gain: f32) {
    const BIAS: f32 = 0.15;
    let rest = soft(BIAS);
    let mut before = 0.0;
    for x in x {
        let now = *x * gain;
        let between = soft(0.5 * (before + now) + BIAS);
        *x = 0.5 * (between + soft(now + BIAS)) - rest;
        before = now;
    }
}

/// A compressor: levels `threshold` dB above the RMS of the whole are divided by `ratio`; 10 ms attack, 150 ms
/// release.
pub(crate) fn compress(x: &mut [f32], threshold: f64, ratio: f64) {
    const BLOCK: usize = 64;
    let knee = rms(x) * 10_f64.powf(threshold / 20.0);
    let smoothing = |seconds: f64| 1.0 - (-(BLOCK as f64) / (seconds * RATE)).exp();
    let (attack, release) = (smoothing(0.01), smoothing(0.15));
    let (mut level, mut gain) = (0.0, 1.0_f32);
    for chunk in x.chunks_mut(BLOCK) {
        let now = rms(chunk);
        level += (now - level) * if now > level { attack } else { release };
        let target = if level > knee {
            (level / knee).powf(1.0 / ratio - 1.0) as f32
        } else {
            1.0
        };
        let step = (target - gain) / chunk.len() as f32;
        for x in chunk {
            gain += step;
            *x *= gain;
        }
    }
}

/// Keeps every sample within ±`ceiling`, untouched below 70 % of it and bent smoothly above.
pub(crate) fn limit(x: &mut [f32], ceiling: f32) {
    let knee = 0.7 * ceiling;
    let room = ceiling - knee;
    for x in x {
        let over = x.abs() - knee;
        if over > 0.0 {
            *x = (knee + room * over / (over + room)).copysign(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limiter_holds_its_ceiling_and_its_order() {
        let mut x: Vec<f32> = (-400..=400).map(|i| i as f32 / 50.0).collect();
        let before = x.clone();
        limit(&mut x, 0.9);
        assert!(x.iter().all(|x| x.abs() <= 0.9));
        assert!(x.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(before.iter().zip(&x).all(|(b, a)| b.abs() > 0.63 || a == b));
    }

    #[test]
    fn the_compressor_brings_loud_and_soft_together() {
        let wave = |n: usize| {
            (n as f32 * 0.2).sin()
                * if (n / 22_050).is_multiple_of(2) {
                    0.8
                } else {
                    0.1
                }
        };
        let mut x: Vec<f32> = (0..88_200).map(wave).collect();
        let ratio = |x: &[f32]| rms(&x[10_000..20_000]) / rms(&x[34_000..42_000]);
        let before = ratio(&x);
        compress(&mut x, -6.0, 4.0);
        assert!((before - 8.0).abs() < 0.1);
        assert!(ratio(&x) < 5.0, "{}", ratio(&x));
    }
}
