//! The gradient of the convolution's output, as lists of its non-zero values.
//!
//! A max pool hands each of its gradients to one pixel; a pixel that is the maximum of several windows receives their
//! sum, and most pixels receive nothing. For each band of rows the values are listed twice: by pixel for the input
//! gradient, by channel for the weight gradient.

use super::{Conv2dShape, ConvBlock};
use crate::activation::activation_gradient;
use crate::norm::NormGradient;
use crate::pool::PoolShape;
use crate::simd::Simd;

/// One non-zero gradient in its channel's list, and the pixel that it multiplies.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) value: f32,
    /// The pixel's first value in the padded image.
    pub(super) pixel: u32,
}

/// The lists of one band, in scratch. Two f32 hold an [`Entry`], one holds a number.
#[derive(Clone, Copy)]
pub(super) struct Lists {
    /// Most pixels that a band has.
    pub(super) capacity: usize,
    /// All pixels' non-zero gradients, pixel after pixel: their values, their channels' places in the packed kernel, and their pixels, as
    /// in [`Entry`].
    pub(super) values: *mut f32,
    pub(super) channels: *mut u32,
    pub(super) pixels: *mut u32,
    /// The first of these of each of the band's pixels, and the end of the last.
    pub(super) starts: *mut u32,
    /// The same, `capacity` entries a channel.
    pub(super) by_channel: *mut Entry,
    /// The end of each channel's entries.
    pub(super) ends: *mut u32,
    /// 0, 1, 2, ..: the channels' numbers.
    pub(super) numbers: *mut u32,
    /// One row's gradients, every pixel's channels padded to whole registers.
    pub(super) row: *mut f32,
}

impl Lists {
    /// Writes the channels' numbers, which the bands read.
    ///
    /// # Safety
    /// There is room for so many.
    #[inline(always)]
    pub(super) unsafe fn number_channels(self, channels: usize) {
        for c in 0..channels {
            // SAFETY: the caller's promise.
            unsafe { self.numbers.add(c).write(c as u32) }
        }
    }
}

/// Rows of a band: enough pixels to make long lists of a channel, few enough that the input's rows stay in L1.
pub(super) fn band_rows(conv: &Conv2dShape) -> usize {
    (160 / conv.out_width).clamp(1, conv.out_height)
}

/// The gradient before the activation on the pooled grid, channels padded with zeros to `channels`, and
/// its sums: `gradient[p, c]`, `d_bias[c] += sum over p`. With a `norm` `d_output` is by the output as that has normalised it.
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
    norm: Option<NormGradient<'_>>,
    gradient: *mut f32,
    d_bias: *mut f32,
) {
    for oy in 0..pool.out_height {
        let mut c = 0;
        // The next row, in the order of memory.
        let mut next = (oy + 1) * pool.out_width * pool.channels;
        while c < channels {
            let n = S::LANES.min(pool.channels - c);
            let mut register = None;
            if let Some(norm) = norm {
                // SAFETY: n channels from c on lie in the output.
                register = Some(unsafe { norm.register(s, c, n) });
            }
            let mut sum = s.zero();
            for p in oy * pool.out_width..(oy + 1) * pool.out_width {
                let at = p * pool.channels + c;
                s.prefetch(output.wrapping_add(next));
                s.prefetch(d_output.wrapping_add(next));
                next += S::LANES;
                // SAFETY: n channels from c of pixel p lie in the sample, LANES of them in `gradient`.
                unsafe {
                    let (y, mut g) = if n == S::LANES {
                        (s.load(output.add(at)), s.load(d_output.add(at)))
                    } else {
                        (
                            s.load_partial(output.add(at), n),
                            s.load_partial(d_output.add(at), n),
                        )
                    };
                    if let Some(norm) = register {
                        g = norm.turn(s, y, g);
                    }
                    let g = activation_gradient(s, block.activation, y, g);
                    s.store(gradient.add(p * channels + c), g);
                    sum = s.add(sum, g);
                }
            }
            // SAFETY: c + LANES <= channels.
            unsafe { s.store(d_bias.add(c), s.add(s.load(d_bias.add(c)), sum)) }
            c += S::LANES;
        }
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
        // Columns that have been written: the first windows set theirs.
        let mut done = 0;
        for oy in oy0..oy1 {
            let row_code = (y + pool.pad_top - oy * pool.stride_height) * pool.window_width;
            for ox in 0..pool.out_width {
                let (x0, x1) = pool.columns(ox);
                if done < x0 {
                    row.add(done * channels)
                        .write_bytes(0, (x0 - done) * channels);
                }
                let first_code = row_code + x0 + pool.pad_left - ox * pool.stride_width;
                let at = (oy * pool.out_width + ox) * channels;
                let mut c = 0;
                while c < channels {
                    let g = s.load(gradient.add(at + c));
                    let code = s.load_codes(codes.add(at + c));
                    let mut x = x0;
                    while x < x1 {
                        let here = s.eq_codes(code, s.codes((first_code + x - x0) as u8));
                        let to = row.add(x * channels + c);
                        let mut value = s.select(here, g, s.zero());
                        if x < done {
                            value = s.add(s.load(to), value);
                        }
                        s.store(to, value);
                        x += 1;
                    }
                    c += S::LANES;
                }
                done = done.max(x1);
            }
        }
        row.add(done * channels)
            .write_bytes(0, (pool.width - done) * channels);
    }
}

/// Lists the gradients of the rows `y0..y1`.
///
/// # Safety
/// `gradient` is what `pooled_gradient` wrote; `codes`, unless null (no pool), may be read for `channels` codes an
/// output; `lists` has room for the band, its channels are numbered; the image that pixels name has `image_row_len` values a row and
/// `pixel_len` a pixel, the packed kernel `channel_len` a channel.
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
    pixel_len: usize,
    channel_len: usize,
    lists: Lists,
) {
    // SAFETY: a pixel adds at most one entry a channel, and the band has at most `capacity` pixels; a register more is
    // written behind the last.
    unsafe {
        let (mut entries, mut pixel) = (0, 0);
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
                let place = (y * image_row_len + x * pixel_len) as u32;
                let place = s.splat(f32::from_bits(place));
                let mut c = 0;
                while c < channels {
                    let values = s.load(row.add(x * channels + c));
                    let numbers = s.load(lists.numbers.add(c).cast());
                    let bits = s.nonzero_bits(values);
                    s.compress(lists.values.add(entries), values, bits);
                    s.compress(lists.channels.add(entries).cast(), numbers, bits);
                    s.store(lists.pixels.add(entries).cast(), place);
                    entries += bits.count_ones() as usize;
                    c += S::LANES;
                }
            }
        }
        lists.starts.add(pixel).write(entries as u32);
        for c in 0..conv.out_channels {
            lists.ends.add(c).write((c * lists.capacity) as u32);
        }
        // In a loop of its own, whose end is foreseen: a pixel has now none, now ten.
        for e in 0..entries {
            let end = lists.ends.add(*lists.channels.add(e) as usize);
            let (value, pixel) = (*lists.values.add(e), *lists.pixels.add(e));
            lists
                .by_channel
                .add(*end as usize)
                .write(Entry { value, pixel });
            *end += 1;
        }
        // From here on as places in the packed kernel.
        for e in 0..entries {
            *lists.channels.add(e) *= channel_len as u32;
        }
    }
}
