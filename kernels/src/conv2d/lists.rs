//! The gradient of the convolution's output, as lists of its non-zero values.
//!
//! A max pool hands each of its gradients to one pixel; a pixel that is the maximum of several windows receives their
//! sum, and most pixels receive nothing. For each band of rows the values are listed twice: by pixel for the input
//! gradient, by channel for the weight gradient.

use super::{Conv2dShape, ConvBlock};
use crate::activation::activation_gradient;
use crate::pool::PoolShape;
use crate::simd::Simd;

/// One non-zero gradient and what it multiplies.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) value: f32,
    /// By pixel: the channel's runs in the packed kernel. By channel: the pixel's first value in the padded image.
    pub(super) offset: u32,
}

/// The lists of one band, in scratch. Two f32 hold an entry, one holds a count.
#[derive(Clone, Copy)]
pub(super) struct Lists {
    /// Most pixels that a band has.
    pub(super) capacity: usize,
    /// All pixels' entries, pixel after pixel.
    pub(super) by_pixel: *mut Entry,
    /// The first entry of each of the band's pixels, and the end of the last.
    pub(super) starts: *mut u32,
    /// `capacity` entries a channel.
    pub(super) by_channel: *mut Entry,
    /// Entries of each channel.
    pub(super) counts: *mut u32,
    /// One row's gradients, every pixel's channels padded to whole registers.
    pub(super) row: *mut f32,
}

/// Rows of a band: enough pixels to make long lists of a channel, few enough that the input's rows stay in L1.
pub(super) fn band_rows(conv: &Conv2dShape) -> usize {
    (160 / conv.out_width).clamp(1, conv.out_height)
}

/// The gradient before the activation on the pooled grid, channels padded with zeros to `channels`, and
/// its sums: `gradient[p, c]`, `d_bias[c] += sum over p`.
///
/// # Safety
/// `output` and `d_output` may be read for the sample, `gradient` written for `out_height * out_width * channels` values,
/// `d_bias` for `channels`; `channels` is the multiple of the lanes that follows the block's channels.
#[inline(always)]
pub(super) unsafe fn pooled_gradient<S: Simd>(
    s: S,
    block: &ConvBlock,
    pool: &PoolShape,
    channels: usize,
    output: *const f32,
    d_output: *const f32,
    gradient: *mut f32,
    d_bias: *mut f32,
) {
    let mut c = 0;
    while c < channels {
        let n = S::LANES.min(pool.channels - c);
        for oy in 0..pool.out_height {
            let mut sum = s.zero();
            for p in oy * pool.out_width..(oy + 1) * pool.out_width {
                let at = p * pool.channels + c;
                // SAFETY: n channels from c of pixel p lie in the sample, LANES of them in `gradient`.
                unsafe {
                    let (y, g) = if n == S::LANES {
                        (s.load(output.add(at)), s.load(d_output.add(at)))
                    } else {
                        (
                            s.load_partial(output.add(at), n),
                            s.load_partial(d_output.add(at), n),
                        )
                    };
                    let g = activation_gradient(s, block.activation, y, g);
                    s.store(gradient.add(p * channels + c), g);
                    sum = s.add(sum, g);
                }
            }
            // SAFETY: c + LANES <= channels.
            unsafe { s.store(d_bias.add(c), s.add(s.load(d_bias.add(c)), sum)) }
        }
        c += S::LANES;
    }
}

/// The windows `first..end` along one axis that hold pixel `y`.
#[inline(always)]
fn windows(y: usize, pad: usize, window: usize, stride: usize, count: usize) -> (usize, usize) {
    let y = y + pad;
    let first = if y < window {
        0
    } else {
        (y - window) / stride + 1
    };
    (first, (y / stride + 1).min(count))
}

