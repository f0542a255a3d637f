//! exp, sigmoid and tanh of a register. NaN stays NaN; no argument overflows inside.
//!
//! `e^x = 2^n e^r` with `n = round(x / ln 2)`, `|r| <= ln 2 / 2`; ln 2 is subtracted in two parts, the first of which
//! has 9 zero bits at its end, so that `n ln 2` is exact. The polynomial is the minimax one of Cephes' `expf`
//! (S. Moshier, 1992): `e^r = 1 + r + r^2 P(r)`. The bounds below are asserted over every 2^k-th f32 pattern.

use crate::simd::Simd;

const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// (n, e^r - 1) of x in -104..=89.
#[inline(always)]
fn reduce<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), x);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    let mut p = s.splat(1.987_569_1e-4);
    p = s.mul_add(p, r, s.splat(1.398_2e-3));
    p = s.mul_add(p, r, s.splat(8.333_452e-3));
    p = s.mul_add(p, r, s.splat(4.166_579_6e-2));
    p = s.mul_add(p, r, s.splat(0.166_666_65));
    p = s.mul_add(p, r, s.splat(0.5));
    (n, s.mul_add(s.mul(r, r), p, r))
}

/// x in `low..=high`; NaN stays.
#[inline(always)]
fn clamp<S: Simd>(s: S, low: f32, high: f32, x: S::F) -> S::F {
    s.min(s.splat(high), s.max(s.splat(low), x))
}

/// `e^x` within 2 ULP; infinity above 88.73, subnormal results within 1.5e-45, 0 below -103.98.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let (n, p) = reduce(s, clamp(s, -104.0, 89.0, x));
    // n reaches -150 and 128, so the power is applied in two halves.
    let half = s.round(s.mul(n, s.splat(0.5)));
    let p = s.add(p, s.splat(1.0));
    s.mul_exp2i(s.mul_exp2i(p, half), s.sub(n, half))
}

/// `1 / (1 + e^-x)` with a relative error below 3.6e-7 (3 ULP) for x >= -87, and 1.65e-38 below.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let (n, p) = reduce(s, clamp(s, -87.0, 87.0, s.sub(s.zero(), x)));
    let one = s.splat(1.0);
    s.reciprocal(s.add(one, s.mul_exp2i(s.add(p, one), n)))
}

/// `tanh(x)` with a relative error below 3.6e-7 (3 ULP), exactly +-1 from |x| = 9.02 on.
///
/// `(e^2x - 1) / (e^2x + 1)` by way of `e^2x - 1`, which keeps the digits of small x.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    // 18.04: from there on (e^y - 1) / (e^y + 1) rounds to 1.
    let (n, p) = reduce(s, clamp(s, -18.04, 18.04, s.add(x, x)));
    let power = s.exp2i(n);
    let m = s.mul_add(power, p, s.sub(power, s.splat(1.0)));
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
