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
    /// One pixel's gradients.
    pub(super) pixel: *mut f32,
}

/// Rows of a band: enough pixels to make long lists of a channel, few enough that the input's rows stay in L1.
pub(super) fn band_rows(conv: &Conv2dShape) -> usize {
    (160 / conv.out_width).clamp(1, conv.out_height)
}

/// The gradient before the activation on the pooled grid, channels padded with zeros to `channels`, and its sums:
/// `gradient[p, c]`, `d_bias[c] += sum over p`.
///
/// # Safety
/// `output` and `d_output` may be read for one sample, `gradient` written for `out_height * out_width * channels`
/// values, `d_bias` for `channels`; `channels` is the multiple of the lanes that follows the block's channels.
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

/// Lists the gradients of the rows `y0..y1`.
///
/// A code that points outside its window's clipped part matches no pixel: its gradient is dropped.
///
/// # Safety
/// `gradient` is what `pooled_gradient` wrote; `codes`, unless null (no pool), may be read for `channels` codes an
/// output; `lists` has room for the band; `run_offset` is the packed kernel's distance from one channel to the next.
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
    run_offset: usize,
    lists: Lists,
) {
    // SAFETY: every pooled position is below the pool's output size; a pixel adds at most one entry a channel, and
    // the band has at most `capacity` pixels.
    unsafe {
        lists.counts.write_bytes(0, conv.out_channels);
        let mut entries = 0u32;
        let mut pixel = 0;
        for y in y0..y1 {
            let (oy0, oy1) = windows(
                y,
                pool.pad_top,
                pool.window_height,
                pool.stride_height,
                pool.out_height,
            );
            for x in 0..conv.out_width {
                let (ox0, ox1) = windows(
                    x,
                    pool.pad_left,
                    pool.window_width,
                    pool.stride_width,
                    pool.out_width,
                );
                lists.starts.add(pixel).write(entries);
                pixel += 1;
                let offset = (y * image_row_len + x * conv.in_channels) as u32;
                // 64 channels at a time: one bit each.
                let mut group = 0;
                while group < channels {
                    let end = channels.min(group + 64);
                    let mut bits = 0u64;
                    let mut c = group;
                    while c < end {
                        let mut sum = s.zero();
                        if codes.is_null() {
                            sum = s.load(gradient.add((y * conv.out_width + x) * channels + c));
                        } else {
                            for oy in oy0..oy1 {
                                let wy = y + pool.pad_top - oy * pool.stride_height;
                                for ox in ox0..ox1 {
                                    let wx = x + pool.pad_left - ox * pool.stride_width;
                                    let code = s.splat((wy * pool.window_width + wx) as f32);
                                    let at = (oy * pool.out_width + ox) * channels + c;
                                    let here = s.eq(s.load_u8(codes.add(at)), code);
                                    let g = s.select(here, s.load(gradient.add(at)), s.zero());
                                    sum = s.add(sum, g);
                                }
                            }
                        }
                        s.store(lists.pixel.add(c), sum);
                        bits |= u64::from(s.nonzero_bits(sum)) << (c - group);
                        c += S::LANES;
                    }
                    while bits != 0 {
                        let c = group + bits.trailing_zeros() as usize;
                        bits &= bits - 1;
                        let value = *lists.pixel.add(c);
                        lists.by_pixel.add(entries as usize).write(Entry {
                            value,
                            offset: (c * run_offset) as u32,
                        });
                        entries += 1;
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
        lists.starts.add(pixel).write(entries);
    }
}
