//! Pairs of rows that are pooled as they are computed, for predictions: of a pair, a pool of 3 x 3 pixels every second row and column
//! needs the greater pixel of each column, and of the next pair the first row.
//!
//! ```text
//! for each pair of rows, each register of channels, each tile of pixels:
//!   compute the pair's pixels                         in registers
//!   columns of the window above = max(upper, kept)
//!   kept = max(lower, upper)                          a row of the map in L1
//!   windows = three columns each, bias, activation    the last column of a tile is the next one's first
//! ```
//! Training needs to know which pixel it was, the first of equals in the order of rows: that takes the rows themselves.

use super::row_pairs;
use super::{Conv2dShape, ConvBlock};
use crate::activation::Activation;
use crate::pool::{PoolShape, activate_by};
use crate::simd::Simd;

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

/// All windows of `channels` channels, whole registers.
///
/// # Safety
/// `applies` holds. `image` may be read for the padded image, in rows of `row_len`; `output`, the first of the channels in the first window,
/// may be written for the channels of every window; `weights` is what `row_pairs::pack` wrote for the channels, `bias` theirs; `sums` may be
/// written for `row_pairs::sums_len`, `kept` for a row of the map of these channels.
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
    sums: *mut f32,
    kept: *mut f32,
) {
    let conv = &block.conv;
    let row_of_windows = pool.out_width * conv.out_channels;
    let slope = s.splat(block.activation.slope());
    // SAFETY: the caller's promise.
    unsafe {
        for pair in 0..=pool.out_height {
            let rows = conv.out_height.saturating_sub(2 * pair).min(2);
            if rows > 0 {
                let read = row_pairs::rows_read(conv, image, row_len, 2 * pair as isize);
                row_pairs::sum(s, conv, read, sums);
            }
            // What the pair above has kept waited for this one's first row. Above the first one there is none: what it writes is
            // written again.
            let output = output.add(pair.saturating_sub(1) * row_of_windows);
            for c in (0..channels).step_by(S::LANES) {
                let line = Line {
                    weights: weights.add(row_pairs::STEPS * c),
                    sums,
                    rows,
                    kept: kept.add(c),
                    channels,
                    output: output.add(c),
                    next_row: row_of_windows,
                    bias: s.load(bias.add(c)),
                    slope,
                };
                match block.activation {
                    Activation::Relu => tiles::<S, true>(s, conv, line),
                    _ => tiles::<S, false>(s, conv, line),
                }
            }
        }
    }
}

/// A pair of rows of a register of channels.
#[derive(Clone, Copy)]
struct Line<S: Simd> {
    weights: *const f32,
    sums: *const f32,
    /// Rows of the pair that the map has: behind the last pair none.
    rows: usize,
    /// The greater pixel of each column of the pair above.
    kept: *mut f32,
    /// Values from a pixel of `kept` to the next.
    channels: usize,
    /// The first of the windows above.
    output: *mut f32,
    /// Values from a row of windows to the next.
    next_row: usize,
    bias: S::F,
    slope: S::F,
}

impl<S: Simd> Line<S> {
    /// # Safety
    /// The window may be written.
    #[inline(always)]
    unsafe fn put<const RELU: bool>(&self, s: S, window: *mut f32, best: S::F) {
        let value = activate_by::<S, RELU>(s, self.slope, s.add(best, self.bias));
        s.prefetch(window.wrapping_add(self.next_row));
        // SAFETY: the caller's promise.
        unsafe { s.store(window, value) };
    }
}

/// A pair of rows from left to right.
///
/// # Safety
/// As for `convolve`, for a register of its channels.
#[inline(always)]
unsafe fn tiles<S: Simd, const RELU: bool>(s: S, conv: &Conv2dShape, line: Line<S>) {
    let step = conv.out_channels;
    // SAFETY: the caller's promise; tiles are whole.
    unsafe {
        let w = row_pairs::weights(s, line.weights);
        let row_len = row_pairs::row_len(conv, S::LANES);
        let (mut sums, mut kept, mut window) = (line.sums, line.kept, line.output);
        // The window that waits for the tile's first column; before the first tile it is none.
        let mut open = s.zero();
        for tile in 0..conv.out_width / TILE {
            let mut columns = [s.zero(); TILE];
            for p in 0..TILE {
                columns[p] = s.load(kept.add(p * line.channels));
            }
            if line.rows > 0 {
                let [upper, lower] = row_pairs::tile::<S, TILE>(s, sums, row_len, &w);
                for p in 0..TILE {
                    columns[p] = s.max(upper[p], columns[p]);
                    let keep = match line.rows {
                        1 => upper[p],
                        _ => s.max(lower[p], upper[p]),
                    };
                    s.store(kept.add(p * line.channels), keep);
                }
            }
            if tile > 0 {
                line.put::<RELU>(s, window.sub(step), s.max(columns[0], open));
            }
            for i in 0..TILE / 2 - 1 {
                let best = s.max(columns[2 * i + 1], columns[2 * i]);
                let best = s.max(columns[2 * i + 2], best);
                line.put::<RELU>(s, window.add(i * step), best);
            }
            open = s.max(columns[TILE - 1], columns[TILE - 2]);
            sums = sums.add(TILE);
            kept = kept.add(TILE * line.channels);
            window = window.add(TILE / 2 * step);
        }
        line.put::<RELU>(s, window.sub(step), open);
    }
}
