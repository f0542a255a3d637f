//! Two rows of a 3 x 3 convolution over one channel with 2/3 of the multiplications: Winograd's F(2, 3) over the rows.
//!
//! ```text
//! m0 = (x0 - x2) h0     m1 = (x1 + x2) (h0 + h1 + h2) / 2     m2 = (x2 - x1) (h0 - h1 + h2) / 2     m3 = (x3 - x1) h2
//! y0 = (m1 + m2) + m0
//! y1 = (m1 - m2) + m3
//! ```
//! Each product is a correlation of three columns, and the sums of the image's rows serve all filters. Every row of the map is a sum over
//! its own windows alone, as `direct`'s is.
//!
//! Source: Winograd, "Arithmetic Complexity of Computations", 1980.

use super::Conv2dShape;
use super::ahead::Ahead;
use super::one_channel::TILE;
use crate::simd::Simd;

/// Products of a pair of rows.
pub(super) const PRODUCTS: usize = 4;
/// Columns of the kernel.
const COLUMNS: usize = 3;
/// Steps of the packed kernel.
pub(super) const STEPS: usize = PRODUCTS * COLUMNS;

/// Values of the packed kernels.
pub(super) fn packed_kernel_len(conv: &Conv2dShape, lanes: usize) -> usize {
    STEPS * conv.out_channels.next_multiple_of(lanes)
}

/// The kernels of the products, `[register of channels][product, kx][channel of the register]`.
pub(super) fn pack(conv: &Conv2dShape, lanes: usize, kernel: &[f32], packed: &mut [f32]) {
    let filters = conv.out_channels;
    let registers = packed
        .chunks_exact_mut(STEPS * lanes)
        .zip((0..).step_by(lanes));
    for (register, first) in registers {
        for (i, o) in (first..first + lanes).enumerate() {
            for kx in 0..COLUMNS {
                // In f64, so that each value is rounded once.
                let tap = |ky: usize| match o < filters {
                    true => f64::from(kernel[(ky * COLUMNS + kx) * filters + o]),
                    false => 0.0,
                };
                let [h0, h1, h2] = [tap(0), tap(1), tap(2)];
                let products = [h0, 0.5 * (h0 + h1 + h2), 0.5 * (h0 - h1 + h2), h2];
                for (product, value) in products.into_iter().enumerate() {
                    register[(product * COLUMNS + kx) * lanes + i] = value as f32;
                }
            }
        }
    }
}

/// Values of the sums of a pair's rows.
pub(super) fn sums_len(conv: &Conv2dShape, lanes: usize) -> usize {
    PRODUCTS * row_len(conv, lanes)
}

/// Values of a row of sums: whole registers.
pub(super) fn row_len(conv: &Conv2dShape, lanes: usize) -> usize {
    conv.padded_width().next_multiple_of(lanes)
}

/// The image's rows that the pair of rows from `top` on, of which one may stand beyond the map, reads.
///
/// # Safety
/// `image` points at the padded image, in rows of `row_len`.
#[inline(always)]
pub(super) unsafe fn rows_read(
    conv: &Conv2dShape,
    image: *const f32,
    row_len: usize,
    top: isize,
) -> [*const f32; 4] {
    let mut rows = [image; 4];
    for (y, row) in (top..).zip(&mut rows) {
        // Another row in place of one beyond the image, which only a row beyond the map reads.
        let y = y.clamp(0, conv.padded_height() as isize - 1) as usize;
        // SAFETY: a row of the image.
        *row = unsafe { image.add(y * row_len) };
    }
    rows
}

/// The rows of the image, summed for the products.
///
/// # Safety
/// Each of `rows` may be read for `padded_width`, and `sums` written for `sums_len` values.
#[inline(always)]
pub(super) unsafe fn sum<S: Simd>(s: S, conv: &Conv2dShape, rows: [*const f32; 4], sums: *mut f32) {
    let (width, row_len) = (conv.padded_width(), row_len(conv, S::LANES));
    for x in (0..row_len).step_by(S::LANES) {
        let mut r = [s.zero(); 4];
        for y in 0..4 {
            // SAFETY: the rest of the row is read.
            unsafe {
                let from = rows[y].add(x);
                r[y] = if x + S::LANES <= width {
                    s.load(from)
                } else {
                    s.load_partial(from, width - x)
                };
            }
        }
        let products = [
            s.sub(r[0], r[2]),
            s.add(r[1], r[2]),
            s.sub(r[2], r[1]),
            s.sub(r[3], r[1]),
        ];
        for i in 0..PRODUCTS {
            // SAFETY: registers of a row of sums.
            unsafe { s.store(sums.add(i * row_len + x), products[i]) };
        }
    }
}

