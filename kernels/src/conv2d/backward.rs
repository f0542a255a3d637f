//! The fused backward pass of one block.

use super::interleaved_gradient::{self, InterleavedRows};
use super::lists::{Lists, band_rows, list_band, pooled_gradient};
use super::pack::Packed;
use super::patch_gradient::Patches;
use super::{
    ConvBlock, Sections, block_gradient, crop, input_gradient, narrow_gradient, patch_gradient,
    place, transpose, weight_gradient,
};
use crate::norm::NormGradient;
use crate::simd::Simd;
use std::slice::{from_raw_parts, from_raw_parts_mut};

/// Where backward's intermediate values stand in its scratch.
pub(crate) struct Scratch {
    pub(super) len: usize,
    /// Values behind the padded images that a run's last register may touch.
    slack: usize,
    /// True where the input itself serves as the padded image, its gradient as the padded gradient.
    in_place: (bool, bool),
    image: usize,
    d_image: usize,
    gradient: usize,
    codes: usize,
    d_bias: usize,
    /// Lanes that `d_runs` is padded to.
    run_lanes: usize,
    d_runs: usize,
    values: usize,
    channels: usize,
    pixels: usize,
    starts: usize,
    by_channel: usize,
    ends: usize,
    numbers: usize,
    row: usize,
    patches: usize,
    pairs: usize,
}

