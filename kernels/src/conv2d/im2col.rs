//! Convolution as a product: im2col, GEMM, col2im.
//!
//! Every output pixel's window is a row of a matrix. With the kernel as the matrix `[ky, kx, i][o]` that it is:
//!
//! ```text
//! map      = windows * kernel + bias
//! d_kernel = windows^T * d_map
//! d_input  = the sum of the rows of (d_map * kernel^T) at their places (col2im)
//! ```
//! Several samples share a product where they are small, so that the packed kernel is read once for all of them; large
//! samples are cut into blocks of rows that stay in L2. The windows of a 1-D convolution without padding already stand
//! in the image as rows that overlap: nothing is copied.
//!
//! Source: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006.

use super::{Conv2dShape, ConvAlgorithm};
use crate::activation::Activation;
use crate::gemm::{GemmAlgorithm, Matrix, matrixmultiply_gemm};
use crate::table::Kernels;

/// Values of the windows that one product reads: 256 KB, half of a small L2.
const WINDOWS: usize = 64 * 1024;
/// The most samples that share a product.
const SAMPLES: usize = 64;
/// Pixels of a sample from which on it has a product of its own where that saves the copy.
const OWN_PRODUCT: usize = 32;

/// How the pixels of a batch are cut into products.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// Samples that are worked on at once.
    pub(super) samples: usize,
    /// The most rows of one product.
    rows: usize,
    /// True where the image itself serves as the matrix.
    in_place: bool,
}

impl Cut {
    pub(super) fn new(conv: &Conv2dShape) -> Self {
        let pixels = conv.out_height * conv.out_width;
        let most = (WINDOWS / conv.window_len()).max(1);
        let in_place = conv.is_inside()
            && (conv.kernel_height, conv.out_height) == (1, 1)
            && pixels >= OWN_PRODUCT;
        let samples = match in_place {
            true => 1,
            false => (most / pixels).clamp(1, SAMPLES),
        };
        Self {
            samples,
            rows: match in_place {
                true => pixels,
                false => most.min(samples * pixels),
            },
            in_place,
        }
    }

    /// Values of the copied windows.
    pub(super) fn windows_len(&self, conv: &Conv2dShape) -> usize {
        match self.in_place {
            true => 0,
            false => self.d_windows_len(conv),
        }
    }

    /// Values of the windows' gradient.
    pub(super) fn d_windows_len(&self, conv: &Conv2dShape) -> usize {
        self.rows * conv.window_len()
    }

    /// Values of scratch that the products ask for.
    pub(super) fn gemm_len(
        &self,
        conv: &Conv2dShape,
        products: GemmAlgorithm,
        lanes: usize,
    ) -> usize {
        let (m, n, k) = (self.rows, conv.out_channels, conv.window_len());
        products
            .scratch_len(m, n, k, lanes)
            .max(products.scratch_len(m, k, n, lanes))
            .max(products.unpacked_scratch_len(k, n, m, lanes))
    }

    /// Rows `first..first + rows` of the matrix of windows.
    fn windows<'a>(
        &self,
        conv: &Conv2dShape,
        input: &'a [f32],
        first: usize,
        rows: usize,
        copy: &'a mut [f32],
    ) -> Matrix<'a> {
        if self.in_place {
            return Matrix {
                data: &input[first * conv.in_channels..],
                row_stride: conv.in_channels,
                column_stride: 1,
            };
        }
        let len = conv.window_len();
        for (row, window) in copy.chunks_exact_mut(len).take(rows).enumerate() {
            for (ky, taps) in window.chunks_exact_mut(conv.run()).enumerate() {
                match conv.taps(first + row, ky) {
                    None => taps.fill(0.0),
                    Some(part) => {
                        let (before, rest) = taps.split_at_mut(part.skipped);
                        let (inside, after) = rest.split_at_mut(part.len);
                        before.fill(0.0);
                        inside.copy_from_slice(&input[part.at..][..part.len]);
                        after.fill(0.0);
                    }
                }
            }
        }
        Matrix::row_major(copy, len)
    }
}

/// The part of one kernel row's (kx, i) run that lies inside the image.
struct Taps {
    /// Values of the run before it.
    skipped: usize,
    /// Its length.
    len: usize,
    /// Where it stands in the samples.
    at: usize,
}

impl Conv2dShape {
    /// What output pixel `pixel` of the samples reads with kernel row `ky`, or `None` where all of it is padding.
    fn taps(&self, pixel: usize, ky: usize) -> Option<Taps> {
        let (row, x) = (pixel / self.out_width, pixel % self.out_width);
        let (n, y) = (row / self.out_height, row % self.out_height);
        let y = (y + ky)
            .checked_sub(self.pad_top)
            .filter(|&y| y < self.height)?;
        let first = self.pad_left.saturating_sub(x);
        let end = self
            .kernel_width
            .min((self.width + self.pad_left).saturating_sub(x));
        (first < end).then(|| Taps {
            skipped: first * self.in_channels,
            len: (end - first) * self.in_channels,
            at: ((n * self.height + y) * self.width + x + first - self.pad_left) * self.in_channels,
        })
    }
}

