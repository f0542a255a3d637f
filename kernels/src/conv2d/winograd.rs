//! The forward pass of 3 x 3 convolutions by Winograd's minimal filtering, F(2 x 2, 3 x 3): 16 multiplications for four pixels
//! instead of 36.
//!
//! ```text
//! a sample:
//!   for a band of tile rows, two rows of the map each:
//!     v[t][tile, i] = B' (4 x 4 pixels of the image) B      t = 0..16, additions alone
//!     m[t] = v[t] * u[t]                                    16 products, u[t][i, o] = G (3 x 3 of the kernel) G'
//!     2 x 2 pixels of the map = A' (16 values of m) A       additions alone, into a ring of rows
//!     pool and activate the rows that the ring has
//! ```
//! Tiles are cut off the map's upper left corner on; what a tile holds beyond the map is computed and not written. It errs
//! like f32: a sum over the channels alone is rounded less often than one over all taps, the additions around it make up for it.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, with its B', G and A' of 4.1.

use super::{Conv2dShape, ConvBlock, Sections, fast_rows, pad_bias};
use crate::activation::Activation;
use crate::gemm::{Matrix, gemm_scratch_len, packed_len, panel_width};
use crate::simd::Simd;
use crate::table::Kernels;

/// Products of a tile: its pixels after the transform.
const POINTS: usize = 16;
/// Values that a band's tiles have on both sides of the products: 512 KB, an L2.
const BAND: usize = 128 * 1024;

/// True where the block can be computed so, here or by [`fast_rows`].
pub(crate) fn applies(block: &ConvBlock, lanes: usize) -> bool {
    let conv = &block.conv;
    (conv.kernel_height, conv.kernel_width) == (3, 3) || fast_rows::applies(block, lanes)
}

/// Tiles of 2 x 2 pixels over the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    conv: Conv2dShape,
    /// Rows of the first tiles that stand above the map: 0 or 1.
    above: usize,
    columns: usize,
    rows: usize,
    /// Tile rows of a band, the last one's may be fewer.
    band: usize,
    /// Values of one point's v.
    v_len: usize,
    /// Values of one point's m.
    m_len: usize,
}

impl Tiles {
    fn new(block: &ConvBlock) -> Self {
        let conv = block.conv;
        let above = block.first_row % 2;
        let columns = conv.out_width.div_ceil(2);
        let rows = (conv.out_height + above).div_ceil(2);
        let a_row = POINTS * columns * (conv.in_channels + conv.out_channels);
        let bands = rows.div_ceil((BAND / a_row).max(1));
        let band = rows.div_ceil(bands);
        // A line more than whole pages, which would put the points of a pixel into the same few lines of L1.
        let plane = |channels: usize| (band * columns * channels).next_multiple_of(16) + 16;
        Self {
            conv,
            above,
            columns,
            rows,
            band,
            v_len: plane(conv.in_channels),
            m_len: plane(conv.out_channels),
        }
    }

    /// The row of the map, or -1, that is the first of a tile row.
    #[inline(always)]
    fn top(&self, row: usize) -> isize {
        (2 * row) as isize - self.above as isize
    }
}

/// Where the intermediate values stand in forward's scratch.
pub(super) struct Layout {
    tiles: Tiles,
    pub(super) len: usize,
    bias: usize,
    v: usize,
    m: usize,
    ring: usize,
    /// Rows of the ring.
    slots: usize,
    gemm: usize,
}

impl Layout {
    pub(super) fn new(block: &ConvBlock, lanes: usize) -> Self {
        let (tiles, conv) = (Tiles::new(block), &block.conv);
        let mut sections = Sections::default();
        // A band's rows, and those before it that a window still needs.
        let slots = 2 * tiles.band + block.pool_or_identity().window_height;
        let (m, n, k) = (
            tiles.band * tiles.columns,
            conv.out_channels,
            conv.in_channels,
        );
        Self {
            tiles,
            bias: sections.take(conv.out_channels.next_multiple_of(lanes)),
            v: sections.take(POINTS * tiles.v_len),
            m: sections.take(POINTS * tiles.m_len),
            ring: sections.take(slots * conv.out_width * conv.out_channels),
            slots,
            gemm: sections.take(gemm_scratch_len(m, n, k, lanes)),
            len: sections.len,
        }
    }
}

