//! Few filters over a one-channel image: vectorised over the width, where lanes over the channels would stand empty.
//!
//! ```text
//! for each pooled row
//!   for each missing row, into the ring as one plane a filter             several at once by Winograd, see `fast_rows`
//!     for each tile of up to 5 registers of pixels, for up to 4 filters        accumulators: filters x registers
//!       for ky, kx: load the registers at kx, broadcast the filters' weights, fused multiply-add
//!   pool: split the columns of the windows into registers, compare, write interleaved (`planes`)
//! ```

use super::planes::Planes;
use super::{ConvAlgorithm, ConvBlock, fast_rows, place, samples};
use crate::simd::Simd;
use crate::table::Kernels;

/// True where these kernels take the block: the filters would fill at most three quarters of the lanes, and the
/// pool's windows stand side by side from the left edge on, so that `deinterleave` can split their columns.
pub(super) fn applies(block: &ConvBlock, lanes: usize) -> bool {
    let (conv, pool) = (&block.conv, block.pool_or_identity());
    conv.in_channels == 1
        && 4 * conv.out_channels <= 3 * lanes
        && conv.out_width >= lanes
        && pool.pad_left == 0
        && pool.window_width == pool.stride_width
        && matches!(pool.window_width, 1 | 2 | 4)
}

/// The layout of what stands between the image and the pooled map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FewFilters {
    block: ConvBlock,
    lanes: usize,
    packed_len: usize,
    /// Values of a row of the padded image, whole registers.
    row_len: usize,
    /// Rows of the padded image.
    padded_rows: usize,
    /// For rows by Winograd: rows of the sums that they read.
    sums: Option<usize>,
    /// Rows of the map that are computed together.
    step: usize,
    planes: Planes,
}

impl FewFilters {
    pub(super) fn new(block: &ConvBlock, lanes: usize) -> Self {
        let (conv, pool) = (&block.conv, block.pool_or_identity());
        let width = conv.out_width.next_multiple_of(lanes);
        let windows = pool.out_width.next_multiple_of(lanes) * pool.window_width;
        let plane_len = width.max(windows);
        let (mut step, mut above, mut sums, mut padded_rows) = (1, 0, None, conv.padded_height());
        if block.algorithm(lanes) == ConvAlgorithm::Winograd {
            step = fast_rows::together(conv);
            above = block.first_row % step;
            let rows = fast_rows::sums_rows(conv, (conv.out_height + above).div_ceil(step));
            (sums, padded_rows) = (Some(rows), fast_rows::padded_rows(conv, rows));
        }
        Self {
            block: *block,
            lanes,
            packed_len: block.packed_len(lanes),
            row_len: (width + conv.kernel_width - 1).next_multiple_of(lanes),
            padded_rows,
            sums,
            step,
            planes: Planes {
                above,
                // A window may begin and end inside a step.
                slots: (pool.window_height + step - 1).next_multiple_of(step),
                slot_len: conv.out_channels * plane_len,
                plane_len,
            },
        }
    }

    /// Values of the padded image, the sums and the ring of planes.
    fn lens(&self) -> [usize; 3] {
        let sums = self.sums.unwrap_or(0) * fast_rows::products(&self.block.conv);
        // A slot behind the ring.
        let waiting = usize::from(self.sums.is_some()) * self.planes.slot_len;
        [
            self.padded_rows * self.row_len,
            sums * self.row_len,
            self.planes.slots * self.planes.slot_len + waiting,
        ]
    }

    /// Values of all.
    pub(super) fn scratch_len(&self) -> usize {
        self.lens().iter().sum()
    }
}

/// See [`Kernels::conv_block_forward`], whose checks hold.
pub(super) fn forward(
    kernels: &Kernels,
    block: &ConvBlock,
    input: &[f32],
    packed: &[f32],
    bias: &[f32],
    output: &mut [f32],
    codes: &mut [u8],
    scratch: &mut [f32],
) {
    let (conv, pool) = (&block.conv, block.pool_or_identity());
    let layout = FewFilters::new(block, kernels.lanes());
    let (step, above) = (layout.step, layout.planes.above);
    let [padded, sums, ring] = layout.lens();
    let (padded, scratch) = scratch.split_at_mut(padded);
    let (sums, scratch) = scratch.split_at_mut(sums);
    let ring = &mut scratch[..ring];
    let padding = above * layout.row_len;
    padded.fill(0.0);
    for (image, output, codes) in samples(block, input, output, codes) {
        place(conv, image, &mut padded[padding..], layout.row_len);
        // Rows of the map are counted from the first step's on, which may begin above the map.
        let (mut done, mut summed) = (0, 0);
        for oy in 0..pool.out_height {
            let (first, end) = pool.rows(oy);
            done = done.max((above + first) / step * step);
            while done < above + end {
                if let Some(sums_rows) = layout.sums {
                    // One more than is read: loads across two stores wait until both are in the cache.
                    let reach = (done / step + fast_rows::kernel_rows(conv) + 1).min(sums_rows);
                    for row in summed.max(done / step)..reach {
                        kernels.few_filters_sums(&layout, row, padded, sums);
                    }
                    summed = reach;
                    kernels.few_filters_rows(&layout, done, sums, packed, ring);
                } else {
                    kernels.few_filters_row(&layout, done, padded, packed, ring);
                }
                done += step;
            }
            kernels.few_filters_pool(&layout, oy, ring, bias, output, codes);
        }
    }
}

