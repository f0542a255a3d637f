//! Operations as the executor calls them, against Keras' layers.

use crate::cases::{Case, of};
use sonograd::Shape;
use sonograd::op::{Backward, Forward, LossCall, Op, RandomKey};
use sonograd::ops::{Activate, Conv2d, Dense, MaxPool2d, Softmax};
use sonograd_kernels::{Activation, Kernels};

/// f32 sums of up to some hundred products in another order.
const TOLERANCE: f64 = 2e-6;
const GRADIENT_TOLERANCE: f64 = 1e-5;

const NOTHING: &[f32] = &[];

/// Forward and backward of a layer of one input: the output, the input's gradient and the weights'.
fn run(
    op: &dyn Op,
    kernels: &'static Kernels,
    samples: usize,
    input: &[f32],
    parameters: &[f32],
    d_output: &[f32],
) -> [Vec<f32>; 3] {
    let needs = op.needs(samples, kernels.lanes());
    assert_eq!(needs.gradient_block, 0, "{op:?}: too large for this test");
    assert_eq!(needs.forward_sums + needs.backward_sums, 0, "{op:?}");
    let nan = |len: usize| vec![f32::NAN; len];
    let (mut output, mut d_input) = (nan(d_output.len()), nan(input.len()));
    let (mut d_parameters, mut packed) = (nan(parameters.len()), nan(needs.packed));
    let (mut workspace, mut scratch) = (nan(needs.workspace * samples), nan(needs.scratch));
    let mut codes = vec![0xAB; needs.codes * samples];
    let (random, inputs) = (RandomKey::default(), [input]);
    op.pack_all(kernels, parameters, &mut packed);
    op.forward(&mut Forward {
        slice: 0,
        kernels,
        samples,
        training: true,
        inputs: &inputs,
        parameters,
        state: &[],
        packed: &packed,
        sums: &[],
        output: &mut output,
        codes: &mut codes,
        workspace: &mut workspace,
        scratch: &mut scratch,
        random,
    });
    scratch.fill(f32::NAN);
    op.backward(&mut Backward {
        slice: 0,
        kernels,
        samples,
        inputs: if needs.reads_inputs {
            &inputs
        } else {
            &[NOTHING]
        },
        output: if needs.reads_output { &output } else { &[] },
        d_output,
        norm: None,
        parameters,
        packed: &packed,
        sums: &[],
        backward_sums: &[],
        codes: &codes,
        workspace: &mut workspace,
        scratch: &mut scratch,
        d_inputs: &mut [Some(&mut d_input)],
        d_parameters: &mut d_parameters,
        random,
    });
    [output, d_input, d_parameters]
}

/// Runs an operation on a case's input and weights and compares all that Keras recorded.
fn hold(case: &Case, op: &dyn Op, tolerance: f64, gradient_tolerance: f64) {
    let weights: Vec<&str> = ["kernel", "recurrent_kernel", "bias", "gamma", "beta"]
        .into_iter()
        .filter(|name| case.has(name))
        .collect();
    let parameters: Vec<f32> = weights
        .iter()
        .flat_map(|name| case.data(name))
        .copied()
        .collect();
    let samples = case.data("input").len() / input_len(case, op);
    for kernels in Kernels::available() {
        let what = |of: &str| format!("{of} on {kernels:?}");
        let (input, d_output) = (case.data("input"), case.data("grad_output"));
        let [output, d_input, d_parameters] =
            run(op, kernels, samples, input, &parameters, d_output);
        case.near(&what("output"), &output, "output", tolerance);
        case.near(
            &what("grad_input"),
            &d_input,
            "grad_input",
            gradient_tolerance,
        );
        let mut rest = &d_parameters[..];
        for name in &weights {
            let (own, others) = rest.split_at(case.data(name).len());
            rest = others;
            let name = format!("grad_{name}");
            case.near(&what(&name), own, &name, gradient_tolerance);
        }
    }
}

/// Elements of one sample: the recorded output has as many samples as the input.
fn input_len(case: &Case, op: &dyn Op) -> usize {
    let samples = case.data("output").len() / op.output_shape().len();
    case.data("input").len() / samples
}

