//! exp, sigmoid and tanh of a register. NaN stays NaN; no argument overflows inside.
//!
//! `e^x = 2^(n / 16) e^r` with `n = round(16 x / ln 2)`, `|r| <= ln 2 / 32`: sixteen fractions of a power of two are looked up in a register or
//! two, and leave a polynomial of three terms where `|r| <= ln 2 / 2` takes seven (P. T. P. Tang, Table-driven implementation of the exponential
//! function, 1989). `ln 2 / 16` is subtracted in two parts, the first of which has 11 bits, so that its product
//! with n is exact. The bounds below are asserted over every 2^k-th f32 pattern.

use crate::simd::Simd;
use std::f32::consts::LOG2_E;

const LN2_HIGH: f32 = 0.043_304_443;
const LN2_LOW: f32 = 1.725_542_6e-5;

/// 1.5 * 2^23: added to |x| < 2^22 it rounds x half to even and leaves it in the lowest bits.
const WHOLE: f32 = 12_582_912.0;

/// `2^(e / 16)` for e = 0 to 7 and -8 to -1, each at the place that e's lowest four bits name, with `e * 2^19` less in its pattern: where n's lowest
/// bits are e's, `n * 2^19` added to the pattern makes it `2^(n / 16)`.
const FRACTIONS: [f32; 16] = {
    let patterns = [
        0x3f80_0000,
        0x3f7d_aac3,
        0x3f7b_95c2,
        0x3f79_c3d3,
        0x3f78_37f0,
        0x3f76_f532,
        0x3f75_fed7,
        0x3f75_583f,
        0x3f75_04f3,
        0x3f75_08a4,
        0x3f75_672a,
        0x3f76_248c,
        0x3f77_44fd,
        0x3f78_ccdf,
        0x3f7a_c0c7,
        0x3f7d_257d,
    ];
    let mut fractions = [0.0; 16];
    let mut i = 0;
    while i < 16 {
        fractions[i] = f32::from_bits(patterns[i]);
        i += 1;
    }
    fractions
};

/// What rounding to f32 took from `2^(e / 16)`, in the same order.
const REMAINDERS: [f32; 16] = [
    0.0,
    4.833_47e-8,
    -1.307_754e-8,
    5.386_222e-8,
    3.797_635_3e-8,
    4.496_838e-8,
    -4.018_999_5e-8,
    -1.012_334_9e-8,
    1.210_161_7e-8,
    -2.250_449_4e-8,
    4.035_452_4e-9,
    4.918_108_6e-9,
    -1.237_766_3e-8,
    -4.617_885e-9,
    -5.619_639e-9,
    4.922_664e-9,
];

/// (n + `WHOLE`, e^r - 1) of `k x`, whose magnitude is below 10^4.
#[inline(always)]
fn reduce<S: Simd>(s: S, k: f32, x: S::F) -> (S::F, S::F) {
    let whole = s.mul_add(x, s.splat(16.0 * LOG2_E * k), s.splat(WHOLE));
    let n = s.sub(whole, s.splat(WHOLE));
    // r / k: the coefficients take the powers of k.
    let r = s.mul_add(n, s.splat(-LN2_HIGH / k), x);
    let r = s.mul_add(n, s.splat(-LN2_LOW / k), r);
    // r + (1/2 + R^2/32) r^2 + r^3/6, R = ln 2 / 32: the term in r^2 takes what is linear of r^3/24, the next one of (e^r - 1) / r, so
    // that a quarter of it is missed.
    let p = s.mul_add(
        r,
        s.splat(k * k * k / 6.0),
        s.splat(k * k * (0.5 + 1.466_226_2e-5)),
    );
    (whole, s.mul(r, s.mul_add(r, p, s.splat(k))))
}

/// `2^(n / 16)` of n + `WHOLE`, where it is a normal number.
#[inline(always)]
fn power<S: Simd>(s: S, whole: S::F) -> S::F {
    s.add_shifted(lookup(s, &FRACTIONS, whole), whole)
}

/// Of each lane's lowest four bits.
#[inline(always)]
fn lookup<S: Simd>(s: S, table: &[f32; 16], whole: S::F) -> S::F {
    // SAFETY: the table has 16 values.
    unsafe { s.lookup(table.as_ptr(), s.low_bits(whole)) }
}

/// x in `low..=high`; NaN stays.
#[inline(always)]
fn clamp<S: Simd>(s: S, low: f32, high: f32, x: S::F) -> S::F {
    s.min(s.splat(high), s.max(s.splat(low), x))
}

/// `e^x` within 2 ULP; infinity above 88.73, subnormal results within 1.5e-45, 0 below -103.98.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let (whole, p) = reduce(s, 1.0, clamp(s, -104.0, 89.0, x));
    // n reaches -2401 and 2054: what is no normal number's power is applied in a second step.
    let normal = clamp(s, WHOLE - 2000.0, WHOLE + 2000.0, whole);
    let rest = s.add(s.sub(whole, normal), s.splat(WHOLE));
    let first = power(s, normal);
    s.mul(s.mul_add(first, p, first), power(s, rest))
}

/// `1 / (1 + e^-x)` with a relative error below 3.6e-7 (3 ULP) for x >= -87, and 1.65e-38 below.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let (whole, p) = reduce(s, -1.0, clamp(s, -87.0, 87.0, x));
    let power = power(s, whole);
    s.reciprocal(s.mul_add(power, p, s.add(power, s.splat(1.0))))
}

/// `tanh(x)` with a relative error below 3.6e-7 (3 ULP), exactly +-1 from |x| = 9.02 on.
///
/// `(e^2x - 1) / (e^2x + 1)` by way of `e^2x - 1`, which keeps the digits of small x.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    // 9.02: from there on (e^y - 1) / (e^y + 1) rounds to 1.
    let (whole, p) = reduce(s, 2.0, clamp(s, -9.02, 9.02, x));
    let power = power(s, whole);
    // Where e^2x is nearest to 1, |n| <= 8, and the remainder is that of 2^(n / 16); it is lost elsewhere.
    let m = s.mul_add(power, p, lookup(s, &REMAINDERS, whole));
    let m = s.add(m, s.sub(power, s.splat(1.0)));
    s.mul(m, s.reciprocal(s.add(m, s.splat(2.0))))
}

macro_rules! elementwise {
    ($($name:ident = $function:ident;)*) => {$(
        /// `y[i] = f(x[i])`
        ///
        /// # Safety
        /// Both slices have one length.
        #[inline(always)]
        pub(crate) unsafe fn $name<S: Simd>(s: S, x: &[f32], y: &mut [f32]) {
            let (len, x, y) = (x.len(), x.as_ptr(), y.as_mut_ptr());
            let mut i = 0;
            // SAFETY: every access stays below `len`, the length of both slices.
            unsafe {
                while i + S::LANES <= len {
                    s.store(y.add(i), $function(s, s.load(x.add(i))));
                    i += S::LANES;
                }
                if i < len {
                    let last = $function(s, s.load_partial(x.add(i), len - i));
                    s.store_partial(y.add(i), last, len - i);
                }
            }
        }
    )*};
}

elementwise! {
    exp_slice = exp;
    sigmoid_slice = sigmoid;
    tanh_slice = tanh;
}
