//! Products by bf16 parts (`parts.rs`), summed in f32 in blocks of 32 x 32 (`tiles.rs`).
//!
//! ```text
//! A, cut:    [block of 32 rows][part][32 terms][row][term]
//! B, packed: [panel of 32 columns][part][32 terms][two tiles]
//!
//! for a panel of B, for a block of A:
//!   all products of parts, each over all terms, into a block of C in scratch
//!   from there to C, with what C held, the bias and the activation
//! ```
//! Rows, columns and terms that are missing are zeros. The terms fill an even number of steps, as a block of 16 rows or fewer
//! takes two at a time.

use super::Matrix;
use super::tile::activate;
use crate::activation::Activation;
use crate::parts::{cut_values, products};
use crate::simd::Simd;
use crate::tiles::{B_LEN, COLUMNS, DEPTH, HALF, ROWS, Session, Step};
use std::slice::from_raw_parts_mut;

/// bf16 values of a block of A, or of B, in one step.
const BLOCK: usize = ROWS * DEPTH;
/// Columns of one tile.
const TILE_COLUMNS: usize = COLUMNS / 2;
const _: () = assert!(BLOCK == B_LEN && ROWS == COLUMNS && COLUMNS == DEPTH);

/// Steps of `k` terms, an even number.
fn steps(k: usize) -> usize {
    k.max(1).next_multiple_of(2 * DEPTH) / DEPTH
}

/// Length of `extent` rows of A, or columns of B, in parts: f32 values that hold two bf16 each.
pub(crate) fn parts_len(parts: usize, extent: usize, k: usize) -> usize {
    extent.div_ceil(ROWS) * parts * steps(k) * (BLOCK / 2)
}

/// Length of the list of steps.
fn list_len(parts: usize, k: usize) -> usize {
    size_of::<Step>() / size_of::<f32>() * products(parts).count() * steps(k)
}

/// Scratch of [`multiply`]: the steps and a block of C.
pub(super) fn scratch_len(parts: usize, k: usize) -> usize {
    list_len(parts, k) + ROWS * COLUMNS
}

/// # Panics
/// Where there are not one to three parts, or so many terms that a step's offset in bytes is no u32.
pub(crate) fn check_parts(parts: usize, k: usize) {
    assert!((1..=3).contains(&parts), "{parts} parts of a value");
    assert!(
        parts
            .checked_mul(2 * BLOCK * steps(k))
            .is_some_and(|bytes| bytes < u32::MAX as usize),
        "a product of {k} terms"
    );
}

/// # Panics
/// Where an argument of [`multiply`] is too short.
pub(crate) fn check_multiply(
    stored: usize,
    parts: usize,
    (m, n, k): (usize, usize, usize),
    cut: &[f32],
    packed: &[f32],
    bias: Option<&[f32]>,
    scratch: &[f32],
) {
    check_parts(stored, k);
    assert!((1..=stored).contains(&parts));
    assert!(cut.len() >= parts_len(parts, m, k), "A is not cut");
    assert!(packed.len() >= parts_len(stored, n, k), "B is not packed");
    assert!(bias.is_none_or(|bias| bias.len() == n));
    assert!(
        scratch.len() >= scratch_len(parts, k),
        "scratch is too short"
    );
}

/// 32 lines of 32 values: N parts of them, and a copy of those that do not stand one after another.
#[repr(align(64))]
struct Block<const N: usize> {
    parts: [[u16; BLOCK]; N],
    copy: [f32; BLOCK],
}

impl<const N: usize> Block<N> {
    const ZEROS: Self = Self {
        parts: [[0; BLOCK]; N],
        copy: [0.0; BLOCK],
    };

    /// Cuts up to 32 lines of up to 32 values; zeros stand for the others.
    ///
    /// # Safety
    /// `from` holds the lines, `line` apart, and their values, `stride` apart.
    #[inline(always)]
    unsafe fn cut<S: Simd>(
        &mut self,
        s: S,
        from: *const f32,
        (lines, line): (usize, usize),
        (values, stride): (usize, usize),
    ) {
        let to = self.parts.as_mut_ptr().cast::<u16>();
        let in_place = values == DEPTH && stride == 1;
        // SAFETY: the caller's promise; lines and values are 32 at most, a line of the block is 32 long.
        unsafe {
            if in_place {
                // Lines that lie far apart are asked for together: cutting one takes as long as the CPU looks ahead.
                for i in 0..lines {
                    s.prefetch(from.wrapping_add(i * line));
                    s.prefetch(from.wrapping_add(i * line + DEPTH / 2));
                }
            } else {
                self.read(s, from, (lines, line), (values, stride));
            }
            for i in 0..lines {
                let from = match in_place {
                    true => from.add(i * line),
                    false => self.copy.as_ptr().add(i * DEPTH),
                };
                cut_values::<N>(DEPTH, from, to.add(i * DEPTH), BLOCK);
            }
            for part in 0..N {
                to.add(part * BLOCK + lines * DEPTH)
                    .write_bytes(0, (ROWS - lines) * DEPTH);
            }
        }
    }

