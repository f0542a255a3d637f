//! Batch normalisation against the f64 oracle, composed as the engine composes it: sums of shards, then the means.

#[path = "support/checks.rs"]
mod checks;

use checks::{HALF_ULP, assert_gradient, assert_near, central_differences, numbers, set, wide};
use proptest::prelude::*;
use sonograd_kernels::{Kernels, NormGradient, reference};

const EPSILON: f64 = 1e-3;

fn narrow(x: impl Iterator<Item = f64>) -> Vec<f32> {
    x.map(|x| x as f32).collect()
}

/// Sums over two shards of rows, added up.
fn sums_of_shards(rows: usize, channels: usize, f: impl Fn(usize, usize, &mut [f64])) -> Vec<f64> {
    let mut total = vec![0.0; 2 * channels];
    for (from, to) in [(0, rows / 3), (rows / 3, rows)] {
        let mut sums = vec![f64::NAN; 2 * channels];
        f(from, to, &mut sums);
        total
            .iter_mut()
            .zip(&sums)
            .for_each(|(total, sum)| *total += sum);
    }
    total
}

fn check(rows: usize, channels: usize, x: &[f32]) {
    let d_y = numbers(rows * channels, 2);
    let (gamma, beta) = (numbers(channels, 3), numbers(channels, 4));
    let (x64, d_y64, gamma64) = (wide(x), wide(&d_y), wide(&gamma));
    let (mean, variance) = reference::norm_moments(channels, &x64);
    let y = reference::norm_forward(&x64, &gamma64, &wide(&beta), EPSILON);
    let (d_x, d_gamma, d_beta) = reference::norm_backward(&x64, &d_y64, &gamma64, EPSILON);
    for kernels in Kernels::available() {
        let sums = sums_of_shards(rows, channels, |from, to, sums| {
            kernels.norm_sums(
                to - from,
                channels,
                &x[from * channels..to * channels],
                sums,
            );
        });
        let count = rows as f64;
        for c in 0..channels {
            let found = sums[c] / count;
            let found_variance = sums[channels + c] / count - found * found;
            // n additions in f64, and the cancellation of the two terms of the variance. In f32 a distance between two values is
            // rounded, which a square doubles, three sums on the way from one of eight to that of all, and four roundings on a square's way;
            // the mean's error counts twice, times its own distance.
            let column = || x.iter().skip(c).step_by(channels).copied().map(f64::from);
            let spread = column().fold(f64::MIN, f64::max) - column().fold(f64::MAX, f64::min);
            let size = rows as f64 * f64::EPSILON * (mean[c] * mean[c] + variance[c]);
            let allowed = rows as f64 * f64::EPSILON * (1.0 + mean[c].abs());
            assert!((found - mean[c]).abs() <= allowed + 4.0 * HALF_ULP * spread);
            assert!(
                (found_variance - variance[c]).abs()
                    <= 4.0 * size + (2.0 + 4.0 + 2.0 * 4.0) * HALF_ULP * spread * spread,
                "{found_variance} {}",
                variance[c]
            );
        }
        let mean32 = narrow(mean.iter().copied());
        let inverse = narrow(variance.iter().map(|v| 1.0 / (v + EPSILON).sqrt()));
        let actual = set(rows * channels, |y| {
            kernels.norm_forward(rows, channels, x, &mean32, &inverse, &gamma, &beta, y);
        });
        // The rounded mean is off by half an ULP of it, the quotient by five roundings.
        let x_hat =
            |i: usize| f64::from(x[i] - mean32[i % channels]) * f64::from(inverse[i % channels]);
        let shift = |c: usize| mean[c].abs() * f64::from(inverse[c]) + 1.0;
        let tolerance = |i: usize| 6.0 * HALF_ULP * (x_hat(i).abs() + shift(i % channels) + 1.0);
        assert_near(kernels, "y", &actual, &y, tolerance);

        let sums = sums_of_shards(rows, channels, |from, to, sums| {
            let part = from * channels..to * channels;
            kernels.norm_backward_sums(
                to - from,
                channels,
                &x[part.clone()],
                &d_y[part],
                &mean32,
                &inverse,
                sums,
            );
        });
        let worst = (0..rows * channels)
            .map(|i| x_hat(i).abs())
            .fold(1.0, f64::max);
        for c in 0..channels {
            assert!((sums[c] - d_beta[c]).abs() <= 1e-12 * count);
            let allowed = 4.0 * HALF_ULP * count * (worst + shift(c));
            assert!((sums[channels + c] - d_gamma[c]).abs() <= allowed);
        }
        let means = narrow(sums.iter().map(|sum| sum / count));
        let (mean_d_y, mean_d_y_x_hat) = means.split_at(channels);
        let gradient = NormGradient {
            mean: &mean32,
            inverse_deviation: &inverse,
            gamma: &gamma,
            mean_d_y,
            mean_d_y_x_hat,
        };
        let actual = set(rows * channels, |d_x| {
            kernels.norm_backward(rows, channels, x, &d_y, gradient, d_x);
        });
        let mut in_place = d_y.clone();
        kernels.norm_backward_in_place(rows, channels, x, gradient, &mut in_place);
        assert_eq!(
            in_place, actual,
            "{kernels:?}: the same operations in the same order"
        );
        // d_y, its mean and x_hat * its mean are each below 1 + worst^2, seven roundings.
        let tolerance = |i: usize| {
            let c = i % channels;
            8.0 * HALF_ULP * f64::from(inverse[c]) * (1.0 + worst * worst) * shift(c)
        };
        assert_near(kernels, "d_x", &actual, &d_x, tolerance);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]
    #[test]
    fn any_shape(rows in 1usize..70, channels in 1usize..70, seed: u64) {
        check(rows, channels, &numbers(rows * channels, seed));
    }
}

