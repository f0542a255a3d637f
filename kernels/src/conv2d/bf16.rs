//! The direct forward pass by bf16 products: every f32 is cut into one, two or three bf16 parts, and the parts' products
//! are summed in f32.
//!
//! ```text
//! a sample:
//!   its padded image in planes of 32 channels, a set of planes a part
//!   for each block of 32 filters:
//!     for each 32 pixels of the map, in the order of the image (columns behind a row's end are computed and not read):
//!       for each (part of the image, part of the kernel), plane, tap: a product of 32 pixels x 32 channels x 32 filters
//!     pool and activate the map's rows
//! ```
//! A pixel of a plane is 64 bytes, a row of a tile, and the taps of 32 pixels in a row are 32 pixels in a row: the image is
//! multiplied where it stands.

use super::{Conv2dShape, ConvBlock, Sections, pad_bias};
use crate::parts::{cut_values, parts_of, products};
use crate::pool::{Bias, PoolShape, Rows, pool_row};
use crate::simd::Simd;
use crate::tiles::{B_LEN, COLUMNS, DEPTH, ROWS, Session, Step, b_index};

/// f32 values that hold two bf16 each.
const PIXEL: usize = DEPTH / 2;

/// Where the intermediate values stand in forward's scratch.
pub(crate) struct Layout {
    pub(super) len: usize,
    bias: usize,
    /// Planes of 32 channels of the image.
    planes: usize,
    /// Columns of a plane's rows and of the map's.
    width: usize,
    /// Pixels of the map, in whole blocks.
    pixels: usize,
    /// f32 values of a plane.
    plane_len: usize,
    image: usize,
    /// Steps of one pair of parts.
    pair_steps: usize,
    steps: usize,
    map: usize,
}

impl Layout {
    pub(super) fn new(conv: &Conv2dShape, parts: usize, lanes: usize) -> Self {
        let mut sections = Sections::default();
        let planes = conv.in_channels.div_ceil(DEPTH);
        let width = conv.padded_width();
        let used = (conv.out_height - 1) * width + conv.out_width;
        let pixels = used.next_multiple_of(ROWS);
        // The last block's taps reach as far behind the image as the block reaches behind the map.
        let plane_len = (conv.padded_height() * width + pixels - used) * PIXEL;
        let image_len = parts * planes * plane_len;
        // Steps hold offsets in bytes as u32.
        assert!(image_len * size_of::<f32>() < u32::MAX as usize);
        let pair_steps = planes * conv.kernel_height * conv.kernel_width;
        Self {
            bias: sections.take(conv.out_channels.next_multiple_of(lanes)),
            planes,
            width,
            pixels,
            plane_len,
            image: sections.take(image_len),
            pair_steps,
            steps: sections.take(2 * pair_steps * products(parts).count()),
            map: sections.take(pixels * COLUMNS),
            len: sections.len,
        }
    }
}

/// f32 values of the kernel's parts.
pub(super) fn packed_len(conv: &Conv2dShape, parts: usize) -> usize {
    let taps = conv.kernel_height * conv.kernel_width;
    let planes = conv.in_channels.div_ceil(DEPTH);
    conv.out_channels.div_ceil(COLUMNS) * parts * planes * taps * (B_LEN / 2)
}

/// Writes the parts of an HWIO kernel: `[block of filters][part][plane][ky, kx][tile]`, zeros where there is no channel.
///
/// # Safety
/// `packed` may be written for [`packed_len`] values.
#[inline(always)]
pub(super) unsafe fn pack(conv: &Conv2dShape, parts: usize, kernel: &[f32], packed: *mut f32) {
    let taps = conv.kernel_height * conv.kernel_width;
    let planes = conv.in_channels.div_ceil(DEPTH);
    let set = planes * taps * B_LEN;
    // SAFETY: the caller's promise; block, part, plane, tap and index stay below their counts.
    unsafe {
        packed.write_bytes(0, packed_len(conv, parts));
        let packed = packed.cast::<u16>();
        for tap in 0..taps {
            for i in 0..conv.in_channels {
                for o in 0..conv.out_channels {
                    let x = kernel[(tap * conv.in_channels + i) * conv.out_channels + o];
                    let to = (o / COLUMNS) * parts * set
                        + ((i / DEPTH) * taps + tap) * B_LEN
                        + b_index(i % DEPTH, o % COLUMNS);
                    for (part, value) in parts_of::<3>(x).into_iter().enumerate().take(parts) {
                        packed.add(to + part * set).write(value);
                    }
                }
            }
        }
    }
}

