//! The fused forward pass of one block, row by row of the map, or by two where [`row_pairs`] computes them.

use super::ahead::Ahead;
use super::pack::{BLOCK, Packed};
use super::winograd::{self, Form};
use super::{
    ConvAlgorithm, ConvBlock, Sections, direct, one_channel, pad_bias, place, pooled_pairs,
    row_pairs,
};
use crate::pool::{Bias, PoolShape, Rows, pool_row};
use crate::simd::Simd;
use std::slice::{from_raw_parts, from_raw_parts_mut};

/// Where forward's intermediate values stand in its scratch.
pub(crate) struct Scratch {
    pub(super) len: usize,
    bias: usize,
    /// A padded image where the input cannot serve.
    padded: usize,
    /// Sums of the image's rows.
    sums: usize,
    /// A ring of rows.
    ring: usize,
    /// Rows of the ring.
    slots: usize,
}

/// True where the block is computed so.
pub(super) fn applies(block: &ConvBlock, lanes: usize) -> bool {
    block.algorithm(lanes) == ConvAlgorithm::Direct || has_pairs(block, lanes)
}

/// True where rows are computed two at a time.
fn has_pairs(block: &ConvBlock, lanes: usize) -> bool {
    block.algorithm(lanes) == ConvAlgorithm::Winograd
        && winograd::form(block, lanes) == Some(Form::RowPairs)
}

