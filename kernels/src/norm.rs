//! Batch normalisation over the last axis of x [rows, channels].
//!
//! Sums are in f64, so that `E[x^2] - E[x]^2` keeps 6 digits of the variance even where the mean is 10,000 deviations from 0: a band's
//! values are taken as distances from its first row, eight of which are added up in f32, pair by pair, before they are added to a sum.
//! They are sums over these rows only; shards are added by the caller.

use crate::simd::Simd;

/// Values of a band of rows: 16 KB, which stay in L1 while the channels are walked.
const BAND: usize = 4096;
/// Channels that are summed at once in f64.
const GROUP: usize = 8;
/// Rows whose sum is taken in f32 before it is added to one in f64.
const ROWS: usize = 8;

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
    s: S,
    rows: usize,
    channels: usize,
    x: &[f32],
    sums: &mut [f64],
) {
    sums.fill(0.0);
    each_strip!(s, rows, channels, sums_strip(x, sums));
}

/// # Safety
/// As [`norm_sums`], and the strip lies inside rows x channels.
#[inline(always)]
unsafe fn sums_strip<S: Simd, const PARTIAL: bool>(
    s: S,
    strip: Strip,
    x: &[f32],
    sums: &mut [f64],
) {
    let Strip {
        top,
        bottom,
        channels,
        first,
        width,
    } = strip;
    // SAFETY: the strip's rows stand in x; no register is wider than 16.
    unsafe {
        let x_first = x.as_ptr().add(first);
        let pivot = get::<S, PARTIAL>(s, x_first.add(top * channels), width);
        let (mut p, mut q) = ([0.0f64; 16], [0.0f64; 16]);
        let mut block = top;
        while block < bottom {
            let end = bottom.min(block + ROWS);
            let mut d = [s.zero(); ROWS];
            let is_whole = end == block + ROWS;
            for i in 0..ROWS {
                if is_whole || block + i < end {
                    let row = get::<S, PARTIAL>(s, x_first.add((block + i) * channels), width);
                    d[i] = s.sub(row, pivot);
                }
            }
            let (mut a, mut b) = ([s.zero(); ROWS / 2], [s.zero(); ROWS / 2]);
            for i in 0..ROWS / 2 {
                let [even, odd] = [d[2 * i], d[2 * i + 1]];
                a[i] = s.add(even, odd);
                b[i] = s.mul_add(odd, odd, s.mul(even, even));
            }
            let a = s.add(s.add(a[0], a[1]), s.add(a[2], a[3]));
            let b = s.add(s.add(b[0], b[1]), s.add(b[2], b[3]));
            for (total, part) in [(&mut p, a), (&mut q, b)] {
                let mut lanes = [0.0f32; 16];
                s.store(lanes.as_mut_ptr(), part);
                for lane in 0..S::LANES {
                    total[lane] += f64::from(lanes[lane]);
                }
            }
            block = end;
        }
        let count = (bottom - top) as f64;
        for lane in 0..width {
            let pivot = f64::from(x[top * channels + first + lane]);
            sums[first + lane] += p[lane] + count * pivot;
            sums[channels + first + lane] += q[lane] + pivot * (2.0 * p[lane] + count * pivot);
        }
    }
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

/// What turns the gradient by a normalised map into that by the map: `channels` values each.
#[derive(Debug, Clone, Copy)]
pub struct NormGradient<'a> {
    /// Of the map, over the whole batch.
    pub mean: &'a [f32],
    /// 1 / sqrt(variance + epsilon) of the map.
    pub inverse_deviation: &'a [f32],
    /// What the normalised map is multiplied by.
    pub gamma: &'a [f32],
    /// The means over the whole batch of the gradient d_y by the layer's output ...
    pub mean_d_y: &'a [f32],
    /// ... and of its product with `x_hat = (x - mean) * inverse_deviation`.
    pub mean_d_y_x_hat: &'a [f32],
}

impl NormGradient<'_> {
    /// # Panics
    /// Where a length is not the channels'.
    pub(crate) fn check(&self, channels: usize) {
        for each in [
            self.mean,
            self.inverse_deviation,
            self.gamma,
            self.mean_d_y,
            self.mean_d_y_x_hat,
        ] {
            assert_eq!(each.len(), channels, "a normalisation's channels");
        }
    }

    /// `n <= LANES` channels from `first` on; the other lanes turn everything into 0.
    ///
    /// # Safety
    /// There are so many channels.
    #[inline(always)]
    pub(crate) unsafe fn register<S: Simd>(
        self,
        s: S,
        first: usize,
        n: usize,
    ) -> NormGradientRegister<S> {
        // SAFETY: the caller's promise.
        unsafe {
            let inverse = s.load_partial(self.inverse_deviation.as_ptr().add(first), n);
            let gamma = s.load_partial(self.gamma.as_ptr().add(first), n);
            let mean_product = s.load_partial(self.mean_d_y_x_hat.as_ptr().add(first), n);
            NormGradientRegister {
                mean: s.load_partial(self.mean.as_ptr().add(first), n),
                mean_d_y: s.load_partial(self.mean_d_y.as_ptr().add(first), n),
                factor: s.mul(inverse, gamma),
                slope: s.sub(s.zero(), s.mul(inverse, mean_product)),
            }
        }
    }
}

