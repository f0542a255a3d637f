//! Sums, dropout, optimisers and elementary functions on every instruction set of this CPU.

#[path = "support/checks.rs"]
mod checks;

use checks::{HALF_ULP, assert_near, guarded, numbers, set, wide};
use proptest::prelude::*;
use sonograd_kernels::{Kernels, reference};
use std::time::{Duration, Instant};

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn sums(len in 0usize..300, columns in 1usize..40, seed: u64) {
        let (x, y) = (numbers(len, seed), numbers(len, seed ^ 1));
        for kernels in Kernels::available() {
            let actual = guarded(len, |i| y[i], |y| kernels.add_assign(y, &x));
            let expected: Vec<f64> = (0..len).map(|i| f64::from(x[i] + y[i])).collect();
            assert_near(kernels, "add_assign", &actual, &expected, |_| 0.0);

            let actual = guarded(len, |i| y[i], |y| kernels.scale(y, 0.3));
            let expected: Vec<f64> = (0..len).map(|i| f64::from(y[i] * 0.3)).collect();
            assert_near(kernels, "scale", &actual, &expected, |_| 0.0);

            let norm: f64 = wide(&x).iter().map(|x| x * x).sum();
            prop_assert!((kernels.squared_norm(&x) - norm).abs() <= 1e-15 * len as f64 * norm);

            let rows = len / columns;
            let x = &x[..rows * columns];
            let actual = set(columns, |sums| kernels.column_sums(rows, columns, x, sums));
            let mut expected = vec![0.0; columns];
            x.iter().enumerate().for_each(|(i, &x)| expected[i % columns] += f64::from(x));
            // As many roundings of sums below the number of rows.
            assert_near(kernels, "column_sums", &actual, &expected, |_| HALF_ULP * (rows * rows) as f64);
        }
    }

    #[test]
    fn optimisers(len in 0usize..70, steps in 1i32..6, seed: u64) {
        check_optimisers(len, steps, seed);
    }
}