/// Values of the packed kernel: 16 matrices of in x out channels.
pub(super) fn packed_kernel_len(block: &ConvBlock, lanes: usize) -> usize {
    let conv = &block.conv;
    if fast_rows::applies(block, lanes) {
        return fast_rows::packed_kernel_len(conv);
    }
    POINTS * packed_len(conv.in_channels, conv.out_channels, lanes)
}

/// `G g G'` of every pair of channels, as B of the 16 products.
pub(super) fn pack(block: &ConvBlock, lanes: usize, kernel: &[f32], packed: &mut [f32]) {
    let conv = &block.conv;
    if fast_rows::applies(block, lanes) {
        return fast_rows::pack(conv, kernel, packed);
    }
    /// Channels of a step, a divisor of every panel's width.
    const STEP: usize = 4;
    let (depth, filters) = (conv.in_channels, conv.out_channels);
    let point_len = packed_len(depth, filters, lanes);
    let mut panel = 0;
    while panel < filters {
        let width = panel_width(filters - panel, lanes);
        for i in 0..depth {
            for column in (0..width).step_by(STEP) {
                let first = panel + column;
                let used = filters.saturating_sub(first).min(STEP);
                // In f64, so that u is rounded once.
                let mut taps = [[0.0f64; STEP]; 9];
                for (tap, values) in taps.iter_mut().enumerate() {
                    let from = (tap * depth + i) * filters + first;
                    for (value, &g) in values
                        .iter_mut()
                        .zip(&kernel[from.min(kernel.len())..])
                        .take(used)
                    {
                        *value = f64::from(g);
                    }
                }
                let at = panel * depth + i * width + column;
                for (point, u) in transform_kernel(&taps).iter().enumerate() {
                    let to = &mut packed[point * point_len + at..][..STEP];
                    for (to, &u) in to.iter_mut().zip(u) {
                        *to = u as f32;
                    }
                }
            }
        }
        panel += width;
    }
}

/// `G g G'` of a few pairs of channels at once.
fn transform_kernel<const N: usize>(taps: &[[f64; N]; 9]) -> [[f64; N]; POINTS] {
    let line = |a: &[f64; N], b: &[f64; N], c: &[f64; N]| {
        let half = |sign: f64| std::array::from_fn(|j| 0.5 * (a[j] + sign * b[j] + c[j]));
        [*a, half(1.0), half(-1.0), *c]
    };
    let columns: [[[f64; N]; 4]; 3] =
        std::array::from_fn(|x| line(&taps[x], &taps[3 + x], &taps[6 + x]));
    let mut points = [[0.0; N]; POINTS];
    for y in 0..4 {
        let row = line(&columns[0][y], &columns[1][y], &columns[2][y]);
        points[4 * y..][..4].copy_from_slice(&row);
    }
    points
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
    let layout = Layout::new(block, kernels.lanes());
    let tiles = &layout.tiles;
    let (depth, filters) = (conv.in_channels, conv.out_channels);
    let (before, scratch) = scratch.split_at_mut(layout.v);
    let (v, scratch) = scratch.split_at_mut(layout.m - layout.v);
    let (m, scratch) = scratch.split_at_mut(layout.ring - layout.m);
    let (ring, gemm) = scratch.split_at_mut(layout.gemm - layout.ring);
    let padded_bias = &mut before[layout.bias..];
    pad_bias(bias, filters.next_multiple_of(kernels.lanes()), padded_bias);
    let point_len = packed_len(depth, filters, kernels.lanes());
    let mut codes = codes.chunks_mut(pool.output_len());
    for (image, output) in input
        .chunks_exact(conv.input_len())
        .zip(output.chunks_exact_mut(pool.output_len()))
    {
        let codes = codes.next().unwrap_or(&mut []);
        let mut pooled = 0;
        for first in (0..tiles.rows).step_by(tiles.band) {
            let rows = tiles.band.min(tiles.rows - first);
            kernels.winograd_input(tiles, first, rows, image, v);
            for point in 0..POINTS {
                kernels.gemm_packed(
                    rows * tiles.columns,
                    filters,
                    depth,
                    Matrix::row_major(&v[point * tiles.v_len..][..tiles.v_len], depth),
                    &packed[point * point_len..][..point_len],
                    &mut m[point * tiles.m_len..][..tiles.m_len],
                    filters,
                    false,
                    None,
                    Activation::Linear,
                    gemm,
                );
            }
            kernels.winograd_output(tiles, first, rows, m, ring, layout.slots);
            let done = 2 * (first + rows) - tiles.above;
            let ready = (pooled..pool.out_height)
                .take_while(|&oy| pool.rows(oy).1 <= done)
                .count();
            let end = pooled + ready;
            kernels.pool_ring(
                &pool,
                pooled..end,
                ring,
                layout.slots,
                padded_bias,
                block.activation,
                output,
                codes,
            );
            pooled = end;
        }
    }
}

