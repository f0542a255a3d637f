//! Rows to columns: kernels between Keras' layout and those of the gradients.

use crate::simd::Simd;

/// Rows and columns that are transposed in registers.
const SIDE: usize = 4;

/// `to[column * to_stride + row] = from[row * from_stride + column]`.
///
/// # Panics
/// Where a row or a column is not inside its slice.
#[inline(always)]
pub(super) fn transpose<S: Simd>(
    s: S,
    rows: usize,
    columns: usize,
    from: &[f32],
    from_stride: usize,
    to: &mut [f32],
    to_stride: usize,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((rows - 1) * from_stride + columns <= from.len());
    assert!((columns - 1) * to_stride + rows <= to.len());
    let s = s.quad();
    let (whole_rows, whole_columns) = (rows - rows % SIDE, columns - columns % SIDE);
    for column in (0..whole_columns).step_by(SIDE) {
        for row in (0..whole_rows).step_by(SIDE) {
            // SAFETY: rows row.. and columns column.., as many as the block's, lie in both slices.
            unsafe {
                let from = from.as_ptr().add(row * from_stride + column);
                let block = s.transpose4([
                    s.load(from),
                    s.load(from.add(from_stride)),
                    s.load(from.add(2 * from_stride)),
                    s.load(from.add(3 * from_stride)),
                ]);
                let to = to.as_mut_ptr().add(column * to_stride + row);
                for i in 0..SIDE {
                    s.store(to.add(i * to_stride), block[i]);
                }
            }
        }
    }
    for row in 0..rows {
        // Behind the whole blocks.
        let first = if row < whole_rows { whole_columns } else { 0 };
        for column in first..columns {
            to[column * to_stride + row] = from[row * from_stride + column];
        }
    }
}
