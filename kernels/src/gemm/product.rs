//! A product by whatever algorithm is chosen for it: the choices, and the variable that overrides the rule.

use super::{Matrix, bf16, gemm_scratch_len, packed_len, panel_columns};
use crate::activation::Activation;
use crate::named;
use crate::table::Kernels;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A way to multiply matrices. All give the same values but for rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum GemmAlgorithm {
    /// Register tiles of f32.
    #[default]
    F32,
    /// Values rounded to bf16, summed in f32, an error of up to 2^-7 of the sum's magnitude: on the CPU's tiles if it has them (see
    /// [`Compute::has_tiles`](crate::Compute::has_tiles)), emulated if not.
    Bf16,
    /// The same with each value in three bf16 parts: no less exact than f32.
    Bf16x6,
    /// [`Bf16x6`](Self::Bf16x6) in training, and in prediction two parts, 2^-15.
    Bf16x6x3,
}

impl GemmAlgorithm {
    /// Every algorithm.
    pub const ALL: &'static [GemmAlgorithm] = &[
        GemmAlgorithm::F32,
        GemmAlgorithm::Bf16,
        GemmAlgorithm::Bf16x6,
        GemmAlgorithm::Bf16x6x3,
    ];

    /// The name that `SONOGRAD_GEMM` uses.
    pub fn name(self) -> &'static str {
        match self {
            GemmAlgorithm::F32 => "f32",
            GemmAlgorithm::Bf16 => "bf16",
            GemmAlgorithm::Bf16x6 => "bf16x6",
            GemmAlgorithm::Bf16x6x3 => "bf16x6x3",
        }
    }

    /// The algorithm that `SONOGRAD_GEMM` asks for, or `None` where it is not set or empty.
    ///
    /// # Errors
    /// A message where the variable names no algorithm.
    pub fn from_environment() -> Result<Option<GemmAlgorithm>, String> {
        named::from_environment("SONOGRAD_GEMM")
    }

    /// The bf16 parts that a packed B has, or `None` where it is f32.
    fn stored_parts(self) -> Option<usize> {
        match self {
            GemmAlgorithm::F32 => None,
            GemmAlgorithm::Bf16 => Some(1),
            GemmAlgorithm::Bf16x6 | GemmAlgorithm::Bf16x6x3 => Some(3),
        }
    }

    /// The parts that are multiplied: fewer in a prediction by [`Bf16x6x3`](Self::Bf16x6x3).
    fn parts(self, stored: usize, training: bool) -> usize {
        match self {
            GemmAlgorithm::Bf16x6x3 if !training => 2,
            _ => stored,
        }
    }

    /// Length of k x n packed by [`Kernels::product_pack`] for `lanes` lanes.
    pub fn packed_len(self, k: usize, n: usize, lanes: usize) -> usize {
        match self.stored_parts() {
            None => packed_len(k, n, lanes),
            Some(parts) => bf16::parts_len(parts, n, k),
        }
    }

    /// Scratch that an m x n x k [`Kernels::product_unpacked`] on `lanes` lanes asks for.
    pub fn unpacked_scratch_len(self, m: usize, n: usize, k: usize, lanes: usize) -> usize {
        let packed = match self {
            GemmAlgorithm::F32 => 0,
            _ => self.packed_len(k, n, lanes),
        };
        packed + self.scratch_len(m, n, k, lanes)
    }

    /// Scratch that an m x n x k [`Kernels::product`] on `lanes` lanes asks for.
    pub fn scratch_len(self, m: usize, n: usize, k: usize, lanes: usize) -> usize {
        match self.stored_parts() {
            None => gemm_scratch_len(m, n, k, lanes),
            Some(parts) => bf16::parts_len(parts, m, k) + bf16::scratch_len(parts, k),
        }
    }
}

impl fmt::Display for GemmAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GemmAlgorithm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        named::parse("algorithm of products", name, Self::ALL)
    }
}

