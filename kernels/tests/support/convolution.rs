//! One convolution problem: a block, its data, its runs, and the oracle that they are held to.

use sonograd_kernels::{
    Activation, Conv2dShape, ConvAlgorithm, ConvBlock, GemmAlgorithm, Kernels, NormGradient,
    reference,
};

/// Marks what no kernel may touch.
const SENTINEL: f32 = 12345.0;

/// `len` values of NaN and sentinels behind them.
pub(crate) struct Guarded {
    pub(crate) values: Vec<f32>,
    pub(crate) len: usize,
}

impl Guarded {
    pub(crate) fn new(len: usize) -> Self {
        let mut values = vec![f32::NAN; len];
        values.extend([SENTINEL; 32]);
        Self { values, len }
    }

    pub(crate) fn get(&mut self) -> &mut [f32] {
        &mut self.values[..self.len]
    }

    /// The values, after a look at the sentinels.
    pub(crate) fn take(self) -> Vec<f32> {
        assert!(
            self.values[self.len..].iter().all(|&x| x == SENTINEL),
            "a write behind the end"
        );
        self.values[..self.len].to_vec()
    }
}

pub(crate) fn f64s(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

pub(crate) fn abs(values: &[f64]) -> Vec<f64> {
    values.iter().map(|x| x.abs()).collect()
}

/// What a block's passes read and wrote.
pub(crate) struct Run {
    pub(crate) output: Vec<f32>,
    pub(crate) codes: Vec<u8>,
    pub(crate) d_input: Vec<f32>,
    pub(crate) d_kernel: Vec<f32>,
    pub(crate) d_bias: Vec<f32>,
}

/// One problem: a block and its data.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) block: ConvBlock,
    pub(crate) samples: usize,
    pub(crate) input: Vec<f32>,
    pub(crate) kernel: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) d_output: Vec<f32>,
}

impl Problem {
    /// `value(i)` names the i-th of an endless row of values.
    pub(crate) fn new(block: ConvBlock, samples: usize, mut value: impl FnMut() -> f32) -> Self {
        let mut take = |len: usize| (0..len).map(|_| value()).collect::<Vec<f32>>();
        Self {
            input: take(samples * block.conv.input_len()),
            kernel: take(block.conv.kernel_len()),
            bias: take(block.conv.out_channels),
            d_output: take(samples * block.output_len()),
            block,
            samples,
        }
    }

    /// The output without codes.
    pub(crate) fn predict(&self, kernels: &Kernels) -> Vec<f32> {
        let (block, lanes) = (&self.block, kernels.lanes());
        let mut packed = vec![f32::NAN; block.packed_len(lanes)];
        kernels.conv_block_pack(block, &self.kernel, &mut packed);
        let mut output = vec![f32::NAN; self.samples * block.output_len()];
        let mut scratch = vec![f32::NAN; block.forward_scratch_len(lanes)];
        kernels.conv_block_forward(
            block,
            self.samples,
            &self.input,
            &packed,
            &self.bias,
            &mut output,
            &mut [],
            &mut scratch,
        );
        output
    }

