//! Every instruction set's max pooling and activations against the oracle.

use proptest::prelude::*;
use sonograd_kernels::{Activation, Kernels, PoolShape, reference};

/// Values behind every slice that no kernel may touch.
const GUARD: usize = 32;

fn f64s(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// Whole numbers -2..=2, so that windows tie.
fn tied(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32 % 5.0 - 2.0
        })
        .collect()
}

fn pools() -> impl Strategy<Value = PoolShape> {
    (
        (1..12usize, 1..12usize, 1..40usize),
        (1..5usize, 1..5usize),
        (1..4usize, 1..4usize),
        (0..4usize, 0..4usize),
    )
        .prop_map(|((height, width, channels), window, stride, pad)| {
            let (pad_top, pad_left) = (pad.0.min(window.0 - 1), pad.1.min(window.1 - 1));
            PoolShape {
                height,
                width,
                channels,
                window_height: window.0,
                window_width: window.1,
                stride_height: stride.0,
                stride_width: stride.1,
                pad_top,
                pad_left,
                // As many windows as meet the image.
                out_height: (height + pad_top).div_ceil(stride.0),
                out_width: (width + pad_left).div_ceil(stride.1),
            }
        })
}

proptest! {
    #[test]
    fn max_pool_is_exact(pool in pools(), samples in 1..4usize, shift in -3..1i8, seed in any::<u32>()) {
        // Below 0 altogether at shift -3: the clipped part must not win with a 0.
        let input: Vec<f32> = tied(samples * pool.input_len(), seed)
            .iter()
            .map(|x| x + f32::from(shift))
            .collect();
        let len = samples * pool.output_len();
        let (expected, expected_codes) =
            reference::max_pool_forward(&pool, samples, &f64s(&input));
        let d_output = tied(len, seed ^ 1);
        let expected_d =
            reference::max_pool_backward(&pool, samples, &f64s(&d_output), &expected_codes);
        for kernels in Kernels::available() {
            let mut output = vec![f32::NAN; len + GUARD];
            let mut codes = vec![77; len + GUARD];
            kernels.max_pool_forward(&pool, samples, &input, &mut output[..len], &mut codes[..len]);
            prop_assert_eq!(f64s(&output[..len]), expected.clone(), "{:?}", kernels);
            prop_assert_eq!(&codes[..len], &expected_codes[..], "{:?}", kernels);
            prop_assert!(output[len..].iter().all(|x| x.is_nan()));
            prop_assert!(codes[len..].iter().all(|&code| code == 77));

            let mut d_input = vec![f32::NAN; input.len() + GUARD];
            kernels.max_pool_backward(
                &pool, samples, &d_output, &codes[..len], &mut d_input[..input.len()],
            );
            prop_assert_eq!(f64s(&d_input[..input.len()]), expected_d.clone(), "{:?}", kernels);
            prop_assert!(d_input[input.len()..].iter().all(|x| x.is_nan()));
        }
    }

    #[test]
    fn activations_agree_with_the_oracle(len in 0..70usize, seed in any::<u32>()) {
        let input = tied(len, seed);
        let d_output = tied(len, seed ^ 1);
        for activation in [
            Activation::Linear,
            Activation::Relu,
            Activation::LeakyRelu { slope: 0.25 }, // exact products
        ] {
            let expected = reference::activation_forward(activation, &f64s(&input));
            let expected_d =
                reference::activation_backward(activation, &expected, &f64s(&d_output));
            for kernels in Kernels::available() {
                let mut output = vec![f32::NAN; len + GUARD];
                kernels.activation_forward(activation, &input, &mut output[..len]);
                prop_assert_eq!(f64s(&output[..len]), expected.clone());
                prop_assert!(output[len..].iter().all(|x| x.is_nan()));
                let mut d_input = vec![f32::NAN; len + GUARD];
                kernels.activation_backward(activation, &output[..len], &d_output, &mut d_input[..len]);
                prop_assert_eq!(f64s(&d_input[..len]), expected_d.clone());
                prop_assert!(d_input[len..].iter().all(|x| x.is_nan()));
            }
        }
    }
}

#[test]
#[should_panic(expected = "code 200")]
fn a_code_outside_the_image_is_refused() {
    let pool = PoolShape {
        height: 2,
        width: 2,
        channels: 1,
        window_height: 2,
        window_width: 2,
        stride_height: 2,
        stride_width: 2,
        pad_top: 0,
        pad_left: 0,
        out_height: 1,
        out_width: 1,
    };
    let kernels = Kernels::available().next().expect("portable kernels");
    kernels.max_pool_backward(&pool, 1, &[1.0], &[200], &mut [0.0; 4]);
}
