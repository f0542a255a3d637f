//! Convolution with bias, activation and max pooling, forward and backward, by one of several [`ConvAlgorithm`]s.
//!
//! The direct kernels fuse all of it:
//!
//! ```text
//! forward, a sample:                              backward, a sample:
//!   for each pooled row:                            gradient before the activation, on the pooled grid
//!     convolve the rows that are missing            for each band of convolution rows:
//!     into a ring of the window's height              list what the pool let through
//!     pool and activate the row                       d_input  += lists * kernel
//!                                                     d_kernel += lists * input
//! ```
//! The full-resolution map lives in the ring alone, and its gradient only as lists of non-zero values: a 3 x 3 pool
//! of stride 2 leaves about one value in six, so backward does a sixth of the dense work.

pub(crate) mod ahead;
mod algorithm;
mod backward;
mod bf16;
mod block_gradient;
mod direct;
mod fast_rows;
pub(crate) mod few_filters;
mod forward;
mod im2col;
mod input_gradient;
mod interleaved_gradient;
mod lists;
mod naive;
mod narrow_gradient;
mod one_channel;
mod pack;
mod patch_gradient;
mod planes;
mod pooled_pairs;
mod row_pairs;
mod scratch;
mod transpose;
pub(crate) mod two_taps;
mod weight_gradient;
mod whole_map;
pub(crate) mod winograd;
pub(crate) mod winograd_pack;

use crate::activation::Activation;
use crate::norm::NormGradient;
use crate::pool::PoolShape;
use crate::table::Kernels;
use std::fmt;
use std::ops::Range;

pub use self::algorithm::ConvAlgorithm;
pub(crate) use self::backward::backward;
pub(crate) use self::bf16::forward_bf16;
pub(crate) use self::forward::forward;
pub(crate) use self::pack::pack;
use self::scratch::{Sections, split, split_len};
use self::transpose::transpose;
use self::winograd::Form;

/// The shape of a 2-D convolution of stride 1: NHWC images, HWIO kernels.
///
/// Output pixel (y, x) reads the input from (y - pad_top, x - pad_left) on; what lies outside the image is 0, so the
/// padding below and on the right follows from the output's size. A 1-D convolution has `height` 1 and
/// `kernel_height` 1. Keras' `same` pads (k - 1) / 2 before and the rest after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dShape {
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output: filters.
    pub out_channels: usize,
    /// Rows of the kernel.
    pub kernel_height: usize,
    /// Columns of the kernel.
    pub kernel_width: usize,
    /// Zero rows above the image.
    pub pad_top: usize,
    /// Zero columns on the left of the image.
    pub pad_left: usize,
    /// Rows of the output.
    pub out_height: usize,
    /// Columns of the output.
    pub out_width: usize,
}

impl Conv2dShape {
    /// Values of one sample's input.
    pub fn input_len(&self) -> usize {
        self.height * self.width * self.in_channels
    }

    /// Values of one sample's output.
    pub fn output_len(&self) -> usize {
        self.out_height * self.out_width * self.out_channels
    }

    /// Values of the kernel.
    pub fn kernel_len(&self) -> usize {
        self.kernel_height * self.run() * self.out_channels
    }

    /// Rows of the padded image that the convolution reads.
    fn padded_height(&self) -> usize {
        self.out_height + self.kernel_height - 1
    }

    /// Columns of the padded image that the convolution reads.
    fn padded_width(&self) -> usize {
        self.out_width + self.kernel_width - 1
    }

    /// Values that one output pixel reads of one row: they stand one after another.
    fn run(&self) -> usize {
        self.kernel_width * self.in_channels
    }

    /// Values of one output pixel's window.
    fn window_len(&self) -> usize {
        self.kernel_height * self.run()
    }

    /// True where every tap of every output lies inside the image.
    fn is_inside(&self) -> bool {
        self.pad_top == 0
            && self.pad_left == 0
            && self.padded_height() <= self.height
            && self.padded_width() <= self.width
    }

    /// Rows and columns `(rows, columns)` of the image that the padded image holds.
    fn visible(&self) -> (usize, usize) {
        (
            self.height
                .min(self.padded_height().saturating_sub(self.pad_top)),
            self.width
                .min(self.padded_width().saturating_sub(self.pad_left)),
        )
    }