/// Row `row` of the products' sums.
///
/// # Panics
/// Where a length does not fit the layout, or it has no such row.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn sums<S: Simd>(
    s: S,
    layout: &FewFilters,
    row: usize,
    padded: &[f32],
    sums: &mut [f32],
) {
    let [padded_len, sums_len, _] = layout.lens();
    assert!(layout.lanes == S::LANES && layout.sums.is_some_and(|rows| row < rows));
    assert!(padded.len() >= padded_len && sums.len() >= sums_len);
    // SAFETY: the lengths above; rows are whole registers.
    unsafe {
        let (row_len, padded, sums) = (layout.row_len, padded.as_ptr(), sums.as_mut_ptr());
        match layout.step {
            4 => fast_rows::sums::<S, 4>(s, row, row_len, padded, sums),
            _ => fast_rows::sums::<S, 2>(s, row, row_len, padded, sums),
        }
    }
}

/// A row of the map into the ring, all filters without their bias. Rows are counted from the first step's on.
///
/// # Panics
/// Where a length does not fit the layout, or it has no such row or computes several at once.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn row<S: Simd>(
    s: S,
    layout: &FewFilters,
    row: usize,
    padded: &[f32],
    packed: &[f32],
    ring: &mut [f32],
) {
    let conv = &layout.block.conv;
    assert!(layout.sums.is_none() && row < conv.out_height);
    // SAFETY: the image has the rows of the kernel from `row` on.
    unsafe { step::<S, 1>(s, layout, row, padded, row * layout.row_len, packed, ring) }
}

/// The same of the rows that a step by Winograd computes, from `row` on, and from the products' sums.
///
/// # Panics
/// Where a length does not fit the layout, or no step begins there.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn rows<S: Simd>(
    s: S,
    layout: &FewFilters,
    row: usize,
    sums: &[f32],
    packed: &[f32],
    ring: &mut [f32],
) {
    let conv = &layout.block.conv;
    let group = row / layout.step;
    let reach = group + fast_rows::kernel_rows(conv);
    assert!(row.is_multiple_of(layout.step) && layout.sums.is_some_and(|rows| reach <= rows));
    let from = group * fast_rows::products(conv) * layout.row_len;
    // SAFETY: the sums have the rows of the products' kernels from the group's on.
    unsafe {
        match layout.step {
            4 => step::<S, 4>(s, layout, row, sums, from, packed, ring),
            _ => step::<S, 2>(s, layout, row, sums, from, packed, ring),
        }
    }
}

/// A step's rows; what stands behind a row's end is -infinity: no maximum.
///
/// # Safety
/// `image[from..]` holds the rows that the kernel, or the products', read.
#[inline(always)]
unsafe fn step<S: Simd, const TOGETHER: usize>(
    s: S,
    layout: &FewFilters,
    row: usize,
    image: &[f32],
    from: usize,
    packed: &[f32],
    ring: &mut [f32],
) {
    let (conv, planes) = (&layout.block.conv, &layout.planes);
    let [padded_len, sums_len, ring_len] = layout.lens();
    assert!(layout.lanes == S::LANES && packed.len() == layout.packed_len);
    assert!(image.len() >= if TOGETHER > 1 { sums_len } else { padded_len });
    assert!(ring.len() >= ring_len);
    let slot = row % planes.slots * planes.slot_len;
    let waiting = planes.slots * planes.slot_len - slot;
    let groups = conv.out_channels.div_ceil(4);
    let (size, larger) = (conv.out_channels / groups, conv.out_channels % groups);
    let mut f = 0;
    for group in 0..groups {
        let filters = size + usize::from(group < larger);
        // SAFETY: filter f's weights and planes stand behind those before it; a step never ends behind the last slot.
        unsafe {
            let (image, weights) = (image.as_ptr().add(from), packed.as_ptr().add(f));
            let to = ring.as_mut_ptr().add(slot + f * planes.plane_len);
            match filters {
                1 => tiles::<S, TOGETHER, 1>(s, layout, image, weights, to, waiting),
                2 => tiles::<S, TOGETHER, 2>(s, layout, image, weights, to, waiting),
                3 => tiles::<S, TOGETHER, 3>(s, layout, image, weights, to, waiting),
                _ => tiles::<S, TOGETHER, 4>(s, layout, image, weights, to, waiting),
            }
        }
        f += filters;
    }
    for plane in ring[slot..][..layout.step * planes.slot_len].chunks_exact_mut(planes.plane_len) {
        plane[conv.out_width..].fill(f32::NEG_INFINITY);
    }
}

