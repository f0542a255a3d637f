//! Batch normalisation over the last axis of x [rows, channels].
//!
//! Sums are in f64: a square of an f32 is exact there, so that `E[x^2] - E[x]^2` keeps 8 digits of the variance even
//! where the mean is 10,000 deviations from 0. They are sums over these rows only; shards are added by the caller.

use crate::simd::Simd;

/// Values of a band of rows: 16 KB, which stay in L1 while the channels are walked.
const BAND: usize = 4096;
/// Channels that are summed at once in f64.
const GROUP: usize = 8;

/// `sums[c] += p`, `sums[channels + c] += q` with (p, q) of a row and channel made by `$terms`.
macro_rules! sum_pairs {
    ($rows:ident, $channels:ident, $sums:ident, |$row:ident, $at:ident, $channel:ident| $terms:expr) => {{
        let (first, second) = $sums.split_at_mut($channels);
        first.fill(0.0);
        second.fill(0.0);
        let band = (BAND / $channels.max(1)).max(1);
        let mut top = 0;
        while top < $rows {
            let bottom = (top + band).min($rows);
            let mut channel = 0;
            while channel < $channels {
                if channel + GROUP <= $channels {
                    let (mut p, mut q) = ([0.0f64; GROUP], [0.0f64; GROUP]);
                    for $row in top..bottom {
                        for lane in 0..GROUP {
                            let $channel = channel + lane;
                            let $at = $row * $channels + $channel;
                            let terms: (f64, f64) = $terms;
                            p[lane] += terms.0;
                            q[lane] += terms.1;
                        }
                    }
                    for lane in 0..GROUP {
                        first[channel + lane] += p[lane];
                        second[channel + lane] += q[lane];
                    }
                    channel += GROUP;
                } else {
                    let $channel = channel;
                    for $row in top..bottom {
                        let $at = $row * $channels + $channel;
                        let terms: (f64, f64) = $terms;
                        first[channel] += terms.0;
                        second[channel] += terms.1;
                    }
                    channel += 1;
                }
            }
            top = bottom;
        }
    }};
}

/// See [`Kernels::norm_sums`](crate::Kernels::norm_sums).
///
/// # Safety
/// x has rows * channels values, sums has 2 * channels.
#[inline(always)]
pub(crate) unsafe fn norm_sums<S: Simd>(
    _: S,
    rows: usize,
    channels: usize,
    x: &[f32],
    sums: &mut [f64],
) {
    sum_pairs!(rows, channels, sums, |row, at, channel| {
        // SAFETY: row < rows and channel < channels.
        let x = f64::from(unsafe { *x.get_unchecked(at) });
        (x, x * x)
    });
}

/// See [`Kernels::norm_backward_sums`](crate::Kernels::norm_backward_sums).
///
/// # Safety
/// x and d_y have rows * channels values, mean and inverse_deviation have `channels`, sums has 2 * channels.
#[inline(always)]
pub(crate) unsafe fn norm_backward_sums<S: Simd>(
    _: S,
    rows: usize,
    channels: usize,
    x: &[f32],
    d_y: &[f32],
    mean: &[f32],
    inverse_deviation: &[f32],
    sums: &mut [f64],
) {
    sum_pairs!(rows, channels, sums, |row, at, channel| {
        // SAFETY: row < rows and channel < channels.
        let (x, d_y, mean) = unsafe {
            (
                *x.get_unchecked(at),
                *d_y.get_unchecked(at),
                *mean.get_unchecked(channel),
            )
        };
        (f64::from(d_y), f64::from(d_y) * f64::from(x - mean))
    });
    for channel in 0..channels {
        sums[channels + channel] *= f64::from(inverse_deviation[channel]);
    }
}

/// A register's worth of channels in a band of rows.
#[derive(Clone, Copy)]
struct Strip {
    top: usize,
    bottom: usize,
    channels: usize,
    first: usize,
    width: usize,
}

/// # Safety
/// `n <= LANES` values may be read, LANES where not PARTIAL.
#[inline(always)]
unsafe fn get<S: Simd, const PARTIAL: bool>(s: S, from: *const f32, n: usize) -> S::F {
    // SAFETY: the caller's promise.
    unsafe {
        if PARTIAL {
            s.load_partial(from, n)
        } else {
            s.load(from)
        }
    }
}

/// # Safety
/// `n <= LANES` values may be written, LANES where not PARTIAL.
#[inline(always)]
unsafe fn put<S: Simd, const PARTIAL: bool>(s: S, to: *mut f32, x: S::F, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if PARTIAL {
            s.store_partial(to, x, n)
        } else {
            s.store(to, x)
        }
    }
}

/// Runs `$strip::<S, PARTIAL>(s, strip, arguments..)` for every register of channels, band by band.
macro_rules! each_strip {
    ($s:ident, $rows:ident, $channels:ident, $body:ident($($argument:expr),*)) => {{
        let band = (BAND / $channels.max(1)).max(1);
        let mut top = 0;
        while top < $rows {
            let bottom = (top + band).min($rows);
            let mut first = 0;
            while first < $channels {
                let width = S::LANES.min($channels - first);
                let strip = Strip { top, bottom, channels: $channels, first, width };
                // SAFETY: strips lie inside rows x channels, which the caller's slices hold.
                unsafe {
                    if width == S::LANES {
                        $body::<S, false>($s, strip, $($argument),*);
                    } else {
                        $body::<S, true>($s, strip, $($argument),*);
                    }
                }
                first += width;
            }
            top = bottom;
        }
    }};
}

