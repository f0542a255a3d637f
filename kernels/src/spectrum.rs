//! Power spectra of two real frames by one complex transform.
//!
//! With z = a + i b, the spectra of a and b are the even and the odd part of Z, A\[k\] = (Z\[k\] + conj Z\[N-k\]) / 2 and
//! B\[k\] = (Z\[k\] - conj Z\[N-k\]) / 2i. The transform of N points is four of a quarter's length, over every fourth value, which are
//! somebody else's, and one radix-4 step behind them (Cooley and Tukey, 1965, decimation in time):
//!
//! ```text
//! Z[k + q N/4] = sum over r of (-i)^(q r) W^(r k) Y_r[k]      W = exp(-2 pi i / N)
//! ```
//! Bin k of quarter q and bin N/4 - k of quarter 3 - q are each other's mirrors, so that a register of bins and the one of their mirrors
//! are all that eight registers of powers read: Z itself is never written.

use crate::simd::Simd;
use num_complex::Complex;

/// Frames are a multiple of this long: a quarter has registers and their mirrors.
pub(crate) const STEP: usize = 128;

/// See [`crate::Kernels::window_quarters`].
///
/// # Safety
/// Frames, window and quarters have one length, a multiple of [`STEP`].
#[inline(always)]
pub(crate) unsafe fn window_quarters<S: Simd>(
    s: S,
    frames: [&[f32]; 2],
    window: &[f32],
    quarters: &mut [Complex<f32>],
) {
    let quarter = window.len() / 4;
    let to = quarters.as_mut_ptr().cast::<f32>();
    for k in (0..quarter).step_by(S::LANES) {
        // SAFETY: four registers from 4 k on end at or before the frames' end; a complex number is two f32, real part first, and
        // two registers of them end at or before their quarter's.
        unsafe {
            let window = window.as_ptr().add(4 * k);
            let re = every_fourth(s, frames[0].as_ptr().add(4 * k), window);
            let im = every_fourth(s, frames[1].as_ptr().add(4 * k), window);
            for r in 0..4 {
                let to = to.add(2 * (r * quarter + k));
                let (first, second) = s.interleave(re[r], im[r]);
                s.store(to, first);
                s.store(to.add(S::LANES), second);
            }
        }
    }
}

/// Four registers of values times their window, every fourth value from 0, 1, 2 and 3 on.
///
/// # Safety
/// Both pointers may be read for four registers.
#[inline(always)]
unsafe fn every_fourth<S: Simd>(s: S, frame: *const f32, window: *const f32) -> [S::F; 4] {
    let mut x = [s.zero(); 4];
    for i in 0..4 {
        let at = i * S::LANES;
        // SAFETY: the caller's promise.
        x[i] = unsafe { s.mul(s.load(frame.add(at)), s.load(window.add(at))) };
    }
    let (even, odd) = s.deinterleave(x[0], x[1]);
    let (later_even, later_odd) = s.deinterleave(x[2], x[3]);
    let (r0, r2) = s.deinterleave(even, later_even);
    let (r1, r3) = s.deinterleave(odd, later_odd);
    [r0, r1, r2, r3]
}

/// See [`crate::Kernels::power_pair`].
///
/// # Safety
/// There are N quarters, a multiple of [`STEP`], 6 N / 4 twiddles and room for N / 2 + 1 powers of each frame.
#[inline(always)]
pub(crate) unsafe fn power_pair<S: Simd>(
    s: S,
    quarters: &[Complex<f32>],
    twiddles: &[f32],
    powers: [&mut [f32]; 2],
) {
    let quarter = quarters.len() / 4;
    let [a, b] = powers;
    first_bins(quarters, quarter, a, b);
    let (a, b) = (a.as_mut_ptr(), b.as_mut_ptr());
    let from = Quarters {
        values: quarters.as_ptr().cast(),
        twiddles: twiddles.as_ptr(),
        len: quarter,
    };
    for k in (1..=quarter / 2).step_by(S::LANES) {
        let mirror = quarter + 1 - k - S::LANES;
        // SAFETY: LANES bins from k, and from their mirrors, lie in the first N/4 + 1; a quarter further they lie in the first N/2.
        unsafe {
            let z = from.radix4(s, k);
            let m = from.radix4(s, mirror);
            for (bin, z, m) in [
                (k, z[0], m[3]),
                (quarter + k, z[1], m[2]),
                (mirror, m[0], z[3]),
                (quarter + mirror, m[1], z[2]),
            ] {
                let [power_a, power_b] = pair(s, z, [s.reverse(m[0]), s.reverse(m[1])]);
                s.store(a.add(bin), power_a);
                s.store(b.add(bin), power_b);
            }
        }
    }
}