/// # Panics
/// Where the image is no sample, or v does not hold a band.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn input<S: Simd>(
    s: S,
    tiles: &Tiles,
    first: usize,
    rows: usize,
    image: &[f32],
    v: &mut [f32],
) {
    let conv = &tiles.conv;
    assert!(rows <= tiles.band && first + rows <= tiles.rows);
    assert_eq!(image.len(), conv.input_len());
    assert!(v.len() >= POINTS * tiles.v_len);
    let channels = conv.in_channels;
    let (pad_top, pad_left) = (conv.pad_top as isize, conv.pad_left as isize);
    let (height, width) = (conv.height as isize, conv.width as isize);
    for row in 0..rows {
        let y = tiles.top(first + row) - pad_top;
        for column in 0..tiles.columns {
            let x = (2 * column) as isize - pad_left;
            let inside = y >= 0 && x >= 0 && y + 4 <= height && x + 4 <= width;
            let patch = Patch {
                image: image.as_ptr(),
                y,
                x,
                height,
                width,
                channels,
                point_len: tiles.v_len,
            };
            // SAFETY: a tile inside the band stands inside each point's plane; what the patch reads outside the image
            // it takes for 0.
            unsafe {
                let v = v
                    .as_mut_ptr()
                    .add((row * tiles.columns + column) * channels);
                patch.prefetch_below(s);
                if inside {
                    patch.transform::<S, true>(s, v);
                } else {
                    patch.transform::<S, false>(s, v);
                }
            }
        }
    }
}

/// 4 x 4 pixels of the image, from (y, x) on.
struct Patch {
    image: *const f32,
    y: isize,
    x: isize,
    height: isize,
    width: isize,
    channels: usize,
    point_len: usize,
}

impl Patch {
    /// Asks for the two rows that the tile below adds to this one's, two columns of them: they come too late else.
    #[inline(always)]
    fn prefetch_below<S: Simd>(&self, s: S) {
        for y in self.y + 4..self.y + 6 {
            let pixel = (y * self.width + self.x) * self.channels as isize;
            for line in (0..2 * self.channels).step_by(16) {
                s.prefetch(self.image.wrapping_offset(pixel).wrapping_add(line));
            }
        }
    }

    /// Writes `B' d B` of every channel.
    ///
    /// # Safety
    /// `image` holds height x width pixels; with `INSIDE` all of the patch lies in it; `v` may be written for the
    /// channels at every point's distance.
    #[inline(always)]
    unsafe fn transform<S: Simd, const INSIDE: bool>(&self, s: S, v: *mut f32) {
        let mut c = 0;
        while c < self.channels {
            let count = S::LANES.min(self.channels - c);
            // SAFETY: the caller's promise; `count` channels are left.
            unsafe {
                if count == S::LANES {
                    self.transform_channels::<S, INSIDE, true>(s, c, count, v.add(c));
                } else {
                    self.transform_channels::<S, INSIDE, false>(s, c, count, v.add(c));
                }
            }
            c += S::LANES;
        }
    }

