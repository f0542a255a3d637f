//! Rows of a convolution over one channel, two with 3/4 of the multiplications, or four with 9/16.
//!
//! Two rows y of a correlation with two kernel rows h take three products instead of four, Winograd's F(2, 2):
//!
//! ```text
//! y0 = (x0 - x1) h0 + x1 (h0 + h1)
//! y1 = (x1 - x2) (-h1) + x1 (h0 + h1)
//! ```
//! More kernel rows: h0 stands for the even and h1 for the odd ones, and each product is a correlation itself, over every
//! second row. Where they are enough, it is cut in two the same way: four rows of the map by nine correlations with a quarter of the kernel's rows. They
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

/// The fewest rows of a product's kernel: with one there would be too little to do for each sum that is written.
const KERNEL_ROWS: usize = 2;

/// True where the block can be computed so, and faster than directly.
pub(super) fn applies(block: &ConvBlock, lanes: usize) -> bool {
    together(&block.conv) > 1 && few_filters::applies(block, lanes)
}

/// Rows of the map that are computed together: four, two, or one where the kernel cannot be cut.
pub(super) fn together(conv: &Conv2dShape) -> usize {
    let fits = |rows: usize| {
        conv.kernel_height.is_multiple_of(rows) && conv.kernel_height / rows >= KERNEL_ROWS
    };
    [4, 2].into_iter().find(|&rows| fits(rows)).unwrap_or(1)
}

/// Products that give the rows.
pub(super) fn products(conv: &Conv2dShape) -> usize {
    match together(conv) {
        4 => 9,
        _ => 3,
    }
}

/// Rows of every product's kernel.
pub(super) fn kernel_rows(conv: &Conv2dShape) -> usize {
    conv.kernel_height / together(conv)
}

/// Values of the packed kernels: `[product][row][kx][filter]`.
pub(super) fn packed_kernel_len(conv: &Conv2dShape) -> usize {
    products(conv) * kernel_rows(conv) * conv.kernel_width * conv.out_channels
}

/// The kernels of the products, in the order of [`sums`].
pub(super) fn pack(conv: &Conv2dShape, kernel: &[f32], packed: &mut [f32]) {
    let row_len = conv.kernel_width * conv.out_channels;
    let product_len = kernel_rows(conv) * row_len;
    let together = together(conv);
    for (row, rows) in kernel.chunks_exact(together * row_len).enumerate() {
        for i in 0..row_len {
            // In f64, so that each value is rounded once.
            let tap = |r: usize| f64::from(rows[r * row_len + i]);
            let pair = |h0: f64, h1: f64| [h0, h0 + h1, -h1];
            let mut products = [pair(tap(0), tap(1)), [0.0; 3], [0.0; 3]];
            if together == 4 {
                let (even, odd) = (pair(tap(0), tap(2)), pair(tap(1), tap(3)));
                for j in 0..3 {
                    let outer = pair(even[j], odd[j]);
                    (0..3).for_each(|i| products[i][j] = outer[i]);
                }
            }
            let values = products.as_flattened().iter().take(self::products(conv));
            for (product, value) in values.enumerate() {
                packed[product * product_len + row * row_len + i] = *value as f32;
            }
        }
    }
}

/// Rows of sums, each of [`products`] rows of the image's length, that `groups` of rows of the map read.
pub(super) fn sums_rows(conv: &Conv2dShape, groups: usize) -> usize {
    groups + kernel_rows(conv) - 1
}

/// Rows of the padded image that so many rows of sums are made of.
pub(super) fn padded_rows(conv: &Conv2dShape, sums_rows: usize) -> usize {
    let together = together(conv);
    // A row of sums is made of one less than twice as many.
    together * (sums_rows - 1) + 2 * together - 1
}