/// Values of the packed kernel: as it is for forward, transposed for the input's gradient.
pub(super) fn packed_kernel_len(
    conv: &Conv2dShape,
    products: GemmAlgorithm,
    lanes: usize,
) -> usize {
    let (depth, filters) = (conv.window_len(), conv.out_channels);
    products.packed_len(depth, filters, lanes) + products.packed_len(filters, depth, lanes)
}

/// Packs the kernel for this crate's products.
pub(super) fn pack(
    kernels: &Kernels,
    conv: &Conv2dShape,
    products: GemmAlgorithm,
    kernel: &[f32],
    packed: &mut [f32],
) {
    let (depth, filters) = (conv.window_len(), conv.out_channels);
    let kernel = Matrix::row_major(kernel, filters);
    let len = products.packed_len(depth, filters, kernels.lanes());
    let (forward, transposed) = packed.split_at_mut(len);
    kernels.product_pack(products, depth, filters, kernel, forward);
    kernels.product_pack(products, filters, depth, kernel.transposed(), transposed);
}

/// `map` = convolution + bias, and by this crate's products the activation, of up to `cut.samples` samples.
pub(super) fn forward(
    kernels: &Kernels,
    algorithm: ConvAlgorithm,
    conv: &Conv2dShape,
    activation: Activation,
    cut: &Cut,
    input: &[f32],
    packed: &[f32],
    bias: &[f32],
    map: &mut [f32],
    windows: &mut [f32],
    scratch: &mut [f32],
) {
    let (depth, filters) = (conv.window_len(), conv.out_channels);
    for (block, map) in map.chunks_mut(cut.rows * filters).enumerate() {
        let rows = map.len() / filters;
        let a = cut.windows(conv, input, block * cut.rows, rows, windows);
        if let Some(products) = algorithm.products() {
            // Without a pool nothing tells training from prediction.
            kernels.product(
                products,
                true,
                (rows, 0..filters, depth),
                a,
                false,
                packed,
                map,
                filters,
                false,
                Some(bias),
                activation,
                scratch,
            );
        } else {
            map.chunks_exact_mut(filters)
                .for_each(|pixel| pixel.copy_from_slice(bias));
            let b = Matrix::row_major(packed, filters);
            matrixmultiply_gemm(rows, filters, depth, a, b, map, filters, true);
        }
    }
}

/// Sets `d_kernel`, or adds to it where `accumulate`; sets `d_input`.
pub(super) fn backward(
    kernels: &Kernels,
    algorithm: ConvAlgorithm,
    conv: &Conv2dShape,
    cut: &Cut,
    input: &[f32],
    packed: &[f32],
    d_map: &[f32],
    mut d_input: Option<&mut [f32]>,
    d_kernel: &mut [f32],
    accumulate: bool,
    windows: &mut [f32],
    d_windows: &mut [f32],
    scratch: &mut [f32],
) {
    let (depth, filters, lanes) = (conv.window_len(), conv.out_channels, kernels.lanes());
    let own = algorithm.products();
    if let Some(d_input) = &mut d_input {
        d_input.fill(0.0);
    }
    for (block, d_map) in d_map.chunks(cut.rows * filters).enumerate() {
        let (first, rows) = (block * cut.rows, d_map.len() / filters);
        let add = accumulate || block > 0;
        let d_map = Matrix::row_major(d_map, filters);
        let a = cut.windows(conv, input, first, rows, windows).transposed();
        if let Some(products) = own {
            kernels.product_unpacked(
                products, depth, filters, rows, a, d_map, d_kernel, filters, add, scratch,
            );
        } else {
            matrixmultiply_gemm(depth, filters, rows, a, d_map, d_kernel, filters, add);
        }
        let Some(d_input) = &mut d_input else {
            continue;
        };
        if let Some(products) = own {
            let transposed = &packed[products.packed_len(depth, filters, lanes)..];
            kernels.product(
                products,
                true,
                (rows, 0..depth, filters),
                d_map,
                false,
                transposed,
                d_windows,
                depth,
                false,
                None,
                Activation::Linear,
                scratch,
            );
        } else {
            let b = Matrix::row_major(packed, filters).transposed();
            matrixmultiply_gemm(rows, depth, filters, d_map, b, d_windows, depth, false);
        }
        add_windows(kernels, conv, first, &d_windows[..rows * depth], d_input);
    }
}

/// col2im: adds every window's values at their places.
fn add_windows(
    kernels: &Kernels,
    conv: &Conv2dShape,
    first: usize,
    windows: &[f32],
    image: &mut [f32],
) {
    for (row, window) in windows.chunks_exact(conv.window_len()).enumerate() {
        for (ky, taps) in window.chunks_exact(conv.run()).enumerate() {
            if let Some(part) = conv.taps(first + row, ky) {
                kernels.add_assign(
                    &mut image[part.at..][..part.len],
                    &taps[part.skipped..][..part.len],
                );
            }
        }
    }
}