/// The fused forward pass of one block by bf16 parts.
///
/// # Panics
/// Where a length does not fit the block, or the block is not computed so.
///
/// # Safety
/// None beyond the token's.
#[inline(always)]
pub(crate) unsafe fn forward_bf16<S: Simd>(
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
    let algorithm = block.algorithm(S::LANES);
    // Only a pool's codes tell training from prediction.
    let parts = match block.pool.is_some() && codes.is_empty() {
        true => algorithm.bf16_predict_parts(),
        false => algorithm.bf16_parts(),
    };
    let (Some(parts), Some(stored)) = (parts, algorithm.bf16_parts()) else {
        panic!("{algorithm} multiplies no bf16");
    };
    let layout = Layout::new(conv, stored, S::LANES);
    assert_eq!(input.len(), samples * conv.input_len());
    assert_eq!(packed.len(), block.packed_len(S::LANES));
    assert_eq!(bias.len(), conv.out_channels);
    assert_eq!(output.len(), samples * block.output_len());
    assert!(codes.is_empty() || codes.len() == samples * block.codes_len());
    assert!(scratch.len() >= layout.len);

    let padded = conv.out_channels.next_multiple_of(S::LANES);
    pad_bias(bias, padded, &mut scratch[layout.bias..]);
    let scratch = scratch.as_mut_ptr();
    let set = packed_len(conv, stored) / conv.out_channels.div_ceil(COLUMNS);
    // SAFETY: the lengths above; every offset stays in its sample and its section.
    unsafe {
        prepare(conv, &layout, parts, scratch);
        for n in 0..samples {
            let codes = if codes.is_empty() {
                std::ptr::null_mut()
            } else {
                codes.as_mut_ptr().add(n * pool.output_len())
            };
            sample(
                s,
                block,
                &pool,
                &layout,
                parts,
                input.as_ptr().add(n * conv.input_len()),
                packed.as_ptr(),
                set,
                output.as_mut_ptr().add(n * pool.output_len()),
                codes,
                scratch,
            );
        }
    }
}

/// What all samples share: zeros around the image, and the list of steps for so many `parts`, the packed kernel's or fewer.
///
/// # Safety
/// `scratch` has the layout's sections.
#[inline(always)]
unsafe fn prepare(conv: &Conv2dShape, layout: &Layout, parts: usize, scratch: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        let image = scratch.add(layout.image);
        image.write_bytes(0, parts * layout.planes * layout.plane_len);
        list_steps(conv, layout, parts, scratch.add(layout.steps).cast());
    }
}

