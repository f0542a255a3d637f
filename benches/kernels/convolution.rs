//! Convolutions by algorithm and instruction set: the layers of the models over a batch of 128 in shards of 16, as in
//! training, so that no call finds its operands in cache. Under each bench stands its best rate and the share of the
//! rate that a small product in first-level cache reaches on the same instruction set.
//!
//! Of a pooled convolution the dense work is counted, also where the kernel skips what the pool threw away: more than
//! 100 % is possible. Backward counts the weights' gradient, and the input's where the layer is not a model's first.

use crate::layers::{Layer, layers};
use crate::{BATCH, SAMPLES, random, sets};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use sonograd::machine;
use sonograd_kernels::{AlignedVec, Compute, ConvAlgorithm, ConvBlock, Kernels};
use std::time::{Duration, Instant};

/// Operations a sample above which the plain loops would take seconds a call.
const MOST_NAIVE: f64 = 3e6;

pub(crate) fn convolution(c: &mut Criterion) {
    let mut group = c.benchmark_group("convolution");
    // A call is a millisecond, so that the minimum is steady all the same.
    group
        .sample_size(10)
        .nresamples(1000)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(250));
    let best = sets().last().map(Kernels::isa);
    for kernels in sets() {
        let peak = machine::peak_gflops(kernels);
        for layer in layers() {
            for &algorithm in ConvAlgorithm::ALL {
                let flop = 2.0 * layer.products();
                // What does not depend on the instruction set, or little, runs once.
                let runs = match algorithm {
                    // Its two halves run alone.
                    ConvAlgorithm::Bf16x6x3 => false,
                    ConvAlgorithm::Direct | ConvAlgorithm::Im2colGemm => true,
                    // Other layers they leave to others.
                    ConvAlgorithm::Winograd | ConvAlgorithm::Winograd1d => {
                        ConvAlgorithm::choose(&layer.block, kernels.lanes()) == algorithm
                    }
                    ConvAlgorithm::Bf16
                    | ConvAlgorithm::Bf16x3
                    | ConvAlgorithm::Bf16x6
                    | ConvAlgorithm::Im2colBf16
                    | ConvAlgorithm::Im2colBf16x6 => Compute::from(kernels.isa()).has_tiles(),
                    ConvAlgorithm::Im2colMatrixmultiply => Some(kernels.isa()) == best,
                    ConvAlgorithm::Naive => Some(kernels.isa()) == best && flop < MOST_NAIVE,
                };
                if runs {
                    passes(&mut group, kernels, &layer, algorithm, peak);
                }
            }
        }
    }
}

/// What one shard's calls read and write.
struct Shard {
    input: AlignedVec,
    output: AlignedVec,
    codes: Vec<u8>,
    d_output: AlignedVec,
    d_input: AlignedVec,
    /// True where forward has written what backward reads.
    is_ready: bool,
}

impl Shard {
    fn new(block: &ConvBlock) -> Self {
        Self {
            input: random(SAMPLES * block.conv.input_len()),
            output: AlignedVec::zeros(SAMPLES * block.output_len()),
            codes: vec![0; SAMPLES * block.codes_len()],
            d_output: random(SAMPLES * block.output_len()),
            d_input: AlignedVec::zeros(SAMPLES * block.conv.input_len()),
            is_ready: false,
        }
    }
}

fn passes(
    group: &mut BenchmarkGroup<'_, WallTime>,
    kernels: &Kernels,
    layer: &Layer,
    algorithm: ConvAlgorithm,
    peak: f64,
) {
    let block = ConvBlock {
        algorithm: Some(algorithm),
        ..layer.block
    };
    let (conv, lanes) = (block.conv, kernels.lanes());
    let (kernel, bias) = (random(conv.kernel_len()), random(conv.out_channels));
    let mut packed = AlignedVec::zeros(block.packed_len(lanes));
    kernels.conv_block_pack(&block, &kernel, &mut packed);
    let scratch_len = block
        .forward_scratch_len(lanes)
        .max(block.backward_scratch_len(lanes));
    let mut scratch = AlignedVec::zeros(scratch_len);
    let mut d_kernel = AlignedVec::zeros(conv.kernel_len());
    let mut d_bias = AlignedVec::zeros(conv.out_channels);
    let mut shards: Vec<_> = (0..BATCH / SAMPLES).map(|_| Shard::new(&block)).collect();
    let forward = |shard: &mut Shard, scratch: &mut [f32]| {
        kernels.conv_block_forward(
            &block,
            SAMPLES,
            &shard.input,
            &packed,
            &bias,
            &mut shard.output,
            &mut shard.codes,
            scratch,
        );
        shard.is_ready = true;
    };
    let flop = 2.0 * layer.products() * SAMPLES as f64;
    let mut next = 0;
    let mut turn = || {
        next = (next + 1) % (BATCH / SAMPLES);
        next
    };
    let id = |pass: &str| {
        BenchmarkId::new(
            format!("{} {pass}", layer.name),
            format!("{algorithm}, {}", kernels.isa()),
        )
    };
    best_of(group, id("forward"), flop, peak, || {
        forward(&mut shards[turn()], &mut scratch);
    });
    // Fused forward passes share the direct kernels' backward.
    if algorithm == ConvAlgorithm::Winograd || algorithm.bf16_parts().is_some() {
        return;
    }
    let flop = if layer.is_first { flop } else { 2.0 * flop };
    best_of(group, id("backward"), flop, peak, || {
        let shard = &mut shards[turn()];
        // Where a filter leaves the bench of forward out; the warm-up pays for it.
        if !shard.is_ready {
            forward(shard, &mut scratch);
        }
        kernels.conv_block_backward(
            &block,
            SAMPLES,
            &shard.input,
            &shard.output,
            &shard.codes,
            &shard.d_output,
            None,
            &packed,
            (!layer.is_first).then_some(&mut shard.d_input[..]),
            &mut d_kernel,
            &mut d_bias,
            &mut scratch,
        );
    });
}

/// Benches `call`, which does `flop` operations, and prints its best rate.
fn best_of(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    flop: f64,
    peak: f64,
    mut call: impl FnMut(),
) {
    let mut best = f64::INFINITY;
    group.throughput(Throughput::Elements(flop as u64));
    group.bench_function(id, |b| {
        b.iter_custom(|iterations| {
            let mut all = Duration::ZERO;
            for _ in 0..iterations {
                let start = Instant::now();
                call();
                let time = start.elapsed();
                best = best.min(time.as_secs_f64());
                all += time;
            }
            all
        });
    });
    // Not where a filter has left it out.
    if best < f64::INFINITY {
        let (rate, sample) = (flop / best / 1e9, best * 1e6 / SAMPLES as f64);
        let share = 100.0 * rate / peak;
        println!("    {sample:.2} us a sample, {rate:.1} GFLOP/s, {share:.0} % of {peak:.1}");
    }
}
