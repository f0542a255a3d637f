//! Few filters over a one-channel image: vectorised over the width, where lanes over the channels would stand empty.
//!
//! ```text
//! for each pooled row
//!   for each missing row, into the ring as one plane a filter
//!     for each tile of up to 5 registers of pixels, for up to 4 filters        accumulators: filters x registers
//!       for ky, kx: load the registers at kx, broadcast the filters' weights, fused multiply-add
//!   pool: split the columns of the windows into registers, compare, write interleaved
//! ```

use super::pack::BLOCK;
use super::{Conv2dShape, ConvBlock, Sections};
use crate::activation::activate;
use crate::pool::PoolShape;
use crate::simd::Simd;

/// True where this kernel takes the convolution: the filters would fill at most three quarters of the lanes, and the
/// pool's windows stand side by side from the left edge on, so that `deinterleave` can split their columns.
pub(super) fn applies(conv: &Conv2dShape, pool: &PoolShape, lanes: usize) -> bool {
    conv.in_channels == 1
        && 4 * conv.out_channels <= 3 * lanes
        && conv.out_width >= lanes
        && pool.pad_left == 0
        && pool.window_width == pool.stride_width
        && matches!(pool.window_width, 1 | 2 | 4)
}

/// Where the intermediate values stand, behind the sections that were there before.
pub(super) struct Layout {
    /// The padded image, in rows of `row_len`, and its length.
    pub(super) padded: usize,
    pub(super) row_len: usize,
    pub(super) padded_len: usize,
    /// A ring of rows, each of one plane a filter.
    planes: usize,
    plane_len: usize,
}

impl Layout {
    pub(super) fn new(
        conv: &Conv2dShape,
        pool: &PoolShape,
        lanes: usize,
        sections: &mut Sections,
    ) -> Self {
        let width = conv.out_width.next_multiple_of(lanes);
        let row_len = width + conv.kernel_width - 1;
        let padded_len = conv.padded_height() * row_len;
        let windows = pool.out_width.next_multiple_of(lanes) * pool.window_width;
        let plane_len = width.max(windows);
        let slots = pool.window_height;
        Self {
            padded: sections.take(padded_len),
            row_len,
            padded_len,
            planes: sections.take(slots * conv.out_channels * plane_len),
            plane_len,
        }
    }
}

/// One sample: `output` and `codes` as in `crate::pool::pool_row`, all rows.
///
/// # Safety
/// `scratch` holds the layout's sections, the padded image in its own; `weights` is the packed forward layout; `bias`
/// may be read for all channels; `output` may be written for a sample, `codes` too unless it is null.
#[inline(always)]
pub(super) unsafe fn sample<S: Simd>(
    s: S,
    block: &ConvBlock,
    pool: &PoolShape,
    layout: &Layout,
    weights: *const f32,
    bias: *const f32,
    output: *mut f32,
    codes: *mut u8,
    scratch: *mut f32,
) {
    let conv = &block.conv;
    let filters = conv.out_channels;
    let slot_len = filters * layout.plane_len;
    let mut done = 0;
    for oy in 0..pool.out_height {
        let (first, end) = pool.rows(oy);
        // SAFETY: every row and plane stands in its section; the pooled row lies in output and codes.
        unsafe {
            for y in done.max(first)..end {
                let image = scratch.add(layout.padded + y * layout.row_len);
                let slot = y % pool.window_height;
                let planes = scratch.add(layout.planes + slot * slot_len);
                convolve_row(s, conv, layout, image, weights, planes);
            }
            done = end;
            let at = oy * pool.out_width * filters;
            let output = output.add(at);
            let codes = if codes.is_null() {
                codes
            } else {
                codes.add(at)
            };
            let planes = scratch.add(layout.planes);
            if pool.window_width == 1 {
                pool_planes::<S, 1>(s, block, pool, layout, oy, planes, bias, output, codes);
            } else if pool.window_width == 2 {
                pool_planes::<S, 2>(s, block, pool, layout, oy, planes, bias, output, codes);
            } else {
                pool_planes::<S, 4>(s, block, pool, layout, oy, planes, bias, output, codes);
            }
        }
    }
}