/// Columns that a part of a product may begin at: whole panels of every algorithm and instruction set.
const PANEL_COLUMNS: usize = 32;

impl Kernels {
    /// Writes B [k, n] as [`Kernels::product`] reads it: [`GemmAlgorithm::packed_len`] values.
    ///
    /// # Panics
    /// Where `packed` is shorter, or B does not hold k x n values.
    pub fn product_pack(
        &self,
        algorithm: GemmAlgorithm,
        k: usize,
        n: usize,
        b: Matrix<'_>,
        packed: &mut [f32],
    ) {
        match algorithm.stored_parts() {
            None => self.gemm_pack(k, n, b, packed),
            Some(parts) => self.gemm_bf16_pack(parts, k, n, b, packed),
        }
    }

    /// `C[m, columns] = activation(A[m, k] * B[k, columns] (+ C) (+ bias[columns]))` with B [k, n] packed by
    /// [`Kernels::product_pack`], and C and the bias beginning at the first of the columns.
    ///
    /// The columns begin at a multiple of 32 and end at one or at n. `scratch` has [`GemmAlgorithm::scratch_len`] values; where
    /// `is_cut`, of the last call with this A, `m`, `k` and `training`, whose work it keeps, else any content.
    ///
    /// # Panics
    /// Where a slice is too short for its matrix, rows of C overlap, or the columns begin elsewhere.
    pub fn product(
        &self,
        algorithm: GemmAlgorithm,
        training: bool,
        (m, columns, k): (usize, Range<usize>, usize),
        a: Matrix<'_>,
        is_cut: bool,
        packed: &[f32],
        c: &mut [f32],
        c_stride: usize,
        accumulate: bool,
        bias: Option<&[f32]>,
        activation: Activation,
        scratch: &mut [f32],
    ) {
        assert_eq!(columns.start % PANEL_COLUMNS, 0, "{columns:?}");
        const { assert!(PANEL_COLUMNS.is_multiple_of(panel_columns(16))) };
        let (n, before) = (columns.len(), columns.start);
        let Some(stored) = algorithm.stored_parts() else {
            let packed = &packed[before * k..];
            return self.gemm_packed(
                m, n, k, a, packed, c, c_stride, accumulate, bias, activation, scratch,
            );
        };
        let parts = algorithm.parts(stored, training);
        let (cut, scratch) = scratch.split_at_mut(bf16::parts_len(parts, m, k));
        if !is_cut {
            self.gemm_bf16_cut(parts, m, k, a, cut);
        }
        let packed = &packed[bf16::parts_len(stored, before, k)..];
        self.gemm_bf16_multiply(
            stored, parts, m, n, k, cut, packed, c, c_stride, accumulate, bias, activation, scratch,
        );
    }

    /// `C[m, n] = A[m, k] * B[k, n] (+ C)` of a training step, with B as it is. `scratch` has
    /// [`GemmAlgorithm::unpacked_scratch_len`] values and any content.
    ///
    /// # Panics
    /// Where a slice is too short for its matrix, or rows of C overlap.
    pub fn product_unpacked(
        &self,
        algorithm: GemmAlgorithm,
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
        if algorithm == GemmAlgorithm::F32 {
            return self.gemm(m, n, k, a, b, c, c_stride, accumulate, scratch);
        }
        let (packed, scratch) = scratch.split_at_mut(algorithm.packed_len(k, n, self.lanes()));
        self.product_pack(algorithm, k, n, b, packed);
        self.product(
            algorithm,
            true,
            (m, 0..n, k),
            a,
            false,
            packed,
            c,
            c_stride,
            accumulate,
            None,
            Activation::Linear,
            scratch,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::GemmAlgorithm;

    #[test]
    fn names_are_read_back_and_others_refused_with_the_choice() {
        for &algorithm in GemmAlgorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        let error = "f16".parse::<GemmAlgorithm>().unwrap_err();
        assert_eq!(
            error,
            "unknown algorithm of products 'f16': one of f32, bf16, bf16x6, bf16x6x3"
        );
    }
}