/// Bins 0, N/4 and N/2, whose mirrors are none of a register's.
#[inline(always)]
fn first_bins(quarters: &[Complex<f32>], quarter: usize, a: &mut [f32], b: &mut [f32]) {
    let y = [0, 1, 2, 3].map(|r| quarters[r * quarter]);
    let (even, odd) = (y[0] + y[2], y[1] + y[3]);
    let (even_less, odd_less) = (y[0] - y[2], y[1] - y[3]);
    for (bin, z) in [(0, even + odd), (2 * quarter, even - odd)] {
        (a[bin], b[bin]) = (z.re * z.re, z.im * z.im);
    }
    let turned = Complex::new(odd_less.im, -odd_less.re);
    let (z, m) = (even_less + turned, even_less - turned);
    let (a_re, a_im) = (z.re + m.re, z.im - m.im);
    let (b_re, b_im) = (z.im + m.im, m.re - z.re);
    a[quarter] = 0.25 * (a_re * a_re + a_im * a_im);
    b[quarter] = 0.25 * (b_re * b_re + b_im * b_im);
}

/// The four transforms and the factors of the last step.
#[derive(Clone, Copy)]
struct Quarters {
    values: *const f32,
    twiddles: *const f32,
    /// Complex values of one.
    len: usize,
}

impl Quarters {
    /// `[Z[k + q N/4]]` of LANES bins from k on, real and imaginary parts.
    ///
    /// # Safety
    /// The bins lie in a quarter.
    #[inline(always)]
    unsafe fn radix4<S: Simd>(self, s: S, k: usize) -> [[S::F; 2]; 4] {
        let mut y = [[s.zero(); 2]; 4];
        for r in 0..4 {
            // SAFETY: the caller's promise: LANES complex values of each quarter.
            let (re, im) = unsafe {
                let from = self.values.add(2 * (r * self.len + k));
                s.deinterleave(s.load(from), s.load(from.add(S::LANES)))
            };
            y[r] = [re, im];
            if r > 0 {
                // SAFETY: the same of each row of factors.
                let (w_re, w_im) = unsafe {
                    let w = self.twiddles.add(2 * (r - 1) * self.len + k);
                    (s.load(w), s.load(w.add(self.len)))
                };
                y[r] = [
                    s.sub(s.mul(re, w_re), s.mul(im, w_im)),
                    s.mul_add(re, w_im, s.mul(im, w_re)),
                ];
            }
        }
        let [y0, y1, y2, y3] = y;
        let (a, b) = (add(s, y0, y2), sub(s, y0, y2));
        let (c, [d_re, d_im]) = (add(s, y1, y3), sub(s, y1, y3));
        [
            add(s, a, c),
            [s.add(b[0], d_im), s.sub(b[1], d_re)],
            sub(s, a, c),
            [s.sub(b[0], d_im), s.add(b[1], d_re)],
        ]
    }
}

/// |A|^2 and |B|^2 from Z and its mirror, real and imaginary parts.
#[inline(always)]
fn pair<S: Simd>(s: S, z: [S::F; 2], m: [S::F; 2]) -> [S::F; 2] {
    let quarter = s.splat(0.25);
    // Sums before squares: squares first would lose a quiet frame beside a loud one.
    let (a_re, a_im) = (s.add(z[0], m[0]), s.sub(z[1], m[1]));
    let (b_re, b_im) = (s.add(z[1], m[1]), s.sub(m[0], z[0]));
    [
        s.mul(quarter, s.mul_add(a_re, a_re, s.mul(a_im, a_im))),
        s.mul(quarter, s.mul_add(b_re, b_re, s.mul(b_im, b_im))),
    ]
}

#[inline(always)]
fn add<S: Simd>(s: S, x: [S::F; 2], y: [S::F; 2]) -> [S::F; 2] {
    [s.add(x[0], y[0]), s.add(x[1], y[1])]
}

#[inline(always)]
fn sub<S: Simd>(s: S, x: [S::F; 2], y: [S::F; 2]) -> [S::F; 2] {
    [s.sub(x[0], y[0]), s.sub(x[1], y[1])]
}
