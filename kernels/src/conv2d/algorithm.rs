//! How a block is computed: the choices, the rule that takes one, and the variable that overrides it.

use super::winograd::{self, Form};
use super::{ConvBlock, few_filters, two_taps};
use crate::gemm::GemmAlgorithm;
use crate::named;
use std::fmt;
use std::str::FromStr;

/// A way to compute a [`ConvBlock`], forward and backward. All give the same values but for rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConvAlgorithm {
    /// Register tiles straight over the image, row by row into the pool; backward multiplies what the pool let through.
    Direct,
    /// The same with forward's products by Winograd's minimal filtering: of 3 x 3 kernels nine pixels at a time, 25 multiplications
    /// for 81, or on one channel two rows, 2 for 3; of few filters on one channel, whose kernel has 8, 12, ... rows, four rows at a time, 9 for
    /// 16. An error of f32's size, 1.3 to 1.7 times the direct kernels'. Other kernels: [`Direct`](Self::Direct).
    Winograd,
    /// Kernels of two taps along a row, forward and backward: two outputs at a time, three products of matrices for four, by this
    /// crate's packed GEMM. An error of f32's size. Other kernels: [`Im2colGemm`](Self::Im2colGemm).
    Winograd1d,
    /// [`Direct`](Self::Direct) with forward's products of values rounded to bf16, an error of up to 2^-7 of the sum's magnitude: on the
    /// CPU's tiles if it has them (see [`Compute::has_tiles`](crate::Compute::has_tiles)), emulated if not.
    Bf16,
    /// The same with forward's values cut into two bf16 parts: an error of up to 2^-15 of the sum's magnitude.
    Bf16x3,
    /// The same with three parts: no less exact than f32.
    Bf16x6,
    /// [`Bf16x6`](Self::Bf16x6) in training, [`Bf16x3`](Self::Bf16x3) in prediction, which is told by its not asking for the
    /// pool's codes: there is no gradient to go to another pixel where two are nearly equal.
    Bf16x6x3,
    /// The windows as rows of a matrix (im2col), and the products by this crate's packed GEMM.
    Im2colGemm,
    /// The same matrix, and the products of values rounded to bf16, also those of the gradients.
    Im2colBf16,
    /// The same with three parts: no less exact than f32.
    Im2colBf16x6,
    /// The same matrix, and the products by the crate `matrixmultiply`: for comparison.
    Im2colMatrixmultiply,
    /// Plain loops: for comparison.
    Naive,
}

