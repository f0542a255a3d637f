//! Pairs of rows that are pooled as they are computed: a pool of 3 x 3 pixels every second row and column needs a pair's two rows and the
//! first one of the next pair.
//!
//! ```text
//! for each pair of rows, each register of channels, each tile of pixels:
//!   compute the pair's pixels                                   in registers
//!   of each row, the greatest of a window's three columns       a tile's first column is the last window's third
//!   window above = max(kept, upper), bias, activation
//!   kept = max(upper, lower)                                    a row of windows in L1
//! ```
//! Row by row, so that of equals the first in the order of rows is the one that is named.

use super::ahead;
use super::row_pairs;
use super::{Conv2dShape, ConvBlock};
use crate::activation::Activation;
use crate::pool::{PoolShape, activate_by};
use crate::simd::Simd;
use std::slice::from_raw_parts_mut;

/// Pixels of a tile: whole windows.
const TILE: usize = 6;

/// True where a block of row pairs can be pooled so.
pub(super) fn applies(block: &ConvBlock, lanes: usize) -> bool {
    let conv = &block.conv;
    conv.out_width.is_multiple_of(TILE)
        && conv.out_channels.is_multiple_of(lanes)
        && block.first_row.is_multiple_of(2)
        && block.pool.is_some_and(|pool| {
            (pool.window_height, pool.window_width) == (3, 3)
                && (pool.stride_height, pool.stride_width) == (2, 2)
                && (pool.pad_top, pool.pad_left) == (0, 0)
                && pool.out_width == conv.out_width / 2
        })
}

/// All windows of `channels` channels, whole registers, and their codes unless `codes` is null.
///
/// # Safety
/// `applies` holds. `image` may be read for the padded image, in rows of `row_len`; `output`, the first of the channels in the first window,
/// may be written for the channels of every window, and `codes` too; `weights` is what `row_pairs::pack` wrote for the channels, `bias`
/// theirs; `sums` may be written for `row_pairs::sums_len`, `kept` for twice a row of windows of these channels.
#[inline(always)]
pub(super) unsafe fn convolve<S: Simd>(
    s: S,
    block: &ConvBlock,
    pool: &PoolShape,
    channels: usize,
    (image, row_len): (*const f32, usize),
    weights: *const f32,
    bias: *const f32,
    output: *mut f32,
    codes: *mut u8,
    sums: *mut f32,
    kept: *mut f32,
) {
    let conv = &block.conv;
    let row_of_windows = pool.out_width * conv.out_channels;
    let relu = block.activation == Activation::Relu;
    let slope = s.splat(block.activation.slope());
    // SAFETY: the caller's promise.
    unsafe {
        for pair in 0..=pool.out_height {
            let rows = conv.out_height.saturating_sub(2 * pair).min(2);
            if rows > 0 {
                let read = row_pairs::rows_read(conv, image, row_len, 2 * pair as isize);
                row_pairs::sum(s, conv, read, sums);
                if rows == 1 {
                    // The lower row alone reads the last sums: what is not a number is greater than nothing.
                    let len = row_pairs::row_len(conv, S::LANES);
                    let last = sums.add((row_pairs::PRODUCTS - 1) * len);
                    from_raw_parts_mut(last, len).fill(f32::NAN);
                }
                // The next pair's, or the next sample's first.
                let next = image.wrapping_add((2 * pair + 4) * row_len);
                for x in (0..2 * row_len).step_by(ahead::LINE) {
                    s.prefetch(next.wrapping_add(x));
                }
            }
            // What the pair above has kept waited for this one's first row. Above the first one there is none: what it writes is
            // written again.
            let above = pair.saturating_sub(1) * row_of_windows;
            for c in (0..channels).step_by(S::LANES) {
                let line = Line {
                    weights: weights.add(row_pairs::STEPS * c),
                    sums,
                    kept: kept.add(2 * c),
                    kept_step: 2 * channels,
                    output: output.add(above + c),
                    codes: codes.wrapping_add(above + c),
                    step: conv.out_channels,
                    next_row: row_of_windows,
                    bias: s.load(bias.add(c)),
                    slope,
                };
                let is_last = rows == 0;
                match (relu, codes.is_null()) {
                    (true, true) => line.run::<true, false>(s, conv, is_last),
                    (true, false) => line.run::<true, true>(s, conv, is_last),
                    (false, true) => line.run::<false, false>(s, conv, is_last),
                    (false, false) => line.run::<false, true>(s, conv, is_last),
                }
            }
        }
    }
}

/// The greatest pixel of a part of a window, and its code unless nobody asks.
#[derive(Clone, Copy)]
struct Best<S: Simd> {
    value: S::F,
    code: S::Codes,
}

impl<S: Simd> Best<S> {
    /// With a pixel behind it, which must be greater to count.
    #[inline(always)]
    fn or<const CODES: bool>(self, s: S, value: S::F, code: S::Codes) -> Self {
        Self {
            // Equal or NaN: the second operand.
            value: s.max(value, self.value),
            code: match CODES {
                true => s.select_codes(s.gt(value, self.value), code, self.code),
                false => self.code,
            },
        }
    }
}

