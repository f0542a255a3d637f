//! Convolution from its definition, in f32 and plain loops: what the other algorithms are measured against.

use super::Conv2dShape;

/// Calls `visit(output pixel, input pixel, tap)` for every tap that lies inside its image.
fn for_each_tap(conv: &Conv2dShape, samples: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let inside = |out: usize, tap: usize, pad: usize, len: usize| {
        (out + tap).checked_sub(pad).filter(|&at| at < len)
    };
    for n in 0..samples {
        for oy in 0..conv.out_height {
            for ox in 0..conv.out_width {
                let to = (n * conv.out_height + oy) * conv.out_width + ox;
                for ky in 0..conv.kernel_height {
                    let Some(y) = inside(oy, ky, conv.pad_top, conv.height) else {
                        continue;
                    };
                    for kx in 0..conv.kernel_width {
                        if let Some(x) = inside(ox, kx, conv.pad_left, conv.width) {
                            let from = (n * conv.height + y) * conv.width + x;
                            visit(to, from, ky * conv.kernel_width + kx);
                        }
                    }
                }
            }
        }
    }
}

/// `map` = convolution + bias.
pub(super) fn forward(
    conv: &Conv2dShape,
    samples: usize,
    input: &[f32],
    kernel: &[f32],
    bias: &[f32],
    map: &mut [f32],
) {
    let (inputs, filters) = (conv.in_channels, conv.out_channels);
    map.chunks_exact_mut(filters)
        .for_each(|pixel| pixel.copy_from_slice(bias));
    for_each_tap(conv, samples, |to, from, tap| {
        let map = &mut map[to * filters..][..filters];
        for i in 0..inputs {
            let x = input[from * inputs + i];
            let weights = &kernel[(tap * inputs + i) * filters..][..filters];
            for (sum, w) in map.iter_mut().zip(weights) {
                *sum += x * w;
            }
        }
    });
}

/// Adds to `d_kernel`; sets `d_input`.
pub(super) fn backward(
    conv: &Conv2dShape,
    samples: usize,
    input: &[f32],
    kernel: &[f32],
    d_map: &[f32],
    mut d_input: Option<&mut [f32]>,
    d_kernel: &mut [f32],
) {
    let (inputs, filters) = (conv.in_channels, conv.out_channels);
    if let Some(d_input) = &mut d_input {
        d_input.fill(0.0);
    }
    for_each_tap(conv, samples, |to, from, tap| {
        let d_map = &d_map[to * filters..][..filters];
        for i in 0..inputs {
            let x = input[from * inputs + i];
            let at = (tap * inputs + i) * filters;
            let mut d_x = 0.0;
            for o in 0..filters {
                d_kernel[at + o] += d_map[o] * x;
                d_x += d_map[o] * kernel[at + o];
            }
            if let Some(d_input) = &mut d_input {
                d_input[from * inputs + i] += d_x;
            }
        }
    });
}