/// One row of all filters without their bias; what stands behind the row's end is -infinity: no maximum.
///
/// # Safety
/// As for `sample`.
#[inline(always)]
unsafe fn convolve_row<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    layout: &Layout,
    image: *const f32,
    weights: *const f32,
    planes: *mut f32,
) {
    let steps = conv.kernel_height * conv.kernel_width;
    let packed = conv.out_channels.next_multiple_of(S::LANES);
    let groups = conv.out_channels.div_ceil(4);
    let (size, larger) = (conv.out_channels / groups, conv.out_channels % groups);
    let mut f = 0;
    for group in 0..groups {
        let filters = size + usize::from(group < larger);
        // SAFETY: filter f's weights start in its block; few filters never need a second one.
        unsafe {
            debug_assert!(packed <= BLOCK * S::LANES && steps > 0);
            let weights = weights.add(f);
            let planes = planes.add(f * layout.plane_len);
            match filters {
                1 => tiles::<S, 1>(s, conv, layout, image, weights, packed, planes),
                2 => tiles::<S, 2>(s, conv, layout, image, weights, packed, planes),
                3 => tiles::<S, 3>(s, conv, layout, image, weights, packed, planes),
                _ => tiles::<S, 4>(s, conv, layout, image, weights, packed, planes),
            }
        }
        f += filters;
    }
    for f in 0..conv.out_channels {
        for x in conv.out_width..layout.plane_len {
            // SAFETY: x lies in plane f.
            unsafe { *planes.add(f * layout.plane_len + x) = f32::NEG_INFINITY }
        }
    }
}

/// All pixels of a row for F filters, in tiles of nearly equal numbers of registers.
///
/// # Safety
/// As for `sample`; `weights` has `stride` values from a tap to the next.
#[inline(always)]
unsafe fn tiles<S: Simd, const F: usize>(
    s: S,
    conv: &Conv2dShape,
    layout: &Layout,
    image: *const f32,
    weights: *const f32,
    stride: usize,
    planes: *mut f32,
) {
    // Accumulators, and either the filters' weights or the pixels, fit 16 registers (or 32).
    let most = match F {
        1 | 2 => 5,
        3 if S::REGISTERS < 32 => 4,
        4 if S::REGISTERS < 32 => 3,
        _ => 5,
    };
    let registers = conv.out_width.div_ceil(S::LANES);
    let count = registers.div_ceil(most);
    let (size, larger) = (registers / count, registers % count);
    let mut x = 0;
    for i in 0..count {
        let n = size + usize::from(i < larger);
        // SAFETY: registers x.. lie in the padded row and in the plane.
        unsafe {
            let (image, planes) = (image.add(x * S::LANES), planes.add(x * S::LANES));
            macro_rules! tile {
                ($v:literal) => {
                    tile::<S, F, $v>(s, conv, layout, image, weights, stride, planes)
                };
            }
            match n {
                1 => tile!(1),
                2 => tile!(2),
                3 => tile!(3),
                4 if F < 4 || S::REGISTERS >= 32 => tile!(4),
                5 if F < 3 || S::REGISTERS >= 32 => tile!(5),
                _ => unreachable!("no tile is above `most`"),
            }
        }
        x += n;
    }
}