    fn check(&self) {
        assert!(self.height > 0 && self.width > 0);
        assert!(self.in_channels > 0 && self.out_channels > 0);
        assert!(self.kernel_height > 0 && self.kernel_width > 0);
        assert!(self.out_height > 0 && self.out_width > 0);
        // Lists hold offsets into one padded sample as u32.
        let padded = self.padded_height() * self.padded_width() * self.in_channels;
        assert!(padded.max(self.input_len()) < u32::MAX as usize);
    }
}

/// A convolution, its activation, and the max pooling behind it, if any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvBlock {
    /// The convolution.
    pub conv: Conv2dShape,
    /// The activation between the convolution and the pool.
    pub activation: Activation,
    /// The pool, whose input is the convolution's output.
    pub pool: Option<PoolShape>,
    /// The row of a larger map where this one begins, which is a [`band`](Self::band) of it; 0 for a map of its own.
    /// [`ConvAlgorithm::Winograd`] computes three or four rows together, and they are to be the same ones.
    pub first_row: usize,
    /// Rows of the image above the first one that the map reads, which such a band's first tiles read; 0 but in a band of 3 x 3
    /// kernels by [`ConvAlgorithm::Winograd`].
    pub rows_above: usize,
    /// How it is computed, the same for packing and both passes; `None` for what [`ConvAlgorithm::choose`] says.
    pub algorithm: Option<ConvAlgorithm>,
}

/// The shapes, by which a choice of algorithm is kept.
impl fmt::Display for ConvBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conv = &self.conv;
        write!(
            f,
            "{}x{}x{} by {}x{} to {}x{}x{}, padding {}+{}, {}",
            conv.height,
            conv.width,
            conv.in_channels,
            conv.kernel_height,
            conv.kernel_width,
            conv.out_height,
            conv.out_width,
            conv.out_channels,
            conv.pad_top,
            conv.pad_left,
            self.activation
        )?;
        let Some(pool) = &self.pool else {
            return Ok(());
        };
        write!(
            f,
            ", pool {}x{} every {}x{} to {}x{}, padding {}+{}",
            pool.window_height,
            pool.window_width,
            pool.stride_height,
            pool.stride_width,
            pool.out_height,
            pool.out_width,
            pool.pad_top,
            pool.pad_left
        )
    }
}

impl ConvBlock {
    /// A block on a map of its own, computed as [`ConvAlgorithm::choose`] says.
    pub fn new(conv: Conv2dShape, activation: Activation, pool: Option<PoolShape>) -> Self {
        Self {
            conv,
            activation,
            pool,
            first_row: 0,
            rows_above: 0,
            algorithm: None,
        }
    }

    /// Values of one sample's output.
    pub fn output_len(&self) -> usize {
        self.pool_or_identity().output_len()
    }

    /// Rows of one sample's output.
    pub fn output_rows(&self) -> usize {
        self.pool_or_identity().out_height
    }

    /// Codes of one sample: one an output, or none without a pool.
    ///
    /// A code is `row * window_width + column` of the maximum in the unclipped window. The first maximum in row-major
    /// order wins a tie. Ties are judged before the bias is added, whose rounding would make more of them, and before
    /// the activation, so that a window that relu kills altogether still names its greatest pixel (its gradient is 0
    /// either way).
    pub fn codes_len(&self) -> usize {
        self.pool.map_or(0, |pool| pool.output_len())
    }

    /// The algorithm that computes the block with registers of `lanes` values.
    pub fn algorithm(&self, lanes: usize) -> ConvAlgorithm {
        match self.algorithm {
            Some(ConvAlgorithm::Winograd) if winograd::form(self, lanes).is_none() => {
                ConvAlgorithm::Direct
            }
            Some(ConvAlgorithm::Winograd1d) if !two_taps::applies(&self.conv) => {
                ConvAlgorithm::Im2colGemm
            }
            Some(algorithm) => algorithm,
            None => ConvAlgorithm::choose(self, lanes),
        }
    }

    /// The lanes over the filters of the direct forward pass: 8 of 16 where more would stand empty.
    fn channel_lanes(&self, lanes: usize) -> usize {
        let is_narrow = self.conv.out_channels <= 8 && self.conv.in_channels > 1;
        if is_narrow { lanes.min(8) } else { lanes }
    }

    /// True where the block is computed with lanes over the width.
    fn is_few_filters(&self, lanes: usize) -> bool {
        match self.algorithm(lanes) {
            ConvAlgorithm::Direct => few_filters::applies(self, lanes),
            ConvAlgorithm::Winograd => winograd::form(self, lanes) == Some(Form::Rows),
            _ => false,
        }
    }