/// One sample, behind [`prepare`] for as many parts.
///
/// # Safety
/// `sample` holds one; `weights` is [`pack`]'s layout, `set` values a block of filters; `output` may be written for the
/// sample's output and so may `codes` unless it is null; `scratch` has the layout's sections, and the bias in its own.
#[inline(always)]
unsafe fn sample<S: Simd>(
    s: S,
    block: &ConvBlock,
    pool: &PoolShape,
    layout: &Layout,
    parts: usize,
    sample: *const f32,
    weights: *const f32,
    set: usize,
    output: *mut f32,
    codes: *mut u8,
    scratch: *mut f32,
) {
    let conv = &block.conv;
    // SAFETY: every offset stays in its section; a block's taps stay in its plane, whose length allows for the last one.
    unsafe {
        let (image, map) = (scratch.add(layout.image), scratch.add(layout.map));
        match parts {
            1 => cut::<1>(conv, layout, sample, image.cast()),
            2 => cut::<2>(conv, layout, sample, image.cast()),
            _ => cut::<3>(conv, layout, sample, image.cast()),
        }
        let steps = scratch.add(layout.steps).cast::<Step>();
        let step_count = products(parts).count() * layout.pair_steps;
        let tiles = Session::new::<S>();
        for first in (0..conv.out_channels).step_by(COLUMNS) {
            let weights = weights.add(first / COLUMNS * set).cast();
            for pixel in (0..layout.pixels).step_by(ROWS) {
                let a = image.add(pixel * PIXEL).cast();
                let c = map.add(pixel * COLUMNS);
                tiles.multiply(s, steps, step_count, a, weights, c);
            }
            let pool = PoolShape {
                channels: COLUMNS.min(conv.out_channels - first),
                ..*pool
            };
            let rows = Rows {
                start: map,
                slots: conv.out_height,
                row_len: layout.width * COLUMNS,
                pixel_len: COLUMNS,
                out_pixel_len: conv.out_channels,
                bias: Bias::of(scratch.add(layout.bias + first)),
            };
            for oy in 0..pool.out_height {
                let at = oy * pool.out_width * conv.out_channels + first;
                let codes = if codes.is_null() {
                    codes
                } else {
                    codes.add(at)
                };
                pool_row(s, &pool, oy, rows, block.activation, output.add(at), codes);
            }
        }
    }
}

/// Writes what is multiplied for one block of pixels and one of filters.
///
/// # Safety
/// `steps` may be written for those of all pairs of parts.
#[inline(always)]
unsafe fn list_steps(conv: &Conv2dShape, layout: &Layout, parts: usize, mut steps: *mut Step) {
    let taps = conv.kernel_height * conv.kernel_width;
    let (plane_bytes, b_bytes) = (4 * layout.plane_len, 2 * B_LEN);
    for (x, w) in products(parts) {
        for plane in 0..layout.planes {
            for tap in 0..taps {
                let (ky, kx) = (tap / conv.kernel_width, tap % conv.kernel_width);
                let pixel = ky * layout.width + kx;
                let a = (x * layout.planes + plane) * plane_bytes + pixel * 4 * PIXEL;
                let b = ((w * layout.planes + plane) * taps + tap) * b_bytes;
                // SAFETY: as many steps as there are products, planes and taps.
                unsafe {
                    steps.write(Step {
                        a: a as u32,
                        b: b as u32,
                    });
                    steps = steps.add(1);
                }
            }
        }
    }
}

/// Cuts a sample into the parts' planes. What lies around the image stays as it is: zero.
///
/// # Safety
/// `sample` holds a sample; `image` may be written for `N` sets of planes.
#[inline(always)]
unsafe fn cut<const N: usize>(
    conv: &Conv2dShape,
    layout: &Layout,
    sample: *const f32,
    image: *mut u16,
) {
    let (rows, columns) = conv.visible();
    let plane_len = 2 * layout.plane_len;
    // SAFETY: `visible` keeps every pixel inside both images; `channels` stays inside the pixel.
    unsafe {
        for plane in 0..layout.planes {
            let channels = DEPTH.min(conv.in_channels - plane * DEPTH);
            for y in 0..rows {
                let row = sample.add(y * conv.width * conv.in_channels + plane * DEPTH);
                let to = (y + conv.pad_top) * layout.width + conv.pad_left;
                let to = image.add(plane * plane_len + to * DEPTH);
                for x in 0..columns {
                    let (from, to) = (row.add(x * conv.in_channels), to.add(x * DEPTH));
                    let set_len = layout.planes * plane_len;
                    // A length that the compiler knows becomes straight vector code.
                    if channels == DEPTH {
                        cut_values::<N>(DEPTH, from, to, set_len);
                    } else {
                        cut_values::<N>(channels, from, to, set_len);
                    }
                }
            }
        }
    }
}
