//! The kernel in the two layouts that forward and backward read.
//!
//! - Forward: channels in blocks of `BLOCK` registers (the last block may hold fewer), padded with zeros to whole
//!   registers: `[block][ky, kx, i][channel of the block]`. A step of the tile reads the next register or two.
//! - Input gradient: `[o][ky][kx, i]`, the (kx, i) run padded with zeros to whole registers; or for 3 x 3 kernels on whole registers of
//!   channels `[register][o][ky, kx][channel of the register]`.
//! - Where forward multiplies bf16 parts, or Winograd's transform of the kernel: those, in place of forward's.

use super::input_gradient::{self, TAPS};
use super::{ConvAlgorithm, ConvBlock, bf16, transpose, winograd};
use crate::simd::Simd;

/// Registers of output channels that one forward tile computes.
pub(super) const BLOCK: usize = 2;

/// Where the layouts stand in the packed kernel.
pub(crate) struct Packed {
    /// Values of all.
    pub(super) len: usize,
    /// Output channels, padded to whole registers of [`ConvBlock::channel_lanes`].
    pub(super) channels: usize,
    /// The input gradient's layout from here on.
    pub(super) runs: usize,
    /// Values of one padded run.
    pub(super) run_len: usize,
}

impl Packed {
    pub(super) fn new(block: &ConvBlock, lanes: usize) -> Self {
        let conv = &block.conv;
        let channels = (conv.out_channels).next_multiple_of(block.channel_lanes(lanes));
        let run_len = conv.run().next_multiple_of(lanes);
        let algorithm = block.algorithm(lanes);
        let runs = match algorithm.bf16_parts() {
            Some(parts) => bf16::packed_len(conv, parts),
            None if algorithm == ConvAlgorithm::Winograd => {
                winograd::packed_kernel_len(block, lanes)
            }
            None => conv.kernel_height * conv.run() * channels,
        };
        Self {
            len: runs + conv.out_channels * conv.kernel_height * run_len,
            channels,
            runs,
            run_len,
        }
    }
}

/// # Panics
/// Where a length does not fit the block.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn pack<S: Simd>(s: S, block: &ConvBlock, kernel: &[f32], packed: &mut [f32]) {
    block.check();
    let conv = &block.conv;
    let layout = Packed::new(block, S::LANES);
    assert_eq!(kernel.len(), conv.kernel_len());
    assert_eq!(packed.len(), layout.len);
    let (run, steps) = (conv.run(), conv.kernel_height * conv.run());
    let width = BLOCK * S::LANES;
    let (forward, runs) = packed.split_at_mut(layout.runs);
    let algorithm = block.algorithm(S::LANES);
    if let Some(parts) = algorithm.bf16_parts() {
        // SAFETY: that many values stand before the runs.
        unsafe { bf16::pack(conv, parts, kernel, forward.as_mut_ptr()) };
    } else if algorithm != ConvAlgorithm::Winograd {
        // Its own is written already.
        for first in (0..layout.channels).step_by(width) {
            let lanes = width.min(layout.channels - first);
            let used = lanes.min(conv.out_channels - first);
            for step in 0..steps {
                let to = &mut forward[first * steps + step * lanes..][..lanes];
                to[..used].copy_from_slice(&kernel[step * conv.out_channels + first..][..used]);
                to[used..].fill(0.0);
            }
        }
    }
    if input_gradient::by_registers(conv, S::LANES) {
        let (lanes, filters) = (S::LANES, conv.out_channels);
        let blocks = runs.chunks_exact_mut(filters * TAPS * lanes);
        for (block, runs) in blocks.enumerate() {
            for tap in 0..TAPS {
                let from = &kernel[(tap * conv.in_channels + block * lanes) * filters..];
                let to = &mut runs[tap * lanes..];
                transpose(s, lanes, filters, from, filters, to, TAPS * lanes);
            }
        }
        return;
    }
    for o in 0..conv.out_channels {
        for ky in 0..conv.kernel_height {
            let at = (o * conv.kernel_height + ky) * layout.run_len;
            runs[at..][run..layout.run_len].fill(0.0);
        }
    }
    for ky in 0..conv.kernel_height {
        transpose(
            s,
            run,
            conv.out_channels,
            &kernel[ky * run * conv.out_channels..],
            conv.out_channels,
            &mut runs[ky * layout.run_len..],
            conv.kernel_height * layout.run_len,
        );
    }
}