    /// Copies the lines, 4 x 4 values in registers where the lines are a matrix' columns.
    ///
    /// # Safety
    /// As for [`cut`](Self::cut).
    #[inline(always)]
    unsafe fn read<S: Simd>(
        &mut self,
        s: S,
        from: *const f32,
        (lines, line): (usize, usize),
        (values, stride): (usize, usize),
    ) {
        let s = s.quad();
        if values < DEPTH {
            self.copy.fill(0.0);
        }
        let (whole_lines, whole_values) = match line {
            1 => (lines / 4 * 4, values / 4 * 4),
            _ => (0, 0),
        };
        let to = self.copy.as_mut_ptr();
        // SAFETY: the caller's promise; blocks lie below the whole lines and values.
        unsafe {
            for value in (0..whole_values).step_by(4) {
                for i in (0..whole_lines).step_by(4) {
                    let from = from.add(i + value * stride);
                    let block = s.transpose4([
                        s.load(from),
                        s.load(from.add(stride)),
                        s.load(from.add(2 * stride)),
                        s.load(from.add(3 * stride)),
                    ]);
                    for row in 0..4 {
                        s.store(to.add((i + row) * DEPTH + value), block[row]);
                    }
                }
            }
            for i in 0..lines {
                let done = if i < whole_lines { whole_values } else { 0 };
                for value in done..values {
                    *to.add(i * DEPTH + value) = *from.add(i * line + value * stride);
                }
            }
        }
    }
}

/// Cuts A [m, k] into `parts`.
///
/// # Safety
/// A holds m x k values, `to` [`parts_len`]; [`check_parts`] holds.
#[inline(always)]
pub(crate) unsafe fn cut<S: Simd>(
    s: S,
    parts: usize,
    m: usize,
    k: usize,
    a: Matrix<'_>,
    to: &mut [f32],
) {
    let to = to.as_mut_ptr().cast();
    // SAFETY: the caller's promise.
    unsafe {
        match parts {
            1 => cut_parts::<S, 1>(s, m, k, a, to),
            2 => cut_parts::<S, 2>(s, m, k, a, to),
            _ => cut_parts::<S, 3>(s, m, k, a, to),
        }
    }
}

/// # Safety
/// As for [`cut`] into N parts.
#[inline(always)]
unsafe fn cut_parts<S: Simd, const N: usize>(
    s: S,
    m: usize,
    k: usize,
    a: Matrix<'_>,
    to: *mut u16,
) {
    let steps = steps(k);
    let mut block = Block::<N>::ZEROS;
    // SAFETY: rows stay below m and terms below k; the blocks follow each other without a gap.
    unsafe {
        for top in (0..m).step_by(ROWS) {
            let rows = ROWS.min(m - top);
            for step in 0..steps {
                let terms = DEPTH.min(k.saturating_sub(step * DEPTH));
                let first = top * a.row_stride + step * DEPTH * a.column_stride;
                let from = a.data.as_ptr().wrapping_add(first);
                block.cut(s, from, (rows, a.row_stride), (terms, a.column_stride));
                for (part, values) in block.parts.iter().enumerate() {
                    let to = to.add((top / ROWS * N * steps + part * steps + step) * BLOCK);
                    from_raw_parts_mut(to, BLOCK).copy_from_slice(values);
                }
            }
        }
    }
}

/// Cuts B [k, n] into `parts` and lays them out as tiles.
///
/// # Safety
/// B holds k x n values, `packed` [`parts_len`]; [`check_parts`] holds.
#[inline(always)]
pub(crate) unsafe fn pack<S: Simd>(
    s: S,
    parts: usize,
    k: usize,
    n: usize,
    b: Matrix<'_>,
    packed: &mut [f32],
) {
    let packed = packed.as_mut_ptr().cast();
    // SAFETY: the caller's promise.
    unsafe {
        match parts {
            1 => pack_parts::<S, 1>(s, k, n, b, packed),
            2 => pack_parts::<S, 2>(s, k, n, b, packed),
            _ => pack_parts::<S, 3>(s, k, n, b, packed),
        }
    }
}

/// # Safety
/// As for [`pack`] in N parts.
#[inline(always)]
unsafe fn pack_parts<S: Simd, const N: usize>(
    s: S,
    k: usize,
    n: usize,
    b: Matrix<'_>,
    packed: *mut u16,
) {
    let steps = steps(k);
    let mut block = Block::<N>::ZEROS;
    // SAFETY: columns stay below n and terms below k; the blocks follow each other without a gap.
    unsafe {
        for column in (0..n).step_by(COLUMNS) {
            let columns = COLUMNS.min(n - column);
            for step in 0..steps {
                let terms = DEPTH.min(k.saturating_sub(step * DEPTH));
                let first = step * DEPTH * b.row_stride + column * b.column_stride;
                let from = b.data.as_ptr().wrapping_add(first);
                block.cut(s, from, (terms, b.row_stride), (columns, b.column_stride));
                for part in 0..N {
                    let to =
                        packed.add((column / COLUMNS * N * steps + part * steps + step) * BLOCK);
                    interleave(&block.parts[part], to);
                }
            }
        }
    }
}