    pub(crate) fn run(&self, kernels: &Kernels) -> Run {
        let (block, samples, lanes) = (&self.block, self.samples, kernels.lanes());
        let mut packed = Guarded::new(block.packed_len(lanes));
        kernels.conv_block_pack(block, &self.kernel, packed.get());
        let mut output = Guarded::new(samples * block.output_len());
        let mut codes = vec![77; samples * block.codes_len() + 32];
        let codes_len = samples * block.codes_len();
        let mut scratch = Guarded::new(block.forward_scratch_len(lanes));
        kernels.conv_block_forward(
            block,
            samples,
            &self.input,
            packed.get(),
            &self.bias,
            output.get(),
            &mut codes[..codes_len],
            scratch.get(),
        );
        scratch.take();
        let output = output.take();
        assert!(codes[codes_len..].iter().all(|&code| code == 77));
        codes.truncate(codes_len);

        let mut with = None;
        for wants_input in [false, true] {
            let backward = |norm: Option<NormGradient<'_>>| {
                self.backward(kernels, &packed, &output, &codes, norm, wants_input)
            };
            let run = backward(None);
            self.check_backward(kernels, &run, wants_input);
            if block.takes_norm(lanes) {
                let mut next = noise(9);
                let rows = [0; 5].map(|_| (self.bias.iter().map(|_| next())).collect::<Vec<_>>());
                let norm = NormGradient {
                    mean: &rows[0],
                    inverse_deviation: &rows[1],
                    gamma: &rows[2],
                    mean_d_y: &rows[3],
                    mean_d_y_x_hat: &rows[4],
                };
                let (channels, len) = (self.bias.len(), output.len());
                let mut turned = self.clone();
                let (d_y, d_x) = (&self.d_output, &mut turned.d_output);
                kernels.norm_backward(len / channels, channels, &output, d_y, norm, d_x);
                turned.check_backward(kernels, &backward(Some(norm)), wants_input);
            }
            with = Some(run);
        }
        packed.take();
        with.expect("two runs")
    }

    fn backward(
        &self,
        kernels: &Kernels,
        packed: &Guarded,
        output: &[f32],
        codes: &[u8],
        norm: Option<NormGradient<'_>>,
        wants_input: bool,
    ) -> Run {
        let mut d_input = Guarded::new(self.input.len());
        let mut d_kernel = Guarded::new(self.kernel.len());
        let mut d_bias = Guarded::new(self.bias.len());
        let mut scratch = Guarded::new(self.block.backward_scratch_len(kernels.lanes()));
        kernels.conv_block_backward(
            &self.block,
            self.samples,
            &self.input,
            output,
            codes,
            &self.d_output,
            norm,
            &packed.values[..packed.len],
            wants_input.then(|| d_input.get()),
            d_kernel.get(),
            d_bias.get(),
            scratch.get(),
        );
        scratch.take();
        Run {
            output: output.to_vec(),
            codes: codes.to_vec(),
            d_input: d_input.take(),
            d_kernel: d_kernel.take(),
            d_bias: d_bias.take(),
        }
    }

    fn is_winograd_1d(&self) -> bool {
        let conv = &self.block.conv;
        self.block.algorithm == Some(ConvAlgorithm::Winograd1d)
            && (conv.kernel_height, conv.kernel_width) == (1, 2)
    }

    /// The bf16 parts of the products of windows, forward and backward.
    fn products_parts(&self) -> Option<usize> {
        match self.block.algorithm.and_then(ConvAlgorithm::products) {
            Some(GemmAlgorithm::Bf16) => Some(1),
            Some(GemmAlgorithm::Bf16x6) => Some(3),
            _ => None,
        }
    }

    /// The convolution's output before the activation, and each value's error bound.
    ///
    /// A sum of n products in any order is off by at most n * eps/2 times the sum of the products' magnitudes (Higham,
    /// Accuracy and Stability of Numerical Algorithms, 3.1); eps is twice that, which covers the second-order terms.
    pub(crate) fn oracle(&self) -> (Vec<f64>, Vec<f64>) {
        let (conv, n) = (&self.block.conv, self.samples);
        let (x, w, b) = (f64s(&self.input), f64s(&self.kernel), f64s(&self.bias));
        let terms = (conv.kernel_height * conv.kernel_width * conv.in_channels + 2) as f64;
        let fused = self.block.algorithm.and_then(ConvAlgorithm::bf16_parts);
        let cut = cut_loss(fused.or(self.products_parts()));
        let mut magnitudes = reference::conv2d_forward(conv, n, &abs(&x), &abs(&w), &abs(&b));
        if self.block.algorithm == Some(ConvAlgorithm::Winograd) {
            // Its sums have fewer terms, and up to twelve roundings in the transforms, but of values that other pixels, or
            // rows, have a part in.
            let (x, w) = (abs(&x), abs(&w));
            let shared = match (conv.kernel_height, conv.kernel_width) {
                (3, 3) if conv.in_channels > 1 || conv.out_width < 5 => {
                    winograd_magnitudes(conv, n, &x, &w)
                }
                (3, 3) => winograd_row_magnitudes(conv, n, &x, &w, 2, 3),
                (8.., _) if conv.kernel_height % 4 == 0 => {
                    winograd_row_magnitudes(conv, n, &x, &w, 4, 4)
                }
                (4.., _) => winograd_row_magnitudes(conv, n, &x, &w, 2, 2),
                _ => vec![0.0; magnitudes.len()],
            };
            magnitudes
                .iter_mut()
                .zip(shared)
                .for_each(|(m, shared)| *m += shared);
        }
        if self.is_winograd_1d() {
            let w = two_taps_magnitudes(&abs(&w));
            magnitudes = reference::conv2d_forward(conv, n, &abs(&x), &w, &abs(&b));
        }
        let bounds = magnitudes
            .iter()
            .map(|m| m * (terms * f64::from(f32::EPSILON) + cut) + 1e-37)
            .collect();
        (reference::conv2d_forward(conv, n, &x, &w, &b), bounds)
    }

    pub(crate) fn check_forward(&self, kernels: &Kernels, run: &Run) {
        let (conv, bounds) = self.oracle();
        let activated = reference::activation_forward(self.block.activation, &conv);
        let (expected, bounds) = match &self.block.pool {
            None => (activated, bounds),
            Some(pool) => {
                let (expected, _) = reference::max_pool_forward(pool, self.samples, &activated);
                // The maximum moves no further than the window's worst value.
                let (bounds, _) = reference::max_pool_forward(pool, self.samples, &bounds);
                // The pixel that the code names holds the maximum, but for both values' rounding.
                let ones = vec![1.0; expected.len()];
                let chosen = reference::max_pool_backward(pool, self.samples, &ones, &run.codes);
                assert_eq!(chosen.iter().sum::<f64>(), ones.len() as f64, "{self:?}");
                for (i, (&value, &named)) in expected
                    .iter()
                    .zip(&self.named(&activated, run))
                    .enumerate()
                {
                    assert!(
                        value - named <= 2.0 * bounds[i],
                        "{kernels:?}: code {} of {i} names {named}, not {value}: {:?}",
                        run.codes[i],
                        self.block
                    );
                }
                (expected, bounds)
            }
        };
        for (i, &y) in run.output.iter().enumerate() {
            assert!(
                (f64::from(y) - expected[i]).abs() <= bounds[i],
                "{kernels:?}: output {i} is {y}, not {}: {:?}",
                expected[i],
                self.block
            );
        }
    }

    /// The value of the pixel that each code names.
    pub(crate) fn named(&self, map: &[f64], run: &Run) -> Vec<f64> {
        let pool = self.block.pool.expect("a pool");
        let c = pool.channels;
        (0..run.codes.len())
            .map(|o| {
                let (ox, oy) = (
                    o / c % pool.out_width,
                    o / c / pool.out_width % pool.out_height,
                );
                let (n, code) = (o / pool.output_len(), usize::from(run.codes[o]));
                let y = oy * pool.stride_height + code / pool.window_width - pool.pad_top;
                let x = ox * pool.stride_width + code % pool.window_width - pool.pad_left;
                map[((n * pool.height + y) * pool.width + x) * c + o % c]
            })
            .collect()
    }

    /// Backward against the oracle's, from this run's own output and codes.
    pub(crate) fn check_backward(&self, kernels: &Kernels, run: &Run, with_input: bool) {
        let (conv, n) = (&self.block.conv, self.samples);
        let g = reference::activation_backward(
            self.block.activation,
            &f64s(&run.output),
            &f64s(&self.d_output),
        );
        let unpool = |g: &[f64]| match &self.block.pool {
            None => g.to_vec(),
            Some(pool) => reference::max_pool_backward(pool, n, g, &run.codes),
        };
        let (x, w) = (f64s(&self.input), f64s(&self.kernel));
        let expected = reference::conv2d_backward(conv, n, &x, &w, &unpool(&g));
        let mut magnitude =
            reference::conv2d_backward(conv, n, &abs(&x), &abs(&w), &unpool(&abs(&g)));
        if self.is_winograd_1d() {
            let w = two_taps_magnitudes(&abs(&w));
            let shared = reference::conv2d_backward(conv, n, &abs(&x), &w, &unpool(&abs(&g)));
            magnitude.0 = shared.0;
            magnitude.1 = two_taps_magnitudes(&magnitude.1);
        }
        // As in `oracle`; a gradient at a pixel is itself a sum over the windows that chose it.
        let windows = self
            .block
            .pool
            .map_or(1, |pool| pool.window_height * pool.window_width);
        let cut = cut_loss(self.products_parts());
        let close = |name: &str, got: &[f32], expected: &[f64], magnitude: &[f64], terms: usize| {
            let eps = (terms + windows + 2) as f64 * f64::from(f32::EPSILON) + cut;
            for i in 0..got.len() {
                assert!(
                    (f64::from(got[i]) - expected[i]).abs() <= eps * magnitude[i] + 1e-37,
                    "{kernels:?}: {name} {i} is {}, not {}: {:?}",
                    got[i],
                    expected[i],
                    self.block
                );
            }
        };
        let pixels = n * conv.out_height * conv.out_width;
        if with_input {
            let taps = conv.kernel_height * conv.kernel_width * conv.out_channels;
            close("d_input", &run.d_input, &expected.0, &magnitude.0, taps);
        } else {
            assert!(
                run.d_input.iter().all(|x| x.is_nan()),
                "d_input was not asked for"
            );
        }
        close("d_kernel", &run.d_kernel, &expected.1, &magnitude.1, pixels);
        close("d_bias", &run.d_bias, &expected.2, &magnitude.2, pixels);
    }

    /// The same forward pass by separate kernels: convolution, pool, bias, activation.
    pub(crate) fn check_unfused(&self, kernels: &Kernels, run: &Run) {
        let mut plain = Problem {
            block: ConvBlock {
                activation: Activation::Linear,
                pool: None,
                // Of few filters some rows are computed together where the windows stand side by side alone.
                algorithm: (self.block.algorithm).map(|_| self.block.algorithm(kernels.lanes())),
                ..self.block
            },
            d_output: vec![0.0; self.samples * self.block.conv.output_len()],
            ..self.clone()
        };
        let mut linear = match &self.block.pool {
            None => plain.run(kernels).output,
            Some(pool) => {
                plain.bias.fill(0.0);
                let map = plain.run(kernels).output;
                let mut output = vec![f32::NAN; run.output.len()];
                let mut codes = vec![0; run.codes.len()];
                kernels.max_pool_forward(pool, self.samples, &map, &mut output, &mut codes);
                assert_eq!(codes, run.codes, "{kernels:?}: {:?}", self.block);
                for pixel in output.chunks_exact_mut(self.bias.len()) {
                    kernels.add_assign(pixel, &self.bias);
                }
                output
            }
        };
        let before = linear.clone();
        kernels.activation_forward(self.block.activation, &before, &mut linear);
        assert_eq!(linear, run.output, "{kernels:?}: {:?}", self.block);
    }

    /// The same problem by one algorithm.
    pub(crate) fn by(&self, algorithm: ConvAlgorithm) -> Self {
        let mut problem = self.clone();
        problem.block.algorithm = Some(algorithm);
        problem
    }

    /// The same problem by each algorithm.
    pub(crate) fn by_algorithm(&self) -> impl Iterator<Item = Self> {
        ConvAlgorithm::ALL.iter().map(|&each| self.by(each))
    }

    /// Each instruction set's passes, by the algorithm that the block asks for.
    pub(crate) fn check_one(&self) {
        for kernels in Kernels::available() {
            let run = self.run(kernels);
            self.check_forward(kernels, &run);
            self.check_unfused(kernels, &run);
            if self.block.algorithm != Some(ConvAlgorithm::Bf16x6x3) {
                assert_eq!(self.predict(kernels), run.output, "{kernels:?}: {self:?}");
            }
        }
    }

    pub(crate) fn check(&self) {
        self.by_algorithm().for_each(|problem| problem.check_one());
    }
}

