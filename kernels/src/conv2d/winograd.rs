//! The forward pass of 3 x 3 convolutions by Winograd's minimal filtering, F(3 x 3, 3 x 3): 25 multiplications for nine pixels
//! instead of 81.
//!
//! ```text
//! a sample:
//!   for a band of tile rows, three rows of the map each:
//!     v[t][tile, i] = B' (5 x 5 pixels of the image) B      t = 0..25
//!     m[t] = v[t] * u[t]                                    25 products, u[t][i, o] = G (3 x 3 of the kernel) G'
//!     3 x 3 pixels of the map = A' (25 values of m) A       into a ring of rows
//!     pool and activate the rows that the ring has
//! ```
//! Tiles are cut off the map's upper left corner on; what a tile holds beyond the map is computed and not written. Every pixel of a tile
//! is made of all that the tile reads, so a band of rows reads whole tiles ([`ConvBlock::rows_above`]).
//!
//! The polynomials are evaluated at 0, 1, -1/2, -2 and infinity. In a NumPy model, with 32 channels behind a relu, that errs by 3.7e-7 of
//! the result (relative L2), where the direct kernel errs by 2.2e-7; at 0, 1, -1 and 2, the usual points, by 6.1e-7.
//!
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; the points' effect: Barabasz, Anderson,
//! Soodhalter and Gregg, "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2020.

use super::ahead::LINE_CODES;
use super::{
    Conv2dShape, ConvAlgorithm, ConvBlock, Sections, fast_rows, one_channel, pad_bias, row_pairs,
    samples,
};
use crate::activation::Activation;
use crate::gemm::{Matrix, gemm_scratch_len, packed_len};
use crate::simd::Simd;
use crate::table::Kernels;

/// Rows and columns of the map in a tile.
const TILE: usize = 3;
/// Rows and columns of the image that a tile reads.
pub(super) const PATCH: usize = TILE + 2;
/// The point at infinity of a row or column of them.
const INFINITY: usize = PATCH - 1;
/// Products of a tile: its pixels after the transform.
const POINTS: usize = PATCH * PATCH;
/// Values that a band's tiles have on both sides of the products: 512 KB, an L2.
const BAND: usize = 128 * 1024;

/// The kernels that compute a block by minimal filtering.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Those of this module.
    Tiles,
    /// [`row_pairs`].
    RowPairs,
    /// [`fast_rows`].
    Rows,
}

/// The form that a block takes, if it can be computed so.
pub(crate) fn form(block: &ConvBlock, lanes: usize) -> Option<Form> {
    match fast_rows::applies(block, lanes) {
        true => Some(Form::Rows),
        false => form_of_3x3(&block.conv),
    }
}

fn form_of_3x3(conv: &Conv2dShape) -> Option<Form> {
    let is_3x3 = (conv.kernel_height, conv.kernel_width) == (3, 3);
    is_3x3.then(|| match one_channel::applies(conv) {
        true => Form::RowPairs,
        false => Form::Tiles,
    })
}

/// Rows of the image above and below those that rows `first..end` of the map read, which their tiles read too.
pub(super) fn rows_around(block: &ConvBlock, first: usize, end: usize) -> (usize, usize) {
    if block.algorithm != Some(ConvAlgorithm::Winograd)
        || form_of_3x3(&block.conv) != Some(Form::Tiles)
    {
        return (0, 0);
    }
    let (first, end) = (block.first_row + first, block.first_row + end);
    (first % TILE, end.next_multiple_of(TILE) - end)
}