/// See [`Kernels::norm_forward`](crate::Kernels::norm_forward).
///
/// # Safety
/// x and y have rows * channels values, the others `channels`.
#[inline(always)]
pub(crate) unsafe fn norm_forward<S: Simd>(
    s: S,
    rows: usize,
    channels: usize,
    x: &[f32],
    mean: &[f32],
    inverse_deviation: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
) {
    each_strip!(
        s,
        rows,
        channels,
        forward_strip(x, mean, inverse_deviation, gamma, beta, y)
    );
}

/// # Safety
/// As [`norm_forward`], and the strip lies inside rows x channels.
#[inline(always)]
unsafe fn forward_strip<S: Simd, const PARTIAL: bool>(
    s: S,
    strip: Strip,
    x: &[f32],
    mean: &[f32],
    inverse_deviation: &[f32],
    gamma: &[f32],
    beta: &[f32],
    y: &mut [f32],
) {
    let Strip {
        top,
        bottom,
        channels,
        first,
        width,
    } = strip;
    // SAFETY: the caller's promise.
    unsafe {
        let mean = get::<S, PARTIAL>(s, mean.as_ptr().add(first), width);
        let inverse = get::<S, PARTIAL>(s, inverse_deviation.as_ptr().add(first), width);
        let factor = s.mul(
            inverse,
            get::<S, PARTIAL>(s, gamma.as_ptr().add(first), width),
        );
        let beta = get::<S, PARTIAL>(s, beta.as_ptr().add(first), width);
        for row in top..bottom {
            let at = row * channels + first;
            let centred = s.sub(get::<S, PARTIAL>(s, x.as_ptr().add(at), width), mean);
            let result = s.mul_add(centred, factor, beta);
            put::<S, PARTIAL>(s, y.as_mut_ptr().add(at), result, width);
        }
    }
}

/// See [`Kernels::norm_backward`](crate::Kernels::norm_backward).
///
/// # Safety
/// x, d_y and d_x have rows * channels values, the others `channels`.
#[inline(always)]
pub(crate) unsafe fn norm_backward<S: Simd>(
    s: S,
    rows: usize,
    channels: usize,
    x: &[f32],
    d_y: &[f32],
    mean: &[f32],
    inverse_deviation: &[f32],
    gamma: &[f32],
    mean_d_y: &[f32],
    mean_d_y_x_hat: &[f32],
    d_x: &mut [f32],
) {
    let means = [mean, mean_d_y, mean_d_y_x_hat];
    let (d_y, d_x) = (d_y.as_ptr(), d_x.as_mut_ptr());
    each_strip!(
        s,
        rows,
        channels,
        backward_strip(x, d_y, means, inverse_deviation, gamma, d_x)
    );
}

/// # Safety
/// As [`norm_backward`], and the strip lies inside rows x channels; `d_y` may be `d_x`.
#[inline(always)]
unsafe fn backward_strip<S: Simd, const PARTIAL: bool>(
    s: S,
    strip: Strip,
    x: &[f32],
    d_y: *const f32,
    means: [&[f32]; 3],
    inverse_deviation: &[f32],
    gamma: &[f32],
    d_x: *mut f32,
) {
    let Strip {
        top,
        bottom,
        channels,
        first,
        width,
    } = strip;
    // SAFETY: the caller's promise.
    unsafe {
        let mean = get::<S, PARTIAL>(s, means[0].as_ptr().add(first), width);
        let mean_d_y = get::<S, PARTIAL>(s, means[1].as_ptr().add(first), width);
        let mean_product = get::<S, PARTIAL>(s, means[2].as_ptr().add(first), width);
        let inverse = get::<S, PARTIAL>(s, inverse_deviation.as_ptr().add(first), width);
        let factor = s.mul(
            inverse,
            get::<S, PARTIAL>(s, gamma.as_ptr().add(first), width),
        );
        let slope = s.mul(inverse, mean_product);
        for row in top..bottom {
            let at = row * channels + first;
            let centred = s.sub(get::<S, PARTIAL>(s, x.as_ptr().add(at), width), mean);
            let d_y = s.sub(get::<S, PARTIAL>(s, d_y.add(at), width), mean_d_y);
            let d = s.sub(d_y, s.mul(centred, slope));
            put::<S, PARTIAL>(s, d_x.add(at), s.mul(factor, d), width);
        }
    }
}

/// See [`Kernels::norm_backward_in_place`](crate::Kernels::norm_backward_in_place).
///
/// # Safety
/// x and d have rows * channels values, the others `channels`.
#[inline(always)]
pub(crate) unsafe fn norm_backward_in_place<S: Simd>(
    s: S,
    rows: usize,
    channels: usize,
    x: &[f32],
    mean: &[f32],
    inverse_deviation: &[f32],
    gamma: &[f32],
    mean_d_y: &[f32],
    mean_d_y_x_hat: &[f32],
    d: &mut [f32],
) {
    let means = [mean, mean_d_y, mean_d_y_x_hat];
    let d = d.as_mut_ptr();
    each_strip!(
        s,
        rows,
        channels,
        backward_strip(x, d.cast_const(), means, inverse_deviation, gamma, d)
    );
}