/// What cutting the values into so many parts loses of each product, see `kernels/src/parts.rs`.
fn cut_loss(parts: Option<usize>) -> f64 {
    match parts {
        Some(1) => 2.0 * f64::powi(2.0, -8) + f64::powi(2.0, -16),
        Some(2) => 2.0 * f64::powi(2.0, -17) + f64::powi(2.0, -16),
        Some(3) => f64::powi(2.0, -24),
        _ => 0.0,
    }
}

/// What F(2, 2) adds up in place of magnitudes `|x| |a|` and `|x'| |b|` of the two taps, at most: `(|x| + |x'|) |a| + |x'| (|a| + |b|)` and
/// `|x| (|a| + |b|) + (|x'| + |x|) |b|` are below `|x| (|a| + 2 |b|) + |x'| (2 |a| + |b|)`. The gradients' are the same kernel's, and its transpose.
fn two_taps_magnitudes(kernel: &[f64]) -> Vec<f64> {
    let (a, b) = kernel.split_at(kernel.len() / 2);
    let first = a.iter().zip(b).map(|(a, b)| a + 2.0 * b);
    let second = a.iter().zip(b).map(|(a, b)| 2.0 * a + b);
    first.chain(second).collect()
}

/// The same for several rows at once, `kernels/src/conv2d/fast_rows.rs` and `row_pairs.rs`, of images of one channel: every product is of
/// sums of so many rows of the kernel, at most, and of the rows of the image that they and the rows of the map meet in.
fn winograd_row_magnitudes(
    conv: &Conv2dShape,
    n: usize,
    x: &[f64],
    w: &[f64],
    rows: usize,
    kernel_rows: usize,
) -> Vec<f64> {
    let (filters, columns) = (conv.out_channels, conv.kernel_width);
    if conv.in_channels > 1 {
        return vec![0.0; n * conv.output_len()];
    }
    let pixel = |sample: usize, row: usize, column: usize| {
        let row = row.checked_sub(conv.pad_top).filter(|&y| y < conv.height);
        let column = column
            .checked_sub(conv.pad_left)
            .filter(|&x| x < conv.width);
        row.zip(column).map_or(0.0, |(row, column)| {
            x[(sample * conv.height + row) * conv.width + column]
        })
    };
    (0..n * conv.output_len())
        .map(|i| {
            let (f, column) = (i % filters, i / filters % conv.out_width);
            let row = i / filters / conv.out_width;
            let (sample, top) = (row / conv.out_height, row % conv.out_height / rows * rows);
            let taps = (0..conv.kernel_height).step_by(kernel_rows);
            taps.flat_map(|ky| (0..columns).map(move |kx| (ky, kx)))
                .map(|(ky, kx)| {
                    let span = top + ky..top + ky + rows + kernel_rows - 1;
                    let rows = span.map(|y| pixel(sample, y, column + kx));
                    let weights = (ky..(ky + kernel_rows).min(conv.kernel_height))
                        .map(|ky| w[(ky * columns + kx) * filters + f]);
                    rows.sum::<f64>() * weights.sum::<f64>()
                })
                .sum()
        })
        .collect()
}