/// F filters by V registers of pixels.
///
/// # Safety
/// As for `tiles`.
#[inline(always)]
unsafe fn tile<S: Simd, const F: usize, const V: usize>(
    s: S,
    conv: &Conv2dShape,
    layout: &Layout,
    image: *const f32,
    mut weights: *const f32,
    stride: usize,
    planes: *mut f32,
) {
    // SAFETY: handed on from the caller.
    unsafe {
        let mut sums = [[s.zero(); V]; F];
        for ky in 0..conv.kernel_height {
            let row = image.add(ky * layout.row_len);
            for kx in 0..conv.kernel_width {
                if F <= V {
                    let mut w = [s.zero(); F];
                    for f in 0..F {
                        w[f] = s.splat(*weights.add(f));
                    }
                    for v in 0..V {
                        let x = s.load(row.add(kx + v * S::LANES));
                        for f in 0..F {
                            sums[f][v] = s.mul_add(x, w[f], sums[f][v]);
                        }
                    }
                } else {
                    let mut x = [s.zero(); V];
                    for v in 0..V {
                        x[v] = s.load(row.add(kx + v * S::LANES));
                    }
                    for f in 0..F {
                        let w = s.splat(*weights.add(f));
                        for v in 0..V {
                            sums[f][v] = s.mul_add(x[v], w, sums[f][v]);
                        }
                    }
                }
                weights = weights.add(stride);
            }
        }
        for f in 0..F {
            for v in 0..V {
                s.store(planes.add(f * layout.plane_len + v * S::LANES), sums[f][v]);
            }
        }
    }
}

/// Pools one row of windows of W columns that stand side by side.
///
/// # Safety
/// As for `pool_row`, with planes instead of rows.
#[inline(always)]
unsafe fn pool_planes<S: Simd, const W: usize>(
    s: S,
    block: &ConvBlock,
    pool: &PoolShape,
    layout: &Layout,
    oy: usize,
    planes: *const f32,
    bias: *const f32,
    output: *mut f32,
    codes: *mut u8,
) {
    debug_assert!(S::LANES <= 16);
    let filters = pool.channels;
    let (y0, y1) = pool.rows(oy);
    for f in 0..filters {
        let mut ox = 0;
        while ox < pool.out_width {
            let (mut values, mut bytes) = ([0.0; 16], [0u8; 16]);
            // SAFETY: W registers from ox * W on lie in the plane; the arrays hold LANES values.
            unsafe {
                let (mut best, mut best_code) = (s.zero(), s.zero());
                for y in y0..y1 {
                    let plane = (y % pool.window_height) * filters + f;
                    let from = planes.add(plane * layout.plane_len + ox * W);
                    let columns = split::<S, W>(s, from);
                    let row = (y + pool.pad_top - oy * pool.stride_height) * W;
                    for x in 0..W {
                        let code = s.splat((row + x) as f32);
                        if y == y0 && x == 0 {
                            (best, best_code) = (columns[x], code);
                        } else {
                            // Strictly greater: the first maximum stays.
                            let greater = s.gt(columns[x], best);
                            best = s.select(greater, columns[x], best);
                            best_code = s.select(greater, code, best_code);
                        }
                    }
                }
                let value = s.add(best, s.splat(*bias.add(f)));
                s.store(values.as_mut_ptr(), activate(s, block.activation, value));
                s.store_u8(bytes.as_mut_ptr(), best_code);
            }
            let n = S::LANES.min(pool.out_width - ox);
            for i in 0..n {
                let at = (ox + i) * filters + f;
                // SAFETY: output and codes hold the row.
                unsafe {
                    *output.add(at) = values[i];
                    if !codes.is_null() {
                        *codes.add(at) = bytes[i];
                    }
                }
            }
            ox += n;
        }
    }
}

/// Column x of the next LANES windows of W columns in register x.
///
/// # Safety
/// `W * LANES` values may be read.
#[inline(always)]
unsafe fn split<S: Simd, const W: usize>(s: S, from: *const f32) -> [S::F; W] {
    let mut columns = [s.zero(); W];
    for x in 0..W {
        // SAFETY: the caller gives W registers.
        columns[x] = unsafe { s.load(from.add(x * S::LANES)) };
    }
    if W == 2 {
        (columns[0], columns[1]) = s.deinterleave(columns[0], columns[1]);
    }
    if W == 4 {
        let (even_low, odd_low) = s.deinterleave(columns[0], columns[1]);
        let (even_high, odd_high) = s.deinterleave(columns[2], columns[3]);
        (columns[0], columns[2]) = s.deinterleave(even_low, even_high);
        (columns[1], columns[3]) = s.deinterleave(odd_low, odd_high);
    }
    columns
}