/// One sample's shape: the recorded one without the batch.
fn sample_shape(case: &Case) -> Shape {
    Shape::new(case.shape("input")[1..].to_vec())
}

/// The layer with the activation that its case names, absorbed as in a model.
fn activated(case: &Case, op: impl Op) -> Box<dyn Op> {
    match case.text("activation") {
        "relu" => {
            let relu = Activate::new(Activation::Relu, &op.output_shape());
            op.absorb(&relu).unwrap()
        }
        "linear" => Box::new(op),
        other => panic!("{}: activation {other}", case.name),
    }
}

#[test]
fn conv2d() {
    for case in of("conv2d") {
        assert_eq!(case.pair("strides"), [1, 1]);
        let &[height, width, _, filters] = case.shape("kernel") else {
            panic!("{}: a kernel is H W I O", case.name);
        };
        let shape = sample_shape(&case);
        let op = Conv2d::new(&shape, filters, [height, width], case.padding()).unwrap();
        hold(&case, &*activated(&case, op), TOLERANCE, GRADIENT_TOLERANCE);
    }
}

#[test]
fn conv1d() {
    for case in of("conv1d") {
        let &[steps, _, filters] = case.shape("kernel") else {
            panic!("{}: a kernel is K I O", case.name);
        };
        let op = Conv2d::new_1d(&sample_shape(&case), filters, steps, case.padding()).unwrap();
        hold(&case, &*activated(&case, op), TOLERANCE, GRADIENT_TOLERANCE);
    }
}

#[test]
fn dense() {
    for case in of("dense") {
        let op = Dense::new(&sample_shape(&case), case.shape("kernel")[1]).unwrap();
        hold(&case, &*activated(&case, op), TOLERANCE, GRADIENT_TOLERANCE);
    }
}

/// The outputs are inputs, so they are equal; a gradient is a sum of a few.
#[test]
fn max_pools() {
    for case in of("max_pool2d") {
        let (window, stride) = (case.pair("pool_size"), case.pair("strides"));
        let op = MaxPool2d::new(&sample_shape(&case), window, stride, case.padding()).unwrap();
        hold(&case, &op, 0.0, 1e-6);
    }
    for case in of("max_pool1d") {
        let ([window, _], [stride, _]) = (case.pair("pool_size"), case.pair("strides"));
        let op = MaxPool2d::new_1d(&sample_shape(&case), window, stride, case.padding()).unwrap();
        hold(&case, &op, 0.0, 1e-6);
    }
}

#[test]
fn activations() {
    let mut cases: Vec<(Case, Activation)> = Vec::new();
    cases.extend(of("relu").into_iter().map(|case| (case, Activation::Relu)));
    for case in of("leaky_relu") {
        let slope = case.number("negative_slope") as f32;
        cases.push((case, Activation::LeakyRelu { slope }));
    }
    for (case, activation) in cases {
        let shape = Shape::new(case.shape("input").to_vec());
        hold(&case, &Activate::new(activation, &shape), 1e-7, 1e-7);
    }
}

#[test]
fn softmax() {
    for case in of("softmax") {
        let classes = case.shape("input").last().copied().unwrap();
        let op = Softmax::new(&Shape::from([classes])).unwrap();
        hold(&case, &op, 1e-6, 5e-6);
    }
}

#[test]
fn softmax_cross_entropy() {
    for case in of("softmax_cross_entropy") {
        let &[samples, classes] = case.shape("logits") else {
            panic!("{}: logits are samples x classes", case.name);
        };
        let op = Softmax::new(&Shape::from([classes])).unwrap();
        for kernels in Kernels::available() {
            let len = samples * classes;
            let (mut probabilities, mut d_logits) = (vec![f32::NAN; len], vec![f32::NAN; len]);
            let sum = op.loss(&mut LossCall {
                kernels,
                samples,
                logits: case.data("logits"),
                targets: case.data("target"),
                probabilities: &mut probabilities,
                d_logits: &mut d_logits,
                scale: 1.0 / samples as f32,
            });
            let loss = [(sum / samples as f64) as f32];
            case.near("output", &probabilities, "output", 1e-6);
            case.near("loss", &loss, "loss", 1e-6);
            case.near("grad_logits", &d_logits, "grad_logits", 2e-6);
        }
    }
}