impl ConvAlgorithm {
    /// Every algorithm.
    pub const ALL: &'static [ConvAlgorithm] = &[
        ConvAlgorithm::Direct,
        ConvAlgorithm::Winograd,
        ConvAlgorithm::Winograd1d,
        ConvAlgorithm::Bf16,
        ConvAlgorithm::Bf16x3,
        ConvAlgorithm::Bf16x6,
        ConvAlgorithm::Bf16x6x3,
        ConvAlgorithm::Im2colGemm,
        ConvAlgorithm::Im2colBf16,
        ConvAlgorithm::Im2colBf16x6,
        ConvAlgorithm::Im2colMatrixmultiply,
        ConvAlgorithm::Naive,
    ];

    /// The name that `SONOGRAD_CONV` uses.
    pub fn name(self) -> &'static str {
        match self {
            ConvAlgorithm::Direct => "direct",
            ConvAlgorithm::Winograd => "winograd",
            ConvAlgorithm::Winograd1d => "winograd-1d",
            ConvAlgorithm::Bf16 => "bf16",
            ConvAlgorithm::Bf16x3 => "bf16x3",
            ConvAlgorithm::Bf16x6 => "bf16x6",
            ConvAlgorithm::Bf16x6x3 => "bf16x6x3",
            ConvAlgorithm::Im2colGemm => "im2col",
            ConvAlgorithm::Im2colBf16 => "im2col-bf16",
            ConvAlgorithm::Im2colBf16x6 => "im2col-bf16x6",
            ConvAlgorithm::Im2colMatrixmultiply => "matrixmultiply",
            ConvAlgorithm::Naive => "naive",
        }
    }

    /// The bf16 parts that the fused forward pass cuts each value into in training, or `None` where it multiplies f32.
    pub fn bf16_parts(self) -> Option<usize> {
        match self {
            ConvAlgorithm::Bf16 => Some(1),
            ConvAlgorithm::Bf16x3 => Some(2),
            ConvAlgorithm::Bf16x6 | ConvAlgorithm::Bf16x6x3 => Some(3),
            _ => None,
        }
    }

    /// The same in prediction.
    pub fn bf16_predict_parts(self) -> Option<usize> {
        match self {
            ConvAlgorithm::Bf16x6x3 => Some(2),
            algorithm => algorithm.bf16_parts(),
        }
    }

    /// How the matrix of windows is multiplied, or `None` where there is no such matrix or not by this crate.
    pub fn products(self) -> Option<GemmAlgorithm> {
        match self {
            ConvAlgorithm::Im2colGemm => Some(GemmAlgorithm::F32),
            ConvAlgorithm::Im2colBf16 => Some(GemmAlgorithm::Bf16),
            ConvAlgorithm::Im2colBf16x6 => Some(GemmAlgorithm::Bf16x6),
            _ => None,
        }
    }

    /// True for the fused kernels, whatever forward multiplies: they share the backward pass.
    pub(super) fn skips_what_pools_threw_away(self) -> bool {
        matches!(self, ConvAlgorithm::Direct | ConvAlgorithm::Winograd)
            || self.bf16_parts().is_some()
    }

    /// The algorithm that `SONOGRAD_CONV` asks for, or `None` where it is not set or empty: the rule of
    /// [`ConvAlgorithm::choose`] decides block by block.
    ///
    /// # Errors
    /// A message where the variable names no algorithm.
    pub fn from_environment() -> Result<Option<ConvAlgorithm>, String> {
        named::from_environment("SONOGRAD_CONV")
    }

    /// The rule, for registers of `lanes` values: [`Im2colGemm`](Self::Im2colGemm) for a convolution over one row (1-D)
    /// without a pool whose filters fill two registers and whose windows hold at least 32 values, or
    /// [`Winograd1d`](Self::Winograd1d) where it has two taps and 32 channels or more,
    /// [`Winograd`](Self::Winograd) for a 3 x 3 one of 16 channels and 16 filters or more, or of one channel, and for few filters with 4, 6, 8, ..
    /// kernel rows,
    /// [`Direct`](Self::Direct) for every other.
    ///
    /// Behind a pool at most one gradient in two is not 0, and the direct kernels multiply those alone; without one they
    /// read the weights, or the image, from memory for every entry of their lists, where a GEMM holds a tile of the
    /// product in registers. Few filters leave the columns of a GEMM's tile empty, short windows leave it little to do
    /// for each value that it writes. Convolutions over an image stay direct with and without their pool: a GEMM adds up
    /// in another order, and a pool on its own would judge near ties otherwise than the one that is fused.
    pub fn choose(block: &ConvBlock, lanes: usize) -> ConvAlgorithm {
        let conv = &block.conv;
        let minimal = match winograd::form(block, lanes) {
            Some(Form::Rows) => true,
            Some(Form::RowPairs) => !few_filters::applies(block, lanes),
            Some(Form::Tiles) => {
                conv.in_channels.min(conv.out_channels) >= WINOGRAD_CHANNELS
                    && conv.out_height.min(conv.out_width) > 1
            }
            None => false,
        };
        if block.pool.is_none()
            && conv.height == 1
            && conv.out_channels >= 2 * lanes
            && conv.window_len() >= GEMM_DEPTH
        {
            match two_taps::applies(conv) && conv.in_channels >= TWO_TAPS_CHANNELS {
                true => ConvAlgorithm::Winograd1d,
                false => ConvAlgorithm::Im2colGemm,
            }
        } else if minimal {
            ConvAlgorithm::Winograd
        } else {
            ConvAlgorithm::Direct
        }
    }
}

/// Values of a window from which on a GEMM is worth its copies.
const GEMM_DEPTH: usize = 32;
/// Channels from which on two taps' differences and sums cost less than the multiplications that they save.
const TWO_TAPS_CHANNELS: usize = 32;
/// Channels, and filters, from which on Winograd's transforms cost less than the multiplications that they save.
const WINOGRAD_CHANNELS: usize = 16;

impl fmt::Display for ConvAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ConvAlgorithm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        named::parse("convolution algorithm", name, Self::ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::ConvAlgorithm;

    #[test]
    fn names_are_read_back_and_others_refused_with_the_choice() {
        for &algorithm in ConvAlgorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        let error = "strassen".parse::<ConvAlgorithm>().unwrap_err();
        assert_eq!(
            error,
            "unknown convolution algorithm 'strassen': one of direct, winograd, winograd-1d, bf16, bf16x3, bf16x6, bf16x6x3, im2col, im2col-bf16, im2col-bf16x6, matrixmultiply, naive"
        );
    }
}