/// The gradient of row `y` of the convolution's output: every pixel's sum over the windows whose codes name it.
///
/// A code that points outside its window's clipped part names no pixel: its gradient is dropped.
///
/// # Safety
/// `gradient` and `codes` hold the pooled grid, `channels` values a position; `row` may be written for `out_width`
/// pixels of `channels` values.
#[inline(always)]
unsafe fn unpool_row<S: Simd>(
    s: S,
    pool: &PoolShape,
    channels: usize,
    gradient: *const f32,
    codes: *const u8,
    y: usize,
    row: *mut f32,
) {
    let (oy0, oy1) = windows(
        y,
        pool.pad_top,
        pool.window_height,
        pool.stride_height,
        pool.out_height,
    );
    // SAFETY: columns clips the window to the row; positions are below the pool's output size.
    unsafe {
        row.write_bytes(0, pool.width * channels);
        for oy in oy0..oy1 {
            let row_code = (y + pool.pad_top - oy * pool.stride_height) * pool.window_width;
            for ox in 0..pool.out_width {
                let (x0, x1) = pool.columns(ox);
                let first_code = row_code + x0 + pool.pad_left - ox * pool.stride_width;
                let at = (oy * pool.out_width + ox) * channels;
                let mut c = 0;
                while c < channels {
                    let g = s.load(gradient.add(at + c));
                    let code = s.load_u8(codes.add(at + c));
                    let mut x = x0;
                    while x < x1 {
                        let here = s.eq(code, s.splat((first_code + x - x0) as f32));
                        let to = row.add(x * channels + c);
                        s.store(to, s.add(s.load(to), s.select(here, g, s.zero())));
                        x += 1;
                    }
                    c += S::LANES;
                }
            }
        }
    }
}

/// Lists the gradients of the rows `y0..y1`, by pixel too where `by_pixel`.
///
/// # Safety
/// `gradient` is what `pooled_gradient` wrote; `codes`, unless null (no pool), may be read for `channels` codes an
/// output; `lists` has room for the band; `channel_len` is the packed kernel's distance from one channel to the next.
#[inline(always)]
pub(super) unsafe fn list_band<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    pool: &PoolShape,
    channels: usize,
    gradient: *const f32,
    codes: *const u8,
    y0: usize,
    y1: usize,
    image_row_len: usize,
    channel_len: usize,
    by_pixel: bool,
    lists: Lists,
) {
    // SAFETY: a pixel adds at most one entry a channel, and the band has at most `capacity` pixels.
    unsafe {
        lists.counts.write_bytes(0, conv.out_channels);
        let mut entries = 0;
        let mut pixel = 0;
        for y in y0..y1 {
            let row = if codes.is_null() {
                gradient.add(y * conv.out_width * channels)
            } else {
                unpool_row(s, pool, channels, gradient, codes, y, lists.row);
                lists.row.cast_const()
            };
            for x in 0..conv.out_width {
                lists.starts.add(pixel).write(entries as u32);
                pixel += 1;
                let offset = (y * image_row_len + x * conv.in_channels) as u32;
                // 64 channels at a time: one bit each.
                let mut group = 0;
                while group < channels {
                    let end = channels.min(group + 64);
                    let values = row.add(x * channels + group);
                    let mut bits = 0u64;
                    let mut c = 0;
                    while c < end - group {
                        bits |= u64::from(s.nonzero_bits(s.load(values.add(c)))) << c;
                        c += S::LANES;
                    }
                    while bits != 0 {
                        let c = bits.trailing_zeros() as usize;
                        bits &= bits - 1;
                        let value = *values.add(c);
                        let c = group + c;
                        if by_pixel {
                            lists.by_pixel.add(entries).write(Entry {
                                value,
                                offset: (c * channel_len) as u32,
                            });
                            entries += 1;
                        }
                        let count = lists.counts.add(c);
                        lists
                            .by_channel
                            .add(c * lists.capacity + *count as usize)
                            .write(Entry { value, offset });
                        *count += 1;
                    }
                    group = end;
                }
            }
        }
        lists.starts.add(pixel).write(entries as u32);
    }
}