#[test]
fn column_sums_over_many_bands_of_rows() {
    for (rows, columns) in [(5000, 3), (700, 33), (3, 9000)] {
        let x = numbers(rows * columns, 1);
        let mut expected = vec![0.0; columns];
        x.iter()
            .enumerate()
            .for_each(|(i, &x)| expected[i % columns] += f64::from(x));
        for kernels in Kernels::available() {
            let actual = set(columns, |sums| kernels.column_sums(rows, columns, &x, sums));
            assert_near(kernels, "column_sums", &actual, &expected, |_| {
                HALF_ULP * (rows * rows) as f64
            });
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Momentum { nesterov: bool },
    Adam { decay: f32 },
    Adadelta,
    RmsProp { momentum: f32 },
}

const RULES: [Rule; 7] = [
    Rule::Momentum { nesterov: false },
    Rule::Momentum { nesterov: true },
    Rule::Adam { decay: 0.0 },
    Rule::Adam { decay: 0.1 },
    Rule::Adadelta,
    Rule::RmsProp { momentum: 0.0 },
    Rule::RmsProp { momentum: 0.5 },
];

/// One step of the kernel, with the constants that Keras was recorded with.
fn step(
    kernels: &Kernels,
    rule: Rule,
    t: i32,
    p: &mut [f32],
    g: &[f32],
    a: &mut [f32],
    b: &mut [f32],
) {
    match rule {
        Rule::Momentum { nesterov } => kernels.sgd_momentum(p, g, a, 0.1, 0.9, nesterov),
        Rule::Adam { decay } => {
            let corrected = 0.01 * (1.0 - 0.999f64.powi(t)).sqrt() / (1.0 - 0.9f64.powi(t));
            kernels.adam(p, g, a, b, corrected as f32, 0.9, 0.999, 1e-7, 0.01 * decay);
        }
        Rule::Adadelta => kernels.adadelta(p, g, a, b, 1.0, 0.95, 1e-7),
        Rule::RmsProp { momentum } => {
            let buffer = (momentum > 0.0).then_some(b);
            kernels.rmsprop(p, g, a, buffer, 0.01, 0.9, momentum, 1e-7);
        }
    }
}

fn oracle_step(rule: Rule, t: i32, p: &mut f64, g: f64, a: &mut f64, b: &mut f64) {
    match rule {
        Rule::Momentum { nesterov } => reference::sgd_momentum(p, g, a, 0.1, 0.9, nesterov),
        Rule::Adam { decay } => {
            reference::adam(p, g, (a, b), t, 0.01, (0.9, 0.999), 1e-7, f64::from(decay));
        }
        Rule::Adadelta => reference::adadelta(p, g, (a, b), 1.0, 0.95, 1e-7),
        Rule::RmsProp { momentum } => {
            reference::rmsprop(p, g, (a, b), 0.01, 0.9, f64::from(momentum), 1e-7);
        }
    }
}

fn check_optimisers(len: usize, steps: i32, seed: u64) {
    let start = numbers(len, seed);
    for rule in RULES {
        let gradients: Vec<_> = (0..steps)
            .map(|t| numbers(len, seed ^ (t as u64 + 1)))
            .collect();
        let mut expected = wide(&start);
        for i in 0..len {
            let (mut a, mut b) = (0.0, 0.0);
            for t in 0..steps {
                let g = f64::from(gradients[t as usize][i]);
                oracle_step(rule, t + 1, &mut expected[i], g, &mut a, &mut b);
            }
        }
        for kernels in Kernels::available() {
            let (mut a, mut b) = (vec![0.0; len], vec![0.0; len]);
            let mut p = start.clone();
            for t in 0..steps {
                let g = &gradients[t as usize];
                p = guarded(
                    len,
                    |i| p[i],
                    |p| {
                        a = guarded(
                            len,
                            |i| a[i],
                            |a| {
                                b = guarded(
                                    len,
                                    |i| b[i],
                                    |b| step(kernels, rule, t + 1, p, g, a, b),
                                );
                            },
                        );
                    },
                );
            }
            // A step moves a parameter by at most 0.5 here, by an expression of a dozen roundings, among them those of
            // constants such as 1 - 0.999, which is 2^-10: 1e-5 of the step; the parameter itself is rounded once a step.
            assert_near(kernels, &format!("{rule:?}"), &p, &expected, |_| {
                f64::from(steps) * (2e-5 * 0.1)
            });
        }
    }
}

/// Keras 3.15: `v = keras.Variable([0.5, -1.25, 2.0, 1e-3])`, then for t in 0..5
/// `o.apply([[0.1 * (t + 1), -0.02, 3.0 - t, 1e-4 * (t % 2)]], [v])` with o of the module `keras.optimizers`.
#[test]
fn optimisers_give_what_keras_gives() {
    let recorded: [[f32; 4]; 7] = [
        // SGD(0.1, momentum=0.9), then nesterov=True
        [0.182_968_97, -1.223_711_8, -0.087_329_98, 0.000_946_610_1],
        [0.064_672_1, -1.216_340_7, -0.378_597_08, 0.000_931_949],
        // Adam(0.01)
        [0.451_492_73, -1.200_005_5, 1.959_474_9, -0.025_219_321],
        // AdamW(0.01, weight_decay=0.1)
        [0.449_095_34, -1.193_867_9, 1.949_589_1, -0.025_184_27],
        // Adadelta(1.0)
        [0.489_218_2, -1.242_812_3, 1.997_467_5, 0.000_800_486_4],
        // RMSprop(0.01), then momentum=0.5
        [0.367_724, -1.143_621_7, 1.950_723_3, -0.005_280_625],
        [0.281_712_06, -1.071_028, 1.898_289_7, -0.009_600_907],
    ];
    for (rule, recorded) in RULES.into_iter().zip(recorded) {
        for kernels in Kernels::available() {
            let mut p = [0.5, -1.25, 2.0, 1e-3];
            let (mut a, mut b) = ([0.0; 4], [0.0; 4]);
            for t in 0..5 {
                let g = [
                    0.1 * (t + 1) as f32,
                    -0.02,
                    (3 - t) as f32,
                    1e-4 * (t % 2) as f32,
                ];
                step(kernels, rule, t + 1, &mut p, &g, &mut a, &mut b);
            }
            assert_near(kernels, &format!("{rule:?}"), &p, &wide(&recorded), |i| {
                // f32 on both sides, in another order; Keras takes beta^t in f32, 1e-5 of a step.
                2e-6 * f64::from(recorded[i]).abs() + 5e-7
            });
        }
    }
}

/// With gradients of 0 every moment decays to 0, and no subnormal number is ever stored on the way.
#[test]
fn fading_moments_become_zero() {
    for kernels in Kernels::available() {
        for rule in RULES {
            let (mut p, mut a, mut b) = ([1.0; 19], [0.0; 19], [0.0; 19]);
            let small: Vec<f32> = (0..19).map(|i| 10f32.powi(-2 * i)).collect();
            for t in 1..3 {
                step(kernels, rule, t, &mut p, &small, &mut a, &mut b);
            }
            for t in 3..4000 {
                // 1e-30 and below stands for a gradient that is subnormal once it is squared.
                step(
                    kernels,
                    rule,
                    t.min(100),
                    &mut p,
                    &[1e-41; 19],
                    &mut a,
                    &mut b,
                );
                assert!(
                    a.iter().chain(&b).all(|x| !x.is_subnormal()),
                    "{kernels:?} {rule:?}"
                );
            }
            if !matches!(rule, Rule::Adam { .. } | Rule::Adadelta) {
                assert_eq!(a, [0.0; 19], "{kernels:?} {rule:?}");
            }
        }
    }
}

#[test]
fn fading_moments_cost_no_slow_path() {
    let len = 4096;
    for kernels in Kernels::available() {
        for rule in RULES {
            let mut best = [Duration::MAX; 2];
            for _ in 0..40 {
                // Ordinary numbers; then numbers whose squares and products would be subnormal.
                for (size, best) in [1.0f32, 1e-20].into_iter().zip(&mut best) {
                    let g: Vec<f32> = numbers(len, 1).iter().map(|x| x * size).collect();
                    let (mut p, mut a, mut b) = (
                        vec![1.0; len],
                        vec![size * size; len],
                        vec![size * size; len],
                    );
                    let start = Instant::now();
                    for t in 1..5 {
                        step(kernels, rule, t, &mut p, &g, &mut a, &mut b);
                    }
                    *best = start.elapsed().min(*best);
                }
            }
            // Where a CPU takes its slow path this is 10 to 100.
            let ratio = best[1].as_secs_f64() / best[0].as_secs_f64();
            assert!(ratio < 2.5, "{kernels:?} {rule:?}: {ratio}");
        }
    }
}

#[test]
fn nan_gradients_show() {
    for kernels in Kernels::available() {
        for rule in RULES {
            let (mut p, mut a, mut b) = ([1.0; 3], [0.0; 3], [0.0; 3]);
            step(
                kernels,
                rule,
                1,
                &mut p,
                &[0.0, f32::NAN, 0.0],
                &mut a,
                &mut b,
            );
            assert!(
                p[1].is_nan() && p[0].is_finite(),
                "{kernels:?} {rule:?} {p:?}"
            );
        }
    }
}

#[test]
fn dropout_keeps_the_right_share_and_the_same_elements() {
    let len = 100_003;
    let x = numbers(len, 1);
    let mut first: Option<Vec<f32>> = None;
    for kernels in Kernels::available() {
        let y = set(len, |y| {
            kernels.dropout_forward(&x, y, 1.0 / 0.7, 0.3, 42, 1 << 33)
        });
        let kept = y.iter().filter(|&&y| y != 0.0).count();
        // Six standard deviations of a binomial count: sqrt(n p q) = 145.
        assert!((kept as f64 - 0.7 * len as f64).abs() < 870.0, "{kept}");
        for i in 0..len {
            assert!(y[i] == 0.0 || y[i] == x[i] * (1.0 / 0.7));
        }
        assert_eq!(*first.get_or_insert(y.clone()), y, "{kernels:?}");
        // Any cut into shards gives the same mask, also across 2^32 elements.
        for offset in [1u64 << 33, (1 << 32) - 50_000] {
            let whole = set(len, |y| kernels.dropout_forward(&x, y, 2.0, 0.5, 7, offset));
            for cut in [1, 17, 50_000, 50_001, len] {
                let (a, b) = x.split_at(cut);
                let mut parts = set(cut, |y| kernels.dropout_forward(a, y, 2.0, 0.5, 7, offset));
                parts.extend(set(len - cut, |y| {
                    kernels.dropout_backward(b, y, 2.0, 0.5, 7, offset + cut as u64);
                }));
                assert!(parts == whole, "{kernels:?}: cut at {cut}");
            }
        }
        let none = set(len, |y| kernels.dropout_forward(&x, y, 1.0, 0.0, 42, 0));
        assert_eq!(none, x);
        let all = set(9, |y| {
            kernels.dropout_forward(&[f32::NAN; 9], y, 1.0, 1.0, 42, 0)
        });
        assert_eq!(all, [0.0; 9]);
    }
}

/// Masks of neighbouring keys, runs and counters are independent: agreement of 1/2 at a rate of 1/2.
#[test]
fn dropout_masks_are_independent() {
    let kernels = Kernels::available().last().unwrap();
    let len = 1 << 18;
    let mask = |key, offset| {
        let mut y = vec![0.0; len];
        kernels.dropout_forward(&vec![1.0; len], &mut y, 1.0, 0.5, key, offset);
        y
    };
    let first = mask(1, 0);
    let others = [
        mask(2, 0),
        mask(3, 0),
        mask(1 << 32 | 1, 0),
        mask(1, 1 << 32),
        mask(1, 1),
        mask(1, 2),
        mask(1, 4096),
    ];
    for (i, other) in others.iter().enumerate() {
        let agreeing = first.iter().zip(other).filter(|(a, b)| a == b).count() as f64;
        // sqrt(n) / 2 = 256 is the standard deviation.
        assert!(
            (agreeing - len as f64 / 2.0).abs() < 6.0 * 256.0,
            "{i}: {agreeing}"
        );
    }
}

/// Every 2^10-th bit pattern and the neighbourhood of what is special.
fn patterns() -> Vec<f32> {
    let mut x: Vec<f32> = (0..1u32 << 22)
        .map(|i| f32::from_bits((i << 10) | (i & 0x3ff)))
        .collect();
    for special in [
        0.0,
        1.0,
        9.02,
        18.04,
        86.9,
        87.0,
        87.1,
        88.72,
        88.73,
        103.9,
        104.1,
        1e4,
        f32::MAX,
        f32::INFINITY,
    ] {
        for bits in
            special.to_bits().saturating_sub(300)..(special.to_bits() + 300).min(0x7f80_0000)
        {
            x.extend([f32::from_bits(bits), -f32::from_bits(bits)]);
        }
        x.extend([special, -special]);
    }
    x
}

fn check_function(
    name: &str,
    call: impl Fn(&Kernels, &[f32], &mut [f32]),
    exact: impl Fn(f64) -> f64,
    tolerance: impl Fn(f64, f64) -> f64,
) {
    let x = patterns();
    for kernels in Kernels::available() {
        let y = set(x.len(), |y| call(kernels, &x, y));
        let mut worst = 0.0f64;
        for (&x, &y) in x.iter().zip(&y) {
            let expected = exact(f64::from(x));
            if x.is_nan() {
                assert!(y.is_nan(), "{kernels:?} {name}({x}) = {y}");
                continue;
            }
            if f64::from(y) == expected || expected > f64::from(f32::MAX) && y.is_infinite() {
                continue;
            }
            let error = (f64::from(y) - expected).abs();
            assert!(
                error <= tolerance(f64::from(x), expected),
                "{kernels:?} {name}({x:e}) = {y:e}, not {expected:e}"
            );
            if expected.abs() > 1.2e-38 && x.abs() < 87.0 {
                worst = worst.max(error / expected.abs());
            }
        }
        eprintln!("{kernels:?} {name}: worst relative error {worst:.2e}");
    }
}

#[test]
fn exp_is_within_2_ulp() {
    let exact = |x: f64| x.exp();
    // 2 ULP are at most 2.4e-7 of the value; subnormal numbers are 1.4e-45 apart.
    check_function(
        "exp",
        |k, x, y| k.exp(x, y),
        exact,
        |_, y| 2.4e-7 * y + 1.5e-45,
    );
}

#[test]
fn sigmoid_is_within_3_ulp() {
    let exact = |x: f64| 1.0 / (1.0 + (-x).exp());
    check_function(
        "sigmoid",
        |k, x, y| k.sigmoid(x, y),
        exact,
        |x, y| {
            if x < -87.0 { 1.65e-38 } else { 3.6e-7 * y }
        },
    );
}

#[test]
fn tanh_is_within_3_ulp() {
    // The smallest subnormal arguments double and halve without loss.
    check_function(
        "tanh",
        |k, x, y| k.tanh(x, y),
        f64::tanh,
        |_, y| 3.6e-7 * y.abs() + 1.5e-45,
    );
}