/// Row `row` of the sums for TOGETHER rows of the map.
///
/// # Safety
/// `padded` may be read, and `sums` written, for rows 0..=row of the sums; `row_len` is whole registers.
#[inline(always)]
pub(super) unsafe fn sums<S: Simd, const TOGETHER: usize>(
    s: S,
    row: usize,
    row_len: usize,
    padded: *const f32,
    sums: *mut f32,
) {
    // SAFETY: 2 * TOGETHER - 1 rows of the image from TOGETHER * row on, and a row of the sums of every product.
    unsafe {
        let from = padded.add(row * TOGETHER * row_len);
        for x in (0..row_len).step_by(S::LANES) {
            let at = |y: usize| from.add(y * row_len + x);
            if TOGETHER == 2 {
                let to = sums.add(row * 3 * row_len + x);
                let r = [s.load(at(0)), s.load(at(1)), s.load(at(2))];
                s.store(to, s.sub(r[0], r[1]));
                s.store(to.add(row_len), r[1]);
                s.store(to.add(2 * row_len), s.sub(r[1], r[2]));
                continue;
            }
            let to = sums.add(row * 9 * row_len + x);
            let mut r = [s.zero(); 7];
            for y in 0..7 {
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
                    s.store(to.add((3 * i + j) * row_len), products[i][j]);
                }
            }
        }
    }
}

/// Where a tile's sums come from and go to.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    pub(super) conv: &'a Conv2dShape,
    pub(super) planes: &'a Planes,
    /// Values from a product's row of sums to the next one's.
    pub(super) row_len: usize,
    /// The tile's first column in the group's first row of sums.
    pub(super) sums: *const f32,
    /// The first of the filters in the first product's kernel.
    pub(super) weights: *const f32,
    /// Its pixels in the first row's slot.
    pub(super) slot: *mut f32,
    /// The same in a slot for sums that wait.
    pub(super) waiting: *mut f32,
}

impl Tile<'_> {
    /// TOGETHER rows of the map, without their bias, for F filters by V registers of pixels.
    ///
    /// # Safety
    /// Sums and weights may be read for all products; `waiting`, and `slot` with the slots of the rows behind it, may be written.
    #[inline(always)]
    pub(super) unsafe fn rows<S: Simd, const TOGETHER: usize, const F: usize, const V: usize>(
        self,
        s: S,
    ) {
        // SAFETY: handed on.
        unsafe {
            if TOGETHER == 2 {
                return self.pair::<S, 3, F, V>(s, 0, [0, 1], None);
            }
            // What belongs to two rows waits in the slots of the last ones: registers do not hold all.
            self.pair::<S, 9, F, V>(s, 3, [1, 3], None);
            self.pair::<S, 9, F, V>(s, 0, [0, 2], Some([1, 3]));
            self.pair::<S, 9, F, V>(s, 6, [1, 3], Some([1, 3]));
        }
    }

    /// Two rows of three products from `product` of PRODUCTS on into two slots, with what stands in two others added.
    ///
    /// # Safety
    /// As for `rows`.
    #[inline(always)]
    unsafe fn pair<S: Simd, const PRODUCTS: usize, const F: usize, const V: usize>(
        self,
        s: S,
        product: usize,
        to: [usize; 2],
        others: Option<[usize; 2]>,
    ) {
        let Tile { conv, planes, .. } = self;
        let taps = Taps {
            rows: kernel_rows(conv),
            columns: conv.kernel_width,
            row_len: PRODUCTS * self.row_len,
            filters: conv.out_channels,
        };
        let kernel_len = taps.rows * taps.columns * taps.filters;
        let slot = |i: usize| self.slot.wrapping_add(i * planes.slot_len);
        // SAFETY: the products stand a row of sums, and a kernel, apart.
        unsafe {
            let x = self.sums.add(product * self.row_len);
            let w = self.weights.add(product * kernel_len);
            let (x1, w1) = (x.add(self.row_len), w.add(kernel_len));
            let (x2, w2) = (x1.add(self.row_len), w1.add(kernel_len));
            let both = correlate::<S, F, V>(s, taps, x1, w1, [[s.zero(); V]; F]);
            planes.store(s, self.waiting, &both);
            let upper = correlate::<S, F, V>(s, taps, x, w, both);
            match others {
                None => planes.store(s, slot(to[0]), &upper),
                Some(others) => planes.store_sum(s, slot(to[0]), &upper, slot(others[0])),
            }
            let both = planes.load::<S, F, V>(s, self.waiting);
            let lower = correlate::<S, F, V>(s, taps, x2, w2, both);
            match others {
                None => planes.store(s, slot(to[1]), &lower),
                Some(others) => planes.store_sum(s, slot(to[1]), &lower, slot(others[1])),
            }
        }
    }
}
