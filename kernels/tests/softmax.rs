//! Softmax with cross-entropy against the f64 oracle.

#[path = "support/checks.rs"]
mod checks;

use checks::{HALF_ULP, assert_gradient, assert_near, central_differences, numbers, set, wide};
use proptest::prelude::*;
use sonograd_kernels::{Kernels, reference};

fn check(classes: usize, logits: &[f32], targets: &[f32], scale: f32) {
    let rows = logits.len() / classes;
    let (loss, probabilities, gradient) =
        reference::softmax_cross_entropy(classes, &wide(logits), &wide(targets));
    for kernels in Kernels::available() {
        let mut actual_loss = f64::NAN;
        let mut d_logits = Vec::new();
        let actual = set(logits.len(), |p| {
            d_logits = set(logits.len(), |d| {
                actual_loss = kernels.softmax_cross_entropy(
                    rows,
                    classes,
                    logits,
                    Some(targets),
                    p,
                    Some(d),
                    scale,
                );
            });
        });
        // In f64 throughout: what remains is the rounding of the stored numbers.
        assert_near(kernels, "probabilities", &actual, &probabilities, |i| {
            HALF_ULP * probabilities[i] * 1.001 + 1e-45
        });
        let scaled: Vec<f64> = gradient.iter().map(|d| d * f64::from(scale)).collect();
        assert_near(kernels, "d_logits", &d_logits, &scaled, |i| {
            HALF_ULP * scaled[i].abs() * 1.001 + 1e-15
        });
        assert!(
            (actual_loss - loss).abs() <= 1e-11 * loss.abs().max(1.0),
            "{actual_loss}, not {loss}"
        );
        let alone = set(logits.len(), |p| {
            let loss = kernels.softmax_cross_entropy(rows, classes, logits, None, p, None, scale);
            assert_eq!(loss, 0.0);
        });
        assert_eq!(alone, actual);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]
    #[test]
    fn any_shape(rows in 0usize..9, classes in 1usize..13, size in 0i32..5, seed: u64, smooth: bool) {
        let scale = 10f32.powi(size);
        let logits: Vec<f32> = numbers(rows * classes, seed).iter().map(|x| x * scale).collect();
        let mut targets = vec![0.0; rows * classes];
        for row in 0..rows {
            targets[row * classes + (seed as usize + row) % classes] = 1.0;
        }
        if smooth {
            for target in &mut targets {
                *target = 0.9 * *target + 0.1 / classes as f32;
            }
        }
        check(classes, &logits, &targets, 0.125);
    }
}

#[test]
fn known_values() {
    // Two equal logits: p = 1/2 each, a loss of ln 2; 1e4 apart: a loss of 1e4.
    for kernels in Kernels::available() {
        let (mut p, mut d) = ([0.0; 6], [0.0; 6]);
        let logits = [3.0, 3.0, 1e4, 0.0, -1e4, 0.0];
        let targets = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
        let loss =
            kernels.softmax_cross_entropy(3, 2, &logits, Some(&targets), &mut p, Some(&mut d), 2.0);
        assert!((loss - (2f64.ln() + 1e4)).abs() < 1e-9, "{loss}");
        assert_eq!(p, [0.5, 0.5, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(d, [-1.0, 1.0, 2.0, -2.0, 0.0, 0.0]);
    }
}

#[test]
fn nan_stays_nan_in_its_row() {
    for kernels in Kernels::available() {
        let (mut p, mut d) = ([0.0; 6], [0.0; 6]);
        let logits = [1.0, f32::NAN, 2.0, 1.0, 2.0, 3.0];
        let targets = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let loss =
            kernels.softmax_cross_entropy(2, 3, &logits, Some(&targets), &mut p, Some(&mut d), 1.0);
        assert!(loss.is_nan());
        assert!(p[..3].iter().all(|p| p.is_nan()), "{p:?}");
        assert!(d[..3].iter().all(|d| d.is_nan()), "{d:?}");
        assert!(p[3..].iter().chain(&d[3..]).all(|x| x.is_finite()));
    }
}

#[test]
fn a_row_without_a_target_adds_nothing() {
    let kernels = Kernels::available().next().unwrap();
    let (mut p, mut d) = ([0.0; 2], [1.0; 2]);
    let loss = kernels.softmax_cross_entropy(
        1,
        2,
        &[1.0, 2.0],
        Some(&[0.0; 2]),
        &mut p,
        Some(&mut d),
        1.0,
    );
    assert_eq!((loss, d), (0.0, [0.0; 2]));
}

#[test]
fn the_oracles_gradient() {
    let (logits, targets) = (wide(&numbers(12, 5)), [0.1, 0.2, 0.3, 0.4].repeat(3));
    let (_, _, gradient) = reference::softmax_cross_entropy(4, &logits, &targets);
    let numeric = central_differences(&logits, |x| {
        reference::softmax_cross_entropy(4, x, &targets).0
    });
    assert_gradient("logits", &gradient, &numeric);
}