impl Scratch {
    pub(super) fn new(block: &ConvBlock, lanes: usize) -> Self {
        let (conv, pool) = (&block.conv, block.pool_or_identity());
        let channels = conv.out_channels.next_multiple_of(lanes);
        let positions = pool.out_height * pool.out_width;
        let run_lanes = weight_gradient::run_lanes(conv.run(), lanes);
        let run_len = conv.run().next_multiple_of(run_lanes);
        let slack = lanes.max(8);
        let padded_len = conv.padded_height() * conv.padded_width() * conv.in_channels + slack;
        // A run that is not whole registers reaches over its end: the image needs room behind it.
        let blocks = input_gradient::by_registers(conv, lanes);
        let in_place = (
            !blocks && conv.is_inside() && conv.run() % run_lanes == 0,
            conv.is_inside() && conv.run() % lanes == 0,
        );
        let band = band_rows(conv) * conv.out_width;
        let entries = band * conv.out_channels + lanes;
        let mut sections = Sections::default();
        Self {
            slack,
            in_place,
            image: sections.take(if in_place.0 { 0 } else { padded_len }),
            d_image: sections.take(if in_place.1 { 0 } else { padded_len }),
            gradient: sections.take(positions * channels),
            codes: sections.take((positions * channels).div_ceil(4)),
            d_bias: sections.take(channels),
            run_lanes,
            d_runs: sections.take(conv.out_channels * conv.kernel_height * run_len),
            values: sections.take(entries),
            channels: sections.take(entries),
            pixels: sections.take(entries),
            starts: sections.take(band + 1),
            by_channel: sections.take(2 * band * conv.out_channels),
            ends: sections.take(conv.out_channels),
            numbers: sections.take(channels),
            row: sections.take(conv.out_width * channels),
            patches: sections.take(patch_gradient::scratch_len(&pool)),
            pairs: sections.take(match interleaved_gradient::applies(conv) {
                true => InterleavedRows::new(conv, &pool, lanes).scratch_len(),
                false => 0,
            }),
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
pub(crate) unsafe fn backward<S: Simd>(
    s: S,
    block: &ConvBlock,
    samples: usize,
    input: &[f32],
    output: &[f32],
    codes: &[u8],
    d_output: &[f32],
    norm: Option<NormGradient<'_>>,
    packed: &[f32],
    mut d_input: Option<&mut [f32]>,
    d_kernel: &mut [f32],
    d_bias: &mut [f32],
    scratch: &mut [f32],
) {
    block.check();
    let (conv, pool) = (&block.conv, block.pool_or_identity());
    let (layout, sections) = (Packed::new(block, S::LANES), Scratch::new(block, S::LANES));
    assert_eq!(input.len(), samples * conv.input_len());
    assert_eq!(output.len(), samples * block.output_len());
    assert_eq!(codes.len(), samples * block.codes_len());
    assert_eq!(d_output.len(), output.len());
    assert_eq!(packed.len(), layout.len);
    if let Some(d_input) = &d_input {
        assert_eq!(d_input.len(), input.len());
    }
    assert_eq!(d_kernel.len(), conv.kernel_len());
    assert_eq!(d_bias.len(), conv.out_channels);
    if let Some(norm) = norm {
        norm.check(conv.out_channels);
    }
    assert!(scratch.len() >= sections.len);

    let channels = conv.out_channels.next_multiple_of(S::LANES);
    let channel_len = input_gradient::channel_len(conv, layout.run_len, S::LANES);
    let d_run_len = conv.run().next_multiple_of(sections.run_lanes);
    let d_runs_len = conv.out_channels * conv.kernel_height * d_run_len;
    let padded_row_len = conv.padded_width() * conv.in_channels;
    let padded_len = conv.padded_height() * padded_row_len + sections.slack;
    let row_len = conv.width * conv.in_channels;
    scratch[sections.d_bias..][..channels].fill(0.0);
    scratch[sections.d_runs..][..d_runs_len].fill(0.0);
    let patches = match &d_input {
        None if !codes.is_empty() => Patches::new(block, S::LANES),
        _ => None,
    };
    let pairs = match &d_input {
        None if patches.is_none() && norm.is_none() && interleaved_gradient::applies(conv) => {
            Some(InterleavedRows::new(conv, &pool, S::LANES))
        }
        _ => None,
    };
    let blocks = input_gradient::by_registers(conv, S::LANES);
    if let Some(pairs) = &pairs {
        pairs.clear(&mut scratch[sections.pairs..]);
    } else if !(sections.in_place.0 || blocks && conv.is_inside()) {
        scratch[sections.image..][..padded_len].fill(0.0);
    }
    if patches.is_some() {
        d_kernel.fill(0.0);
    }
    let start = scratch.as_mut_ptr();
    // SAFETY: the lengths above; every section has the length that its use asks for.
    unsafe {
        let lists = Lists {
            capacity: band_rows(conv) * conv.out_width,
            values: start.add(sections.values),
            channels: start.add(sections.channels).cast(),
            pixels: start.add(sections.pixels).cast(),
            starts: start.add(sections.starts).cast(),
            by_channel: start.add(sections.by_channel).cast(),
            ends: start.add(sections.ends).cast(),
            numbers: start.add(sections.numbers).cast(),
            row: start.add(sections.row),
        };
        lists.number_channels(channels);
        let d_runs = start.add(sections.d_runs);
        let gradient = start.add(sections.gradient);
        let (image_row_len, pixel_len) = match (blocks, sections.in_place.0) {
            (true, _) => (conv.padded_width() * S::LANES, S::LANES),
            (_, true) => (row_len, conv.in_channels),
            (_, false) => (padded_row_len, conv.in_channels),
        };
        let offsets = match &pairs {
            Some(pairs) => pairs.code_offsets(conv, &pool),
            None => narrow_gradient::code_offsets(&pool, image_row_len, conv.in_channels),
        };
        for n in 0..samples {
            let mut image = input.as_ptr().add(n * conv.input_len());
            let mut next = image.wrapping_add(conv.input_len());
            let output = output.as_ptr().add(n * pool.output_len());
            let d_output = d_output.as_ptr().add(n * pool.output_len());
            let d_bias = start.add(sections.d_bias);
            let mut sample_codes = std::ptr::null();
            if !codes.is_empty() {
                sample_codes = codes.as_ptr().add(n * pool.output_len());
            }
            if let Some(pairs) = pairs {
                let from = interleaved_gradient::Sources {
                    image,
                    output,
                    d_output,
                    codes: sample_codes,
                    d_bias,
                };
                let scratch = from_raw_parts_mut(start.add(sections.pairs), pairs.scratch_len());
                pairs.add(s, block, &offsets, from, scratch);
                continue;
            }
            if blocks {
                block_gradient::place(s, conv, image, start.add(sections.image));
                image = start.add(sections.image).cast_const();
            } else if !sections.in_place.0 {
                let padded = start.add(sections.image);
                let image_of = from_raw_parts(image, conv.input_len());
                let to = from_raw_parts_mut(padded, padded_len);
                place(conv, image_of, to, padded_row_len);
                image = padded.cast_const();
            }
            let mut d_image = std::ptr::null_mut();
            let mut d_image_row_len = row_len;
            if let Some(d_input) = &mut d_input {
                d_image = d_input.as_mut_ptr().add(n * conv.input_len());
                let mut len = conv.input_len();
                if !sections.in_place.1 {
                    (d_image, d_image_row_len) = (start.add(sections.d_image), padded_row_len);
                    len = padded_len;
                }
                let is_all_read = !sections.in_place.1
                    || (conv.padded_height(), conv.padded_width()) == (conv.height, conv.width);
                if is_all_read && blocks {
                    len = input_gradient::ZERO_ROWS * d_image_row_len;
                }
                d_image.write_bytes(0, len);
            }

            if let Some(patches) = patches {
                let from = patch_gradient::Sources {
                    output,
                    d_output,
                    norm,
                    codes: sample_codes,
                    image,
                    row_len: image_row_len,
                    patches: start.add(sections.patches),
                    d_kernel: d_kernel.as_mut_ptr(),
                    d_bias,
                };
                patches.add(s, block, from);
                continue;
            }
            if d_input.is_none() && norm.is_none() && narrow_gradient::applies(conv) {
                for oy in 0..pool.out_height {
                    let at = oy * pool.out_width * pool.channels;
                    let from = narrow_gradient::Sources {
                        output: output.add(at),
                        d_output: d_output.add(at),
                        codes: if sample_codes.is_null() {
                            sample_codes
                        } else {
                            sample_codes.add(at)
                        },
                        gradient,
                        image,
                        row_len: image_row_len,
                        d_runs,
                        d_bias,
                    };
                    narrow_gradient::add_pooled_row(s, block, &pool, &offsets, from, oy);
                }
                continue;
            }

            if !codes.is_empty() && channels != pool.channels {
                // Whole registers of codes are read: pad the channels.
                let padded = start.add(sections.codes).cast::<u8>();
                padded.write_bytes(0, pool.out_height * pool.out_width * channels);
                for p in 0..pool.out_height * pool.out_width {
                    std::ptr::copy_nonoverlapping(
                        sample_codes.add(p * pool.channels),
                        padded.add(p * channels),
                        pool.channels,
                    );
                }
                sample_codes = padded;
            }
            pooled_gradient(
                s, block, &pool, channels, output, d_output, norm, gradient, d_bias,
            );
            let mut y0 = 0;
            while y0 < conv.out_height {
                let y1 = conv.out_height.min(y0 + band_rows(conv));
                list_band(
                    s,
                    conv,
                    &pool,
                    channels,
                    gradient,
                    sample_codes,
                    y0,
                    y1,
                    image_row_len,
                    pixel_len,
                    channel_len,
                    lists,
                );
                if d_input.is_some() {
                    input_gradient::add_band(
                        s,
                        conv,
                        layout.run_len,
                        packed.as_ptr().add(layout.runs),
                        y0,
                        y1,
                        lists,
                        d_image,
                        d_image_row_len,
                    );
                }
                if blocks {
                    block_gradient::add_band(s, conv, lists, image, &mut next, d_runs);
                } else {
                    weight_gradient::add_band(s, conv, lists, image, image_row_len, d_runs);
                }
                y0 = y1;
            }
            if let Some(d_input) = &mut d_input
                && !sections.in_place.1
            {
                crop(
                    conv,
                    d_image,
                    d_input.as_mut_ptr().add(n * conv.input_len()),
                );
            }
        }
    }

    d_bias.copy_from_slice(&scratch[sections.d_bias..][..d_bias.len()]);
    if patches.is_some() {
        return;
    }
    if let Some(pairs) = pairs {
        return pairs.write(conv, &mut scratch[sections.pairs..], d_kernel);
    }
    let d_runs = &scratch[sections.d_runs..][..d_runs_len];
    if blocks {
        return block_gradient::write(s, conv, d_runs, d_kernel);
    }
    let (run, filters) = (conv.run(), conv.out_channels);
    for ky in 0..conv.kernel_height {
        transpose(
            s,
            filters,
            run,
            &d_runs[ky * d_run_len..],
            conv.kernel_height * d_run_len,
            &mut d_kernel[ky * run * filters..],
            filters,
        );
    }
}