    /// Values of the packed kernel, for registers of `lanes` values.
    pub fn packed_len(&self, lanes: usize) -> usize {
        let algorithm = self.algorithm(lanes);
        if let Some(products) = algorithm.products() {
            return im2col::packed_kernel_len(&self.conv, products, lanes);
        }
        match algorithm {
            ConvAlgorithm::Im2colMatrixmultiply | ConvAlgorithm::Naive => self.conv.kernel_len(),
            ConvAlgorithm::Winograd1d => two_taps::packed_kernel_len(&self.conv, lanes),
            _ => pack::Packed::new(self, lanes).len,
        }
    }

    /// Values of scratch that [`Kernels::conv_block_forward`] needs.
    pub fn forward_scratch_len(&self, lanes: usize) -> usize {
        let algorithm = self.algorithm(lanes);
        if let Some(parts) = algorithm.bf16_parts() {
            return bf16::Layout::new(&self.conv, parts, lanes).len;
        }
        match algorithm {
            _ if self.is_few_filters(lanes) => {
                few_filters::FewFilters::new(self, lanes).scratch_len()
            }
            ConvAlgorithm::Winograd if winograd::form(self, lanes) == Some(Form::Tiles) => {
                winograd::Layout::new(self, lanes).len
            }
            ConvAlgorithm::Direct | ConvAlgorithm::Winograd => {
                forward::Scratch::new(self, lanes).len
            }
            algorithm => whole_map::scratch_len(self, algorithm, lanes),
        }
    }

    /// True where [`Kernels::conv_block_backward`] can take the gradient by the output as a batch normalisation behind it has
    /// normalised it.
    pub fn takes_norm(&self, lanes: usize) -> bool {
        self.algorithm(lanes).skips_what_pools_threw_away()
    }

    /// Values of scratch that [`Kernels::conv_block_backward`] needs.
    pub fn backward_scratch_len(&self, lanes: usize) -> usize {
        match self.algorithm(lanes) {
            algorithm if algorithm.skips_what_pools_threw_away() => {
                backward::Scratch::new(self, lanes).len
            }
            algorithm => whole_map::scratch_len(self, algorithm, lanes),
        }
    }

    /// The pool, or one of 1 x 1 pixels that changes nothing.
    fn pool_or_identity(&self) -> PoolShape {
        let conv = &self.conv;
        self.pool.unwrap_or(PoolShape {
            height: conv.out_height,
            width: conv.out_width,
            channels: conv.out_channels,
            window_height: 1,
            window_width: 1,
            stride_height: 1,
            stride_width: 1,
            pad_top: 0,
            pad_left: 0,
            out_height: conv.out_height,
            out_width: conv.out_width,
        })
    }

    /// Some rows of the output as a block of its own, and the rows of the image that it reads; `None` where it reads none.
    ///
    /// The packed kernel serves both, and the values are the same bits. `rows` is not empty and inside the output.
    pub fn band(&self, rows: Range<usize>) -> Option<(ConvBlock, Range<usize>)> {
        let (conv, pool) = (&self.conv, self.pool_or_identity());
        let (first, end) = (pool.rows(rows.start).0, pool.rows(rows.end - 1).1);
        let (above, below) = winograd::rows_around(self, first, end);
        let top = (first + self.rows_above).checked_sub(conv.pad_top);
        let read = top.unwrap_or(0).saturating_sub(above)
            ..(end + self.rows_above + conv.kernel_height - 1 + below)
                .saturating_sub(conv.pad_top)
                .min(conv.height);
        if read.is_empty() {
            return None;
        }
        let band = Conv2dShape {
            height: read.len(),
            pad_top: match top {
                Some(_) => 0,
                None => conv.pad_top - first - self.rows_above,
            },
            out_height: end - first,
            ..*conv
        };
        let pool = self.pool.map(|pool| PoolShape {
            height: end - first,
            pad_top: pool.pad_top + first - rows.start * pool.stride_height,
            out_height: rows.len(),
            ..pool
        });
        let block = ConvBlock {
            conv: band,
            pool,
            first_row: self.first_row + first,
            rows_above: top.map_or(0, |top| top - read.start),
            ..*self
        };
        Some((block, read))
    }