impl Scratch {
    pub(super) fn new(block: &ConvBlock, lanes: usize) -> Self {
        let (conv, pool) = (&block.conv, block.pool_or_identity());
        let lanes = block.channel_lanes(lanes);
        let channels = conv.out_channels.next_multiple_of(lanes);
        let padded_len = conv.padded_height() * conv.padded_width() * conv.in_channels;
        let has_pairs = has_pairs(block, lanes);
        // A pair's second row may be the next window's.
        let slots = pool.window_height + usize::from(has_pairs);
        let mut sections = Sections::default();
        Self {
            bias: sections.take(channels),
            padded: sections.take(if conv.is_inside() { 0 } else { padded_len }),
            sums: sections.take(if has_pairs {
                row_pairs::sums_len(conv, lanes)
            } else {
                0
            }),
            // And a row for what a pair computes beyond the map.
            ring: sections.take((slots + usize::from(has_pairs)) * conv.out_width * channels),
            slots,
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
    assert!(applies(block, S::LANES), "computed otherwise: {block:?}");
    let conv = &block.conv;
    let (layout, sections) = (Packed::new(block, S::LANES), Scratch::new(block, S::LANES));
    assert_eq!(input.len(), samples * conv.input_len());
    assert_eq!(packed.len(), layout.len);
    assert_eq!(bias.len(), conv.out_channels);
    assert_eq!(output.len(), samples * block.output_len());
    assert!(codes.is_empty() || codes.len() == samples * block.codes_len());
    assert!(scratch.len() >= sections.len);

    pad_bias(bias, layout.channels, &mut scratch[sections.bias..]);
    scratch[sections.padded..sections.sums].fill(0.0);
    // SAFETY: the lengths above.
    unsafe {
        if block.channel_lanes(S::LANES) == S::LANES {
            all_samples(
                s, block, samples, input, packed, output, codes, &sections, scratch,
            );
        } else {
            let s = s.oct();
            all_samples(
                s, block, samples, input, packed, output, codes, &sections, scratch,
            );
        }
    }
}

/// The samples one after another, with the lanes over the filters.
///
/// # Safety
/// The slices have the lengths that `forward` asks for; the bias stands in its section.
#[inline(always)]
unsafe fn all_samples<S: Simd>(
    s: S,
    block: &ConvBlock,
    samples: usize,
    input: &[f32],
    packed: &[f32],
    output: &mut [f32],
    codes: &mut [u8],
    sections: &Scratch,
    scratch: &mut [f32],
) {
    let (conv, pool) = (&block.conv, block.pool_or_identity());
    let scratch = scratch.as_mut_ptr();
    for n in 0..samples {
        // SAFETY: the caller's promise; every offset stays in its sample and its section.
        unsafe {
            let image = input.as_ptr().add(n * conv.input_len());
            let (weights, bias) = (packed.as_ptr(), scratch.add(sections.bias));
            let output = output.as_mut_ptr().add(n * pool.output_len());
            let codes = if codes.is_empty() {
                std::ptr::null_mut()
            } else {
                codes.as_mut_ptr().add(n * pool.output_len())
            };
            sample(
                s, block, &pool, image, weights, bias, output, codes, sections, scratch,
            );
        }
    }
}

/// One sample.
///
/// # Safety
/// `image` holds a sample; `scratch` has the length that [`Scratch`] gives it; the other pointers are as for `pool_row` and
/// `direct::convolve_row`, for all rows.
#[inline(always)]
unsafe fn sample<S: Simd>(
    s: S,
    block: &ConvBlock,
    pool: &PoolShape,
    image: *const f32,
    weights: *const f32,
    bias: *const f32,
    output: *mut f32,
    codes: *mut u8,
    sections: &Scratch,
    scratch: *mut f32,
) {
    let conv = &block.conv;
    let has_pairs = has_pairs(block, S::LANES);
    let steps = if has_pairs {
        row_pairs::STEPS
    } else {
        conv.window_len()
    };
    let channels = conv.out_channels.next_multiple_of(S::LANES);
    let (mut image, mut len) = (image, conv.width * conv.in_channels);
    // A one-channel image makes wide rows of little work: all its channels at once would push the ring out of L1.
    let most = if one_channel::applies(conv) {
        BLOCK * S::LANES
    } else {
        channels
    };
    // SAFETY: handed on from the caller; row y stands in slot y % slots until the last window that holds it is done.
    unsafe {
        let (sums, ring) = (scratch.add(sections.sums), scratch.add(sections.ring));
        if !conv.is_inside() {
            let padded = scratch.add(sections.padded);
            len = conv.padded_width() * conv.in_channels;
            let to = from_raw_parts_mut(padded, conv.padded_height() * len);
            place(conv, from_raw_parts(image, conv.input_len()), to, len);
            image = padded;
        }
        let mut c = 0;
        while c < channels {
            let count = most.min(channels - c);
            let pool = PoolShape {
                channels: count.min(pool.channels - c),
                ..*pool
            };
            let rows = Rows {
                start: ring,
                slots: sections.slots,
                row_len: conv.out_width * count,
                pixel_len: count,
                out_pixel_len: conv.out_channels,
                bias: Bias::of(bias.add(c)),
            };
            let weights = weights.add(c * steps);
            // With codes a tile does not fit 16 registers: AVX2 65 us instead of 57 for 32 filters of 78 x 78 pixels.
            let fits = codes.is_null() || S::REGISTERS >= 32;
            if has_pairs && fits && pooled_pairs::applies(block, S::LANES) {
                let (bias, output, codes) = (bias.add(c), output.add(c), further(codes, c));
                pooled_pairs::convolve(
                    s,
                    block,
                    &pool,
                    count,
                    (image, len),
                    weights,
                    bias,
                    output,
                    codes,
                    sums,
                    ring,
                );
                c += count;
                continue;
            }
            let mut done = 0;
            for oy in 0..pool.out_height {
                let (first, end) = pool.rows(oy);
                let at = oy * pool.out_width * conv.out_channels + c;
                let next = at + pool.out_width * conv.out_channels;
                let mut ahead = Ahead::new(
                    output.wrapping_add(next),
                    further(codes, next),
                    pool.out_width,
                    conv.out_channels,
                    count,
                    row_pairs::turns(conv, count, S::LANES),
                );
                let mut y = done.max(first);
                while has_pairs && y < end {
                    let top = y as isize - ((block.first_row + y) % 2) as isize;
                    let read = row_pairs::rows_read(conv, image, len, top);
                    let mut out = [ring.add(rows.slots * rows.row_len); 2];
                    for (y, out) in (top..).zip(&mut out) {
                        if (0..conv.out_height as isize).contains(&y) {
                            *out = ring.add((y as usize % rows.slots) * rows.row_len);
                        }
                    }
                    row_pairs::sum(s, conv, read, sums);
                    row_pairs::convolve(s, conv, count, sums, weights, out, &mut ahead);
                    y = (top + 2) as usize;
                }
                ahead.ask_for_rest(s);
                for y in y..end {
                    let image = image.add(y * len);
                    let out = ring.add((y % rows.slots) * rows.row_len);
                    if one_channel::applies(conv) {
                        one_channel::convolve_row(s, conv, count, image, len, weights, out);
                    } else {
                        direct::convolve_row(s, conv, count, image, len, weights, out);
                    }
                }
                done = y.max(end);
                let (output, codes) = (output.add(at), further(codes, at));
                pool_row(s, &pool, oy, rows, block.activation, output, codes);
            }
            c += count;
        }
    }
}

/// `codes` so many codes further; null, where none are written, stays null.
#[inline(always)]
fn further(codes: *mut u8, count: usize) -> *mut u8 {
    match codes.is_null() {
        true => codes,
        false => codes.wrapping_add(count),
    }
}
