//! Matrix products against the f64 oracle, on every instruction set of this CPU.

#[path = "support/checks.rs"]
mod checks;

use checks::{HALF_ULP, assert_near, guarded, numbers, set, wide};
use proptest::prelude::*;
use sonograd_kernels::gemm::{self, GemmAlgorithm, Matrix};
use sonograd_kernels::{Activation, AlignedVec, Isa, Kernels, reference};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    /// 0 row-major, 1 transposed, 2 neither stride is 1, 3 overlapping rows (A) or row-major with a gap (B)
    a_form: usize,
    b_form: usize,
    gap: usize,
    accumulate: bool,
    bias: bool,
    activation: Activation,
}

/// A matrix of a form: its strides and how many values they reach.
fn strides(form: usize, rows: usize, columns: usize, overlap: bool) -> (usize, usize, usize) {
    let (row, column) = match form {
        0 => (columns, 1),
        1 => (1, rows),
        2 => (2 * columns + 1, 2),
        _ if overlap => ((columns / 2).max(1), 1),
        _ => (columns + 5, 1),
    };
    let len = if rows == 0 || columns == 0 {
        0
    } else {
        (rows - 1) * row + (columns - 1) * column + 1
    };
    (row, column, len)
}

fn check(case: Case) {
    let Case {
        m,
        n,
        k,
        accumulate,
        ..
    } = case;
    let (a_row, a_column, a_len) = strides(case.a_form, m, k, true);
    let (b_row, b_column, b_len) = strides(case.b_form, k, n, false);
    let (a, b) = (numbers(a_len, 1), numbers(b_len, 2));
    let c_stride = n + case.gap;
    let c_len = if m == 0 || n == 0 {
        0
    } else {
        (m - 1) * c_stride + n
    };
    let old = numbers(c_len, 3);
    let bias = numbers(n, 4);
    let a_matrix = Matrix {
        data: &a,
        row_stride: a_row,
        column_stride: a_column,
    };
    let b_matrix = Matrix {
        data: &b,
        row_stride: b_row,
        column_stride: b_column,
    };

    let product = |a: &[f64], b: &[f64], old: &[f64]| {
        let mut c = old.to_vec();
        let (a_strides, b_strides) = ((a_row, a_column), (b_row, b_column));
        reference::gemm(
            m, n, k, a, a_strides, b, b_strides, &mut c, c_stride, accumulate,
        );
        c
    };
    let size = |x: &[f32]| x.iter().map(|&x| f64::from(x).abs()).collect::<Vec<_>>();
    let plain = product(&wide(&a), &wide(&b), &wide(&old));
    // k products and as many sums, at most k + 3 roundings on any path from an operand to the result, each of half an
    // ULP of a partial sum that is no larger than the sum of sizes.
    let sizes = product(&size(&a), &size(&b), &size(&old));
    let tolerance = |i: usize| (k + 3) as f64 * HALF_ULP * (sizes[i] + 1.0);
    let in_gap = |i: usize| i % c_stride >= n;
    let mut finished = plain.clone();
    for (i, value) in finished.iter_mut().enumerate().filter(|(i, _)| !in_gap(*i)) {
        let x = *value
            + if case.bias {
                f64::from(bias[i % c_stride])
            } else {
                0.0
            };
        *value = match case.activation {
            Activation::Linear => x,
            Activation::Relu => x.max(0.0),
            Activation::LeakyRelu { slope } => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(slope) * x
                }
            }
        };
    }
    for kernels in Kernels::available() {
        let lanes = kernels.lanes();
        let scratch_len = gemm::gemm_scratch_len(m, n, k, lanes);
        // Where nothing is added, C is set: NaN must not survive, but in the gaps between rows.
        let before = |i: usize| {
            if accumulate || in_gap(i) {
                old[i]
            } else {
                f32::NAN
            }
        };
        let mut c = Vec::new();
        set(scratch_len, |scratch| {
            c = guarded(c_len, before, |c| {
                kernels.gemm(
                    m, n, k, a_matrix, b_matrix, c, c_stride, accumulate, scratch,
                );
            });
        });
        assert_near(kernels, "gemm", &c, &plain, tolerance);
        let packed = set(gemm::packed_len(k, n, lanes), |packed| {
            kernels.gemm_pack(k, n, b_matrix, packed);
        });
        set(scratch_len, |scratch| {
            let bias = case.bias.then_some(&bias[..]);
            c = guarded(c_len, before, |c| {
                kernels.gemm_packed(
                    m,
                    n,
                    k,
                    a_matrix,
                    &packed,
                    c,
                    c_stride,
                    accumulate,
                    bias,
                    case.activation,
                    scratch,
                );
            });
        });
        assert_near(kernels, "gemm_packed", &c, &finished, tolerance);
    }
    by_every_algorithm(case, a_matrix, b_matrix, &bias, &old, &finished, &sizes);
    let mut c: Vec<f32> = (0..c_len)
        .map(|i| if accumulate || in_gap(i) { old[i] } else { 0.0 })
        .collect();
    gemm::matrixmultiply_gemm(m, n, k, a_matrix, b_matrix, &mut c, c_stride, accumulate);
    assert_near(
        Kernels::available().next().expect("portable"),
        "matrixmultiply",
        &c,
        &plain,
        tolerance,
    );
}