/// The code of a window's pixel.
#[inline(always)]
fn code<S: Simd>(s: S, y: usize, x: usize) -> S::Codes {
    s.codes((3 * y + x) as u8)
}

/// A pair of rows of a register of channels.
#[derive(Clone, Copy)]
struct Line<S: Simd> {
    weights: *const f32,
    sums: *const f32,
    /// The best of each window in the pair above: value, code.
    kept: *mut f32,
    /// Values from a window of `kept` to the next.
    kept_step: usize,
    /// The first of the windows above.
    output: *mut f32,
    codes: *mut u8,
    /// Values, and codes, from a window to the next.
    step: usize,
    next_row: usize,
    bias: S::F,
    slope: S::F,
}

impl<S: Simd> Line<S> {
    /// From left to right.
    ///
    /// # Safety
    /// As for [`convolve`], for a register of its channels.
    #[inline(always)]
    unsafe fn run<const RELU: bool, const CODES: bool>(
        mut self,
        s: S,
        conv: &Conv2dShape,
        is_last: bool,
    ) {
        // SAFETY: the caller's promise; tiles are whole.
        unsafe {
            if is_last {
                for _ in 0..conv.out_width / 2 {
                    let best = self.kept::<CODES>(s);
                    self.put::<RELU, CODES>(s, best);
                }
                return;
            }
            let w = row_pairs::weights(s, self.weights);
            let row_len = row_pairs::row_len(conv, S::LANES);
            let first = row_pairs::tile::<S, TILE>(s, self.sums, row_len, &w);
            let mut open = self.tile::<RELU, CODES>(s, first);
            for _ in 1..conv.out_width / TILE {
                self.sums = self.sums.add(TILE);
                let rows = row_pairs::tile::<S, TILE>(s, self.sums, row_len, &w);
                for y in 0..2 {
                    open[y] = open[y].or::<CODES>(s, rows[y][0], code(s, y, 2));
                }
                self.window::<RELU, CODES>(s, open);
                open = self.tile::<RELU, CODES>(s, rows);
            }
            self.window::<RELU, CODES>(s, open);
        }
    }

    /// The windows that begin in a tile; the last one is returned: it waits for the next tile's first column.
    ///
    /// # Safety
    /// As for `window`.
    #[inline(always)]
    unsafe fn tile<const RELU: bool, const CODES: bool>(
        &mut self,
        s: S,
        rows: [[S::F; TILE]; 2],
    ) -> [Best<S>; 2] {
        let mut best = [Best {
            value: s.zero(),
            code: s.codes(0),
        }; 2];
        for first in (0..TILE).step_by(2) {
            for y in 0..2 {
                let start = Best {
                    value: rows[y][first],
                    code: code(s, y, 0),
                };
                best[y] = start.or::<CODES>(s, rows[y][first + 1], code(s, y, 1));
                if first + 2 < TILE {
                    best[y] = best[y].or::<CODES>(s, rows[y][first + 2], code(s, y, 2));
                }
            }
            if first + 2 < TILE {
                // SAFETY: the caller's promise.
                unsafe { self.window::<RELU, CODES>(s, best) };
            }
        }
        best
    }

    /// A window's share of both rows: ends the window above, keeps the best for the one below.
    ///
    /// # Safety
    /// `kept` and the window above may be written.
    #[inline(always)]
    unsafe fn window<const RELU: bool, const CODES: bool>(
        &mut self,
        s: S,
        [upper, lower]: [Best<S>; 2],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let kept = self.kept;
            let above = self.kept::<CODES>(s);
            // The upper row is the third of the window above.
            let code = s.add_codes(upper.code, code(s, 2, 0));
            self.put::<RELU, CODES>(s, above.or::<CODES>(s, upper.value, code));
            let below = upper.or::<CODES>(s, lower.value, lower.code);
            s.store(kept, below.value);
            if CODES {
                kept.add(S::LANES)
                    .cast::<S::Codes>()
                    .write_unaligned(below.code);
            }
        }
    }

    /// What the pair above has kept of the next window.
    ///
    /// # Safety
    /// It may be read.
    #[inline(always)]
    unsafe fn kept<const CODES: bool>(&mut self, s: S) -> Best<S> {
        let kept = self.kept;
        self.kept = kept.wrapping_add(self.kept_step);
        // SAFETY: the caller's promise.
        unsafe {
            Best {
                value: s.load(kept),
                code: match CODES {
                    true => kept.add(S::LANES).cast::<S::Codes>().read_unaligned(),
                    false => s.codes(0),
                },
            }
        }
    }

    /// Writes the next window.
    ///
    /// # Safety
    /// It may be written.
    #[inline(always)]
    unsafe fn put<const RELU: bool, const CODES: bool>(&mut self, s: S, best: Best<S>) {
        let value = activate_by::<S, RELU>(s, self.slope, s.add(best.value, self.bias));
        s.prefetch(self.output.wrapping_add(self.next_row));
        if CODES {
            s.prefetch(self.codes.wrapping_add(self.next_row).cast());
        }
        // SAFETY: the caller's promise.
        unsafe {
            s.store(self.output, value);
            if CODES {
                s.store_codes(self.codes, best.code);
            }
        }
        self.output = self.output.wrapping_add(self.step);
        self.codes = self.codes.wrapping_add(self.step);
    }
}
