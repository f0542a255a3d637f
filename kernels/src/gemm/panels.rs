//! The loops around the tile.

use super::pack::pack_tile;
use super::row::row;
use super::tile::{Operands, finish, tile_of_rows};
use super::{
    Blocks, Matrix, NARROW_ROWS, Panels, block_start, panel_columns, panel_width, tile_rows,
};
use crate::activation::Activation;
use crate::simd::Simd;

/// Rows of the tile that begins at `row` of `rows`: the tiles share the rows evenly, and more than 6 are an even number.
#[inline(always)]
fn next_tile(rows: usize, row: usize, most: usize) -> usize {
    if most <= 6 {
        let rest = rows - row;
        return rest.div_ceil(rest.div_ceil(most));
    }
    let tiles = rows.div_ceil(most);
    let even = rows.div_ceil(tiles).next_multiple_of(2);
    let left = even.min(rows - row);
    if left > 6 && left % 2 == 1 {
        left.div_ceil(2)
    } else {
        left
    }
}

/// `C = activation(A * B (+ C) (+ bias))`, see [`Kernels::gemm_packed`](crate::Kernels::gemm_packed).
///
/// # Safety
/// `check_panels` holds.
#[inline(always)]
pub(crate) unsafe fn panels<S: Simd>(
    s: S,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_>,
    b: Panels<'_>,
    c: &mut [f32],
    c_stride: usize,
    accumulate: bool,
    bias: Option<&[f32]>,
    activation: Activation,
    scratch: &mut [f32],
) {
    if m == 0 || n == 0 {
        return;
    }
    if let (1, Panels::Packed(b)) = (m, b) {
        // SAFETY: the caller's promise.
        return unsafe { row(s, n, k, a, b, c, accumulate, bias, activation) };
    }
    let blocks = Blocks::new(m, n, k, S::LANES);
    // A transposed A is copied where several panels read it.
    let copy_a = a.column_stride != 1 && n > 2 * panel_columns(S::LANES);
    let k_blocks = blocks.of_k(k);
    let m_blocks = m.div_ceil(blocks.m);
    // SAFETY: `check_panels` holds A, B, C, the bias and the scratch to the sizes that these loops stay below.
    unsafe {
        for k_block in 0..k_blocks {
            let depth = block_start(k, k_block, k_blocks);
            let kc = block_start(k, k_block + 1, k_blocks) - depth;
            for m_block in 0..m_blocks {
                let top = block_start(m, m_block, m_blocks);
                let mc = block_start(m, m_block + 1, m_blocks) - top;
                if copy_a {
                    let mut row = 0;
                    while row < mc {
                        let rows = next_tile(mc, row, tile_rows(S::LANES));
                        let to = scratch.as_mut_ptr().add(row * kc);
                        pack_tile(s, a, top + row, rows, depth, kc, to);
                        row += rows;
                    }
                }
                let mut column = 0;
                while column < n {
                    let width = panel_width(n - column, S::LANES);
                    let columns = width.min(n - column);
                    let (panel, b_step) = match b {
                        Panels::Packed(b) => (b.as_ptr().add(column * k + depth * width), width),
                        Panels::RowMajor(b) => (
                            b.data.as_ptr().add(depth * b.row_stride + column),
                            b.row_stride,
                        ),
                    };
                    let narrow = width <= S::LANES;
                    let most = if narrow && !copy_a {
                        NARROW_ROWS
                    } else {
                        tile_rows(S::LANES)
                    };
                    let (mut row, mut done) = (0, 0);
                    while row < mc {
                        let tile = next_tile(mc, row, most);
                        // A narrow panel takes the tallest copied tiles in two parts.
                        let parted = narrow && tile > NARROW_ROWS;
                        let rows = (tile - done).min(if parted { 6 } else { tile });
                        let (a, a_row, a_step) = if copy_a {
                            (scratch.as_ptr().add(row * kc + done), 1, tile)
                        } else {
                            let first = (top + row) * a.row_stride + depth * a.column_stride;
                            (
                                a.data.as_ptr().wrapping_add(first),
                                a.row_stride,
                                a.column_stride,
                            )
                        };
                        let operands = Operands {
                            k: kc,
                            a,
                            a_row,
                            a_step,
                            b: panel,
                            b_step,
                            c: c.as_mut_ptr().add((top + row + done) * c_stride + column),
                            c_row: c_stride,
                            columns,
                            accumulate: accumulate || k_block > 0,
                            bias: match bias {
                                Some(bias) if k_block == 0 => bias.as_ptr().add(column),
                                _ => std::ptr::null(),
                            },
                        };
                        if !narrow {
                            tile_of_rows::<S, 2>(s, rows, operands);
                        } else if S::LANES == 16 {
                            if width == 8 {
                                tile_of_rows::<S::Oct, 1>(s.oct(), rows, operands);
                            } else {
                                tile_of_rows::<S, 1>(s, rows, operands);
                            }
                        } else {
                            tile_of_rows::<S, 1>(s, rows, operands);
                        }
                        if activation != Activation::Linear && k_block + 1 == k_blocks {
                            finish(s, rows, operands, activation);
                        }
                        done += rows;
                        if done == tile {
                            (row, done) = (row + tile, 0);
                        }
                    }
                    column += width;
                }
            }
        }
    }
}
