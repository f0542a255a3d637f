//! One pass over flat slices: sums and optimiser updates.

use crate::simd::Simd;

/// `sum[i] += x[i]`
///
/// # Safety
/// Both slices have one length.
#[inline(always)]
pub(crate) unsafe fn add_assign<S: Simd>(s: S, sum: &mut [f32], x: &[f32]) {
    // SAFETY: handed on from the caller.
    unsafe { axpy(s, sum, x, 1.0) }
}

/// `parameters[i] -= learning_rate * gradients[i]`
///
/// # Safety
/// Both slices have one length.
#[inline(always)]
pub(crate) unsafe fn sgd<S: Simd>(
    s: S,
    parameters: &mut [f32],
    gradients: &[f32],
    learning_rate: f32,
) {
    // SAFETY: handed on from the caller.
    unsafe { axpy(s, parameters, gradients, -learning_rate) }
}

/// `y[i] += a * x[i]`
///
/// # Safety
/// Both slices have one length.
#[inline(always)]
unsafe fn axpy<S: Simd>(s: S, y: &mut [f32], x: &[f32], a: f32) {
    let (len, y, x, a) = (y.len(), y.as_mut_ptr(), x.as_ptr(), s.splat(a));
    let mut i = 0;
    // SAFETY: every access stays below `len`, the length of both slices.
    unsafe {
        while i + S::LANES <= len {
            s.store(y.add(i), s.mul_add(a, s.load(x.add(i)), s.load(y.add(i))));
            i += S::LANES;
        }
        let rest = len - i;
        let last = s.mul_add(
            a,
            s.load_partial(x.add(i), rest),
            s.load_partial(y.add(i), rest),
        );
        s.store_partial(y.add(i), last, rest);
    }
}
