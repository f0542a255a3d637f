//! Four rows of a convolution over one channel with 9/16 of the multiplications.
//!
//! Two rows y of a correlation with two kernel rows h take three products instead of four, Winograd's F(2, 2):
//!
//! ```text
//! y0 = (x0 - x1) h0 + x1 (h0 + h1)
//! y1 = (x1 - x2) (-h1) + x1 (h0 + h1)
//! ```
//! More kernel rows: h0 stands for the even and h1 for the odd ones, and each product is a correlation itself, over every
//! second row. It is cut in two the same way: four rows of the map by nine correlations with a quarter of the kernel's rows. They
//! read sums of up to four rows of the image, nine rows of them for four of the image, which serve all filters and columns.
//!
//! Every row of the map is a sum over its own windows alone, as `direct`'s is: what stands elsewhere in the image does not touch it.
//!
//! Source: Winograd, "Arithmetic Complexity of Computations", 1980; nested as in Mou and Duhamel, "Short-length FIR filters and
//! their use in fast nonrecursive filtering", 1991.

use super::few_filters::{self, Taps, correlate};
use super::planes::Planes;
use super::{Conv2dShape, ConvBlock};
use crate::simd::Simd;

/// Rows of the map that are computed together.
pub(super) const ROWS: usize = 4;
/// Products that give them.
pub(super) const PRODUCTS: usize = 9;
/// Rows of the image that one row of each product's sums is made of.
const SPAN: usize = 7;

/// True where the block can be computed so, and faster than directly: with a kernel of four rows the products would have but one
/// row each, too little to do for each sum that is written.
pub(super) fn applies(block: &ConvBlock, lanes: usize) -> bool {
    let rows = block.conv.kernel_height;
    rows > ROWS && rows.is_multiple_of(ROWS) && few_filters::applies(block, lanes)
}

/// Rows of every product's kernel.
pub(super) fn kernel_rows(conv: &Conv2dShape) -> usize {
    conv.kernel_height / ROWS
}

/// Values of the packed kernels: `[product][row][kx][filter]`.
pub(super) fn packed_kernel_len(conv: &Conv2dShape) -> usize {
    PRODUCTS * kernel_rows(conv) * conv.kernel_width * conv.out_channels
}

/// The kernels of the products, in the order of [`sums`].
pub(super) fn pack(conv: &Conv2dShape, kernel: &[f32], packed: &mut [f32]) {
    let row_len = conv.kernel_width * conv.out_channels;
    let product_len = kernel_rows(conv) * row_len;
    for (row, rows) in kernel.chunks_exact(ROWS * row_len).enumerate() {
        for i in 0..row_len {
            // In f64, so that each value is rounded once.
            let [h0, h1, h2, h3] = [0, 1, 2, 3].map(|r| f64::from(rows[r * row_len + i]));
            let products = [
                [h0, h0 + h2, -h2],
                [h0 + h1, h0 + h1 + h2 + h3, -h2 - h3],
                [-h1, -h1 - h3, h3],
            ];
            for (product, value) in products.as_flattened().iter().enumerate() {
                packed[product * product_len + row * row_len + i] = *value as f32;
            }
        }
    }
}

/// Rows of sums, each of [`PRODUCTS`] rows of the image's length, that `groups` of rows of the map read.
pub(super) fn sums_rows(conv: &Conv2dShape, groups: usize) -> usize {
    groups + kernel_rows(conv) - 1
}

/// Rows of the padded image that so many rows of sums are made of.
pub(super) fn padded_rows(sums_rows: usize) -> usize {
    ROWS * (sums_rows - 1) + SPAN
}

/// Row `row` of the sums.
///
/// # Safety
/// `padded` may be read, and `sums` written, for rows 0..=row of the sums; `row_len` is whole registers.
#[inline(always)]
pub(super) unsafe fn sums<S: Simd>(
    s: S,
    row: usize,
    row_len: usize,
    padded: *const f32,
    sums: *mut f32,
) {
    // SAFETY: SPAN rows of the image from ROWS * row on, and PRODUCTS rows of the sums.
    unsafe {
        let from = padded.add(row * ROWS * row_len);
        let to = sums.add(row * PRODUCTS * row_len);
        for x in (0..row_len).step_by(S::LANES) {
            let mut r = [s.zero(); SPAN];
            for y in 0..SPAN {
                r[y] = s.load(from.add(y * row_len + x));
            }
            let (a, b) = (s.sub(r[2], r[3]), s.sub(r[3], r[4]));
            let products = [
                [s.sub(s.sub(r[0], r[1]), a), a, s.sub(a, s.sub(r[4], r[5]))],
                [s.sub(r[1], r[3]), r[3], s.sub(r[3], r[5])],
                [s.sub(s.sub(r[1], r[2]), b), b, s.sub(b, s.sub(r[5], r[6]))],
            ];
            for i in 0..3 {
                for j in 0..3 {
                    s.store(to.add((3 * i + j) * row_len + x), products[i][j]);
                }
            }
        }
    }
}

/// ROWS rows of the map, without their bias, for F filters by V registers of pixels.
///
/// # Safety
/// `sums` points at the tile's first column in the group's first row of sums, `weights` at the first of the filters in
/// the first product's kernel; `slot` and `waiting` may be written as for [`Planes::store`], ROWS slots of the first.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const F: usize, const V: usize>(
    s: S,
    conv: &Conv2dShape,
    planes: &Planes,
    row_len: usize,
    sums: *const f32,
    weights: *const f32,
    slot: *mut f32,
    waiting: *mut f32,
) {
    let taps = Taps {
        rows: kernel_rows(conv),
        columns: conv.kernel_width,
        row_len: PRODUCTS * row_len,
        filters: conv.out_channels,
    };
    let kernel_len = taps.rows * taps.columns * taps.filters;
    let (even, odd) = (planes.slot_len, 3 * planes.slot_len);
    // Sums that wait stand in memory, of all rows in the slots of the last two: all of them together would not fit the registers.
    for (product, row) in [(3, None), (0, Some(0)), (6, Some(1))] {
        // SAFETY: the products stand a row of sums, and a kernel, apart; `waiting` holds a tile.
        unsafe {
            let (x, w) = (
                sums.add(product * row_len),
                weights.add(product * kernel_len),
            );
            let (x1, w1) = (x.add(row_len), w.add(kernel_len));
            let (x2, w2) = (x1.add(row_len), w1.add(kernel_len));
            let both = correlate::<S, F, V>(s, taps, x1, w1, [[s.zero(); V]; F]);
            planes.store(s, waiting, &both);
            let upper = correlate::<S, F, V>(s, taps, x, w, both);
            let to = slot.add(row.unwrap_or(1) * planes.slot_len);
            match row {
                None => planes.store(s, to, &upper),
                Some(_) => planes.store_sum(s, to, &upper, slot.add(even)),
            }
            let both = planes.load::<S, F, V>(s, waiting);
            let lower = correlate::<S, F, V>(s, taps, x2, w2, both);
            let to = to.add(2 * planes.slot_len);
            match row {
                None => planes.store(s, to, &lower),
                Some(_) => planes.store_sum(s, to, &lower, slot.add(odd)),
            }
        }
    }
}
