//! Products of a single row, of which nothing of B serves twice: they wait for B, unless they wait for their own sums.
//!
//! A multiplication that adds to the last one's sum waits for it. One panel, two registers of sums, would read 64 bytes in the 4 cycles
//! of an FMA, half of what a second-level cache gives; so four chains of sums run side by side: four panels, or four blocks of k of
//! one panel. Each element is added up as in the tiles, so that a row's bits do not depend on how many rows there are.

use super::tile::{Operands, finish};
use super::{Blocks, Matrix, block_start, panel_width};
use crate::activation::Activation;
use crate::simd::Simd;

/// Chains that run side by side.
const CHAINS: usize = 4;

/// `C = activation(A * B (+ C) (+ bias))` for one row and packed B, see [`Kernels::gemm_packed`](crate::Kernels::gemm_packed).
///
/// # Safety
/// `check_panels` holds for one row.
#[inline(always)]
pub(crate) unsafe fn row<S: Simd>(
    s: S,
    n: usize,
    k: usize,
    a: Matrix<'_>,
    b: &[f32],
    c: &mut [f32],
    accumulate: bool,
    bias: Option<&[f32]>,
    activation: Activation,
) {
    let blocks = Blocks::new(1, n, k, S::LANES).of_k(k);
    let all = Operands {
        k,
        a: a.data.as_ptr(),
        a_row: 0,
        a_step: a.column_stride,
        b: b.as_ptr(),
        b_step: 0,
        c: c.as_mut_ptr(),
        c_row: 0,
        columns: n,
        accumulate,
        bias: bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
    };
    let mut column = 0;
    while column < n {
        let (rest, width) = (n - column, panel_width(n - column, S::LANES));
        // SAFETY: the caller's promise; the panels lie one behind the other.
        unsafe {
            let panels = Operands {
                b: all.b.add(column * k),
                b_step: width,
                c: all.c.add(column),
                columns: rest.min(width),
                bias: match bias {
                    Some(bias) => bias.as_ptr().add(column),
                    None => all.bias,
                },
                ..all
            };
            if rest >= CHAINS * 2 * S::LANES {
                side_by_side(s, blocks, panels);
                column += CHAINS * 2 * S::LANES;
                continue;
            }
            if width == 2 * S::LANES {
                block_by_block::<S, 2>(s, blocks, panels);
            } else if width == S::LANES {
                block_by_block::<S, 1>(s, blocks, panels);
            } else {
                block_by_block::<S::Oct, 1>(s.oct(), blocks, panels);
            }
        }
        column += width;
    }
    if activation != Activation::Linear {
        // SAFETY: C holds the row.
        unsafe { finish(s, 1, all, activation) };
    }
}

/// CHAINS panels of two registers, the first of which `o` describes.
///
/// # Safety
/// As for [`row`].
#[inline(always)]
unsafe fn side_by_side<S: Simd>(s: S, blocks: usize, o: Operands) {
    // SAFETY: the caller's promise: the panels are as long as the first one.
    unsafe {
        for block in 0..blocks {
            let first = block_start(o.k, block, blocks);
            let mut sums = [[s.zero(); 2]; CHAINS];
            let (mut a, mut b) = ([o.a; CHAINS], [o.b; CHAINS]);
            for chain in 0..CHAINS {
                a[chain] = o.a.add(first * o.a_step);
                b[chain] = o.b.add((chain * o.k + first) * o.b_step);
                if block == 0 && !o.bias.is_null() {
                    let bias = o.bias.add(chain * o.b_step);
                    sums[chain] = [s.load(bias), s.load(bias.add(S::LANES))];
                }
            }
            let last = block_start(o.k, block + 1, blocks);
            let sums = chains(s, last - first, sums, a, o.a_step, b, o.b_step);
            for chain in 0..CHAINS {
                for v in 0..2 {
                    let to = o.c.add(chain * o.b_step + v * S::LANES);
                    let x = if o.accumulate || block > 0 {
                        s.add(sums[chain][v], s.load(to))
                    } else {
                        sums[chain][v]
                    };
                    s.store(to, x);
                }
            }
        }
    }
}

