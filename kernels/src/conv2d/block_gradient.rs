//! The gradient of a 3 x 3 kernel on whole registers of channels, one register of them at a time.
//!
//! The sample is copied into blocks of so many channels, each an image of its own: what a block's rows of a band hold fits L1, and a
//! block's nine taps are as many accumulators.
//!
//! ```text
//! for each block of the input's channels
//!   for each channel of the output
//!     accumulators = sums[block, channel]
//!     for each of the channel's entries, for each tap: accumulators[tap] += value * image[block, pixel + tap]
//! ```

use super::ahead::LINE;
use super::input_gradient::{SIDE, TAPS};
use super::lists::{Lists, band_rows};
use super::{Conv2dShape, transpose};
use crate::simd::Simd;

/// Values of a block's image.
fn image_len(conv: &Conv2dShape, lanes: usize) -> usize {
    conv.padded_height() * conv.padded_width() * lanes
}

/// Copies a sample into its blocks. What lies around it stays: it was set to zeros once for all samples.
///
/// # Safety
/// `image` may be read for the sample, `images` written for the padded image.
#[inline(always)]
pub(super) unsafe fn place<S: Simd>(s: S, conv: &Conv2dShape, image: *const f32, images: *mut f32) {
    let (rows, columns) = conv.visible();
    for y in 0..rows {
        let first = (y + conv.pad_top) * conv.padded_width() + conv.pad_left;
        for x in 0..columns {
            for block in 0..conv.in_channels / S::LANES {
                // SAFETY: `visible` keeps both pixels inside their images.
                unsafe {
                    let from = image.add((y * conv.width + x) * conv.in_channels);
                    let to = images.add(block * image_len(conv, S::LANES));
                    let value = s.load(from.add(block * S::LANES));
                    s.store(to.add((first + x) * S::LANES), value);
                }
            }
        }
    }
}

/// Adds a band's part to `sums`, `[block][channel of the output][tap][channel of the block]`, and asks for a band's part of the next
/// sample's lines from `next` on, which moves on: to wait for them would take a quarter of the multiplications' time.
///
/// # Safety
/// `lists` holds the band, its pixels as places in a block's image; `images` holds the sample's blocks; `sums` may be read and written
/// for the kernel's values.
#[inline(always)]
pub(super) unsafe fn add_band<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    lists: Lists,
    images: *const f32,
    next: &mut *const f32,
    sums: *mut f32,
) {
    let (blocks, bands) = (
        conv.in_channels / S::LANES,
        conv.out_height.div_ceil(band_rows(conv)),
    );
    let turns = bands * blocks * conv.out_channels;
    let lines = conv.input_len().div_ceil(LINE).div_ceil(turns);
    for block in 0..blocks {
        for c in 0..conv.out_channels {
            for _ in 0..lines {
                s.prefetch(*next);
                *next = next.wrapping_add(LINE);
            }
            // SAFETY: the channel's entries have been written; a pixel's nine taps lie in the image.
            unsafe {
                let image = images.add(block * image_len(conv, S::LANES));
                let to = sums.add((block * conv.out_channels + c) * TAPS * S::LANES);
                add_entries(s, conv, lists, c, image, to);
            }
        }
    }
}

/// One channel's entries.
///
/// # Safety
/// As for `add_band`.
#[inline(always)]
unsafe fn add_entries<S: Simd>(
    s: S,
    conv: &Conv2dShape,
    lists: Lists,
    c: usize,
    image: *const f32,
    to: *mut f32,
) {
    let row_len = conv.padded_width() * S::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let (first, end) = (c * lists.capacity, *lists.ends.add(c) as usize);
        let mut sums = [[s.zero(); SIDE]; SIDE];
        for ky in 0..SIDE {
            for kx in 0..SIDE {
                sums[ky][kx] = s.load(to.add((ky * SIDE + kx) * S::LANES));
            }
        }
        for e in first..end {
            let entry = *lists.by_channel.add(e);
            let g = s.splat(entry.value);
            let from = image.add(entry.pixel as usize);
            for ky in 0..SIDE {
                for kx in 0..SIDE {
                    let x = s.load(from.add(ky * row_len + kx * S::LANES));
                    sums[ky][kx] = s.mul_add(g, x, sums[ky][kx]);
                }
            }
        }
        for ky in 0..SIDE {
            for kx in 0..SIDE {
                s.store(to.add((ky * SIDE + kx) * S::LANES), sums[ky][kx]);
            }
        }
    }
}

/// The sums as the gradient of an HWIO kernel.
#[inline(always)]
pub(super) fn write<S: Simd>(s: S, conv: &Conv2dShape, sums: &[f32], d_kernel: &mut [f32]) {
    let filters = conv.out_channels;
    let blocks = sums.chunks_exact(filters * TAPS * S::LANES);
    for (block, sums) in blocks.enumerate() {
        for tap in 0..TAPS {
            let to = &mut d_kernel[(tap * conv.in_channels + block * S::LANES) * filters..];
            transpose(
                s,
                filters,
                S::LANES,
                &sums[tap * S::LANES..],
                TAPS * S::LANES,
                to,
                filters,
            );
        }
    }
}
