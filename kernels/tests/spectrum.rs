//! The front end's transform against its definition in f64.

#[path = "support/checks.rs"]
mod checks;

use checks::{numbers, set};
use num_complex::Complex;
use sonograd_kernels::Kernels;
use std::f64::consts::TAU;

/// Frames of the shortest length, of one that is no power of two, and of the front end's.
const LENGTHS: [usize; 3] = [128, 384, 2048];

#[test]
fn windowed_values_stand_in_quarters() {
    for n in LENGTHS {
        let (a, b, window) = (numbers(n, 1), numbers(n, 2), numbers(n, 3));
        for kernels in Kernels::available() {
            let mut quarters = vec![Complex::new(f32::NAN, f32::NAN); n];
            kernels.window_quarters([&a, &b], &window, &mut quarters);
            for i in 0..n {
                let found = quarters[i % 4 * (n / 4) + i / 4];
                // One multiplication: rounded once, everywhere.
                assert_eq!(found, Complex::new(a[i] * window[i], b[i] * window[i]));
            }
        }
    }
}

/// W^(r k) for r = 1 to 3: of each the real parts, then the imaginary ones.
fn twiddles(n: usize) -> Vec<f32> {
    let mut twiddles = Vec::new();
    for r in 1..4 {
        let w = |k: usize| Complex::from_polar(1.0, -TAU * (r * k) as f64 / n as f64);
        twiddles.extend((0..n / 4).map(|k| w(k).re as f32));
        twiddles.extend((0..n / 4).map(|k| w(k).im as f32));
    }
    twiddles
}

/// Z by its definition from the quarters' transforms.
fn transform(n: usize, y: &[Complex<f32>]) -> Vec<Complex<f64>> {
    (0..n)
        .map(|bin| {
            let terms = (0..4).map(|r| {
                let y = y[r * (n / 4) + bin % (n / 4)];
                let w = Complex::from_polar(1.0, -TAU * ((r * bin) % n) as f64 / n as f64);
                Complex::new(f64::from(y.re), f64::from(y.im)) * w
            });
            terms.sum()
        })
        .collect()
}

#[test]
fn powers_are_those_of_the_even_and_the_odd_part() {
    for n in LENGTHS {
        let parts = numbers(2 * n, 4);
        let quarters: Vec<_> = parts
            .chunks_exact(2)
            .map(|z| Complex::new(z[0], z[1]))
            .collect();
        let z = transform(n, &quarters);
        let loudest = z.iter().map(|z| z.norm()).fold(0.0, f64::max);
        for kernels in Kernels::available() {
            let (mut b, bins) = (Vec::new(), n / 2 + 1);
            let a = set(bins, |a| {
                b = set(bins, |b| {
                    kernels.power_pair(&quarters, &twiddles(n), [a, b])
                });
            });
            for bin in 0..=n / 2 {
                let (z, mirror) = (z[bin], z[(n - bin) % n].conj());
                for (power, part) in [&a, &b].into_iter().zip([z + mirror, z - mirror]) {
                    // Four terms of two roundings each, half an epsilon of the loudest at most; the powers' own are relative.
                    let error = (f64::from(power[bin]).sqrt() - part.norm() / 2.0).abs();
                    let most = 8.0 * f64::from(f32::EPSILON) / 2.0 * loudest;
                    assert!(
                        error <= most,
                        "{kernels:?} {n} points, bin {bin}: {error:e} above {most:e}"
                    );
                }
            }
        }
    }
}