    /// # Panics
    /// Where a size is 0, the pool does not fit the convolution, or an activation is not monotonic.
    fn check(&self) {
        self.conv.check();
        self.activation.check();
        if let Some(pool) = &self.pool {
            pool.check();
            assert_eq!(pool.height, self.conv.out_height, "the pool's input rows");
            assert_eq!(pool.width, self.conv.out_width, "the pool's input columns");
            assert_eq!(
                pool.channels, self.conv.out_channels,
                "the pool's input channels"
            );
        }
    }
}

impl Kernels {
    /// Packs an HWIO kernel for forward and backward; `packed` holds
    /// [`packed_len`](ConvBlock::packed_len)([`lanes`](Kernels::lanes)) values.
    ///
    /// # Panics
    /// Where a length does not fit the block.
    pub fn conv_block_pack(&self, block: &ConvBlock, kernel: &[f32], packed: &mut [f32]) {
        block.check();
        assert_eq!(kernel.len(), block.conv.kernel_len());
        assert_eq!(packed.len(), block.packed_len(self.lanes()));
        let algorithm = block.algorithm(self.lanes());
        if let Some(products) = algorithm.products() {
            return im2col::pack(self, &block.conv, products, kernel, packed);
        }
        match algorithm {
            ConvAlgorithm::Im2colMatrixmultiply | ConvAlgorithm::Naive => {
                packed.copy_from_slice(kernel);
            }
            ConvAlgorithm::Winograd1d => two_taps::pack(self, &block.conv, kernel, packed),
            ConvAlgorithm::Winograd => {
                winograd::pack(self, block, kernel, packed);
                self.conv_direct_pack(block, kernel, packed);
            }
            _ => self.conv_direct_pack(block, kernel, packed),
        }
    }

    /// [`conv_block_pack`](Kernels::conv_block_pack) for backward alone: what only forward reads of `packed` may stay as it is.
    ///
    /// # Panics
    /// Where a length does not fit the block.
    pub fn conv_block_pack_backward(&self, block: &ConvBlock, kernel: &[f32], packed: &mut [f32]) {
        match block.algorithm(self.lanes()) {
            ConvAlgorithm::Winograd => self.conv_direct_pack(block, kernel, packed),
            _ => self.conv_block_pack(block, kernel, packed),
        }
    }

    /// Convolution, bias, activation and pool of `samples` samples that stand one after another. `scratch` holds at
    /// least [`forward_scratch_len`](ConvBlock::forward_scratch_len) values, of any content. Empty codes: none are
    /// written, as prediction needs none.
    ///
    /// # Panics
    /// Where a length does not fit the block.
    pub fn conv_block_forward(
        &self,
        block: &ConvBlock,
        samples: usize,
        input: &[f32],
        packed: &[f32],
        bias: &[f32],
        output: &mut [f32],
        codes: &mut [u8],
        scratch: &mut [f32],
    ) {
        let algorithm = block.algorithm(self.lanes());
        let is_few_filters = block.is_few_filters(self.lanes());
        if forward::applies(block, self.lanes()) && !is_few_filters {
            return self
                .conv_direct_forward(block, samples, input, packed, bias, output, codes, scratch);
        }
        if algorithm.bf16_parts().is_some() {
            return self
                .conv_bf16_forward(block, samples, input, packed, bias, output, codes, scratch);
        }
        block.check();
        assert_eq!(input.len(), samples * block.conv.input_len());
        assert_eq!(packed.len(), block.packed_len(self.lanes()));
        assert_eq!(bias.len(), block.conv.out_channels);
        assert_eq!(output.len(), samples * block.output_len());
        assert!(codes.is_empty() || codes.len() == samples * block.codes_len());
        assert!(scratch.len() >= block.forward_scratch_len(self.lanes()));
        if is_few_filters {
            return few_filters::forward(self, block, input, packed, bias, output, codes, scratch);
        }
        if algorithm == ConvAlgorithm::Winograd {
            return winograd::forward(self, block, input, packed, bias, output, codes, scratch);
        }
        whole_map::forward(
            self, block, algorithm, input, packed, bias, output, codes, scratch,
        );
    }