/// Tiles of 3 x 3 pixels over the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    conv: Conv2dShape,
    /// Rows of the first tiles that stand above the map.
    above: usize,
    /// The image's row that is the first of the map's first row's window, or negative.
    top: isize,
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
        let above = block.first_row % TILE;
        let columns = conv.out_width.div_ceil(TILE);
        let rows = (conv.out_height + above).div_ceil(TILE);
        let a_row = POINTS * columns * (conv.in_channels + conv.out_channels);
        let bands = rows.div_ceil((BAND / a_row).max(1));
        let band = rows.div_ceil(bands);
        // A line more than whole pages, which would put the points of a pixel into the same few lines of L1.
        let plane = |channels: usize| (band * columns * channels).next_multiple_of(16) + 16;
        Self {
            conv,
            above,
            top: block.rows_above as isize - conv.pad_top as isize,
            columns,
            rows,
            band,
            v_len: plane(conv.in_channels),
            m_len: plane(conv.out_channels),
        }
    }

    /// Tiles of the band `first..first + rows` that a point is multiplied for: what stands at infinity goes to a tile's last row or
    /// column alone, which the map's last tiles may not have.
    fn multiplied(&self, first: usize, rows: usize, point: usize) -> usize {
        let is_cut = self.top(first + rows) > self.conv.out_height as isize;
        let rows = rows - usize::from(is_cut && point / PATCH == INFINITY);
        rows * (self.columns
            - if point % PATCH == INFINITY {
                self.cut()
            } else {
                0
            })
    }

    /// 1 where the map does not have all columns of a row's last tile: that is left out of the planes of the last column's points, where
    /// the next row's first one stands in its place.
    #[inline(always)]
    fn cut(&self) -> usize {
        usize::from(TILE * self.columns > self.conv.out_width)
    }

    /// The row of the map, or a negative one, that is the first of a tile row.
    #[inline(always)]
    fn top(&self, row: usize) -> isize {
        (TILE * row) as isize - self.above as isize
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
        let slots = TILE * tiles.band + block.pool_or_identity().window_height;
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

/// Values of the packed kernel: 25 matrices of in x out channels.
pub(super) fn packed_kernel_len(block: &ConvBlock, lanes: usize) -> usize {
    let conv = &block.conv;
    match form(block, lanes) {
        Some(Form::Rows) => fast_rows::packed_kernel_len(conv),
        Some(Form::RowPairs) => row_pairs::packed_kernel_len(conv, lanes),
        _ => POINTS * packed_len(conv.in_channels, conv.out_channels, lanes),
    }
}

/// The kernel as forward reads it.
pub(super) fn pack(kernels: &Kernels, block: &ConvBlock, kernel: &[f32], packed: &mut [f32]) {
    let (conv, lanes) = (&block.conv, kernels.lanes());
    let packed = &mut packed[..packed_kernel_len(block, lanes)];
    match form(block, lanes) {
        Some(Form::Rows) => fast_rows::pack(conv, kernel, packed),
        Some(Form::RowPairs) => row_pairs::pack(conv, lanes, kernel, packed),
        _ => kernels.conv_winograd_pack(conv, kernel, packed),
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
    for (image, output, codes) in samples(block, input, output, codes) {
        // The products leave memory idle: what the pool will write is asked for between them.
        let turns = tiles.rows.div_ceil(tiles.band) * POINTS;
        let share = output.len().div_ceil(turns).next_multiple_of(LINE_CODES);
        let (mut asked, mut pooled) = (0, 0);
        for first in (0..tiles.rows).step_by(tiles.band) {
            let rows = tiles.band.min(tiles.rows - first);
            kernels.winograd_input(tiles, first, rows, image, v);
            for point in 0..POINTS {
                let end = (asked + share).min(output.len());
                kernels.prefetch(&output[asked..end], codes.get(asked..end).unwrap_or(&[]));
                asked = end;
                kernels.gemm_packed(
                    tiles.multiplied(first, rows, point),
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
            let done = TILE * (first + rows) - tiles.above;
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
    let (height, width) = (conv.height as isize, conv.width as isize);
    for row in 0..rows {
        let y = tiles.top(first + row) + tiles.top;
        for column in 0..tiles.columns {
            let x = (TILE * column) as isize - conv.pad_left as isize;
            let end = PATCH as isize;
            let inside = y >= 0 && x >= 0 && y + end <= height && x + end <= width;
            let patch = Patch {
                image: image.as_ptr(),
                y,
                x,
                height,
                width,
                channels,
                point_len: tiles.v_len,
                back: row * tiles.cut() * channels,
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

/// 5 x 5 pixels of the image, from (y, x) on.
struct Patch {
    image: *const f32,
    y: isize,
    x: isize,
    height: isize,
    width: isize,
    channels: usize,
    point_len: usize,
    /// Values by which the last column's points stand further ahead in their planes.
    back: usize,
}

impl Patch {
    /// Asks for the rows that the tile below adds to this one's, as many columns of them: they come too late else.
    #[inline(always)]
    fn prefetch_below<S: Simd>(&self, s: S) {
        for row in PATCH..PATCH + TILE {
            let pixel = ((self.y + row as isize) * self.width + self.x) * self.channels as isize;
            for line in (0..TILE * self.channels).step_by(16) {
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
            let mut lines = [[s.zero(); PATCH]; PATCH];
            for x in 0..PATCH {
                let mut d = [s.zero(); PATCH];
                for y in 0..PATCH {
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
                for y in 0..PATCH {
                    lines[y][x] = line[y];
                }
            }
            for y in 0..PATCH {
                let points = input_line(s, lines[y]);
                for x in 0..PATCH {
                    let back = if x == INFINITY { self.back } else { 0 };
                    let to = v.add((PATCH * y + x) * self.point_len - back);
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

/// `B' d`: the coefficients of the product of the other points' (x - point), for infinity of all.
#[inline(always)]
fn input_line<S: Simd>(s: S, d: [S::F; PATCH]) -> [S::F; PATCH] {
    let k = |x| s.splat(x);
    let outer = s.add(d[1], d[3]);
    [
        s.mul_add(k(1.5), s.sub(d[1], d[2]), s.sub(d[0], d[3])),
        s.mul_add(k(2.5), d[2], outer),
        s.mul_add(k(-2.0), d[1], s.add(d[2], d[3])),
        s.mul_add(k(-0.5), s.add(d[1], d[2]), d[3]),
        s.mul_add(k(1.5), s.sub(d[3], d[2]), s.sub(d[4], d[1])),
    ]
}

/// `A' m`: row i holds the points' i-th powers.
#[inline(always)]
fn output_line<S: Simd>(s: S, m: [S::F; PATCH]) -> [S::F; TILE] {
    let k = |x| s.splat(x);
    [
        s.add(s.add(m[0], m[1]), s.add(m[2], m[3])),
        s.mul_add(k(-2.0), m[3], s.mul_add(k(-0.5), m[2], m[1])),
        s.mul_add(k(4.0), m[3], s.mul_add(k(0.25), m[2], s.add(m[1], m[4]))),
    ]
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
        // SAFETY: the rows that are written are the map's, each in its slot; a tile's other columns are written where the
        // map has it; a tile inside the band stands inside each point's plane.
        unsafe {
            let mut lines = [std::ptr::null_mut(); TILE];
            for (y, line) in (top..).zip(&mut lines) {
                if (0..conv.out_height as isize).contains(&y) {
                    *line = ring.as_mut_ptr().add(y as usize % slots * row_len);
                }
            }
            let back = row * tiles.cut() * channels;
            for column in 0..tiles.columns {
                let m = m.as_ptr().add((row * tiles.columns + column) * channels);
                let columns = TILE.min(conv.out_width - TILE * column);
                let mut c = 0;
                while c < channels {
                    let count = S::LANES.min(channels - c);
                    let to = TILE * column * channels + c;
                    if count == S::LANES {
                        put::<S, true>(s, tiles, m.add(c), back, lines, to, columns, count);
                    } else {
                        put::<S, false>(s, tiles, m.add(c), back, lines, to, columns, count);
                    }
                    c += S::LANES;
                }
            }
        }
    }
}

/// Writes `A' m A` of `count` channels: at `to` of the lines that are not null, and a pixel further in each next column.
///
/// # Safety
/// `m` may be read for the channels at every point's distance, less `back` in the last column, the lines written; with `WHOLE` the channels are a register.
#[inline(always)]
unsafe fn put<S: Simd, const WHOLE: bool>(
    s: S,
    tiles: &Tiles,
    m: *const f32,
    back: usize,
    lines: [*mut f32; TILE],
    to: usize,
    columns: usize,
    count: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut rows = [[s.zero(); PATCH]; TILE];
        for x in 0..PATCH {
            let mut column = [s.zero(); PATCH];
            for y in 0..PATCH {
                let from =
                    m.add((PATCH * y + x) * tiles.m_len - if x == INFINITY { back } else { 0 });
                column[y] = if WHOLE {
                    s.load(from)
                } else {
                    s.load_partial(from, count)
                };
            }
            let line = output_line(s, column);
            for y in 0..TILE {
                rows[y][x] = line[y];
            }
        }
        for y in 0..TILE {
            if lines[y].is_null() {
                continue;
            }
            let pixels = output_line(s, rows[y]);
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
