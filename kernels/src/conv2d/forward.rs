//! The fused forward pass of one block.

use super::pack::Packed;
use super::{ConvBlock, Sections, direct, one_channel, pad};
use crate::pool::{Rows, pool_row};
use crate::simd::Simd;

/// Where forward's intermediate values stand in its scratch.
pub(crate) struct Scratch {
    pub(super) len: usize,
    padded: usize,
    bias: usize,
    ring: usize,
}

impl Scratch {
    pub(super) fn new(block: &ConvBlock, lanes: usize) -> Self {
        let (conv, pool) = (&block.conv, block.pool_or_identity());
        let channels = Packed::new(conv, lanes).channels;
        let padded_len = conv.padded_height() * conv.padded_width() * conv.in_channels;
        let mut sections = Sections::default();
        Self {
            padded: sections.take(if conv.is_inside() { 0 } else { padded_len }),
            bias: sections.take(channels),
            ring: sections.take(pool.window_height * conv.out_width * channels),
            len: sections.len,
        }
    }
}

/// # Panics
/// Where a length does not fit the block.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn forward<S: Simd>(
    s: S,
    block: &ConvBlock,
    samples: usize,
    input: &[f32],
    packed: &[f32],
    bias: &[f32],
    output: &mut [f32],
    codes: &mut [u8],
    scratch: &mut [f32],
) {
    block.check();
    let (conv, pool) = (&block.conv, block.pool_or_identity());
    let (layout, sections) = (Packed::new(conv, S::LANES), Scratch::new(block, S::LANES));
    assert_eq!(input.len(), samples * conv.input_len());
    assert_eq!(packed.len(), layout.len);
    assert_eq!(bias.len(), conv.out_channels);
    assert_eq!(output.len(), samples * block.output_len());
    assert!(codes.is_empty() || codes.len() == samples * block.codes_len());
    assert!(scratch.len() >= sections.len);

    let padded_bias = &mut scratch[sections.bias..][..layout.channels];
    padded_bias[..bias.len()].copy_from_slice(bias);
    padded_bias[bias.len()..].fill(0.0);
    let scratch = scratch.as_mut_ptr();
    let row_len = conv.out_width * layout.channels;
    let out_row_len = pool.out_width * pool.channels;
    for n in 0..samples {
        // SAFETY: the lengths above; every offset stays in its sample and its section.
        unsafe {
            let mut image = input.as_ptr().add(n * conv.input_len());
            let mut image_row_len = conv.width * conv.in_channels;
            if !conv.is_inside() {
                let padded = scratch.add(sections.padded);
                pad(conv, image, padded, 0);
                (image, image_row_len) = (padded, conv.padded_width() * conv.in_channels);
            }
            let ring = scratch.add(sections.ring);
            let rows = Rows {
                start: ring,
                slots: pool.window_height,
                row_len,
                pixel_len: layout.channels,
            };
            let mut done = 0;
            for oy in 0..pool.out_height {
                let (first, end) = pool.rows(oy);
                for y in done.max(first)..end {
                    let image = image.add(y * image_row_len);
                    let (weights, bias) = (packed.as_ptr(), scratch.add(sections.bias));
                    let out = ring.add((y % pool.window_height) * row_len);
                    let (len, channels) = (image_row_len, layout.channels);
                    if one_channel::applies(conv) {
                        one_channel::convolve_row(
                            s, conv, channels, image, len, weights, bias, out,
                        );
                    } else {
                        direct::convolve_row(s, conv, channels, image, len, weights, bias, out);
                    }
                }
                done = end;
                let at = n * pool.output_len() + oy * out_row_len;
                let row_codes = if codes.is_empty() {
                    std::ptr::null_mut()
                } else {
                    codes.as_mut_ptr().add(at)
                };
                let output = output.as_mut_ptr().add(at);
                pool_row(s, &pool, oy, rows, block.activation, output, row_codes);
            }
        }
    }
}