/// `|A'| sum of (|G| g |G'|) (|B'| d |B|) |A|` of F(3 x 3, 3 x 3) for images and kernels without a sign: what its roundings
/// are relative to.
fn winograd_magnitudes(conv: &Conv2dShape, n: usize, x: &[f64], w: &[f64]) -> Vec<f64> {
    const B: [[f64; 5]; 5] = [
        [1., 1.5, 1.5, 1., 0.],
        [0., 1., 2.5, 1., 0.],
        [0., 2., 1., 1., 0.],
        [0., 0.5, 0.5, 1., 0.],
        [0., 1., 1.5, 1.5, 1.],
    ];
    const G: [[f64; 3]; 5] = [
        [1., 0., 0.],
        [2. / 9., 2. / 9., 2. / 9.],
        [8. / 9., 4. / 9., 2. / 9.],
        [1. / 9., 2. / 9., 4. / 9.],
        [0., 0., 1.],
    ];
    const A: [[f64; 5]; 3] = [
        [1., 1., 1., 1., 0.],
        [0., 1., 0.5, 2., 0.],
        [0., 1., 0.25, 4., 1.],
    ];
    /// `matrix values matrix'`
    fn both<const N: usize, const M: usize>(
        matrix: &[[f64; N]; M],
        values: impl Fn(usize, usize) -> f64,
    ) -> [[f64; M]; M] {
        let mut result = [[0.0; M]; M];
        for (i, row) in result.iter_mut().enumerate() {
            for (j, sum) in row.iter_mut().enumerate() {
                for (k, l) in (0..N).flat_map(|k| (0..N).map(move |l| (k, l))) {
                    *sum += matrix[i][k] * values(k, l) * matrix[j][l];
                }
            }
        }
        result
    }
    let (channels, filters) = (conv.in_channels, conv.out_channels);
    let u: Vec<_> = (0..channels * filters)
        .map(|io| both(&G, |ky, kx| w[(ky * 3 + kx) * channels * filters + io]))
        .collect();
    let mut magnitudes = vec![0.0; n * conv.output_len()];
    for (sample, magnitudes) in magnitudes.chunks_exact_mut(conv.output_len()).enumerate() {
        let image = &x[sample * conv.input_len()..][..conv.input_len()];
        for (top, left) in (0..conv.out_height)
            .step_by(3)
            .flat_map(|y| (0..conv.out_width).step_by(3).map(move |x| (y, x)))
        {
            let v: Vec<_> = (0..channels)
                .map(|i| {
                    both(&B, |y, x| {
                        let (y, x) = (
                            (top + y).wrapping_sub(conv.pad_top),
                            (left + x).wrapping_sub(conv.pad_left),
                        );
                        if y < conv.height && x < conv.width {
                            image[(y * conv.width + x) * channels + i]
                        } else {
                            0.0
                        }
                    })
                })
                .collect();
            for o in 0..filters {
                let tile = both(&A, |y, x| {
                    (0..channels)
                        .map(|i| u[i * filters + o][y][x] * v[i][y][x])
                        .sum()
                });
                for (y, x) in (0..9).map(|i| (i / 3, i % 3)) {
                    let (row, column) = (top + y, left + x);
                    if row < conv.out_height && column < conv.out_width {
                        magnitudes[(row * conv.out_width + column) * filters + o] = tile[y][x];
                    }
                }
            }
        }
    }
    magnitudes
}

/// Deterministic values in -1..1.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Whole numbers -2..=2: sums are exact, and ties are common.
pub(crate) fn whole(seed: u64) -> impl FnMut() -> f32 {
    let mut noise = noise(seed);
    move || (noise() * 2.5).trunc()
}
