//! Every instruction set's fused convolution against the oracle in f64, and against its unfused parts.

#[path = "support/convolution.rs"]
mod convolution;

use convolution::{Guarded, Problem, f64s, noise, whole};
use proptest::prelude::*;
use sonograd_kernels::{
    Activation, Conv2dShape, ConvAlgorithm, ConvBlock, Kernels, PoolShape, reference,
};

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
        let block = ConvBlock::new(conv, activation, pool);
        let problem = Problem::new(block, 1, noise(seed as u64));
        // The others have no paths that small blocks miss.
        problem.by(ConvAlgorithm::Direct).check_one();
        problem.by(ConvAlgorithm::Winograd).check_one();
        problem.by(ConvAlgorithm::Winograd1d).check_one();
        problem.by(ConvAlgorithm::Im2colGemm).check_one();
        problem.by(ConvAlgorithm::Bf16x3).check_one();
    }
}

/// Of a result of its size: a bound by each rounding's worst case would let an error of many times f32's pass. Tiles of 3 x 3 err 1.6 times
/// as much as the direct kernel in a NumPy model (3.7e-7), 1.9 times F(2 x 2, 3 x 3); four rows at once round the sums of rows that they
/// multiply, and of products: 1.5 times (1.7e-7); two rows at once 1.3 times (5.9e-8). Two taps err as much as the windows' product where both
/// are summed up in one piece (2.9e-7); here the one has 256 terms in two blocks, the other 512 in three: 1.2 times.
#[test]
fn winograd_errs_like_the_direct_kernel() {
    let tiles = conv(19, 19, (32, 32), (3, 3), false);
    let rows = conv(40, 40, (1, 3), (8, 8), true);
    let pairs = conv(40, 40, (1, 32), (3, 3), false);
    let taps = conv(1, 65, (256, 32), (1, 2), true);
    let (direct, winograd) = (ConvAlgorithm::Direct, ConvAlgorithm::Winograd);
    let (im2col, winograd_1d) = (ConvAlgorithm::Im2colGemm, ConvAlgorithm::Winograd1d);
    for (conv, most, plain, minimal) in [
        (tiles, 1.8, direct, winograd),
        (rows, 1.6, direct, winograd),
        (pairs, 1.4, direct, winograd),
        (taps, 1.4, im2col, winograd_1d),
    ] {
        let block = ConvBlock::new(conv, Activation::Linear, None);
        let mut problem = Problem::new(block, 2, noise(7));
        problem.input.iter_mut().for_each(|x| *x = x.max(0.0));
        let (expected, _) = problem.oracle();
        for kernels in Kernels::available() {
            let error = |algorithm| {
                let output = f64s(&problem.by(algorithm).predict(kernels));
                let square =
                    |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
                let error = square(&mut output.iter().zip(&expected).map(|(a, b)| a - b));
                (error / square(&mut expected.iter().copied())).sqrt()
            };
            let (plain, minimal) = (error(plain), error(minimal));
            assert!(
                minimal <= most * plain && minimal > 0.0,
                "{kernels:?}: {minimal:e}, without {plain:e}: {conv:?}"
            );
        }
    }
}

#[test]
fn empty_codes_leave_the_output_alone() {
    let conv = conv(9, 11, (3, 5), (3, 3), true);
    let block = ConvBlock::new(conv, LEAKY, Some(pool(&conv, (3, 3), (2, 2))));
    for problem in Problem::new(block, 2, noise(3)).by_algorithm() {
        for kernels in Kernels::available() {
            let predicted = problem.predict(kernels);
            // This one is less exact in prediction, and is then the other to the last bit.
            let same = match problem.block.algorithm {
                Some(ConvAlgorithm::Bf16x6x3) => problem.by(ConvAlgorithm::Bf16x3),
                _ => problem.clone(),
            };
            assert_eq!(predicted, same.run(kernels).output);
        }
    }
}

#[test]
fn any_codes_are_safe() {
    let conv = conv(7, 9, (2, 9), (3, 3), true);
    let block = ConvBlock::new(conv, Activation::Relu, Some(pool(&conv, (3, 3), (2, 2))));
    // The others refuse them.
    let problem = Problem::new(block, 1, noise(4)).by(ConvAlgorithm::Direct);
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
                None,
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
    let block = ConvBlock::new(conv(3, 40, (1, 3), (3, 3), true), Activation::Relu, None);
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
            let block = ConvBlock::new(conv, activation, pool);
            Problem::new(block, samples, noise(6)).check();
        }
    }
}

