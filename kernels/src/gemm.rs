//! Matrix products in the manner of BLIS: register tiles over packed column panels.
//!
//! ```text
//! for a block of k (kc)                        panel of B: kc x 2 registers, stays in L1
//!   for a block of m (mc)                      block of A: mc x kc, stays in L2
//!     for a panel of n                         2 registers wide, the last one narrower
//!       for a tile of m                        6 rows with 16 registers, 12 with 32
//!         for k: accumulators += broadcast(A[row, k]) * B[k, panel]
//!         C tile (+)= accumulators, which begin with the bias; the activation after the last block of k
//! ```
//!
//! A is read where it stands while its k run is contiguous; a transposed A is copied tile by tile first. The rows of
//! a block are spread evenly over its tiles, so that no tile is left with a row or two. Tiles of one register
//! (n of up to `LANES`, and of 8 on 16 lanes) have up to 8 rows, which keeps skinny products at the speed of their memory.
//!
//! That is f32's. Products of values in bf16 parts have layouts and loops of their own (`bf16.rs`); [`GemmAlgorithm`] says by which of them
//! [`Kernels::product`] multiplies.
//!
//! Source: Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality", 2015.

mod bf16;
mod pack;
mod panels;
mod product;
mod row;
mod tile;

pub(crate) use bf16::{check_multiply, check_parts, cut, multiply, pack as bf16_pack, parts_len};
pub(crate) use pack::pack;
pub(crate) use panels::panels;
pub use product::GemmAlgorithm;

use crate::activation::Activation;
use crate::table::Kernels;