/// `Kernels::product`, at once and in slices of its columns.
fn by_every_algorithm(
    case: Case,
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: &[f32],
    old: &[f32],
    expected: &[f64],
    sizes: &[f64],
) {
    let Case { m, n, k, .. } = case;
    let c_stride = n + case.gap;
    let ways = GemmAlgorithm::ALL
        .iter()
        .flat_map(|&a| [(a, true), (a, false)]);
    for (kernels, (algorithm, training)) in
        Kernels::available().flat_map(|kernels| ways.clone().map(move |way| (kernels, way)))
    {
        let lanes = kernels.lanes();
        // What the products left out are worth, see `parts.rs`; then the roundings of the largest ones' sum, and of the others',
        // which are 2^-7 of it and at most five times as many.
        let left_out = match (algorithm, training) {
            (GemmAlgorithm::F32, _) => 0.0,
            (GemmAlgorithm::Bf16, _) => f64::powi(2.0, -7),
            (GemmAlgorithm::Bf16x6x3, false) => f64::powi(2.0, -15),
            (GemmAlgorithm::Bf16x6 | GemmAlgorithm::Bf16x6x3, _) => f64::powi(2.0, -24),
        };
        let roundings = (k + 3 + k.div_ceil(16)) as f64 * HALF_ULP;
        let tolerance = |i: usize| (left_out + roundings) * (sizes[i] + 1.0);
        let packed = set(algorithm.packed_len(k, n, lanes), |packed| {
            kernels.product_pack(algorithm, k, n, b, packed);
        });
        let product = |slice: usize| {
            let before = |i: usize| match case.accumulate || i % c_stride >= n {
                true => old[i],
                false => f32::NAN,
            };
            guarded(old.len(), before, |c| {
                set(algorithm.scratch_len(m, n, k, lanes), |scratch| {
                    for first in (0..n).step_by(slice) {
                        let columns = first..n.min(first + slice);
                        kernels.product(
                            algorithm,
                            training,
                            (m, columns.clone(), k),
                            a,
                            first > 0,
                            &packed,
                            c.get_mut(first..).unwrap_or(&mut []),
                            c_stride,
                            case.accumulate,
                            case.bias.then_some(&bias[columns]),
                            case.activation,
                            scratch,
                        );
                    }
                });
            })
        };
        let whole = product(n.max(1).next_multiple_of(32));
        let what = format!("{algorithm} {case:?}");
        assert_near(kernels, &what, &whole, expected, tolerance);
        assert_eq!(product(64), whole, "{kernels:?} {what}: in slices");
    }
}

#[test]
fn more_scratch_is_enough_for_less() {
    let sizes = [
        1, 7, 8, 33, 109, 110, 128, 191, 193, 255, 300, 511, 640, 661,
    ];
    let algorithms = GemmAlgorithm::ALL.iter();
    for (&algorithm, lanes) in algorithms.flat_map(|each| [4, 8, 16].map(|lanes| (each, lanes))) {
        let len = |[m, n, k]: [usize; 3]| algorithm.scratch_len(m, n, k, lanes);
        for (m, n) in sizes.iter().flat_map(|&m| sizes.map(|n| (m, n))) {
            for k in 0..600 {
                let own = len([m, n, k]);
                for larger in [[m + 1, n, k], [m, n + 1, k], [m, n, k + 1]] {
                    assert!(
                        own <= len(larger),
                        "{algorithm} {lanes} lanes: {m} {n} {k}, {larger:?}"
                    );
                }
            }
        }
    }
}

fn activations() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::Linear),
        Just(Activation::Relu),
        Just(Activation::LeakyRelu { slope: 0.3 }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]
    #[test]
    fn any_shape_and_stride(
        m in 0usize..40, n in 0usize..80, k in 0usize..40,
        a_form in 0usize..4, b_form in 0usize..4, gap in 0usize..3,
        accumulate: bool, bias: bool, activation in activations(),
    ) {
        check(Case { m, n, k, a_form, b_form, gap, accumulate, bias, activation });
    }
}

/// Sizes around and over every block: k over 512 (4 lanes), 256 and 192, m over a block of A, n over a block of B.
#[test]
fn sizes_that_cross_blocks() {
    let activation = Activation::LeakyRelu { slope: 0.3 };
    let sizes = [
        (1, 1, 1),
        (7, 9, 1031),
        (16, 8, 1500),
        (13, 33, 513),
        (6, 300, 193),
        (150, 16, 257),
        (400, 40, 200),
        (3000, 3, 16),
        (20, 2100, 40),
        (97, 65, 521),
        (1, 8, 7600),
        (1, 300, 1000),
        (1, 77, 900),
    ];
    for (m, n, k) in sizes {
        for form in 0..3 {
            for accumulate in [false, true] {
                let (a_form, b_form, gap, bias) = (form, (form + k) % 3, form, true);
                check(Case {
                    m,
                    n,
                    k,
                    a_form,
                    b_form,
                    gap,
                    accumulate,
                    bias,
                    activation,
                });
            }
        }
    }
}

