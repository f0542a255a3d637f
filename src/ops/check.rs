//! The gradient check of every operation: each instruction set's kernels against the definition in `f64`.
//!
//! With a random weighting r of the output, L = sum r y. Backward's gradients of L are compared with central differences
//! of the oracle's L, taken in `f64`, at every element or at a random sample of them; forward with the oracle itself.

use crate::op::{Backward, BatchView, Forward, Op, RandomKey, ShardView};
use crate::random::Random;
use crate::shape::Shape;
use sonograd_kernels::Kernels;

/// The most elements of one tensor whose slope is taken.
const PROBES: usize = 60;
/// Half the distance of the two points: the truncation error is of its square, the rounding error 2^-52 over it.
const STEP: f64 = 1e-5;
/// f32 sums of up to some thousand products: n * 2^-24 relative to the size of the terms, with a margin.
const TOLERANCE: f64 = 2e-4;

struct Case<'a> {
    op: &'a dyn Op,
    samples: usize,
    inputs: Vec<Vec<f64>>,
    parameters: Vec<f64>,
    weighting: Vec<f64>,
}

impl Case<'_> {
    fn output(&self) -> Vec<f64> {
        let inputs: Vec<&[f64]> = self.inputs.iter().map(Vec::as_slice).collect();
        self.op.oracle(self.samples, &inputs, &self.parameters)
    }

    fn loss(&self) -> f64 {
        self.output()
            .iter()
            .zip(&self.weighting)
            .map(|(y, r)| y * r)
            .sum()
    }

    /// The slope of the loss along one element.
    fn slope(&mut self, tensor: usize, element: usize) -> f64 {
        let mut at = |offset: f64| {
            let values = if tensor < self.inputs.len() {
                &mut self.inputs[tensor]
            } else {
                &mut self.parameters
            };
            let before = values[element];
            values[element] = before + offset;
            let loss = self.loss();
            let values = if tensor < self.inputs.len() {
                &mut self.inputs[tensor]
            } else {
                &mut self.parameters
            };
            values[element] = before;
            loss
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    }
}

struct OneShard<'a>(ShardView<'a>);

impl BatchView for OneShard<'_> {
    fn shards(&self) -> usize {
        1
    }
    fn shard(&self, _: usize) -> ShardView<'_> {
        self.0
    }
}

