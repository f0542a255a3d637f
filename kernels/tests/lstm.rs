//! The LSTM layer against the f64 oracle, on every instruction set of this CPU.

#[path = "support/checks.rs"]
mod checks;

use checks::{HALF_ULP, assert_gradient, assert_near, central_differences, numbers, set, wide};
use proptest::prelude::*;
use sonograd_kernels::reference::{self, LstmWeights};
use sonograd_kernels::{GemmAlgorithm, Kernels, LstmShape};

fn weights(shape: LstmShape, scale: f32) -> [Vec<f32>; 3] {
    let gates = 4 * shape.units;
    let lens = [shape.inputs * gates, shape.units * gates, gates];
    let mut seed = 10;
    lens.map(|len| {
        seed += 1;
        numbers(len, seed).into_iter().map(|x| x * scale).collect()
    })
}

fn oracle_weights(weights: &[Vec<f32>; 3]) -> LstmWeights {
    LstmWeights {
        kernel: wide(&weights[0]),
        recurrent_kernel: wide(&weights[1]),
        bias: wide(&weights[2]),
    }
}

/// Every state of one row, 16 units at a time.
fn by_units(
    kernels: &Kernels,
    shape: LstmShape,
    input: &[f32],
    packed: &[f32],
    bias: &[f32],
) -> Vec<f32> {
    let LstmShape { inputs, units, .. } = shape;
    let mut cells = vec![f32::NAN; units];
    let (mut states, mut before) = (Vec::new(), vec![f32::NAN; units]);
    for (step, x) in input.chunks(inputs).enumerate() {
        let bands: Vec<_> = cells.chunks_mut(16).enumerate().collect();
        let state: Vec<_> = bands
            .into_iter()
            .flat_map(|(i, cells)| {
                set(cells.len(), |output| {
                    kernels.lstm_step(shape, step, i * 16, x, &before, packed, bias, cells, output);
                })
            })
            .collect();
        before.clone_from(&state);
        states.extend(state);
    }
    states
}

/// The bf16 next to x, of which f32 holds the first half.
fn bf16(x: f64) -> f64 {
    let bits = (x as f32).to_bits();
    let up = 0x7fff + (bits >> 16 & 1);
    f64::from(f32::from_bits((bits + up) & 0xffff_0000))
}

