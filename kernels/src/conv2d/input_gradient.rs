//! The gradient of the convolution's input: every listed gradient times its channel's kernel.
//!
//! ```text
//! for each kernel row, for each block of up to 12 registers of the (kx, i) run      its weights stay in L1
//!   for each pixel of the band
//!     accumulators = d_image[pixel, block]                                          kernel_width pixels at once
//!     for each of the pixel's entries: accumulators += value * kernel[channel, block]
//! ```
//! A 3 x 3 kernel on whole registers of channels takes one register of them at a time, and its nine sums along the row: a column of the
//! image is written once a row of gradients, when the last pixel that it gets a part from is done, and its lowest row for the first time.
//! Its kernel is packed register by register, so that what a pass reads of it stays in L1.

use super::Conv2dShape;
use super::lists::Lists;
use crate::simd::Simd;

/// Rows and columns of the kernels that are taken by registers.
pub(super) const SIDE: usize = 3;
/// Their taps.
pub(super) const TAPS: usize = SIDE * SIDE;
/// Rows of the padded image that have to be 0 before its bands are added where the sums move along; the others are written before they
/// are read.
pub(super) const ZERO_ROWS: usize = SIDE - 1;

/// Rows before one of the image is written for the first time, it is asked for.
const ROWS_AHEAD: usize = 2;

/// True for 3 x 3 kernels on whole registers of channels: their sums move along a row of pixels, and the kernel's gradient is computed
/// register by register too.
pub(super) fn by_registers(conv: &Conv2dShape, lanes: usize) -> bool {
    (conv.kernel_height, conv.kernel_width) == (SIDE, SIDE)
        && conv.in_channels.is_multiple_of(lanes)
}

/// Values of the kernel from one channel of the output to the next.
pub(super) fn channel_len(conv: &Conv2dShape, run_len: usize, lanes: usize) -> usize {
    match by_registers(conv, lanes) {
        true => TAPS * lanes,
        false => conv.kernel_height * run_len,
    }
}

/// Adds the rows `y0..y1`'s part to the padded image `d_image`, from the first row on, in turn.
///
/// # Safety
/// `lists` holds the band; `runs` is the packed kernel's second layout; `d_image` may be read and written for the
/// padded image in rows of `row_len`, and for LANES values behind it where the run is not whole registers.
#[inline(always)]
pub(super) unsafe fn add_band<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    run_len: usize,
    runs: *const f32,
    y0: usize,
    y1: usize,
    lists: Lists,
    d_image: *mut f32,
    row_len: usize,
) {
    if by_registers(conv, S::LANES) {
        for block in 0..conv.in_channels / S::LANES {
            for y in y0..y1 {
                // SAFETY: a register of channels of the rows y..y + SIDE lies in the image.
                unsafe {
                    let starts = lists.starts.add((y - y0) * conv.out_width);
                    let weights = runs.add(block * conv.out_channels * TAPS * S::LANES);
                    let to = d_image.add(y * row_len + block * S::LANES);
                    move_along(s, conv, starts, lists, weights, to, row_len);
                }
            }
        }
        return;
    }
    for ky in 0..conv.kernel_height {
        let mut k = 0;
        while k < run_len {
            let registers = match (run_len - k) / S::LANES {
                12.. => 12,
                8.. => 8,
                6.. => 6,
                4.. => 4,
                n => n,
            };
            for y in y0..y1 {
                // SAFETY: the run's part k.. of row y + ky lies in the image, or in the slack behind it.
                unsafe {
                    let starts = lists.starts.add((y - y0) * conv.out_width);
                    let weights = runs.add(ky * run_len + k);
                    let to = d_image.add((y + ky) * row_len + k);
                    macro_rules! row {
                        ($n:literal) => {
                            scatter_row::<S, $n>(s, conv, starts, lists, weights, to)
                        };
                    }
                    match registers {
                        1 => row!(1),
                        2 => row!(2),
                        3 => row!(3),
                        4 => row!(4),
                        6 => row!(6),
                        8 => row!(8),
                        _ => row!(12),
                    }
                }
            }
            k += registers * S::LANES;
        }
    }
}

/// N registers of the run, for all pixels of one row.
///
/// # Safety
/// As for `add_band`.
#[inline(always)]
unsafe fn scatter_row<S: Simd, const N: usize>(
    s: S,
    conv: &Conv2dShape,
    starts: *const u32,
    lists: Lists,
    weights: *const f32,
    to: *mut f32,
) {
    for x in 0..conv.out_width {
        // SAFETY: handed on from the caller; entries lie between their pixel's start and the next one's.
        unsafe {
            let (first, end) = (*starts.add(x), *starts.add(x + 1));
            if first == end {
                continue;
            }
            let to = to.add(x * conv.in_channels);
            let mut sums = [s.zero(); N];
            for v in 0..N {
                sums[v] = s.load(to.add(v * S::LANES));
            }
            for e in first..end {
                let g = s.splat(*lists.values.add(e as usize));
                let w = weights.add(*lists.channels.add(e as usize) as usize);
                for v in 0..N {
                    sums[v] = s.mul_add(g, s.load(w.add(v * S::LANES)), sums[v]);
                }
            }
            for v in 0..N {
                s.store(to.add(v * S::LANES), sums[v]);
            }
        }
    }
}

/// A register of channels, for all pixels of one row: its sums of three columns by three rows move with the pixel.
///
/// # Safety
/// As for `add_band`; `weights` is what the packed kernel has for the register.
#[inline(always)]
unsafe fn move_along<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    starts: *const u32,
    lists: Lists,
    weights: *const f32,
    to: *mut f32,
    row_len: usize,
) {
    let mut columns = [[s.zero(); SIDE]; SIDE];
    // Behind the last pixel the columns that are left.
    for x in 0..conv.out_width + SIDE - 1 {
        // SAFETY: handed on from the caller; entries lie between their pixel's start and the next one's.
        unsafe {
            if x < conv.out_width {
                for e in *starts.add(x)..*starts.add(x + 1) {
                    let g = s.splat(*lists.values.add(e as usize));
                    let w = weights.add(*lists.channels.add(e as usize) as usize);
                    for kx in 0..SIDE {
                        for ky in 0..SIDE {
                            let w = s.load(w.add((ky * SIDE + kx) * S::LANES));
                            columns[kx][ky] = s.mul_add(g, w, columns[kx][ky]);
                        }
                    }
                }
            }
            let to = to.add(x * conv.in_channels);
            s.prefetch(to.wrapping_add((SIDE - 1 + ROWS_AHEAD) * row_len));
            for ky in 0..SIDE - 1 {
                let to = to.add(ky * row_len);
                s.store(to, s.add(s.load(to), columns[0][ky]));
            }
            s.store(to.add((SIDE - 1) * row_len), columns[0][SIDE - 1]);
        }
        columns = [columns[1], columns[2], [s.zero(); SIDE]];
    }
}
