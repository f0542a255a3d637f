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
    /// Added to every row; null for none.
    pub(crate) bias: *const f32,
}

/// `C[R, columns] = A[R, k] * B[k, V * LANES] (+ C) (+ bias)`
///
/// # Safety
/// A, B, C and the bias hold what the strides and sizes reach; `columns <= V * LANES <= 32`.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const V: usize>(s: S, o: Operands) {
    let mut start = [s.zero(); V];
    if !o.bias.is_null() {
        for v in 0..V {
            let rest = o.columns.saturating_sub(v * S::LANES);
            // SAFETY: the caller's promise; registers that lie behind the columns read nothing.
            start[v] = unsafe {
                if rest >= S::LANES {
                    s.load(o.bias.add(v * S::LANES))
                } else {
                    s.load_partial(o.bias.wrapping_add(v * S::LANES), rest)
                }
            };
        }
    }
    let mut sums = [start; R];
    // SAFETY: the caller's promise.
    unsafe {
        if V == 1 && o.a_row == 1 {
            multiply::<S, R, V, 1>(s, &mut sums, Operands { a_row: 1, ..o });
        } else if V == 1 && o.a_step == 1 && o.k.is_multiple_of(2) {
            multiply::<S, R, V, 2>(s, &mut sums, Operands { a_step: 1, ..o });
        } else {
            multiply::<S, R, V, 1>(s, &mut sums, o);
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
            write_columns(R, V * S::LANES, &buffer, o);
        }
    }
}

/// `sums += A[R, k] * B[k, V * LANES]`, UNROLL steps of k at a time.
///
/// Addresses decide the speed of a tall tile that is one register wide: with unknown strides the compiler walks from row to
/// row by additions that wait for each other. A stride that is the literal 1 at the call becomes a displacement, and two
/// steps share one walk.
///
/// # Safety
/// As [`tile`]; k is a multiple of UNROLL.
#[inline(always)]
unsafe fn multiply<S: Simd, const R: usize, const V: usize, const UNROLL: usize>(
    s: S,
    sums: &mut [[S::F; V]; R],
    o: Operands,
) {
    // A copy, so that the accumulators stay in registers.
    let mut local = *sums;
    let mut b = o.b;
    // Three rows share a pointer: offsets 0, 1 and 2 times the stride are addressing modes.
    let mut rows = [o.a; 4];
    // SAFETY: the caller's promise; pointers move past the last element only after their last use.
    unsafe {
        for group in 1..R.div_ceil(3) {
            rows[group] = o.a.add(3 * group * o.a_row);
        }
        for _ in 0..o.k / UNROLL {
            for step in 0..UNROLL {
                let mut panel = [s.zero(); V];
                for v in 0..V {
                    panel[v] = s.load(b.add(v * S::LANES));
                }
                for r in 0..R {
                    let at = r % 3 * o.a_row + step * o.a_step;
                    let a = s.splat(*rows[r / 3].add(at));
                    for v in 0..V {
                        local[r][v] = s.mul_add(a, panel[v], local[r][v]);
                    }
                }
                b = b.wrapping_add(o.b_step);
            }
            for group in 0..R.div_ceil(3) {
                rows[group] = rows[group].wrapping_add(UNROLL * o.a_step);
            }
        }
    }
    *sums = local;
}

/// Writes the first columns of rows of `width` sums. Not SIMD, so it need not be inlined: one copy serves every tile.
///
/// # Safety
/// As [`tile`].
#[inline(never)]
unsafe fn write_columns(rows: usize, width: usize, sums: &[f32], o: Operands) {
    for r in 0..rows {
        let sums = &sums[r * width..][..o.columns];
        for (column, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's promise: C has `columns` values in each of the tile's rows.
            unsafe {
                let to = o.c.add(r * o.c_row + column);
                *to = if o.accumulate { *to + sum } else { *sum };
            }
        }
    }
}

/// A tile of `rows` rows and V registers; rows <= 6, or 8 with one register of columns, or 8, 10, 12 with two
/// and 32 registers.
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
                if V == 1 {
                    tile::<S, 8, V>(s, o);
                } else if S::REGISTERS >= 32 {
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

/// `C = activation(C)` of rows x columns, which the tile has just written.
///
/// # Safety
/// C holds the rows.
#[inline(always)]
pub(crate) unsafe fn finish<S: Simd>(s: S, rows: usize, o: Operands, activation: Activation) {
    // Hidden from the optimiser, which would hoist these registers out of the loops and so take them from the
    // accumulators of every tile.
    let zero = s.splat(std::hint::black_box(0.0));
    let slope = match activation {
        Activation::LeakyRelu { slope } => s.splat(std::hint::black_box(slope)),
        _ => zero,
    };
    // SAFETY: the caller's promise.
    unsafe {
        for row in 0..rows {
            let row = o.c.add(row * o.c_row);
            let mut column = 0;
            while column < o.columns {
                let width = S::LANES.min(o.columns - column);
                let to = row.add(column);
                if width == S::LANES {
                    s.store(to, activate(s, activation, zero, slope, s.load(to)));
                } else {
                    let x = activate(s, activation, zero, slope, s.load_partial(to, width));
                    s.store_partial(to, x, width);
                }
                column += width;
            }
        }
    }
}

#[inline(always)]
pub(super) fn activate<S: Simd>(
    s: S,
    activation: Activation,
    zero: S::F,
    slope: S::F,
    x: S::F,
) -> S::F {
    match activation {
        Activation::Linear => x,
        // This order keeps NaN.
        Activation::Relu => s.max(zero, x),
        Activation::LeakyRelu { .. } => s.select(s.gt(x, zero), x, s.mul(slope, x)),
    }
}