fn check(shape: LstmShape, rows: usize, with_d_input: bool) {
    let LstmShape {
        steps,
        inputs,
        units,
        ..
    } = shape;
    let input = numbers(rows * steps * inputs, 1);
    let d_output = numbers(rows * shape.output_len(), 2);
    let scale = 1.0 / ((inputs + units) as f32).sqrt();
    let weights = weights(shape, scale);
    let oracle = oracle_weights(&weights);
    let solve = |factor| {
        let trace = reference::lstm_forward(shape, rows, &wide(&input), &oracle, factor);
        let d_output = wide(&d_output);
        let input = wide(&input);
        let d = reference::lstm_backward(shape, rows, &input, &oracle, &trace, &d_output, factor);
        (trace, d)
    };
    let (exact, rounded) = (solve(|x| x), solve(bf16));
    // A sum of inputs + units products, sigmoid and tanh within 3 ULP, and the errors of all steps so far: with weights of
    // this size a step carries at most the whole of the error before it on.
    let terms = (inputs + units + 12) * steps;
    let forward = 2.0 * HALF_ULP * terms as f64;
    // A gradient adds rows * steps of these, or 4 units for an input, each off by the relative error of the way there
    // and back.
    let largest = |x: &[f64]| x.iter().fold(1.0f64, |a, b| a.max(b.abs()));
    let backward =
        |x: &[f64]| 2.0 * HALF_ULP * (terms + 4 * units + rows * steps) as f64 * largest(x) * 2.0;
    let ways = Kernels::available()
        .flat_map(|kernels| GemmAlgorithm::ALL.iter().map(move |&each| (kernels, each)));
    for (kernels, products) in ways {
        let shape = LstmShape { products, ..shape };
        let (trace, expected) = match products {
            GemmAlgorithm::Bf16 => &rounded,
            _ => &exact,
        };
        let lanes = kernels.lanes();
        let packed = set(shape.packed_len(lanes), |packed| {
            kernels.lstm_pack(shape, &weights[0], &weights[1], packed);
        });
        let by_tiles = |training: bool, output: &mut [f32], workspace: &mut [f32]| {
            set(shape.forward_scratch_len(rows, lanes), |scratch| {
                kernels.lstm_forward_tiles(
                    shape,
                    rows,
                    training,
                    &input,
                    &packed,
                    &weights[2],
                    output,
                    workspace,
                    scratch,
                );
            });
        };
        let mut output = Vec::new();
        let mut workspace = set(rows * shape.workspace_len(lanes), |workspace| {
            output = set(rows * shape.output_len(), |output| {
                if shape.uses_tiles(rows) {
                    by_tiles(true, output, workspace);
                } else {
                    kernels.lstm_forward(
                        shape,
                        rows,
                        &input,
                        &packed,
                        &weights[2],
                        output,
                        workspace,
                    );
                }
            });
        });
        let predicted = set(rows * shape.output_len(), |output| {
            let kept = match shape.uses_tiles(rows) {
                true => shape.workspace_len(lanes),
                false => shape.states_len(),
            };
            set(rows * kept, |kept| {
                if shape.uses_tiles(rows) {
                    by_tiles(false, output, kept);
                } else {
                    kernels.lstm_forward(shape, rows, &input, &packed, &weights[2], output, kept);
                }
            });
        });
        // What a sum of products leaves out, carried on like the roundings; `sum of sizes <= sqrt(inputs + units)`.
        let carried = steps as f64 * ((inputs + units) as f64).sqrt();
        match products {
            GemmAlgorithm::Bf16x6x3 => {
                let left_out = f64::powi(2.0, -15) * carried;
                assert_near(kernels, "predicted", &predicted, &trace.output, |_| {
                    forward + left_out
                });
            }
            _ => assert_eq!(predicted, output, "{kernels:?}: nothing kept"),
        }
        let alone = match products {
            GemmAlgorithm::F32 => 0..rows,
            _ => 0..0,
        };
        for row in alone {
            let x = &input[row * steps * inputs..][..steps * inputs];
            let expected = &output[row * shape.output_len()..][..shape.output_len()];
            let alone = set(shape.output_len(), |output| {
                set(shape.workspace_len(lanes), |workspace| {
                    kernels.lstm_forward(shape, 1, x, &packed, &weights[2], output, workspace);
                });
            });
            assert_eq!(alone, expected, "{kernels:?}: a row alone");
            let states = by_units(kernels, shape, x, &packed, &weights[2]);
            let last = &states[states.len() - shape.output_len()..];
            assert_eq!(last, expected, "{kernels:?}: step by step, by units");
        }
        let near = |what: &str, actual: &[f32], expected: &[f64], tolerance: f64, flipped: f64| {
            let tolerance = match products {
                GemmAlgorithm::F32 => tolerance,
                // What is left out of three parts is half a unit of the last place, as a rounding is.
                GemmAlgorithm::Bf16x6 | GemmAlgorithm::Bf16x6x3 => 2.0 * tolerance,
                GemmAlgorithm::Bf16 => tolerance + flipped,
            };
            let what = format!("{products} {what}");
            assert_near(kernels, &what, actual, expected, |_| tolerance);
        };
        // A state that f32 and f64 see on two sides of a rounding to bf16 differs by a unit of its last place, 2^-7 of 1 at most, and
        // meets a weight. A gradient of z does so too, of at most a quarter of the cell's: a sigmoid's slope. One a step is allowed.
        let flip = f64::powi(2.0, -7);
        let flipped_states = flip * (steps - 1) as f64 / ((inputs + units) as f64).sqrt();
        near("output", &output, &trace.output, forward, flipped_states);
        let [mut d_input, mut d_kernel, mut d_recurrent, mut d_bias] = [const { Vec::new() }; 4];
        set(shape.backward_scratch_len(rows, lanes), |scratch| {
            d_input = set(input.len(), |d_input| {
                d_kernel = set(weights[0].len(), |d_kernel| {
                    d_recurrent = set(weights[1].len(), |d_recurrent| {
                        d_bias = set(weights[2].len(), |d_bias| {
                            kernels.lstm_backward(
                                shape,
                                rows,
                                &input,
                                &output,
                                &d_output,
                                &mut workspace,
                                &packed,
                                with_d_input.then_some(&mut *d_input),
                                d_kernel,
                                d_recurrent,
                                d_bias,
                                scratch,
                            );
                        });
                    });
                });
            });
        });
        if with_d_input {
            let expected = &expected.input;
            let flipped = flip / 4.0 * steps as f64 * largest(expected);
            near("d_input", &d_input, expected, backward(expected), flipped);
        }
        let named = [
            ("d_kernel", &d_kernel, &expected.weights.kernel),
            (
                "d_recurrent_kernel",
                &d_recurrent,
                &expected.weights.recurrent_kernel,
            ),
            ("d_bias", &d_bias, &expected.weights.bias),
        ];
        for (name, actual, expected) in named {
            let flipped = flip / 4.0 * steps as f64 * largest(expected);
            near(name, actual, expected, backward(expected), flipped);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]
    #[test]
    fn any_shape(
        rows in 1usize..14, steps in 1usize..7, inputs in 1usize..20, units in 1usize..40,
        sequences: bool, with_d_input: bool,
    ) {
        check(LstmShape { steps, inputs, units, sequences, products: GemmAlgorithm::F32 }, rows, with_d_input);
    }
}

#[test]
fn the_layers_of_the_models() {
    check(
        LstmShape {
            steps: 18,
            inputs: 6,
            units: 128,
            sequences: true,
            products: GemmAlgorithm::F32,
        },
        16,
        true,
    );
    check(
        LstmShape {
            steps: 18,
            inputs: 128,
            units: 32,
            sequences: false,
            products: GemmAlgorithm::F32,
        },
        16,
        true,
    );
}

#[test]
fn no_rows() {
    check(
        LstmShape {
            steps: 3,
            inputs: 2,
            units: 5,
            sequences: true,
            products: GemmAlgorithm::F32,
        },
        0,
        true,
    );
}

#[test]
fn gates_saturate_without_nan() {
    let shape = LstmShape {
        steps: 4,
        inputs: 1,
        units: 9,
        sequences: true,
        products: GemmAlgorithm::F32,
    };
    let weights = weights(shape, 1e4);
    for kernels in Kernels::available() {
        let mut packed = vec![0.0; shape.packed_len(kernels.lanes())];
        kernels.lstm_pack(shape, &weights[0], &weights[1], &mut packed);
        let mut output = vec![f32::NAN; shape.output_len()];
        let mut workspace = vec![f32::NAN; shape.workspace_len(kernels.lanes())];
        let input = [1e30, -1e30, 3.0, -1e4];
        kernels.lstm_forward(
            shape,
            1,
            &input,
            &packed,
            &weights[2],
            &mut output,
            &mut workspace,
        );
        assert!(
            output.iter().all(|h| h.abs() <= 1.0),
            "{kernels:?} {output:?}"
        );
    }
}

#[test]
fn the_oracles_gradients() {
    for sequences in [true, false] {
        let shape = LstmShape {
            steps: 3,
            inputs: 2,
            units: 3,
            sequences,
            products: GemmAlgorithm::F32,
        };
        let rows = 2;
        let input = wide(&numbers(rows * 3 * 2, 1));
        let d_output = wide(&numbers(rows * shape.output_len(), 2));
        let exact = oracle_weights(&weights(shape, 0.9));
        let whole = |x| x;
        let trace = reference::lstm_forward(shape, rows, &input, &exact, whole);
        let d = reference::lstm_backward(shape, rows, &input, &exact, &trace, &d_output, whole);
        let loss = |input: &[f64], weights: &LstmWeights| {
            let trace = reference::lstm_forward(shape, rows, input, weights, whole);
            trace
                .output
                .iter()
                .zip(&d_output)
                .map(|(a, b)| a * b)
                .sum::<f64>()
        };
        let numeric = central_differences(&input, |x| loss(x, &exact));
        assert_gradient("input", &d.input, &numeric);
        let numeric = central_differences(&exact.kernel, |kernel| {
            loss(
                &input,
                &LstmWeights {
                    kernel: kernel.to_vec(),
                    ..exact.clone()
                },
            )
        });
        assert_gradient("kernel", &d.weights.kernel, &numeric);
        let numeric = central_differences(&exact.recurrent_kernel, |kernel| {
            loss(
                &input,
                &LstmWeights {
                    recurrent_kernel: kernel.to_vec(),
                    ..exact.clone()
                },
            )
        });
        assert_gradient("recurrent kernel", &d.weights.recurrent_kernel, &numeric);
        let numeric = central_differences(&exact.bias, |bias| {
            loss(
                &input,
                &LstmWeights {
                    bias: bias.to_vec(),
                    ..exact.clone()
                },
            )
        });
        assert_gradient("bias", &d.weights.bias, &numeric);
    }
}
