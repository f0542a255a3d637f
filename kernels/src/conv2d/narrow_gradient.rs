//! The gradient of a kernel whose runs are five to eight values: few taps of a one-channel image. Shorter ones: `interleaved_gradient`.
//!
//! With so little work an entry, listing would cost more than it saves. Each pooled gradient multiplies the input at
//! the pixel that its code names, straight from the pooled map:
//!
//! ```text
//! for each pooled row                          its gradients before the activation, and codes, stay in L1
//!   for each few channels
//!     for each pooled position, for each channel: sums[channel][ky] += gradient * input[pixel of the code, row ky]
//! ```

use super::{Conv2dShape, ConvBlock};
use crate::activation;
use crate::pool::PoolShape;
use crate::simd::Simd;
use std::slice::{from_raw_parts, from_raw_parts_mut};

/// What one pooled row's gradients are read from and added to.
#[derive(Clone, Copy)]
pub(super) struct Sources {
    /// What forward wrote for the row, and its gradient.
    pub(super) output: *const f32,
    pub(super) d_output: *const f32,
    /// The row's codes, or null without a pool.
    pub(super) codes: *const u8,
    /// Room for the row's gradient before the activation.
    pub(super) gradient: *mut f32,
    /// The padded image and its row length.
    pub(super) image: *const f32,
    pub(super) row_len: usize,
    /// `[channel][ky][run padded to eight]`
    pub(super) d_runs: *mut f32,
    pub(super) d_bias: *mut f32,
}

/// True where the runs fit the lanes that these kernels use.
pub(super) fn applies(conv: &Conv2dShape) -> bool {
    conv.run() <= 8
}

/// The distance from a window's first pixel to the one that a code names, for every code, in rows of `row_len` values and pixels of
/// `pixel_len`.
#[inline(always)]
pub(super) fn code_offsets(pool: &PoolShape, row_len: usize, pixel_len: usize) -> [u32; 256] {
    let mut offsets = [0; 256];
    for code in 0..pool.window_height * pool.window_width {
        let (y, x) = (code / pool.window_width, code % pool.window_width);
        offsets[code] = (y * row_len + x * pixel_len) as u32;
    }
    offsets
}

/// Adds the part of pooled row `oy` to `d_runs` and `d_bias`.
///
/// # Safety
/// The sources hold the row, and the sample's image, which may be read for eight values behind its end where
/// the run does not fill them; `offsets` are of `code_offsets`.
#[inline(always)]
pub(super) unsafe fn add_pooled_row<S: Simd>(
    s: S,
    block: &ConvBlock,
    pool: &PoolShape,
    offsets: &[u32; 256],
    from: Sources,
    oy: usize,
) {
    let conv = &block.conv;
    let len = pool.out_width * pool.channels;
    // SAFETY: the sources hold the row, and its gradient has a place of its own.
    unsafe {
        let (y, d_y) = (
            from_raw_parts(from.output, len),
            from_raw_parts(from.d_output, len),
        );
        activation::backward(
            s,
            block.activation,
            y,
            d_y,
            from_raw_parts_mut(from.gradient, len),
        );
    }
    let s = s.oct();
    let mut ky = 0;
    while ky < conv.kernel_height {
        // 8 accumulators, so that one addition does not wait for the last.
        macro_rules! rows {
            ($rows:literal, $channels:literal) => {{
                // SAFETY: rows ky.. lie in the kernel; the rest is handed on.
                unsafe { add_channels::<_, $rows, $channels>(s, conv, pool, offsets, from, oy, ky) }
                ky += $rows;
            }};
        }
        match conv.kernel_height - ky {
            8.. => rows!(8, 1),
            _ => rows!(1, 8),
        }
    }
}

/// ROWS kernel rows from `ky` on, CHANNELS channels at a time, then one by one.
///
/// # Safety
/// As for `add_pooled_row`.
#[inline(always)]
unsafe fn add_channels<S: Simd, const ROWS: usize, const CHANNELS: usize>(
    s: S,
    conv: &Conv2dShape,
    pool: &PoolShape,
    offsets: &[u32; 256],
    from: Sources,
    oy: usize,
    ky: usize,
) {
    let mut c = 0;
    while c < conv.out_channels {
        // SAFETY: handed on; channels c.. are as many as the instance takes.
        unsafe {
            if c + CHANNELS <= conv.out_channels {
                add_rows::<S, ROWS, CHANNELS>(s, conv, pool, offsets, from, oy, ky, c);
                c += CHANNELS;
            } else {
                add_rows::<S, ROWS, 1>(s, conv, pool, offsets, from, oy, ky, c);
                c += 1;
            }
        }
    }
}

/// CHANNELS channels from `c` on, ROWS kernel rows from `ky` on.
///
/// # Safety
/// As for `add_pooled_row`.
#[inline(always)]
unsafe fn add_rows<S: Simd, const ROWS: usize, const CHANNELS: usize>(
    s: S,
    conv: &Conv2dShape,
    pool: &PoolShape,
    offsets: &[u32; 256],
    from: Sources,
    oy: usize,
    ky: usize,
    c: usize,
) {
    // A code that points outside the image must not make a wild pointer.
    let most = (conv.out_height - 1) * from.row_len + (conv.out_width - 1) * conv.in_channels;
    let step = pool.stride_width * conv.in_channels;
    // Left of or above the image this wraps; a true code's offset wraps it back.
    let mut window = (oy * pool.stride_height)
        .wrapping_sub(pool.pad_top)
        .wrapping_mul(from.row_len)
        .wrapping_sub(pool.pad_left * conv.in_channels);
    // SAFETY: the positions lie in the pooled row; every pixel is at most `most`, and rows ky..ky + ROWS of its window
    // lie in the image.
    unsafe {
        let image = from.image.add(ky * from.row_len);
        let mut sums = [[s.zero(); ROWS]; CHANNELS];
        let mut d_bias = [0.0; CHANNELS];
        for ox in 0..pool.out_width {
            let at = ox * pool.channels + c;
            for i in 0..CHANNELS {
                let offset = if from.codes.is_null() {
                    0
                } else {
                    offsets[usize::from(*from.codes.add(at + i))] as usize
                };
                let pixel = image.add(window.wrapping_add(offset).min(most));
                let g = *from.gradient.add(at + i);
                d_bias[i] += g;
                let g = s.splat(g);
                for row in 0..ROWS {
                    let x = s.load(pixel.add(row * from.row_len));
                    sums[i][row] = s.mul_add(g, x, sums[i][row]);
                }
            }
            window = window.wrapping_add(step);
        }
        for i in 0..CHANNELS {
            if ky == 0 {
                *from.d_bias.add(c + i) += d_bias[i];
            }
            for row in 0..ROWS {
                let to = ((c + i) * conv.kernel_height + ky + row) * S::LANES;
                let to = from.d_runs.add(to);
                s.store(to, s.add(s.load(to), sums[i][row]));
            }
        }
    }
}