    /// # Safety
    /// As for `transform`, of `count` channels from `c` on, which are a register with `WHOLE`.
    #[inline(always)]
    unsafe fn transform_channels<S: Simd, const INSIDE: bool, const WHOLE: bool>(
        &self,
        s: S,
        c: usize,
        count: usize,
        v: *mut f32,
    ) {
        // SAFETY: the caller's promise; a pixel outside the image is not read.
        unsafe {
            let mut lines = [[s.zero(); 4]; 4];
            for x in 0..4 {
                let mut d = [s.zero(); 4];
                for y in 0..4 {
                    let (row, column) = (self.y + y as isize, self.x + x as isize);
                    if INSIDE
                        || (0..self.height).contains(&row) && (0..self.width).contains(&column)
                    {
                        let pixel = (row * self.width + column) * self.channels as isize;
                        let from = self.image.offset(pixel).add(c);
                        d[y] = if WHOLE {
                            s.load(from)
                        } else {
                            s.load_partial(from, count)
                        };
                    }
                }
                let line = input_line(s, d);
                for y in 0..4 {
                    lines[y][x] = line[y];
                }
            }
            for y in 0..4 {
                let points = input_line(s, lines[y]);
                for x in 0..4 {
                    let to = v.add((4 * y + x) * self.point_len);
                    if WHOLE {
                        s.store(to, points[x]);
                    } else {
                        s.store_partial(to, points[x], count);
                    }
                }
            }
        }
    }
}

/// `B' d`
#[inline(always)]
fn input_line<S: Simd>(s: S, d: [S::F; 4]) -> [S::F; 4] {
    [
        s.sub(d[0], d[2]),
        s.add(d[1], d[2]),
        s.sub(d[2], d[1]),
        s.sub(d[1], d[3]),
    ]
}

/// `A' m`
#[inline(always)]
fn output_line<S: Simd>(s: S, m: [S::F; 4]) -> [S::F; 2] {
    let (sum, difference) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    [s.add(m[0], sum), s.sub(difference, m[3])]
}

/// # Panics
/// Where m does not hold a band, or the ring its slots.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn output<S: Simd>(
    s: S,
    tiles: &Tiles,
    first: usize,
    rows: usize,
    m: &[f32],
    ring: &mut [f32],
    slots: usize,
) {
    let conv = &tiles.conv;
    let channels = conv.out_channels;
    let row_len = conv.out_width * channels;
    assert!(rows <= tiles.band && first + rows <= tiles.rows);
    assert!(m.len() >= POINTS * tiles.m_len);
    assert!(slots > 0 && ring.len() >= slots * row_len);
    for row in 0..rows {
        let top = tiles.top(first + row);
        // SAFETY: the rows that are written are the map's, each in its slot; a tile's second column is written where the
        // map has it; a tile inside the band stands inside each point's plane.
        unsafe {
            let mut lines = [std::ptr::null_mut(); 2];
            for (y, line) in (top..).zip(&mut lines) {
                if (0..conv.out_height as isize).contains(&y) {
                    *line = ring.as_mut_ptr().add(y as usize % slots * row_len);
                }
            }
            for column in 0..tiles.columns {
                let m = m.as_ptr().add((row * tiles.columns + column) * channels);
                let columns = 2.min(conv.out_width - 2 * column);
                let mut c = 0;
                while c < channels {
                    let count = S::LANES.min(channels - c);
                    let to = 2 * column * channels + c;
                    if count == S::LANES {
                        put::<S, true>(s, tiles, m.add(c), lines, to, columns, count);
                    } else {
                        put::<S, false>(s, tiles, m.add(c), lines, to, columns, count);
                    }
                    c += S::LANES;
                }
            }
        }
    }
}

/// Writes `A' m A` of `count` channels: at `to` of the lines that are not null, and a pixel further in the second column.
///
/// # Safety
/// `m` may be read for the channels at every point's distance, the lines written; with `WHOLE` the channels are a register.
#[inline(always)]
unsafe fn put<S: Simd, const WHOLE: bool>(
    s: S,
    tiles: &Tiles,
    m: *const f32,
    lines: [*mut f32; 2],
    to: usize,
    columns: usize,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut halves = [[s.zero(); 4]; 2];
        for x in 0..4 {
            let mut column = [s.zero(); 4];
            for y in 0..4 {
                let from = m.add((4 * y + x) * tiles.m_len);
                column[y] = if WHOLE {
                    s.load(from)
                } else {
                    s.load_partial(from, count)
                };
            }
            let half = output_line(s, column);
            halves[0][x] = half[0];
            halves[1][x] = half[1];
        }
        for y in 0..2 {
            if lines[y].is_null() {
                continue;
            }
            let pixels = output_line(s, halves[y]);
            for x in 0..columns {
                let to = lines[y].add(to + x * tiles.conv.out_channels);
                if WHOLE {
                    s.store(to, pixels[x]);
                } else {
                    s.store_partial(to, pixels[x], count);
                }
            }
        }
    }
}