/// A register of channels of a [`NormGradient`].
#[derive(Clone, Copy)]
pub(crate) struct NormGradientRegister<S: Simd> {
    mean: S::F,
    mean_d_y: S::F,
    factor: S::F,
    slope: S::F,
}

impl<S: Simd> NormGradientRegister<S> {
    /// The gradient by `x` from that by the layer's output.
    #[inline(always)]
    pub(crate) fn turn(self, s: S, x: S::F, d_y: S::F) -> S::F {
        let centred = s.sub(x, self.mean);
        let d = s.mul_add(centred, self.slope, s.sub(d_y, self.mean_d_y));
        s.mul(self.factor, d)
    }
}

/// See [`Kernels::norm_kernel_gradient`](crate::Kernels::norm_kernel_gradient).
///
/// # Safety
/// The kernel and its gradient have whole rows of d_bias' length, scale and shift as many values as sums has halves.
#[inline(always)]
pub(crate) unsafe fn norm_kernel_gradient<S: Simd>(
    _: S,
    kernel: &[f32],
    d_bias: &[f32],
    scale: &[f32],
    shift: &[f32],
    d_kernel: &mut [f32],
    sums: &mut [f64],
) {
    let (filters, channels) = (d_bias.len(), scale.len());
    let taps = kernel.len() / (filters * channels).max(1);
    let (first, second) = sums.split_at_mut(channels);
    for c in 0..channels {
        let (mut total_p, mut total_q) = ([0.0f64; GROUP], [0.0f64; GROUP]);
        let mut o = 0;
        while o < filters {
            let group = GROUP.min(filters - o);
            let (mut p, mut q) = ([0.0f64; GROUP], [0.0f64; GROUP]);
            macro_rules! add_taps {
                ($lanes:expr) => {
                    for tap in 0..taps {
                        let row = (tap * channels + c) * filters;
                        for lane in 0..$lanes {
                            // SAFETY: c < channels, o + lane < filters, the row lies in both kernels.
                            unsafe {
                                let d_w = d_kernel.get_unchecked_mut(row + o + lane);
                                let w = f64::from(*kernel.get_unchecked(row + o + lane));
                                let d_b = *d_bias.get_unchecked(o + lane);
                                p[lane] += w * f64::from(d_b);
                                q[lane] += w * f64::from(*d_w);
                                let (scale, shift) =
                                    (*scale.get_unchecked(c), *shift.get_unchecked(c));
                                *d_w = scale * *d_w + shift * d_b;
                            }
                        }
                    }
                };
            }
            // Whole groups in registers.
            match group {
                GROUP => add_taps!(GROUP),
                _ => add_taps!(group),
            }
            for lane in 0..GROUP {
                total_p[lane] += p[lane];
                total_q[lane] += q[lane];
            }
            o += group;
        }
        first[c] = total_p.iter().sum();
        second[c] = total_q.iter().sum();
    }
}

/// See [`Kernels::norm_backward`](crate::Kernels::norm_backward).
///
/// # Safety
/// x, d_y and d_x have rows * channels values, the gradient's slices `channels`.
#[inline(always)]
pub(crate) unsafe fn norm_backward<S: Simd>(
    s: S,
    rows: usize,
    channels: usize,
    x: &[f32],
    d_y: &[f32],
    gradient: NormGradient<'_>,
    d_x: &mut [f32],
) {
    let (d_y, d_x) = (d_y.as_ptr(), d_x.as_mut_ptr());
    each_strip!(s, rows, channels, backward_strip(x, d_y, gradient, d_x));
}

/// # Safety
/// As [`norm_backward`], and the strip lies inside rows x channels; `d_y` may be `d_x`.
#[inline(always)]
unsafe fn backward_strip<S: Simd, const PARTIAL: bool>(
    s: S,
    strip: Strip,
    x: &[f32],
    d_y: *const f32,
    gradient: NormGradient<'_>,
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
        let gradient = gradient.register(s, first, width);
        for row in top..bottom {
            let at = row * channels + first;
            let x = get::<S, PARTIAL>(s, x.as_ptr().add(at), width);
            let d_y = get::<S, PARTIAL>(s, d_y.add(at), width);
            put::<S, PARTIAL>(s, d_x.add(at), gradient.turn(s, x, d_y), width);
        }
    }
}

/// See [`Kernels::norm_backward_in_place`](crate::Kernels::norm_backward_in_place).
///
/// # Safety
/// x and d have rows * channels values, the gradient's slices `channels`.
#[inline(always)]
pub(crate) unsafe fn norm_backward_in_place<S: Simd>(
    s: S,
    rows: usize,
    channels: usize,
    x: &[f32],
    gradient: NormGradient<'_>,
    d: &mut [f32],
) {
    let d = d.as_mut_ptr();
    let d_y = d.cast_const();
    each_strip!(s, rows, channels, backward_strip(x, d_y, gradient, d));
}
