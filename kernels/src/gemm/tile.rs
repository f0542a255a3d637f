//! The register tile: R rows of A times a panel of V registers of B.

use crate::activation::Activation;
use crate::simd::Simd;

/// Operands of one tile. Strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) k: usize,
    pub(crate) a: *const f32,
    pub(crate) a_row: usize,
    pub(crate) a_step: usize,
    pub(crate) b: *const f32,
    pub(crate) b_step: usize,
    pub(crate) c: *mut f32,
    pub(crate) c_row: usize,
    /// Columns of C; B has `V * LANES` in any case.
    pub(crate) columns: usize,
    /// Adds to C.
    pub(crate) accumulate: bool,
}

/// `C[R, columns] = A[R, k] * B[k, V * LANES] (+ C)`
///
/// # Safety
/// A, B and C hold what the strides and sizes reach; `columns <= V * LANES <= 32`.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const V: usize>(s: S, o: Operands) {
    let mut sums = [[s.zero(); V]; R];
    let mut b = o.b;
    // Three rows share a pointer: offsets 0, 1 and 2 times the stride are addressing modes.
    let mut rows = [o.a; 4];
    // SAFETY: the caller's promise; pointers move past the last element only after their last use.
    unsafe {
        for group in 1..R.div_ceil(3) {
            rows[group] = o.a.add(3 * group * o.a_row);
        }
        for _ in 0..o.k {
            let mut panel = [s.zero(); V];
            for v in 0..V {
                panel[v] = s.load(b.add(v * S::LANES));
            }
            for r in 0..R {
                let a = s.splat(*rows[r / 3].add(r % 3 * o.a_row));
                for v in 0..V {
                    sums[r][v] = s.mul_add(a, panel[v], sums[r][v]);
                }
            }
            b = b.wrapping_add(o.b_step);
            for group in 0..R.div_ceil(3) {
                rows[group] = rows[group].wrapping_add(o.a_step);
            }
        }
        if o.columns == V * S::LANES {
            for r in 0..R {
                let row = o.c.add(r * o.c_row);
                for v in 0..V {
                    let to = row.add(v * S::LANES);
                    if o.accumulate {
                        sums[r][v] = s.add(sums[r][v], s.load(to));
                    }
                    s.store(to, sums[r][v]);
                }
            }
        } else {
            // By way of a buffer: this is rare, and unrolled it would be most of the code.
            let mut buffer = [0.0f32; 12 * 32];
            for r in 0..R {
                for v in 0..V {
                    s.store(buffer.as_mut_ptr().add((r * V + v) * S::LANES), sums[r][v]);
                }
            }
            for r in 0..R {
                let (row, sums) = (o.c.add(r * o.c_row), &buffer[r * V * S::LANES..]);
                for column in 0..o.columns {
                    let old = if o.accumulate { *row.add(column) } else { 0.0 };
                    *row.add(column) = sums[column] + old;
                }
            }
        }
    }
}

/// A tile of `rows` rows and V registers; rows <= 6, or 8, 10, 12 with 32 registers or one register of columns.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
pub(crate) unsafe fn tile_of_rows<S: Simd, const V: usize>(s: S, rows: usize, o: Operands) {
    // SAFETY: the caller's promise.
    unsafe {
        match rows {
            1 => tile::<S, 1, V>(s, o),
            2 => tile::<S, 2, V>(s, o),
            3 => tile::<S, 3, V>(s, o),
            4 => tile::<S, 4, V>(s, o),
            5 => tile::<S, 5, V>(s, o),
            6 => tile::<S, 6, V>(s, o),
            _ => {
                if V == 1 || S::REGISTERS >= 32 {
                    match rows {
                        8 => tile::<S, 8, V>(s, o),
                        10 => tile::<S, 10, V>(s, o),
                        _ => tile::<S, 12, V>(s, o),
                    }
                }
            }
        }
    }
}

/// `C = activation(C + bias)` of rows x columns; a null bias is 0.
///
/// # Safety
/// C holds the rows, the bias `columns` values.
#[inline(always)]
pub(crate) unsafe fn finish<S: Simd>(
    s: S,
    rows: usize,
    columns: usize,
    c: *mut f32,
    c_row: usize,
    bias: *const f32,
    activation: Activation,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for row in 0..rows {
            let row = c.add(row * c_row);
            let mut column = 0;
            while column < columns {
                let width = S::LANES.min(columns - column);
                let to = row.add(column);
                if width == S::LANES {
                    let add = if bias.is_null() {
                        s.zero()
                    } else {
                        s.load(bias.add(column))
                    };
                    s.store(to, activate(s, activation, s.add(s.load(to), add)));
                } else {
                    let add = if bias.is_null() {
                        s.zero()
                    } else {
                        s.load_partial(bias.add(column), width)
                    };
                    let x = s.add(s.load_partial(to, width), add);
                    s.store_partial(to, activate(s, activation, x), width);
                }
                column += width;
            }
        }
    }
}

#[inline(always)]
fn activate<S: Simd>(s: S, activation: Activation, x: S::F) -> S::F {
    match activation {
        Activation::Linear => x,
        // This order keeps NaN.
        Activation::Relu => s.max(s.zero(), x),
        Activation::LeakyRelu { slope } => s.select(s.gt(x, s.zero()), x, s.mul(s.splat(slope), x)),
    }
}