/// Random numbers that an f32 holds exactly, so that both sides see the same ones.
fn normals(random: &mut Random, len: usize) -> Vec<f64> {
    (0..len)
        .map(|_| f64::from(random.normal() as f32))
        .collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

/// Checks `op` on random samples of the input shapes, on every instruction set of this CPU.
pub(crate) fn op(op: &dyn Op, inputs: &[Shape], samples: usize) {
    let mut random = Random::new(&[7, inputs[0].len() as u64, samples as u64]);
    let output_len = op.output_shape().len() * samples;
    let trainable = op
        .parameters()
        .iter()
        .filter(|p| p.trainable)
        .map(|p| p.shape.len())
        .sum();
    let mut case = Case {
        op,
        samples,
        inputs: inputs
            .iter()
            .map(|shape| normals(&mut random, shape.len() * samples))
            .collect(),
        parameters: normals(&mut random, trainable),
        weighting: normals(&mut random, output_len),
    };
    let expected = case.output();
    assert_eq!(
        expected.len(),
        output_len,
        "{op:?}: the oracle's output has the declared length"
    );
    for kernels in Kernels::available() {
        let (output, gradients) = run(&case, kernels);
        close(&format!("{op:?} {kernels:?} output"), &output, &expected);
        for (tensor, gradient) in gradients.iter().enumerate() {
            let every = gradient.len().div_ceil(PROBES).max(1);
            let probes: Vec<usize> = (0..gradient.len())
                .step_by(every)
                .map(|i| (i + random.below(every)).min(gradient.len() - 1))
                .collect();
            let slopes: Vec<f64> = probes.iter().map(|&i| case.slope(tensor, i)).collect();
            let found: Vec<f32> = probes.iter().map(|&i| gradient[i]).collect();
            close(
                &format!("{op:?} {kernels:?} gradient of tensor {tensor} at {probes:?}"),
                &found,
                &slopes,
            );
        }
    }
}

/// Forward and backward by the kernels: the output, and the gradients of the inputs and, last, of the weights.
fn run(case: &Case<'_>, kernels: &'static Kernels) -> (Vec<f32>, Vec<Vec<f32>>) {
    let (op, samples) = (case.op, case.samples);
    let needs = op.needs(samples, kernels.lanes());
    let inputs: Vec<Vec<f32>> = case.inputs.iter().map(|x| narrow(x)).collect();
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let parameters = narrow(&case.parameters);
    let d_output = narrow(&case.weighting);
    // Dirty buffers: what an operation does not write must not matter.
    let mut output = vec![f32::NAN; d_output.len()];
    let mut codes = vec![0xAB; needs.codes * samples];
    let mut workspace = vec![f32::NAN; needs.workspace * samples];
    let mut scratch = vec![f32::NAN; needs.scratch];
    let mut packed = vec![f32::NAN; needs.packed];
    op.pack_all(kernels, &parameters, &mut packed);
    let random = RandomKey::default();
    let mut state: Vec<f32> = vec![
        0.0;
        op.parameters()
            .iter()
            .filter(|p| !p.trainable)
            .map(|p| p.shape.len())
            .sum()
    ];
    let (mut sums, mut backward_sums) = (
        vec![0.0; needs.forward_sums],
        vec![0.0; needs.backward_sums],
    );
    let mut share = sums.clone();
    let mut call = Forward {
        kernels,
        samples,
        slice: 0,
        training: true,
        inputs: &inputs,
        parameters: &parameters,
        state: &[],
        packed: &[],
        sums: &[],
        output: &mut output,
        codes: &mut codes,
        workspace: &mut workspace,
        scratch: &mut scratch,
        random,
    };
    if needs.forward_sums > 0 {
        op.forward_sums(&mut call, &mut share);
        op.combine_forward(samples, &share, &mut sums, &mut state);
        op.fold(kernels, &parameters, &state, Some(&sums), &mut packed);
    }
    (call.packed, call.sums) = (&packed, &sums);
    for slice in 0..op.slices() {
        call.slice = slice;
        op.forward(&mut call);
    }
    scratch.fill(f32::NAN);
    let mut d_inputs: Vec<Vec<f32>> = inputs.iter().map(|x| vec![f32::NAN; x.len()]).collect();
    let mut d_parameters = vec![f32::NAN; parameters.len()];
    let whole_batch = needs.gradient_block > 0;
    let mut writes: Vec<Option<&mut [f32]>> =
        d_inputs.iter_mut().map(|d| Some(&mut d[..])).collect();
    let mut call = Backward {
        kernels,
        samples,
        slice: 0,
        inputs: if needs.reads_inputs {
            &inputs
        } else {
            &[&[] as &[f32]; 8][..inputs.len()]
        },
        output: if needs.reads_output { &output } else { &[] },
        d_output: &d_output,
        norm: None,
        parameters: &parameters,
        packed: &packed,
        sums: &sums,
        backward_sums: &[],
        codes: &codes,
        workspace: &mut workspace,
        scratch: &mut scratch,
        d_inputs: &mut writes,
        d_parameters: if whole_batch {
            &mut []
        } else {
            &mut d_parameters
        },
        random,
    };
    if needs.backward_sums > 0 {
        let mut share = backward_sums.clone();
        op.backward_sums(&mut call, &mut share);
        op.combine_backward(samples, &share, &mut backward_sums);
    }
    call.backward_sums = &backward_sums;
    for slice in 0..op.slices() {
        call.slice = slice;
        op.backward(&mut call);
    }
    if whole_batch {
        let view = OneShard(ShardView {
            samples,
            inputs: std::array::from_fn(|i| inputs.get(i).copied().unwrap_or(&[])),
            d_output: &d_output,
            workspace: &workspace,
        });
        let (gathered, scratch) = op.batch_gradient_needs(samples, kernels.lanes());
        let mut gathered = vec![f32::NAN; gathered];
        let mut scratch = vec![f32::NAN; scratch];
        op.gather(kernels, &view, &mut gathered);
        for (i, part) in d_parameters.chunks_mut(needs.gradient_block).enumerate() {
            let start = i * needs.gradient_block;
            op.batch_gradient(
                kernels,
                start..start + part.len(),
                &view,
                &gathered,
                part,
                &mut scratch,
            );
        }
    }
    d_inputs.push(d_parameters);
    (output, d_inputs)
}

/// Compares relative to the largest expected value: errors of sums scale with their terms, not with the sum.
fn close(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs() / size;
        assert!(
            error < TOLERANCE,
            "{what}: element {i} is {found}, should be {expected}"
        );
    }
}
