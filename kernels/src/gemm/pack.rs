//! Copies of B in panels and of A in tiles.

use super::{Matrix, panel_width};
use crate::simd::Simd;

/// B in column panels: `[panel][k][width]`, the last panel padded with zeros.
///
/// # Safety
/// B holds k x n values, `packed` has `packed_len(k, n, LANES)`.
#[inline(always)]
pub(crate) unsafe fn pack<S: Simd>(s: S, k: usize, n: usize, b: Matrix<'_>, packed: &mut [f32]) {
    let mut column = 0;
    // SAFETY: reads stay at rows below k and columns below n; panels follow each other without a gap.
    unsafe {
        while column < n {
            let width = panel_width(n - column, S::LANES);
            let columns = width.min(n - column);
            let from = b.data.as_ptr().wrapping_add(column * b.column_stride);
            let to = packed.as_mut_ptr().add(column * k);
            if b.column_stride == 1 {
                copy_panel(s, k, width, columns, from, b.row_stride, to);
            } else {
                transpose_panel(s, k, width, columns, from, b, to);
            }
            column += width;
        }
    }
}

/// # Safety
/// `from` has k rows of `columns` values, `row_stride` apart; `to` has `k * width`.
#[inline(always)]
unsafe fn copy_panel<S: Simd>(
    s: S,
    k: usize,
    width: usize,
    columns: usize,
    from: *const f32,
    row_stride: usize,
    to: *mut f32,
) {
    // SAFETY: the caller's promise; a width that is no multiple of LANES is 8.
    unsafe {
        if columns == 2 * S::LANES {
            for row in 0..k {
                let (from, to) = (from.add(row * row_stride), to.add(row * width));
                s.store(to, s.load(from));
                s.store(to.add(S::LANES), s.load(from.add(S::LANES)));
            }
        } else if columns == 8 && width == 8 {
            let s = s.oct();
            for row in 0..k {
                s.store(to.add(row * width), s.load(from.add(row * row_stride)));
            }
        } else {
            for row in 0..k {
                let (from, to) = (from.add(row * row_stride), to.add(row * width));
                for column in 0..width {
                    *to.add(column) = if column < columns {
                        *from.add(column)
                    } else {
                        0.0
                    };
                }
            }
        }
    }
}

/// Any strides; 4 x 4 blocks in registers where the columns of B are contiguous.
///
/// # Safety
/// `from` has k x `columns` values with B's strides; `to` has `k * width`.
#[inline(always)]
unsafe fn transpose_panel<S: Simd>(
    s: S,
    k: usize,
    width: usize,
    columns: usize,
    from: *const f32,
    b: Matrix<'_>,
    to: *mut f32,
) {
    let s = s.quad();
    let (row_stride, column_stride) = (b.row_stride, b.column_stride);
    let blocks = if row_stride == 1 { k / 4 * 4 } else { 0 };
    // SAFETY: the caller's promise; blocks lie below k and `columns`.
    unsafe {
        for column in (0..width).step_by(4) {
            let mut done = 0;
            if column + 4 <= columns {
                let from = from.add(column * column_stride);
                while done < blocks {
                    let block = s.transpose4([
                        s.load(from.add(done)),
                        s.load(from.add(done + column_stride)),
                        s.load(from.add(done + 2 * column_stride)),
                        s.load(from.add(done + 3 * column_stride)),
                    ]);
                    for row in 0..4 {
                        s.store(to.add((done + row) * width + column), block[row]);
                    }
                    done += 4;
                }
            }
            for row in done..k {
                for column in column..column + 4 {
                    *to.add(row * width + column) = if column < columns {
                        *from.add(row * row_stride + column * column_stride)
                    } else {
                        0.0
                    };
                }
            }
        }
    }
}

/// Rows `row..row + rows` and columns `depth..depth + kc` of A as `[kc][rows]`.
///
/// # Safety
/// A holds these elements; `to` has `rows * kc` values and 16 more, which may be overwritten.
#[inline(always)]
pub(crate) unsafe fn pack_tile<S: Simd>(
    s: S,
    a: Matrix<'_>,
    row: usize,
    rows: usize,
    depth: usize,
    kc: usize,
    to: *mut f32,
) {
    let first = row * a.row_stride + depth * a.column_stride;
    // SAFETY: the caller's promise; a full register is read only where the slice holds it.
    unsafe {
        for step in 0..kc {
            let (at, to) = (first + step * a.column_stride, to.add(step * rows));
            if a.row_stride == 1 && rows <= 8 && at + 8 <= a.data.len() {
                s.oct().store(to, s.oct().load(a.data.as_ptr().add(at)));
            } else if a.row_stride == 1 && rows <= S::LANES && at + S::LANES <= a.data.len() {
                s.store(to, s.load(a.data.as_ptr().add(at)));
            } else {
                for r in 0..rows {
                    *to.add(r) = *a.data.as_ptr().add(at + r * a.row_stride);
                }
            }
        }
    }
}