#[test]
fn a_rule_chooses_where_nothing_is_asked_for() {
    let plain = ConvBlock::new(conv(1, 5, (128, 256), (1, 2), true), Activation::Relu, None);
    let pooled = ConvBlock {
        pool: Some(pool(&plain.conv, (1, 2), (1, 2))),
        ..plain
    };
    let three_taps = ConvBlock {
        conv: conv(1, 5, (128, 256), (1, 3), true),
        ..plain
    };
    let two_narrow_taps = ConvBlock {
        conv: conv(1, 5, (31, 256), (1, 2), true),
        ..plain
    };
    let image = ConvBlock {
        conv: conv(9, 9, (64, 64), (3, 3), false),
        ..plain
    };
    let even = ConvBlock {
        conv: conv(9, 9, (64, 64), (2, 2), false),
        ..plain
    };
    let few_channels = ConvBlock {
        conv: conv(9, 9, (15, 64), (3, 3), false),
        ..plain
    };
    let few_filters = ConvBlock {
        conv: conv(1, 80, (80, 6), (1, 4), false),
        ..plain
    };
    let tall = ConvBlock {
        conv: conv(80, 80, (1, 3), (8, 8), true),
        ..plain
    };
    let less_tall = ConvBlock {
        conv: conv(80, 80, (1, 3), (4, 4), true),
        ..plain
    };
    let odd = ConvBlock {
        conv: conv(80, 80, (1, 3), (5, 5), true),
        ..plain
    };
    let one_channel = ConvBlock {
        conv: conv(80, 80, (1, 32), (3, 3), false),
        ..plain
    };
    let asked = ConvBlock {
        algorithm: Some(ConvAlgorithm::Naive),
        ..plain
    };
    for lanes in [4, 8, 16] {
        assert_eq!(plain.algorithm(lanes), ConvAlgorithm::Winograd1d);
        assert_eq!(three_taps.algorithm(lanes), ConvAlgorithm::Im2colGemm);
        assert_eq!(two_narrow_taps.algorithm(lanes), ConvAlgorithm::Im2colGemm);
        assert_eq!(pooled.algorithm(lanes), ConvAlgorithm::Direct);
        assert_eq!(few_filters.algorithm(lanes), ConvAlgorithm::Direct);
        assert_eq!(image.algorithm(lanes), ConvAlgorithm::Winograd);
        assert_eq!(even.algorithm(lanes), ConvAlgorithm::Direct);
        assert_eq!(few_channels.algorithm(lanes), ConvAlgorithm::Direct);
        assert_eq!(tall.algorithm(lanes), ConvAlgorithm::Winograd);
        assert_eq!(one_channel.algorithm(lanes), ConvAlgorithm::Winograd);
        assert_eq!(less_tall.algorithm(lanes), ConvAlgorithm::Winograd);
        assert_eq!(odd.algorithm(lanes), ConvAlgorithm::Direct);
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
                ConvBlock::new(shape, activation, pool)
            },
        )
}

/// Two taps along rows of any length and padding.
fn two_taps() -> impl Strategy<Value = ConvBlock> {
    let channels = || prop_oneof![1..10usize, Just(16), Just(17), Just(33)];
    (
        (1..4usize, 1..12usize),
        (channels(), channels()),
        (0..3usize, 1..13usize),
        prop_oneof![
            Just(Activation::Linear),
            Just(Activation::Relu),
            Just(LEAKY)
        ],
        proptest::option::of((1..4usize, 1..4usize)),
    )
        .prop_map(
            |((height, width), channels, (pad_left, out_width), activation, window)| {
                let shape = Conv2dShape {
                    pad_left,
                    out_width,
                    ..conv(height, width, channels, (1, 2), true)
                };
                let pool = window.map(|(window, stride)| pool(&shape, (1, window), (1, stride)));
                ConvBlock::new(shape, activation, pool)
            },
        )
}

/// 3 x 3 kernels on one channel: pairs of rows, pooled as they are computed where the pool is 3 x 3 every second pixel.
fn one_channel() -> impl Strategy<Value = ConvBlock> {
    let size = || prop_oneof![Just(3usize), 1..4usize];
    let step = || prop_oneof![Just(2usize), 1..4usize];
    let activation = prop_oneof![
        Just(Activation::Linear),
        Just(Activation::Relu),
        Just(LEAKY)
    ];
    (
        (3..14usize, prop_oneof![Just(8usize), Just(14), 7..40usize]),
        prop_oneof![1..10usize, Just(16), Just(32), Just(40)],
        any::<bool>(),
        activation,
        proptest::option::of(((size(), size()), (step(), step()), any::<bool>())),
    )
        .prop_map(|((height, width), filters, padded, activation, window)| {
            let conv = conv(height, width, (1, filters), (3, 3), padded);
            let pool = window.map(|(window, stride, at_corner)| {
                let pool = pool(&conv, window, stride);
                match at_corner {
                    true => PoolShape {
                        pad_top: 0,
                        pad_left: 0,
                        ..pool
                    },
                    false => pool,
                }
            });
            ConvBlock::new(conv, activation, pool)
        })
}

