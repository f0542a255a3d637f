//! One convolution by each algorithm, forward and backward, on one thread.

use super::{TURNS, turn};
use crate::exec::PART_BYTES;
use crate::random::Random;
use sonograd_kernels::{AlignedVec, Compute, ConvAlgorithm, ConvBlock, Kernels};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Seconds a sample by each algorithm, the least of many, in turns.
pub(super) fn times(
    compute: &Compute,
    kernels: &Kernels,
    block: ConvBlock,
    wants_input: bool,
    seconds: f64,
) -> BTreeMap<ConvAlgorithm, f64> {
    let mut ways: Vec<Way> = compute
        .candidates(&block)
        .into_iter()
        .map(|algorithm| Way::new(kernels, block, algorithm, wants_input))
        .collect();
    for _ in 0..TURNS {
        ways.iter_mut()
            .for_each(|way| way.time(kernels, turn(seconds)));
    }
    ways.iter()
        .map(|way| (way.algorithm, way.best / way.samples as f64))
        .collect()
}

/// One algorithm's buffers for one convolution.
struct Way {
    algorithm: ConvAlgorithm,
    block: ConvBlock,
    samples: usize,
    input: AlignedVec,
    packed: AlignedVec,
    bias: AlignedVec,
    output: AlignedVec,
    codes: Vec<u8>,
    d_output: AlignedVec,
    d_input: Option<AlignedVec>,
    d_kernel: AlignedVec,
    d_bias: AlignedVec,
    scratch: AlignedVec,
    /// Seconds.
    best: f64,
}

impl Way {
    fn new(
        kernels: &Kernels,
        block: ConvBlock,
        algorithm: ConvAlgorithm,
        wants_input: bool,
    ) -> Self {
        let block = ConvBlock {
            algorithm: Some(algorithm),
            ..block
        };
        let (conv, lanes) = (&block.conv, kernels.lanes());
        // As many as the engine gives a stage.
        let samples = (PART_BYTES / size_of::<f32>() / conv.input_len()).clamp(1, 16);
        let mut random = Random::new(&[3]);
        let mut noise = |len: usize| {
            let mut values = AlignedVec::zeros(len);
            values.iter_mut().for_each(|x| *x = random.normal() as f32);
            values
        };
        let kernel = noise(conv.kernel_len());
        let mut packed = AlignedVec::zeros(block.packed_len(lanes));
        kernels.conv_block_pack(&block, &kernel, &mut packed);
        let scratch = block
            .forward_scratch_len(lanes)
            .max(block.backward_scratch_len(lanes));
        Self {
            algorithm,
            samples,
            input: noise(samples * conv.input_len()),
            packed,
            bias: noise(conv.out_channels),
            output: AlignedVec::zeros(samples * block.output_len()),
            codes: vec![0; samples * block.codes_len()],
            d_output: noise(samples * block.output_len()),
            d_input: wants_input.then(|| AlignedVec::zeros(samples * conv.input_len())),
            d_kernel: AlignedVec::zeros(conv.kernel_len()),
            d_bias: AlignedVec::zeros(conv.out_channels),
            scratch: AlignedVec::zeros(scratch),
            block,
            best: f64::INFINITY,
        }
    }

    /// Forward and backward again and again for so long, twice at least.
    fn time(&mut self, kernels: &Kernels, turn: Duration) {
        let begin = Instant::now();
        for repeat in 0.. {
            if repeat > 1 && begin.elapsed() > turn {
                break;
            }
            let start = Instant::now();
            kernels.conv_block_forward(
                &self.block,
                self.samples,
                &self.input,
                &self.packed,
                &self.bias,
                &mut self.output,
                &mut self.codes,
                &mut self.scratch,
            );
            kernels.conv_block_backward(
                &self.block,
                self.samples,
                &self.input,
                &self.output,
                &self.codes,
                &self.d_output,
                None,
                &self.packed,
                self.d_input.as_deref_mut(),
                &mut self.d_kernel,
                &mut self.d_bias,
                &mut self.scratch,
            );
            self.best = self.best.min(start.elapsed().as_secs_f64());
        }
    }
}