/// Lays one part of 32 terms of 32 columns out as two tiles: in a row of a tile the columns' pairs of terms (`tiles::b_index`).
///
/// # Safety
/// `to` may be written for a block.
#[inline(always)]
unsafe fn interleave(values: &[u16; BLOCK], to: *mut u16) {
    let (values, to) = (values.as_ptr(), to.cast::<u32>());
    // SAFETY: pairs, tiles and columns stay below their counts.
    unsafe {
        for pair in 0..DEPTH / 2 {
            let terms = values.add(2 * pair * COLUMNS);
            for column in 0..COLUMNS {
                let low = u32::from(*terms.add(column));
                let high = u32::from(*terms.add(COLUMNS + column));
                let tile = to.add(column / TILE_COLUMNS * (BLOCK / 4));
                let at = tile.add(pair * TILE_COLUMNS + column % TILE_COLUMNS);
                at.write_unaligned((low | high << 16).to_le());
            }
        }
    }
}

/// `C = activation(A * B (+ C) (+ bias))` with A cut into `parts`, and B packed in `stored` parts, as many or more.
///
/// # Safety
/// [`check_multiply`] holds, and C has m rows of n values.
#[inline(always)]
pub(crate) unsafe fn multiply<S: Simd>(
    s: S,
    stored: usize,
    parts: usize,
    m: usize,
    n: usize,
    k: usize,
    a: &[f32],
    packed: &[f32],
    c: &mut [f32],
    c_stride: usize,
    accumulate: bool,
    bias: Option<&[f32]>,
    activation: Activation,
    scratch: &mut [f32],
) {
    let steps = steps(k);
    let tiles = Session::new::<S>();
    // SAFETY: the caller's promise holds every slice to the blocks, rows and columns that these loops stay below.
    unsafe {
        let list = scratch.as_mut_ptr().cast::<Step>();
        let mut count = 0;
        for (x, w) in products(parts) {
            for step in 0..steps {
                let offset = |part: usize| ((part * steps + step) * 2 * BLOCK) as u32;
                list.add(count).write(Step {
                    a: offset(x),
                    b: offset(w),
                });
                count += 1;
            }
        }
        let sums = scratch.as_mut_ptr().add(list_len(parts, k));
        for column in (0..n).step_by(COLUMNS) {
            let b = packed
                .as_ptr()
                .add(column / COLUMNS * stored * steps * (BLOCK / 2));
            for top in (0..m).step_by(ROWS) {
                let a = a.as_ptr().add(top / ROWS * parts * steps * (BLOCK / 2));
                let rows = ROWS.min(m - top);
                if rows > HALF {
                    tiles.multiply(s, list, count, a.cast(), b.cast(), sums);
                } else {
                    tiles.multiply_half(s, list, count, a.cast(), b.cast(), sums);
                }
                let block = Written {
                    rows,
                    columns: COLUMNS.min(n - column),
                    c: c.as_mut_ptr().add(top * c_stride + column),
                    c_stride,
                    accumulate,
                    bias: bias.map_or(std::ptr::null(), |bias| bias.as_ptr().add(column)),
                    activation,
                };
                block.write(s, sums);
            }
        }
    }
}

/// A block of C and what comes on top of the products.
struct Written {
    rows: usize,
    columns: usize,
    c: *mut f32,
    c_stride: usize,
    accumulate: bool,
    /// Null for none.
    bias: *const f32,
    activation: Activation,
}

impl Written {
    /// # Safety
    /// C and the bias hold the rows and columns, `sums` a block of C.
    #[inline(always)]
    unsafe fn write<S: Simd>(&self, s: S, sums: *const f32) {
        let zero = s.zero();
        let slope = s.splat(self.activation.slope());
        // SAFETY: the caller's promise; 32 columns are whole registers, and 16 rows are half of the block.
        unsafe {
            for row in 0..self.rows {
                let (sums, c) = (sums.add(row * COLUMNS), self.c.add(row * self.c_stride));
                let mut column = 0;
                while column < self.columns {
                    let width = S::LANES.min(self.columns - column);
                    let mut sum = s.load(sums.add(column));
                    if self.rows <= HALF {
                        sum = s.add(sum, s.load(sums.add(HALF * COLUMNS + column)));
                    }
                    if !self.bias.is_null() {
                        sum = s.add(sum, s.load_partial(self.bias.add(column), width));
                    }
                    let to = c.add(column);
                    if self.accumulate {
                        sum = s.add(sum, s.load_partial(to, width));
                    }
                    let y = activate(s, self.activation, zero, slope, sum);
                    if width == S::LANES {
                        s.store(to, y);
                    } else {
                        s.store_partial(to, y, width);
                    }
                    column += width;
                }
            }
        }
    }
}