/// A row on its own takes another way through B, and ends at the same bits as among others.
#[test]
fn rows_alone_and_together_are_the_same_bits() {
    let activation = Activation::LeakyRelu { slope: 0.3 };
    for (n, k) in [
        (8, 7600),
        (300, 1000),
        (77, 900),
        (1, 5),
        (130, 1),
        (16, 257),
    ] {
        const ROWS: usize = 9;
        let (a, b, bias) = (numbers(ROWS * k, 1), numbers(k * n, 2), numbers(n, 3));
        let old = numbers(ROWS * n, 4);
        for kernels in Kernels::available() {
            let lanes = kernels.lanes();
            let packed = set(gemm::packed_len(k, n, lanes), |packed| {
                kernels.gemm_pack(k, n, Matrix::row_major(&b, n), packed);
            });
            for accumulate in [false, true] {
                let product = |rows: std::ops::Range<usize>| {
                    let mut c = old[rows.start * n..rows.end * n].to_vec();
                    set(gemm::gemm_scratch_len(ROWS, n, k, lanes), |scratch| {
                        kernels.gemm_packed(
                            rows.len(),
                            n,
                            k,
                            Matrix::row_major(&a[rows.start * k..rows.end * k], k),
                            &packed,
                            &mut c,
                            n,
                            accumulate,
                            Some(&bias),
                            activation,
                            scratch,
                        );
                    });
                    c
                };
                let alone: Vec<f32> = (0..ROWS).flat_map(|row| product(row..row + 1)).collect();
                assert_eq!(
                    alone,
                    product(0..ROWS),
                    "{kernels:?} {n} x {k}, {accumulate}"
                );
            }
        }
    }
}

#[test]
fn nan_reaches_the_output_through_every_activation() {
    for kernels in Kernels::available() {
        for activation in [
            Activation::Linear,
            Activation::Relu,
            Activation::LeakyRelu { slope: 0.3 },
        ] {
            let (a, mut c, mut scratch) = ([1.0, f32::NAN], [0.0; 2], vec![0.0; 100_000]);
            let mut packed = vec![0.0; gemm::packed_len(1, 1, kernels.lanes())];
            kernels.gemm_pack(1, 1, Matrix::row_major(&[2.0], 1), &mut packed);
            let a = Matrix::row_major(&a, 1);
            kernels.gemm_packed(
                2,
                1,
                1,
                a,
                &packed,
                &mut c,
                1,
                false,
                None,
                activation,
                &mut scratch,
            );
            assert_eq!(c[0], 2.0);
            assert!(c[1].is_nan(), "{kernels:?} {activation:?}");
        }
    }
}

#[test]
#[should_panic(expected = "does not fit")]
fn a_matrix_beyond_its_slice_is_refused() {
    let kernels = Kernels::of(Isa::Portable).unwrap();
    let a = Matrix {
        data: &[0.0; 11],
        row_stride: 4,
        column_stride: 1,
    };
    kernels.gemm(
        3,
        1,
        4,
        a,
        Matrix::row_major(&[0.0; 4], 1),
        &mut [0.0; 3],
        1,
        false,
        &mut [0.0; 99999],
    );
}

/// A missed inline compiles the body without AVX2, and nothing else would show it.
#[test]
fn avx2_beats_portable() {
    let (Some(portable), Some(avx2)) = (Kernels::of(Isa::Portable), Kernels::of(Isa::Avx2)) else {
        eprintln!("skipped: this CPU has no AVX2");
        return;
    };
    let (m, n, k) = (96, 256, 256);
    // Aligned: loads that straddle cache lines would cost the wider registers more.
    let (mut a, mut b) = (AlignedVec::zeros(m * k), AlignedVec::zeros(k * n));
    a.copy_from_slice(&numbers(m * k, 1));
    b.copy_from_slice(&numbers(k * n, 2));
    let mut c = AlignedVec::zeros(m * n);
    let scratch_len = gemm::gemm_scratch_len(m, n, k, 4).max(gemm::gemm_scratch_len(m, n, k, 8));
    let mut scratch = AlignedVec::zeros(scratch_len);
    let mut best = [Duration::MAX; 2];
    for _ in 0..200 {
        for (kernels, best) in [portable, avx2].into_iter().zip(&mut best) {
            let start = Instant::now();
            let (a, b) = (Matrix::row_major(&a, k), Matrix::row_major(&b, n));
            kernels.gemm(m, n, k, a, b, &mut c, n, false, &mut scratch);
            *best = start.elapsed().min(*best);
        }
    }
    let ratio = best[0].as_secs_f64() / best[1].as_secs_f64();
    eprintln!("AVX2 is {ratio:.2} times as fast as portable");
    // Twice the lanes and FMA: 4 on paper where both are bound by arithmetic.
    assert!(ratio > 1.8, "portable {:?}, AVX2 {:?}", best[0], best[1]);
}