/// 1,369 positions of 3 samples in 32 channels: several bands of rows; and more channels than a band has values.
#[test]
fn many_rows_and_many_channels() {
    check(3 * 1369, 32, &numbers(3 * 1369 * 32, 7));
    check(3, 5000, &numbers(3 * 5000, 7));
}

#[test]
fn a_large_mean_does_not_cancel_the_variance() {
    let x: Vec<f32> = numbers(2000 * 9, 8).iter().map(|x| 10_000.0 + x).collect();
    check(2000, 9, &x);
}

#[test]
fn nan_stays_in_its_channel() {
    for kernels in Kernels::available() {
        let mut x = numbers(40 * 9, 1);
        x[13 * 9 + 4] = f32::NAN;
        let mut sums = [0.0; 18];
        kernels.norm_sums(40, 9, &x, &mut sums);
        for (i, sum) in sums.iter().enumerate() {
            assert_eq!(sum.is_nan(), i % 9 == 4, "{kernels:?} {sums:?}");
        }
    }
}

/// Any number of filters, against the sums as they are written.
#[test]
fn a_folded_kernels_gradient() {
    for (taps, channels, filters) in [(1, 1, 1), (9, 3, 8), (4, 5, 17), (2, 32, 32), (3, 2, 7)] {
        let len = taps * channels * filters;
        let (kernel, d_bias) = (numbers(len, 1), numbers(filters, 2));
        let (scale, shift, d_kernel) =
            (numbers(channels, 3), numbers(channels, 4), numbers(len, 5));
        for kernels in Kernels::available() {
            let mut found = d_kernel.clone();
            let mut sums = vec![f64::NAN; 2 * channels];
            kernels.norm_kernel_gradient(&kernel, &d_bias, &scale, &shift, &mut found, &mut sums);
            let mut expected = vec![0.0; 2 * channels];
            for (i, (&w, &d_w)) in kernel.iter().zip(&d_kernel).enumerate() {
                let (c, d_b) = (i / filters % channels, d_bias[i % filters]);
                expected[c] += f64::from(w) * f64::from(d_b);
                expected[channels + c] += f64::from(w) * f64::from(d_w);
                let (scaled, shifted) = (f64::from(scale[c]) * f64::from(d_w), shift[c] * d_b);
                let exact = scaled + f64::from(shift[c]) * f64::from(d_b);
                // Two products and a sum are rounded.
                let allowed = HALF_ULP * (scaled.abs() + f64::from(shifted.abs()) + exact.abs());
                assert!(
                    (f64::from(found[i]) - exact).abs() <= allowed,
                    "{kernels:?}"
                );
            }
            for (found, expected) in sums.iter().zip(&expected) {
                // Products of two f32 are exact in f64: their sum errs by its additions.
                assert!(
                    (found - expected).abs() <= len as f64 * f64::EPSILON,
                    "{kernels:?}"
                );
            }
        }
    }
}

#[test]
fn the_oracles_gradients() {
    let (x, d_y) = (wide(&numbers(15, 1)), wide(&numbers(15, 2)));
    let (gamma, beta) = (wide(&numbers(3, 3)), wide(&numbers(3, 4)));
    let (d_x, d_gamma, d_beta) = reference::norm_backward(&x, &d_y, &gamma, EPSILON);
    let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| {
        let y = reference::norm_forward(x, gamma, beta, EPSILON);
        y.iter().zip(&d_y).map(|(a, b)| a * b).sum::<f64>()
    };
    assert_gradient(
        "x",
        &d_x,
        &central_differences(&x, |x| loss(x, &gamma, &beta)),
    );
    assert_gradient(
        "gamma",
        &d_gamma,
        &central_differences(&gamma, |gamma| loss(&x, gamma, &beta)),
    );
    assert_gradient(
        "beta",
        &d_beta,
        &central_differences(&beta, |beta| loss(&x, &gamma, beta)),
    );
}
