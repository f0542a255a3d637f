//! What the tests of several kernels share.
#![allow(dead_code, reason = "each test crate uses a part of it")]

use sonograd_kernels::Kernels;

/// Behind every slice that a kernel writes.
const SENTINEL: f32 = -7.25e11;
const SENTINELS: usize = 37;

/// A buffer of NaN with sentinels around it: `with` runs on the middle, then the sentinels are looked at.
pub(crate) fn guarded(
    len: usize,
    content: impl Fn(usize) -> f32,
    with: impl FnOnce(&mut [f32]),
) -> Vec<f32> {
    let mut buffer = vec![SENTINEL; len + 2 * SENTINELS];
    for i in 0..len {
        buffer[SENTINELS + i] = content(i);
    }
    with(&mut buffer[SENTINELS..SENTINELS + len]);
    let intact = |part: &[f32]| part.iter().all(|&x| x == SENTINEL);
    assert!(intact(&buffer[..SENTINELS]), "written before the slice");
    assert!(
        intact(&buffer[SENTINELS + len..]),
        "written behind the slice"
    );
    buffer[SENTINELS..SENTINELS + len].to_vec()
}

/// A slice to be set: NaN before.
pub(crate) fn set(len: usize, with: impl FnOnce(&mut [f32])) -> Vec<f32> {
    guarded(len, |_| f32::NAN, with)
}

/// Numbers in -1..1 that depend on the seed alone (SplitMix64).
pub(crate) fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    let next = |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Asserts `|actual - expected| <= tolerance` for each value; NaN where NaN is expected.
pub(crate) fn assert_near(
    kernels: &Kernels,
    what: &str,
    actual: &[f32],
    expected: &[f64],
    tolerance: impl Fn(usize) -> f64,
) {
    assert_eq!(actual.len(), expected.len());
    for (i, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(actual) - expected).abs();
        let tolerance = tolerance(i);
        assert!(
            error <= tolerance || actual.is_nan() && expected.is_nan(),
            "{kernels:?} {what}[{i}] = {actual}, not {expected}: off by {error:e}, allowed {tolerance:e}"
        );
    }
}

/// The gradient of `f` at `x` by central differences.
pub(crate) fn central_differences(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-5;
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let old = x[i];
            x[i] = old + step;
            let above = f(&x);
            x[i] = old - step;
            let below = f(&x);
            x[i] = old;
            (above - below) / (2.0 * step)
        })
        .collect()
}

/// Asserts that two gradients agree to 1e-7 of the larger of 1 and their size.
pub(crate) fn assert_gradient(what: &str, analytic: &[f64], numeric: &[f64]) {
    assert_eq!(analytic.len(), numeric.len());
    for (i, (a, n)) in analytic.iter().zip(numeric).enumerate() {
        assert!(
            (a - n).abs() <= 1e-7 * a.abs().max(1.0),
            "{what}[{i}]: {a} but {n} numerically"
        );
    }
}

/// Half a unit in the last place of 1: the relative error of one f32 operation.
pub(crate) const HALF_ULP: f64 = 5.960_464_477_539_063e-8;
