//! Convolution of one row of pixels, vectorised over the output channels.
//!
//! ```text
//! for each block of 1 or 2 registers of output channels
//!  for each chunk of kernel rows                                     its weights stay in L1
//!   for each tile of up to 8 pixels of the row                      accumulators: pixels x registers
//!     for ky, (kx, i) in the run:                                   the run's values stand one after another
//!       load the registers of weights; for each pixel: broadcast its value, fused multiply-add
//! ```

use super::Conv2dShape;
use super::pack::BLOCK;
use crate::simd::Simd;

/// What a tile reads besides its pixels.
#[derive(Clone, Copy)]
struct Tap {
    row_len: usize,
    pixel_len: usize,
    rows: usize,
    run: usize,
    resumes: bool,
}

/// Bytes of weights that a pass over a row keeps in L1.
const WEIGHTS: usize = 20 << 10;

/// One output row without its bias, channels padded to `channels`, a multiple of the lanes.
///
/// # Safety
/// `image` points at the top left of the row's first window and may be read for `kernel_height` rows of `row_len`
/// that hold `out_width + kernel_width - 1` pixels; `weights` is the packed forward layout; `out` may be
/// written for `channels` values (a pixel).
#[inline(always)]
pub(super) unsafe fn convolve_row<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    channels: usize,
    image: *const f32,
    row_len: usize,
    weights: *const f32,
    out: *mut f32,
) {
    let run = conv.run();
    let steps = conv.kernel_height * run;
    let mut c = 0;
    while c < channels {
        let registers = BLOCK.min((channels - c) / S::LANES);
        let width = registers * S::LANES;
        let rows = (WEIGHTS / (run * width * size_of::<f32>())).clamp(1, conv.kernel_height);
        let mut ky = 0;
        while ky < conv.kernel_height {
            let tap = Tap {
                row_len,
                pixel_len: conv.in_channels,
                rows: rows.min(conv.kernel_height - ky),
                run,
                // The first pass starts from 0, every other from what the one before wrote.
                resumes: ky > 0,
            };
            // SAFETY: block c starts at weights + c * steps; the tiles' pixels lie in the row.
            unsafe {
                let image = image.add(ky * row_len);
                let weights = weights.add(c * steps + ky * run * width);
                let out = out.add(c);
                if registers == 2 {
                    // 2 registers of weights and a broadcast value besides the accumulators.
                    let most = if S::REGISTERS >= 32 { 8 } else { 6 };
                    tiles::<S, 2>(s, conv, tap, most, image, weights, out, channels);
                } else {
                    tiles::<S, 1>(s, conv, tap, 8, image, weights, out, channels);
                }
            }
            ky += tap.rows;
        }
        c += width;
    }
}

/// All pixels of a row for C registers of channels, in tiles of nearly equal size, none above `most`.
///
/// # Safety
/// As for `convolve_row`.
#[inline(always)]
unsafe fn tiles<S: Simd, const C: usize>(
    s: S,
    conv: &Conv2dShape,
    tap: Tap,
    most: usize,
    image: *const f32,
    weights: *const f32,
    out: *mut f32,
    channels: usize,
) {
    let count = conv.out_width.div_ceil(most);
    let (size, larger) = (conv.out_width / count, conv.out_width % count);
    let mut x = 0;
    for i in 0..count {
        let pixels = size + usize::from(i < larger);
        // SAFETY: the tile's pixels x..x + pixels lie in the row.
        unsafe {
            let (image, out) = (image.add(x * tap.pixel_len), out.add(x * channels));
            macro_rules! tile {
                ($p:literal) => {
                    tile::<S, $p, C>(s, tap, image, weights, out, channels)
                };
            }
            match pixels {
                1 => tile!(1),
                2 => tile!(2),
                3 => tile!(3),
                4 => tile!(4),
                5 => tile!(5),
                6 => tile!(6),
                7 if C == 1 || S::REGISTERS >= 32 => tile!(7),
                8 if C == 1 || S::REGISTERS >= 32 => tile!(8),
                _ => unreachable!("no tile is above `most`"),
            }
        }
        x += pixels;
    }
}

/// P pixels by C registers of channels.
///
/// # Safety
/// As for `convolve_row`.
#[inline(always)]
unsafe fn tile<S: Simd, const P: usize, const C: usize>(
    s: S,
    tap: Tap,
    image: *const f32,
    mut weights: *const f32,
    out: *mut f32,
    channels: usize,
) {
    // SAFETY: pixel p's run k of row ky lies in the image, step by step the weights in their block.
    unsafe {
        let mut sums = [[s.zero(); C]; P];
        if tap.resumes {
            for p in 0..P {
                for c in 0..C {
                    sums[p][c] = s.load(out.add(p * channels + c * S::LANES));
                }
            }
        }
        for ky in 0..tap.rows {
            let row = image.add(ky * tap.row_len);
            for k in 0..tap.run {
                let mut w = [s.zero(); C];
                for c in 0..C {
                    w[c] = s.load(weights.add(c * S::LANES));
                }
                for p in 0..P {
                    let x = s.splat(*row.add(p * tap.pixel_len + k));
                    for c in 0..C {
                        sums[p][c] = s.mul_add(x, w[c], sums[p][c]);
                    }
                }
                weights = weights.add(C * S::LANES);
            }
        }
        for p in 0..P {
            for c in 0..C {
                s.store(out.add(p * channels + c * S::LANES), sums[p][c]);
            }
        }
    }
}
