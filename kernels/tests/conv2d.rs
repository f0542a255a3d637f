//! Every instruction set's fused convolution against the oracle in f64, and against its unfused parts.

use proptest::prelude::*;
use sonograd_kernels::{
    Activation, Conv2dShape, ConvAlgorithm, ConvBlock, Kernels, PoolShape, reference,
};

/// Marks what no kernel may touch.
const SENTINEL: f32 = 12345.0;

/// `len` values of NaN and sentinels behind them.
struct Guarded {
    values: Vec<f32>,
    len: usize,
}

impl Guarded {
    fn new(len: usize) -> Self {
        let mut values = vec![f32::NAN; len];
        values.extend([SENTINEL; 32]);
        Self { values, len }
    }

    fn get(&mut self) -> &mut [f32] {
        &mut self.values[..self.len]
    }

    /// The values, after a look at the sentinels.
    fn take(self) -> Vec<f32> {
        assert!(
            self.values[self.len..].iter().all(|&x| x == SENTINEL),
            "a write behind the end"
        );
        self.values[..self.len].to_vec()
    }
}

fn f64s(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

fn abs(values: &[f64]) -> Vec<f64> {
    values.iter().map(|x| x.abs()).collect()
}

/// What a block's passes read and wrote.
struct Run {
    output: Vec<f32>,
    codes: Vec<u8>,
    d_input: Vec<f32>,
    d_kernel: Vec<f32>,
    d_bias: Vec<f32>,
}

/// One problem: a block and its data.
#[derive(Debug, Clone)]
struct Problem {
    block: ConvBlock,
    samples: usize,
    input: Vec<f32>,
    kernel: Vec<f32>,
    bias: Vec<f32>,
    d_output: Vec<f32>,
}

impl Problem {
    /// `value(i)` names the i-th of an endless row of values.
    fn new(block: ConvBlock, samples: usize, mut value: impl FnMut() -> f32) -> Self {
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
    fn predict(&self, kernels: &Kernels) -> Vec<f32> {
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

    fn run(&self, kernels: &Kernels) -> Run {
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
            let mut d_input = Guarded::new(self.input.len());
            let mut d_kernel = Guarded::new(self.kernel.len());
            let mut d_bias = Guarded::new(self.bias.len());
            let mut scratch = Guarded::new(block.backward_scratch_len(lanes));
            kernels.conv_block_backward(
                block,
                samples,
                &self.input,
                &output,
                &codes,
                &self.d_output,
                packed.get(),
                wants_input.then(|| d_input.get()),
                d_kernel.get(),
                d_bias.get(),
                scratch.get(),
            );
            scratch.take();
            let run = Run {
                output: output.clone(),
                codes: codes.clone(),
                d_input: d_input.take(),
                d_kernel: d_kernel.take(),
                d_bias: d_bias.take(),
            };
            self.check_backward(kernels, &run, wants_input);
            with = Some(run);
        }
        packed.take();
        with.expect("two runs")
    }

    /// The convolution's output before the activation, and each value's error bound.
    ///
    /// A sum of n products in any order is off by at most n * eps/2 times the sum of the products' magnitudes (Higham,
    /// Accuracy and Stability of Numerical Algorithms, 3.1); eps is twice that, which covers the second-order terms.
    fn oracle(&self) -> (Vec<f64>, Vec<f64>) {
        let (conv, n) = (&self.block.conv, self.samples);
        let (x, w, b) = (f64s(&self.input), f64s(&self.kernel), f64s(&self.bias));
        let terms = (conv.kernel_height * conv.kernel_width * conv.in_channels + 2) as f64;
        let magnitudes = reference::conv2d_forward(conv, n, &abs(&x), &abs(&w), &abs(&b));
        let bounds = magnitudes
            .iter()
            .map(|m| m * terms * f64::from(f32::EPSILON) + 1e-37)
            .collect();
        (reference::conv2d_forward(conv, n, &x, &w, &b), bounds)
    }

    fn check_forward(&self, kernels: &Kernels, run: &Run) {
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
    fn named(&self, map: &[f64], run: &Run) -> Vec<f64> {
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
    fn check_backward(&self, kernels: &Kernels, run: &Run, with_input: bool) {
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
        let magnitude = reference::conv2d_backward(conv, n, &abs(&x), &abs(&w), &unpool(&abs(&g)));
        // As in `oracle`; a gradient at a pixel is itself a sum over the windows that chose it.
        let windows = self
            .block
            .pool
            .map_or(1, |pool| pool.window_height * pool.window_width);
        let close = |name: &str, got: &[f32], expected: &[f64], magnitude: &[f64], terms: usize| {
            let eps = (terms + windows + 2) as f64 * f64::from(f32::EPSILON);
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

    /// The same forward pass by separate kernels: convolution, activation, pool.
    fn check_unfused(&self, kernels: &Kernels, run: &Run) {
        let plain = Problem {
            block: ConvBlock {
                activation: Activation::Linear,
                pool: None,
                ..self.block
            },
            d_output: vec![0.0; self.samples * self.block.conv.output_len()],
            ..self.clone()
        };
        let map = plain.run(kernels).output;
        let mut activated = vec![f32::NAN; map.len()];
        kernels.activation_forward(self.block.activation, &map, &mut activated);
        if let Some(pool) = &self.block.pool {
            let mut output = vec![f32::NAN; run.output.len()];
            let mut codes = vec![0; run.codes.len()];
            kernels.max_pool_forward(pool, self.samples, &activated, &mut output, &mut codes);
            assert_eq!(output, run.output, "{kernels:?}: {:?}", self.block);
            // Codes are judged before the activation.
            kernels.max_pool_forward(pool, self.samples, &map, &mut output, &mut codes);
            assert_eq!(codes, run.codes, "{kernels:?}: {:?}", self.block);
        } else {
            assert_eq!(activated, run.output, "{kernels:?}: {:?}", self.block);
        }
    }

    /// The same problem by one algorithm.
    fn by(&self, algorithm: ConvAlgorithm) -> Self {
        let mut problem = self.clone();
        problem.block.algorithm = Some(algorithm);
        problem
    }

    /// The same problem by each algorithm.
    fn by_algorithm(&self) -> impl Iterator<Item = Self> {
        ConvAlgorithm::ALL.iter().map(|&each| self.by(each))
    }

    /// Each instruction set's passes, by the algorithm that the block asks for.
    fn check_one(&self) {
        for kernels in Kernels::available() {
            let run = self.run(kernels);
            self.check_forward(kernels, &run);
            self.check_unfused(kernels, &run);
        }
    }

    fn check(&self) {
        self.by_algorithm().for_each(|problem| problem.check_one());
    }
}

/// Deterministic values in -1..1.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Whole numbers -2..=2: sums are exact, and ties are common.
fn whole(seed: u64) -> impl FnMut() -> f32 {
    let mut noise = noise(seed);
    move || (noise() * 2.5).trunc()
}

/// Keras' padding: `(pad before, outputs)` of one axis.
fn same(len: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let out = len.div_ceil(stride);
    (((out - 1) * stride + kernel).saturating_sub(len) / 2, out)
}

fn conv(
    height: usize,
    width: usize,
    channels: (usize, usize),
    kernel: (usize, usize),
    padded: bool,
) -> Conv2dShape {
    let (pad_top, out_height, pad_left, out_width) = if padded {
        let ((top, rows), (left, columns)) = (same(height, kernel.0, 1), same(width, kernel.1, 1));
        (top, rows, left, columns)
    } else {
        (0, height - kernel.0 + 1, 0, width - kernel.1 + 1)
    };
    Conv2dShape {
        height,
        width,
        in_channels: channels.0,
        out_channels: channels.1,
        kernel_height: kernel.0,
        kernel_width: kernel.1,
        pad_top,
        pad_left,
        out_height,
        out_width,
    }
}

/// Keras' `same` pool behind a convolution.
fn pool(conv: &Conv2dShape, window: (usize, usize), stride: (usize, usize)) -> PoolShape {
    let (pad_top, out_height) = same(conv.out_height, window.0, stride.0);
    let (pad_left, out_width) = same(conv.out_width, window.1, stride.1);
    PoolShape {
        height: conv.out_height,
        width: conv.out_width,
        channels: conv.out_channels,
        window_height: window.0,
        window_width: window.1,
        stride_height: stride.0,
        stride_width: stride.1,
        pad_top: pad_top.min(window.0 - 1),
        pad_left: pad_left.min(window.1 - 1),
        out_height,
        out_width,
    }
}

const LEAKY: Activation = Activation::LeakyRelu { slope: 0.3 };

#[test]
fn the_models_own_layers() {
    let layers = [
        // efficient and accurate
        (
            conv(80, 80, (1, 32), (3, 3), false),
            Activation::Relu,
            Some((3, 3, 2)),
        ),
        (
            conv(39, 39, (32, 32), (3, 3), false),
            Activation::Relu,
            Some((3, 3, 2)),
        ),
        (
            conv(19, 19, (32, 32), (3, 3), false),
            Activation::Relu,
            Some((3, 3, 2)),
        ),
        (
            conv(9, 9, (32, 32), (2, 2), false),
            Activation::Relu,
            Some((3, 3, 2)),
        ),
        (
            conv(19, 19, (64, 64), (3, 3), false),
            Activation::Relu,
            Some((3, 3, 2)),
        ),
        (
            conv(9, 9, (64, 64), (2, 2), false),
            Activation::Relu,
            Some((3, 3, 2)),
        ),
        (
            conv(9, 9, (48, 48), (3, 3), false),
            Activation::Relu,
            Some((3, 3, 2)),
        ),
        // parallel
        (conv(80, 80, (1, 3), (8, 8), true), LEAKY, Some((4, 4, 4))),
        (conv(80, 80, (1, 4), (4, 4), true), LEAKY, Some((2, 2, 2))),
        (conv(80, 80, (1, 6), (8, 8), true), LEAKY, Some((4, 4, 4))),
        (conv(40, 80, (1, 12), (4, 4), true), LEAKY, Some((2, 2, 2))),
        // cnn-rnn and window: one row
        (conv(1, 80, (80, 8), (1, 4), false), LEAKY, Some((1, 2, 2))),
        (conv(1, 38, (8, 6), (1, 3), false), LEAKY, Some((1, 2, 2))),
        (conv(1, 5, (128, 256), (1, 2), true), Activation::Relu, None),
    ];
    for (seed, (conv, activation, window)) in layers.into_iter().enumerate() {
        let pool = window.map(|(rows, columns, stride)| {
            pool(&conv, (rows, columns), (stride.min(rows), stride))
        });
        let block = ConvBlock {
            conv,
            activation,
            pool,
            algorithm: None,
        };
        let problem = Problem::new(block, 1, noise(seed as u64));
        // The others have no paths that small blocks miss.
        problem.by(ConvAlgorithm::Direct).check_one();
        problem.by(ConvAlgorithm::Im2colGemm).check_one();
    }
}

#[test]
fn empty_codes_leave_the_output_alone() {
    let conv = conv(9, 11, (3, 5), (3, 3), true);
    let block = ConvBlock {
        conv,
        activation: LEAKY,
        pool: Some(pool(&conv, (3, 3), (2, 2))),
        algorithm: None,
    };
    for problem in Problem::new(block, 2, noise(3)).by_algorithm() {
        for kernels in Kernels::available() {
            assert_eq!(problem.predict(kernels), problem.run(kernels).output);
        }
    }
}

#[test]
fn any_codes_are_safe() {
    let conv = conv(7, 9, (2, 9), (3, 3), true);
    let block = ConvBlock {
        conv,
        activation: Activation::Relu,
        pool: Some(pool(&conv, (3, 3), (2, 2))),
        // The others refuse them.
        algorithm: Some(ConvAlgorithm::Direct),
    };
    let problem = Problem::new(block, 1, noise(4));
    for kernels in Kernels::available() {
        let lanes = kernels.lanes();
        for code in [0, 8, 9, 255] {
            let mut scratch = Guarded::new(block.backward_scratch_len(lanes));
            let (mut d_input, mut d_kernel, mut d_bias) = (
                Guarded::new(problem.input.len()),
                Guarded::new(problem.kernel.len()),
                Guarded::new(problem.bias.len()),
            );
            kernels.conv_block_backward(
                &block,
                1,
                &problem.input,
                &vec![1.0; block.output_len()],
                &vec![code; block.codes_len()],
                &problem.d_output,
                &vec![0.5; block.packed_len(lanes)],
                Some(d_input.get()),
                d_kernel.get(),
                d_bias.get(),
                scratch.get(),
            );
            scratch.take();
            assert!(d_input.take().iter().all(|x| x.is_finite()));
            assert!(d_kernel.take().iter().all(|x| x.is_finite()));
            d_bias.take();
        }
    }
}

#[test]
fn nan_is_not_swallowed_by_relu() {
    let block = ConvBlock {
        conv: conv(3, 40, (1, 3), (3, 3), true),
        activation: Activation::Relu,
        pool: None,
        algorithm: None,
    };
    let mut problem = Problem::new(block, 1, noise(5));
    problem.bias.fill(f32::NAN);
    for problem in problem.by_algorithm() {
        for kernels in Kernels::available() {
            let output = problem.predict(kernels);
            assert!(output.iter().all(|x| x.is_nan()), "{kernels:?}");
        }
    }
}

#[test]
fn many_samples_and_large_ones_are_cut_into_products() {
    for (conv, samples) in [
        // More samples than share a product, and a product's rows that end within a sample.
        (conv(1, 5, (3, 4), (1, 2), true), 131),
        (conv(1, 5, (128, 33), (1, 3), true), 37),
        (conv(40, 41, (24, 5), (3, 3), true), 2),
        // Windows read in place, and the same that are padded.
        (conv(1, 50, (7, 9), (1, 4), false), 5),
        (conv(1, 50, (7, 9), (1, 4), true), 5),
    ] {
        for pool in [None, Some(pool(&conv, (1, 2), (1, 2)))] {
            let activation = LEAKY;
            let block = ConvBlock {
                conv,
                activation,
                pool,
                algorithm: None,
            };
            Problem::new(block, samples, noise(6)).check();
        }
    }
}

#[test]
fn a_rule_chooses_where_nothing_is_asked_for() {
    let plain = ConvBlock {
        conv: conv(1, 5, (128, 256), (1, 2), true),
        activation: Activation::Relu,
        pool: None,
        algorithm: None,
    };
    let pooled = ConvBlock {
        pool: Some(pool(&plain.conv, (1, 2), (1, 2))),
        ..plain
    };
    let few_filters = ConvBlock {
        conv: conv(1, 80, (80, 6), (1, 4), false),
        ..plain
    };
    let asked = ConvBlock {
        algorithm: Some(ConvAlgorithm::Naive),
        ..plain
    };
    for lanes in [4, 8, 16] {
        assert_eq!(plain.algorithm(lanes), ConvAlgorithm::Im2colGemm);
        assert_eq!(pooled.algorithm(lanes), ConvAlgorithm::Direct);
        assert_eq!(few_filters.algorithm(lanes), ConvAlgorithm::Direct);
        assert_eq!(asked.algorithm(lanes), ConvAlgorithm::Naive);
    }
}

/// Blocks of every kind that the kernels tell apart, small.
fn blocks() -> impl Strategy<Value = ConvBlock> {
    let channels = (
        prop_oneof![Just(1usize), 1..10usize, Just(16), Just(32)],
        prop_oneof![1..10usize, Just(16), Just(17), Just(32), Just(40)],
    );
    let activation = prop_oneof![
        Just(Activation::Linear),
        Just(Activation::Relu),
        Just(LEAKY)
    ];
    (
        (1..10usize, prop_oneof![1..10usize, 10..40usize]),
        channels,
        (1..5usize, 1..6usize),
        0..4usize,
        (0..3usize, 0..3usize),
        activation,
        proptest::option::of(((1..5usize, 1..5usize), (1..5usize, 1..5usize))),
    )
        .prop_map(
            |((height, width), channels, kernel, padding, extra, activation, window)| {
                let mut shape = conv(height, width, channels, kernel, true);
                match padding {
                    // `valid`, where the kernel fits.
                    0 | 1 if height >= kernel.0 && width >= kernel.1 => {
                        shape = conv(height, width, channels, kernel, false);
                    }
                    // Any padding, any size of the output.
                    2 => {
                        shape.pad_top = extra.0;
                        shape.pad_left = extra.1;
                        shape.out_height = (height + extra.1).saturating_sub(kernel.0).max(1);
                        shape.out_width = (width + extra.0).saturating_sub(kernel.1).max(1);
                    }
                    _ => {}
                }
                let pool = window.map(|(window, stride)| pool(&shape, window, stride));
                ConvBlock {
                    conv: shape,
                    activation,
                    pool,
                    algorithm: None,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_block_agrees_with_the_oracle(block in blocks(), samples in 1..4usize, seed in any::<u64>()) {
        Problem::new(block, samples, noise(seed)).check();
    }

    #[test]
    fn ties_and_sums_of_whole_numbers_are_exact(block in blocks(), seed in any::<u64>()) {
        let block = ConvBlock { activation: Activation::Linear, ..block };
        let problem = Problem::new(block, 2, whole(seed));
        let (map, _) = problem.oracle();
        let (output, codes) = match &block.pool {
            None => (map, Vec::new()),
            Some(pool) => reference::max_pool_forward(pool, 2, &map),
        };
        for problem in problem.by_algorithm() {
            for kernels in Kernels::available() {
                let run = problem.run(kernels);
                prop_assert_eq!(&f64s(&run.output), &output, "{:?} {:?}", kernels, problem.block);
                prop_assert_eq!(&run.codes, &codes, "{:?} {:?}", kernels, problem.block);
            }
        }
    }

    #[test]
    fn maps_below_zero_agree(block in blocks(), seed in any::<u64>()) {
        // All sums are negative: relu kills everything, a window's padding must not win with its 0.
        let mut problem = Problem::new(block, 1, noise(seed));
        problem.bias.fill(-100.0);
        problem.check();
    }
}