/// All pixels of a step's rows for F filters, in tiles of nearly equal numbers of registers.
///
/// # Safety
/// As for `step`: `image` is the first row that is read, `to` the first plane of the first slot, `waiting` the distance from there to the
/// slot for sums that wait.
#[inline(always)]
unsafe fn tiles<S: Simd, const TOGETHER: usize, const F: usize>(
    s: S,
    layout: &FewFilters,
    image: *const f32,
    weights: *const f32,
    to: *mut f32,
    waiting: usize,
) {
    // Accumulators, the pixels and a weight fit 16 registers (or 32), with one to spare: without it some are spilled.
    let most = match F {
        1 | 2 => 5,
        3 if S::REGISTERS < 32 => 3,
        4 if S::REGISTERS < 32 => 2,
        _ => 5,
    };
    let registers = layout.block.conv.out_width.div_ceil(S::LANES);
    let count = registers.div_ceil(most);
    let (size, larger) = (registers / count, registers % count);
    let mut x = 0;
    for i in 0..count {
        let n = size + usize::from(i < larger);
        // SAFETY: registers x.. lie in the rows and in the planes.
        unsafe {
            let (image, to) = (image.add(x * S::LANES), to.add(x * S::LANES));
            macro_rules! tile {
                ($v:literal) => {
                    tile::<S, TOGETHER, F, $v>(s, layout, image, weights, to, waiting)
                };
            }
            match n {
                1 => tile!(1),
                2 => tile!(2),
                3 if F < 4 || S::REGISTERS >= 32 => tile!(3),
                4 if F < 3 || S::REGISTERS >= 32 => tile!(4),
                5 if F < 3 || S::REGISTERS >= 32 => tile!(5),
                _ => unreachable!("no tile is above `most`"),
            }
        }
        x += n;
    }
}

/// F filters by V registers of pixels of a step's rows.
///
/// # Safety
/// As for `tiles`.
#[inline(always)]
unsafe fn tile<S: Simd, const TOGETHER: usize, const F: usize, const V: usize>(
    s: S,
    layout: &FewFilters,
    image: *const f32,
    weights: *const f32,
    to: *mut f32,
    waiting: usize,
) {
    let (conv, planes) = (&layout.block.conv, &layout.planes);
    // SAFETY: handed on from the caller.
    unsafe {
        if TOGETHER > 1 {
            let tile = fast_rows::Tile {
                conv,
                planes,
                row_len: layout.row_len,
                sums: image,
                weights,
                slot: to,
                waiting: to.add(waiting),
            };
            return tile.rows::<S, TOGETHER, F, V>(s);
        }
        let taps = Taps {
            rows: conv.kernel_height,
            columns: conv.kernel_width,
            row_len: layout.row_len,
            // One block of the packed layout: few filters never need a second one.
            filters: conv.out_channels.next_multiple_of(S::LANES),
        };
        let sums = correlate::<S, F, V>(s, taps, image, weights, [[s.zero(); V]; F]);
        planes.store(s, to, &sums);
    }
}

/// Pools row `oy` as `crate::pool::pool_row` does.
///
/// # Panics
/// Where a length does not fit the layout, or it has no such row.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn pool<S: Simd>(
    s: S,
    layout: &FewFilters,
    oy: usize,
    ring: &[f32],
    bias: &[f32],
    output: &mut [f32],
    codes: &mut [u8],
) {
    let pool = layout.block.pool_or_identity();
    let [.., ring_len] = layout.lens();
    assert!(layout.lanes == S::LANES && oy < pool.out_height);
    assert!(ring.len() >= ring_len && bias.len() == pool.channels);
    assert_eq!(output.len(), pool.output_len());
    assert!(codes.is_empty() || codes.len() == output.len());
    let at = oy * pool.out_width * pool.channels;
    // SAFETY: the lengths above; without codes none are written.
    unsafe {
        let (ring, output) = (ring.as_ptr(), output.as_mut_ptr().add(at));
        let (planes, activation) = (&layout.planes, layout.block.activation);
        if codes.is_empty() {
            let codes = std::ptr::null_mut();
            planes.pool::<S, false>(s, &pool, oy, ring, bias, activation, output, codes);
        } else {
            let codes = codes.as_mut_ptr().add(at);
            planes.pool::<S, true>(s, &pool, oy, ring, bias, activation, output, codes);
        }
    }
}

/// A correlation with a kernel of `[row][column][filter]`.
#[derive(Clone, Copy)]
pub(super) struct Taps {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Values from a row of what is read to the next.
    pub(super) row_len: usize,
    /// Values from a column of the kernel to the next.
    pub(super) filters: usize,
}

/// Adds F filters by V registers of pixels of one row to `sums`.
///
/// # Safety
/// `row` points at the first pixel of the first row, of which V registers may be read from every column of the kernel on;
/// `weights` at the first of the F filters.
#[inline(always)]
pub(super) unsafe fn correlate<S: Simd, const F: usize, const V: usize>(
    s: S,
    taps: Taps,
    row: *const f32,
    mut weights: *const f32,
    mut sums: [[S::F; V]; F],
) -> [[S::F; V]; F] {
    // SAFETY: handed on from the caller.
    unsafe {
        for ky in 0..taps.rows {
            let row = row.add(ky * taps.row_len);
            for kx in 0..taps.columns {
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
                weights = weights.add(taps.filters);
            }
        }
    }
    sums
}