/// Few filters on one channel, pools that stand side by side: kernels with lanes over the width, four rows at once and one by one.
fn few_filters() -> impl Strategy<Value = ConvBlock> {
    (
        (1..30usize, 4..40usize),
        1..7usize,
        (prop_oneof![Just(4usize), Just(8), Just(12)], 1..10usize),
        any::<bool>(),
        proptest::option::of((
            1..6usize,
            1..6usize,
            prop_oneof![Just(1usize), Just(2), Just(4)],
        )),
    )
        .prop_map(|((height, width), filters, kernel, padded, window)| {
            let fits = height >= kernel.0 && width >= kernel.1;
            let conv = conv(height, width, (1, filters), kernel, padded || !fits);
            let pool = window.map(|(rows, stride, columns)| PoolShape {
                pad_left: 0,
                out_width: (conv.out_width / columns).max(1),
                ..pool(&conv, (rows, columns), (stride, columns))
            });
            ConvBlock::new(conv, LEAKY, pool)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn few_filters_agree_with_the_oracle(block in few_filters(), samples in 1..3usize, seed in any::<u64>()) {
        let problem = Problem::new(block, samples, noise(seed));
        problem.by(ConvAlgorithm::Direct).check_one();
        problem.by(ConvAlgorithm::Winograd).check_one();
    }

    #[test]
    fn two_taps_agree_with_the_oracle(block in two_taps(), samples in 1..4usize, seed in any::<u64>()) {
        Problem::new(block, samples, noise(seed)).by(ConvAlgorithm::Winograd1d).check_one();
    }

    #[test]
    fn pairs_of_rows_agree_with_the_oracle(block in one_channel(), samples in 1..3usize, seed in any::<u64>()) {
        Problem::new(block, samples, noise(seed)).by(ConvAlgorithm::Winograd).check_one();
    }

    #[test]
    fn bands_of_rows_are_the_same_bits(
        block in prop_oneof![few_filters(), one_channel(), blocks()],
        (first, rows) in (0..40usize, 1..9usize),
        seed in any::<u64>(),
    ) {
        for algorithm in [ConvAlgorithm::Direct, ConvAlgorithm::Winograd] {
            let whole = Problem::new(block, 1, noise(seed)).by(algorithm);
            let first = first % block.output_rows();
            let rows = first..(first + rows).min(block.output_rows());
            let Some((band, read)) = whole.block.band(rows.clone()) else {
                continue;
            };
            let row_len = block.conv.width * block.conv.in_channels;
            let part = Problem {
                block: band,
                input: whole.input[read.start * row_len..read.end * row_len].to_vec(),
                ..whole.clone()
            };
            let out_len = block.output_len() / block.output_rows();
            for kernels in Kernels::available() {
                let (whole, part) = (whole.predict(kernels), part.predict(kernels));
                prop_assert_eq!(&whole[rows.start * out_len..rows.end * out_len], &part, "{:?} {:?}", kernels, block);
            }
        }
    }

    #[test]
    fn any_block_agrees_with_the_oracle(block in blocks(), samples in 1..4usize, seed in any::<u64>()) {
        Problem::new(block, samples, noise(seed)).check();
    }

    #[test]
    fn ties_and_sums_of_whole_numbers_are_exact(block in prop_oneof![4 => blocks(), 1 => one_channel(), 1 => two_taps()], seed in any::<u64>()) {
        let block = ConvBlock { activation: Activation::Linear, ..block };
        let problem = Problem::new(block, 2, whole(seed));
        let (map, _) = problem.oracle();
        let (output, codes) = match &block.pool {
            None => (map, Vec::new()),
            Some(pool) => reference::max_pool_forward(pool, 2, &map),
        };
        for problem in problem.by_algorithm() {
            let conv = &block.conv;
            let is_3x3 = (conv.kernel_height, conv.kernel_width) == (3, 3);
            if problem.block.algorithm == Some(ConvAlgorithm::Winograd) && is_3x3 && (conv.in_channels > 1 || conv.out_width < 5) {
                // The ninths of tiles' kernels are rounded.
                continue;
            }
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