    /// The gradients of a block: `d_kernel` (HWIO) and `d_bias` are set to the sum over the samples, `d_input` is set
    /// where it is wanted. `output` and `codes` are what forward wrote, `packed` what it read. With a `norm` `d_output` is
    /// the gradient by the output as that has normalised it. `scratch` holds at
    /// least [`backward_scratch_len`](ConvBlock::backward_scratch_len) values, of any content.
    ///
    /// # Panics
    /// Where a length does not fit the block, or there is a `norm` that it does not [take](ConvBlock::takes_norm). A code
    /// that forward did not write panics or drops its gradient.
    pub fn conv_block_backward(
        &self,
        block: &ConvBlock,
        samples: usize,
        input: &[f32],
        output: &[f32],
        codes: &[u8],
        d_output: &[f32],
        norm: Option<NormGradient<'_>>,
        packed: &[f32],
        d_input: Option<&mut [f32]>,
        d_kernel: &mut [f32],
        d_bias: &mut [f32],
        scratch: &mut [f32],
    ) {
        let algorithm = block.algorithm(self.lanes());
        if algorithm.skips_what_pools_threw_away() {
            return self.conv_direct_backward(
                block, samples, input, output, codes, d_output, norm, packed, d_input, d_kernel,
                d_bias, scratch,
            );
        }
        assert!(
            norm.is_none(),
            "{algorithm} does not turn a normalisation's gradient"
        );
        block.check();
        assert_eq!(input.len(), samples * block.conv.input_len());
        assert_eq!(output.len(), samples * block.output_len());
        assert_eq!(codes.len(), samples * block.codes_len());
        assert_eq!(d_output.len(), output.len());
        assert_eq!(packed.len(), block.packed_len(self.lanes()));
        assert!(d_input.as_ref().is_none_or(|d| d.len() == input.len()));
        assert_eq!(d_kernel.len(), block.conv.kernel_len());
        assert_eq!(d_bias.len(), block.conv.out_channels);
        assert!(scratch.len() >= block.backward_scratch_len(self.lanes()));
        whole_map::backward(
            self, block, algorithm, input, output, codes, d_output, packed, d_input, d_kernel,
            d_bias, scratch,
        );
    }
}

/// The bias at the beginning of its section, and zeros behind it up to `channels`.
#[inline(always)]
fn pad_bias(bias: &[f32], channels: usize, section: &mut [f32]) {
    section[..bias.len()].copy_from_slice(bias);
    section[bias.len()..channels].fill(0.0);
}

/// Copies a sample into the padded image, in rows of `row_len`, without what no tap reads. What lies around it stays: it was set to zeros
/// once for all samples.
fn place(conv: &Conv2dShape, image: &[f32], padded: &mut [f32], row_len: usize) {
    let (rows, columns) = conv.visible();
    let (left, len) = (conv.pad_left * conv.in_channels, columns * conv.in_channels);
    if len == 0 {
        return;
    }
    let image = image.chunks_exact(conv.width * conv.in_channels).take(rows);
    let padded = padded.chunks_mut(row_len).skip(conv.pad_top);
    for (from, to) in image.zip(padded) {
        to[left..][..len].copy_from_slice(&from[..len]);
    }
}

/// Each sample's image, output and codes; empty codes where there are none.
fn samples<'a>(
    block: &ConvBlock,
    input: &'a [f32],
    output: &'a mut [f32],
    codes: &'a mut [u8],
) -> impl Iterator<Item = (&'a [f32], &'a mut [f32], &'a mut [u8])> {
    let mut codes = codes.chunks_mut(block.output_len());
    input
        .chunks_exact(block.conv.input_len())
        .zip(output.chunks_exact_mut(block.output_len()))
        .map(move |(image, output)| (image, output, codes.next().unwrap_or_default()))
}

/// The way back: the padded image's pixels to the sample, 0 where no tap read it.
///
/// # Safety
/// `padded` may be read for the padded image; `image` may be written for the sample.
#[inline(always)]
unsafe fn crop(conv: &Conv2dShape, padded: *const f32, image: *mut f32) {
    let (rows, columns) = conv.visible();
    let row_len = conv.padded_width() * conv.in_channels;
    // SAFETY: `visible` keeps both sides of every copied row inside their images.
    unsafe {
        image.write_bytes(0, conv.input_len());
        for y in 0..rows {
            let from = padded.add((y + conv.pad_top) * row_len + conv.pad_left * conv.in_channels);
            let to = image.add(y * conv.width * conv.in_channels);
            std::ptr::copy_nonoverlapping(from, to, columns * conv.in_channels);
        }
    }
}