/// One panel of V registers, up to CHAINS blocks of k at a time.
///
/// # Safety
/// As for [`row`].
#[inline(always)]
unsafe fn block_by_block<S: Simd, const V: usize>(s: S, blocks: usize, o: Operands) {
    let groups = blocks.div_ceil(CHAINS);
    for group in 0..groups {
        let first = block_start(blocks, group, groups);
        // SAFETY: the caller's promise.
        unsafe {
            match block_start(blocks, group + 1, groups) - first {
                1 => some_blocks::<S, V, 1>(s, first, blocks, o),
                2 => some_blocks::<S, V, 2>(s, first, blocks, o),
                3 => some_blocks::<S, V, 3>(s, first, blocks, o),
                _ => some_blocks::<S, V, CHAINS>(s, first, blocks, o),
            }
        }
    }
}

/// N blocks of k of one panel, from block `first` of `blocks` on.
///
/// # Safety
/// As for [`row`].
#[inline(always)]
unsafe fn some_blocks<S: Simd, const V: usize, const N: usize>(
    s: S,
    first: usize,
    blocks: usize,
    o: Operands,
) {
    let (mut a, mut b, mut lens) = ([o.a; N], [o.b; N], [0; N]);
    let mut shared = usize::MAX;
    // SAFETY: the caller's promise; registers behind the columns read and write nothing.
    unsafe {
        for i in 0..N {
            let start = block_start(o.k, first + i, blocks);
            a[i] = o.a.add(start * o.a_step);
            b[i] = o.b.add(start * o.b_step);
            lens[i] = block_start(o.k, first + i + 1, blocks) - start;
            shared = shared.min(lens[i]);
        }
        let (mut sums, mut total) = ([[s.zero(); V]; N], [s.zero(); V]);
        for v in 0..V {
            let width = S::LANES.min(o.columns.saturating_sub(v * S::LANES));
            if first == 0 && !o.bias.is_null() {
                sums[0][v] = s.load_partial(o.bias.wrapping_add(v * S::LANES), width);
            }
            if first > 0 || o.accumulate {
                total[v] = s.load_partial(o.c.wrapping_add(v * S::LANES), width);
            }
        }
        let mut sums = chains(s, shared, sums, a, o.a_step, b, o.b_step);
        for i in 0..N {
            // The lengths differ by one at most.
            if lens[i] > shared {
                let x = s.splat(*a[i].add(shared * o.a_step));
                for v in 0..V {
                    let b = s.load(b[i].add(shared * o.b_step + v * S::LANES));
                    sums[i][v] = s.mul_add(x, b, sums[i][v]);
                }
            }
            for v in 0..V {
                total[v] = if i > 0 || first > 0 || o.accumulate {
                    s.add(sums[i][v], total[v])
                } else {
                    sums[i][v]
                };
            }
        }
        for v in 0..V {
            let width = S::LANES.min(o.columns.saturating_sub(v * S::LANES));
            s.store_partial(o.c.wrapping_add(v * S::LANES), total[v], width);
        }
    }
}

/// `sums[i] += a[i] * b[i]` over k terms, the chains in step.
///
/// # Safety
/// Each a holds k values `a_step` apart, each b as many rows of V registers `b_step` apart.
#[inline(always)]
unsafe fn chains<S: Simd, const V: usize, const N: usize>(
    s: S,
    k: usize,
    mut sums: [[S::F; V]; N],
    mut a: [*const f32; N],
    a_step: usize,
    mut b: [*const f32; N],
    b_step: usize,
) -> [[S::F; V]; N] {
    for _ in 0..k {
        for i in 0..N {
            // SAFETY: the caller's promise; pointers move past the last element only after their last use.
            unsafe {
                let x = s.splat(*a[i]);
                for v in 0..V {
                    sums[i][v] = s.mul_add(x, s.load(b[i].add(v * S::LANES)), sums[i][v]);
                }
            }
            a[i] = a[i].wrapping_add(a_step);
            b[i] = b[i].wrapping_add(b_step);
        }
    }
    sums
}