/// A matrix inside a slice: element (r, c) is `data[r * row_stride + c * column_stride]`.
///
/// A transpose swaps the strides. Rows may overlap: the windows of a 1-D convolution are a matrix whose row stride is
/// smaller than its rows.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// The elements, beginning with (0, 0).
    pub data: &'a [f32],
    /// Elements from a row to the next.
    pub row_stride: usize,
    /// Elements from a column to the next.
    pub column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A dense row-major matrix of `columns` columns.
    pub fn row_major(data: &'a [f32], columns: usize) -> Self {
        Self {
            data,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// # Panics
    /// Where an element of a `rows` x `columns` matrix lies outside the slice.
    pub(crate) fn check(&self, rows: usize, columns: usize) {
        if rows == 0 || columns == 0 {
            return;
        }
        let last = (rows - 1)
            .checked_mul(self.row_stride)
            .zip((columns - 1).checked_mul(self.column_stride))
            .and_then(|(row, column)| row.checked_add(column));
        assert!(
            last.is_some_and(|last| last < self.data.len()),
            "a {rows} x {columns} matrix with strides {} and {} does not fit into {} values",
            self.row_stride,
            self.column_stride,
            self.data.len()
        );
    }

    /// The part that begins at (row, column); empty where that lies outside the slice.
    fn part(self, row: usize, column: usize) -> Self {
        let first = row * self.row_stride + column * self.column_stride;
        Self {
            data: self.data.get(first..).unwrap_or(&[]),
            ..self
        }
    }
}

/// B of a product, as the tiles read it.
#[derive(Debug, Clone, Copy)]
pub enum Panels<'a> {
    /// What [`Kernels::gemm_pack`] wrote.
    Packed(&'a [f32]),
    /// Row-major, read in place: n is a multiple of two registers.
    RowMajor(Matrix<'a>),
}

/// Floats of a packed A block: 128 KB, part of the smallest L2 cache in use (256 KB).
const A_BLOCK: usize = 32 * 1024;
/// Floats of a packed B block: 256 KB.
const B_BLOCK: usize = 64 * 1024;
/// Floats that a full-width copy of a narrow tile may write behind its end.
const SLACK: usize = 16;

/// Columns of a full panel.
pub(crate) const fn panel_columns(lanes: usize) -> usize {
    2 * lanes
}

/// Rows of the largest tile that is two registers wide: 12 + 2 + 1 of 16 registers, 24 + 2 + 1 of 32.
pub(crate) const fn tile_rows(lanes: usize) -> usize {
    if lanes == 16 { 12 } else { 6 }
}

/// Rows of A up to which B is read where it stands: one row of tiles of 32 registers, two of 16.
const IN_PLACE_ROWS: usize = 12;

/// Rows of the largest tile that is one register wide: as many sums as two FMA units with a latency of 4 keep busy.
const NARROW_ROWS: usize = 8;

/// Width in memory of the panel that begins where `rest` columns are left.
pub(crate) const fn panel_width(rest: usize, lanes: usize) -> usize {
    if rest > lanes {
        2 * lanes
    } else if lanes == 16 && rest <= 8 {
        8
    } else {
        lanes
    }
}

/// n with the last panel's padding.
const fn padded(n: usize, lanes: usize) -> usize {
    let full = n / panel_columns(lanes) * panel_columns(lanes);
    match n - full {
        0 => full,
        rest => full + panel_width(rest, lanes),
    }
}

/// The block of k: a panel of B takes 16 KB of L1 (24 KB with 16 lanes, whose CPUs have 48 KB).
const fn k_block(lanes: usize) -> usize {
    if lanes == 16 { 192 } else { 2048 / lanes }
}

/// Sizes of the blocks of one product.
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    /// Largest block of k.
    pub(crate) k: usize,
    /// Largest block of m.
    pub(crate) m: usize,
    /// Largest block of n that is packed at once.
    n: usize,
}

impl Blocks {
    pub(crate) const fn new(m: usize, n: usize, k: usize, lanes: usize) -> Self {
        let k = if k < k_block(lanes) {
            k
        } else {
            k_block(lanes)
        };
        let depth = if k == 0 { 1 } else { k };
        let most_rows = A_BLOCK / depth;
        let most_columns = B_BLOCK / depth / panel_columns(lanes) * panel_columns(lanes);
        Self {
            k,
            m: if m < most_rows { m } else { most_rows },
            n: if n < most_columns { n } else { most_columns },
        }
    }

    /// The blocks that k is cut into: at least one.
    pub(crate) fn of_k(&self, k: usize) -> usize {
        k.div_ceil(self.k.max(1)).max(1)
    }

    const fn a_len(&self) -> usize {
        self.m * self.k + SLACK
    }
}

/// Where block `i` of the `blocks` that `len` is cut into begins: they differ by one at most.
#[inline(always)]
pub(crate) fn block_start(len: usize, i: usize, blocks: usize) -> usize {
    len * i / blocks
}

/// Length of k x n packed by [`Kernels::gemm_pack`] for `lanes` lanes.
pub const fn packed_len(k: usize, n: usize, lanes: usize) -> usize {
    k * padded(n, lanes)
}

/// Scratch that an m x n x k product on `lanes` lanes asks for, never less than a smaller one does. At most 400 KB; 64-byte
/// alignment is fastest.
pub const fn gemm_scratch_len(m: usize, n: usize, k: usize, lanes: usize) -> usize {
    // A block of B has no more than B_BLOCK values, one of A no more than A_BLOCK. What they have is less and goes up and
    // down: blocks of fewer terms are wider.
    let depth = Blocks::new(m, n, k, lanes).k;
    let (a, b) = (
        m.saturating_mul(depth),
        depth.saturating_mul(padded(n, lanes)),
    );
    let a = if a < A_BLOCK { a } else { A_BLOCK };
    let b = if b < B_BLOCK { b } else { B_BLOCK };
    a + SLACK + b
}

/// # Panics
/// Where C does not hold m rows of n values, `c_stride` apart.
pub(crate) fn check_output(m: usize, n: usize, c: &[f32], c_stride: usize) {
    assert!(
        c_stride >= n,
        "rows of C overlap: stride {c_stride} for {n} columns"
    );
    Matrix {
        data: c,
        row_stride: c_stride,
        column_stride: 1,
    }
    .check(m, n);
}

/// # Panics
/// Where an argument of [`Kernels::gemm_panels`] is too short.
pub(crate) fn check_panels(
    kernels: &Kernels,
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_>,
    b: Panels<'_>,
    c: &[f32],
    c_stride: usize,
    bias: Option<&[f32]>,
    scratch: &[f32],
) {
    let lanes = kernels.lanes();
    a.check(m, k);
    check_output(m, n, c, c_stride);
    match b {
        Panels::Packed(packed) => {
            assert!(packed.len() >= packed_len(k, n, lanes), "B is not packed")
        }
        Panels::RowMajor(b) => {
            b.check(k, n);
            assert_eq!(b.column_stride, 1);
            assert_eq!(n % panel_columns(lanes), 0);
        }
    }
    assert!(bias.is_none_or(|bias| bias.len() == n));
    assert!(
        scratch.len() >= Blocks::new(m, n, k, lanes).a_len(),
        "scratch is too short"
    );
}

impl Kernels {
    /// `C[m, n] = A[m, k] * B[k, n] (+ C)`, C row-major with `c_stride` elements from a row to the next.
    ///
    /// `scratch` has [`gemm_scratch_len`] values and any content. Weights that serve several products are better packed
    /// once: [`Kernels::gemm_packed`].
    ///
    /// # Panics
    /// Where a slice is too short for its matrix, or rows of C overlap.
    pub fn gemm(
        &self,
        m: usize,
        n: usize,
        k: usize,
        a: Matrix<'_>,
        b: Matrix<'_>,
        c: &mut [f32],
        c_stride: usize,
        accumulate: bool,
        scratch: &mut [f32],
    ) {
        let lanes = self.lanes();
        a.check(m, k);
        b.check(k, n);
        check_output(m, n, c, c_stride);
        assert!(
            scratch.len() >= gemm_scratch_len(m, n, k, lanes),
            "scratch is too short"
        );
        if m == 0 || n == 0 {
            return;
        }
        let linear = Activation::Linear;
        // Few rows of tiles read B, the second one from L1: copying it would cost as much as the product.
        let direct = if m <= IN_PLACE_ROWS && b.column_stride == 1 {
            n / panel_columns(lanes) * panel_columns(lanes)
        } else {
            0
        };
        if direct > 0 {
            self.gemm_panels(
                m,
                direct,
                k,
                a,
                Panels::RowMajor(b),
                c,
                c_stride,
                accumulate,
                None,
                linear,
                scratch,
            );
        }
        let blocks = Blocks::new(m, n, k, lanes);
        let b_len = blocks.k * padded(blocks.n, lanes);
        let mut column = direct;
        while column < n {
            let width = blocks.n.min(n - column);
            let mut depth = 0;
            loop {
                let kc = blocks.k.min(k - depth);
                let (packed, rest) = scratch.split_at_mut(b_len);
                self.gemm_pack(kc, width, b.part(depth, column), packed);
                self.gemm_panels(
                    m,
                    width,
                    kc,
                    a.part(0, depth),
                    Panels::Packed(packed),
                    &mut c[column..],
                    c_stride,
                    accumulate || depth > 0,
                    None,
                    linear,
                    rest,
                );
                depth += kc;
                if depth == k {
                    break;
                }
            }
            column += width;
        }
    }

    /// `C[m, n] = activation(A[m, k] * B[k, n] (+ C) (+ bias[n]))` with B packed by [`Kernels::gemm_pack`].
    ///
    /// `scratch` has [`gemm_scratch_len`] values and any content.
    ///
    /// # Panics
    /// Where a slice is too short for its matrix, or rows of C overlap.
    pub fn gemm_packed(
        &self,
        m: usize,
        n: usize,
        k: usize,
        a: Matrix<'_>,
        packed: &[f32],
        c: &mut [f32],
        c_stride: usize,
        accumulate: bool,
        bias: Option<&[f32]>,
        activation: Activation,
        scratch: &mut [f32],
    ) {
        let b = Panels::Packed(packed);
        self.gemm_panels(
            m, n, k, a, b, c, c_stride, accumulate, bias, activation, scratch,
        );
    }
}

/// The same product by the crate `matrixmultiply`, for comparison: `C[m, n] = A[m, k] * B[k, n] (+ C)`.
///
/// # Panics
/// Where a slice is too short for its matrix, or rows of C overlap.
pub fn matrixmultiply_gemm(
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
    c_stride: usize,
    accumulate: bool,
) {
    a.check(m, k);
    b.check(k, n);
    check_output(m, n, c, c_stride);
    // SAFETY: the checks above hold every element that the strides reach inside its slice; C is borrowed mutably and
    // its rows do not overlap.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.data.as_ptr(),
            a.row_stride as isize,
            a.column_stride as isize,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.column_stride as isize,
            if accumulate { 1.0 } else { 0.0 },
            c.as_mut_ptr(),
            c_stride as isize,
            1,
        );
    }
}