/// Tiles of a pair of rows of `channels`, each of which is a turn of [`convolve`]'s `ahead`.
pub(super) fn turns(conv: &Conv2dShape, channels: usize, lanes: usize) -> usize {
    channels.div_ceil(lanes) * conv.out_width.div_ceil(TILE)
}

/// Two output rows without their bias; asks for what `ahead` is to meanwhile.
///
/// # Safety
/// `sums` is what `sum` wrote, `weights` what `pack` did for the channels; each of `out` may be written for `out_width` pixels of `channels`
/// values, and the map is at least [`TILE`] pixels wide.
#[inline(always)]
pub(super) unsafe fn convolve<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    channels: usize,
    sums: *const f32,
    weights: *const f32,
    out: [*mut f32; 2],
    ahead: &mut Ahead,
) {
    for c in (0..channels).step_by(S::LANES) {
        // SAFETY: the register's weights start at weights + STEPS * c.
        unsafe {
            let out = [out[0].add(c), out[1].add(c)];
            pixels(s, conv, sums, weights.add(STEPS * c), out, channels, ahead);
        }
    }
}

/// All pixels of both rows for a register of channels. The last tile overlaps the one before: it writes the same again.
///
/// # Safety
/// As for `convolve`.
#[inline(always)]
unsafe fn pixels<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    sums: *const f32,
    weights: *const f32,
    out: [*mut f32; 2],
    channels: usize,
    ahead: &mut Ahead,
) {
    // SAFETY: the weights are the register's; a tile's pixels lie in the rows, its values in the sums.
    unsafe {
        let w = self::weights(s, weights);
        let row_len = row_len(conv, S::LANES);
        let mut x = 0;
        while x < conv.out_width {
            let first = x.min(conv.out_width - TILE);
            let [upper, lower] = tile::<S, TILE>(s, sums.add(first), row_len, &w);
            for p in 0..TILE {
                s.store(out[0].add((first + p) * channels), upper[p]);
                s.store(out[1].add((first + p) * channels), lower[p]);
            }
            x = first + TILE;
            ahead.ask(s);
        }
    }
}

/// The products' kernels of a register of channels.
///
/// # Safety
/// `from` is the register's of what `pack` wrote.
#[inline(always)]
pub(super) unsafe fn weights<S: Simd>(s: S, from: *const f32) -> [[S::F; COLUMNS]; PRODUCTS] {
    let mut w = [[s.zero(); COLUMNS]; PRODUCTS];
    for product in 0..PRODUCTS {
        for kx in 0..COLUMNS {
            // SAFETY: the caller's promise.
            w[product][kx] = unsafe { s.load(from.add((product * COLUMNS + kx) * S::LANES)) };
        }
    }
    w
}

/// P pixels of both rows for a register of channels, without their bias.
///
/// # Safety
/// `sums` points at the first pixel's in the first row of what `sum` wrote, in rows of `row_len`.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const P: usize>(
    s: S,
    sums: *const f32,
    row_len: usize,
    w: &[[S::F; COLUMNS]; PRODUCTS],
) -> [[S::F; P]; 2] {
    let zero = [s.zero(); P];
    // SAFETY: the rows of the sums.
    unsafe {
        let even = correlate(s, sums.add(row_len), w[1], zero);
        let odd = correlate(s, sums.add(2 * row_len), w[2], zero);
        let (mut upper, mut lower) = (even, even);
        for p in 0..P {
            upper[p] = s.add(even[p], odd[p]);
            lower[p] = s.sub(even[p], odd[p]);
        }
        [
            correlate(s, sums, w[0], upper),
            correlate(s, sums.add(3 * row_len), w[3], lower),
        ]
    }
}

/// The correlation of P pixels with one product's kernel, added to `to`.
///
/// # Safety
/// P + 2 values may be read.
#[inline(always)]
unsafe fn correlate<S: Simd, const P: usize>(
    s: S,
    values: *const f32,
    w: [S::F; COLUMNS],
    mut to: [S::F; P],
) -> [S::F; P] {
    for i in 0..P + COLUMNS - 1 {
        // SAFETY: the caller's promise.
        let value = s.splat(unsafe { *values.add(i) });
        for kx in 0..COLUMNS {
            if i >= kx && i - kx < P {
                to[i - kx] = s.mul_add(value, w[kx], to[i - kx]);
            }
        }
    }
    to
}
