//! The kernels by instruction set at the sizes of the models, whole training steps, and the front end.
//!
//! `cargo bench --bench kernels` runs all, `-- convolution` the names that contain a word, `-- --test` each of them
//! once, to see that they run. Kernels run on one thread over a shard of 16 samples, as in training. Operands rotate
//! over buffers that together are larger than the caches of one core, so that no call finds its own from the last one.
//! `Gelem/s` are GFLOP/s where the group says so (a multiplication and an addition are two).

mod convolution;
mod layers;

use convolution::convolution;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use layers::block;
use sonograd::audio::{Extractor, FrontEnd, SAMPLE_RATE};
use sonograd::exec::{Executor, SliceBatch, thread_pool};
use sonograd::models::{Model, Size};
use sonograd::optim::Optimizer;
use sonograd::random::Random;
use sonograd_kernels::gemm::{gemm_scratch_len, matrixmultiply_gemm};
use sonograd_kernels::{
    Activation, AlignedVec, Compute, GemmAlgorithm, Isa, Kernels, LstmShape, Matrix, NormGradient,
};
use std::time::Duration;

/// Samples of a shard.
const SAMPLES: usize = 16;
/// Samples of a training step.
const BATCH: usize = 128;
/// Values that all buffers of one operand hold together: 64 MB.
const ROTATION: usize = 16 << 20;

/// Values that are drawn before they repeat themselves: a prime, so that they fall into step with no shape.
const DRAWN: usize = 65_521;

/// Uniform values in -1..1.
fn random(len: usize) -> AlignedVec {
    let mut random = Random::new(&[len as u64]);
    let mut values = AlignedVec::zeros(len);
    let (drawn, rest) = values.split_at_mut(len.min(DRAWN));
    drawn
        .iter_mut()
        .for_each(|x| *x = 2.0 * random.uniform_f32() - 1.0);
    for part in rest.chunks_mut(DRAWN) {
        part.copy_from_slice(&drawn[..part.len()]);
    }
    values
}

/// Buffers of one length, handed out in turn.
struct Rotating {
    buffers: Vec<AlignedVec>,
    next: usize,
}

impl Rotating {
    /// Uniform values in -1..1.
    fn new(len: usize) -> Self {
        let count = (ROTATION / len.max(1)).clamp(2, 64);
        Self {
            buffers: vec![random(len); count],
            next: 0,
        }
    }

    fn next(&mut self) -> &mut AlignedVec {
        self.next = (self.next + 1) % self.buffers.len();
        &mut self.buffers[self.next]
    }
}

/// Small enough that all benches end within a quarter of an hour, long enough for a steady minimum.
fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    group
}

/// The kernels of this CPU without those that only emulate another's.
fn sets() -> impl Iterator<Item = &'static Kernels> {
    Kernels::available().filter(|kernels| kernels.isa().name() != "emulated512")
}

/// The algorithms of products that these kernels do not only emulate.
fn algorithms(kernels: &Kernels) -> &'static [GemmAlgorithm] {
    match Compute::from(kernels.isa()).has_tiles() {
        true => GemmAlgorithm::ALL,
        false => &[GemmAlgorithm::F32],
    }
}

/// A of a product: m x k, stored by rows or as its transpose.
fn left(values: &[f32], m: usize, k: usize, transposed: bool) -> Matrix<'_> {
    match transposed {
        true => Matrix::row_major(values, m).transposed(),
        false => Matrix::row_major(values, k),
    }
}

/// In FLOPs: the products of the models' dense layers, and a square one as the practical peak.
fn products(c: &mut Criterion) {
    // (name, m, n, k, A is transposed): forward x W, the input's gradient dy W^T, the weights' x^T dy.
    let shapes = [
        ("square 512", 512, 512, 512, false),
        ("parallel 7600-8 forward", SAMPLES, 8, 7600, false),
        ("parallel 7600-8 d_kernel", 7600, 8, BATCH, true),
        ("accurate 1536-128 forward", SAMPLES, 128, 1536, false),
        ("accurate 1536-128 d_input", SAMPLES, 1536, 128, false),
        ("accurate 1536-128 d_kernel", 1536, 128, BATCH, true),
        ("window 1280-1024 forward", SAMPLES, 1024, 1280, false),
        ("window 1280-1024 d_kernel", 1280, 1024, BATCH, true),
    ];
    for (name, m, n, k, transposed) in shapes {
        let (mut a, mut b, mut c_values) = (
            Rotating::new(m * k),
            Rotating::new(k * n),
            Rotating::new(m * n),
        );
        let mut group = group(c, "product");
        group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
        for kernels in sets() {
            let lanes = kernels.lanes();
            let mut scratch = AlignedVec::zeros(gemm_scratch_len(m, n, k, lanes));
            group.bench_function(BenchmarkId::new(name, kernels.isa()), |bench| {
                bench.iter(|| {
                    let right = Matrix::row_major(b.next(), n);
                    let left = left(a.next(), m, k, transposed);
                    kernels.gemm(
                        m,
                        n,
                        k,
                        left,
                        right,
                        c_values.next(),
                        n,
                        false,
                        &mut scratch,
                    );
                });
            });
            // Weights are packed once a step and serve all shards.
            for &algorithm in algorithms(kernels) {
                let mut packed = AlignedVec::zeros(algorithm.packed_len(k, n, lanes));
                kernels.product_pack(algorithm, k, n, Matrix::row_major(b.next(), n), &mut packed);
                let mut scratch = AlignedVec::zeros(algorithm.scratch_len(m, n, k, lanes));
                let id = BenchmarkId::new(format!("{name}, packed {algorithm}"), kernels.isa());
                group.bench_function(id, |bench| {
                    bench.iter(|| {
                        kernels.product(
                            algorithm,
                            true,
                            (m, 0..n, k),
                            left(a.next(), m, k, transposed),
                            false,
                            &packed,
                            c_values.next(),
                            n,
                            false,
                            None,
                            Activation::Linear,
                            &mut scratch,
                        );
                    });
                });
            }
        }
        group.bench_function(BenchmarkId::new(name, "matrixmultiply"), |bench| {
            bench.iter(|| {
                let right = Matrix::row_major(b.next(), n);
                matrixmultiply_gemm(
                    m,
                    n,
                    k,
                    left(a.next(), m, k, transposed),
                    right,
                    c_values.next(),
                    n,
                    false,
                );
            });
        });
    }
}

/// In FLOPs of the products; backward has twice as many.
fn lstm(c: &mut Criterion) {
    for (name, inputs, units, sequences) in [
        ("cnn-rnn 6-128", 6, 128, true),
        ("cnn-rnn 128-32", 128, 32, false),
    ] {
        let weights = (inputs + units) * 4 * units;
        let (kernel, recurrent) = (random(inputs * 4 * units), random(units * 4 * units));
        let bias = random(4 * units);
        let shapes = sets().flat_map(|kernels| {
            algorithms(kernels).iter().map(move |&products| {
                let shape = LstmShape {
                    steps: 18,
                    inputs,
                    units,
                    sequences,
                    products,
                };
                (kernels, shape)
            })
        });
        for (kernels, shape) in shapes {
            let mut x = Rotating::new(SAMPLES * shape.steps * inputs);
            let mut d_output = Rotating::new(SAMPLES * shape.output_len());
            let lanes = kernels.lanes();
            let mut packed = AlignedVec::zeros(shape.packed_len(lanes));
            kernels.lstm_pack(shape, &kernel, &recurrent, &mut packed);
            let scratch_len = shape.backward_scratch_len(SAMPLES, lanes);
            let scratch_len = scratch_len.max(shape.forward_scratch_len(SAMPLES, lanes));
            let mut scratch = AlignedVec::zeros(scratch_len);
            let mut output = AlignedVec::zeros(SAMPLES * shape.output_len());
            let mut workspace = AlignedVec::zeros(SAMPLES * shape.workspace_len(lanes));
            let mut d_x = AlignedVec::zeros(SAMPLES * shape.steps * inputs);
            let mut gradients = [kernel.len(), recurrent.len(), bias.len()].map(AlignedVec::zeros);
            let forward_flops = 2 * (SAMPLES * shape.steps * weights) as u64;
            let name = match shape.products {
                GemmAlgorithm::F32 => name.to_owned(),
                products => format!("{name} {products}"),
            };
            let forward =
                |input: &[f32], output: &mut [f32], workspace: &mut [f32], scratch: &mut [f32]| {
                    if shape.uses_tiles(SAMPLES) {
                        kernels.lstm_forward_tiles(
                            shape, SAMPLES, true, input, &packed, &bias, output, workspace, scratch,
                        );
                    } else {
                        kernels
                            .lstm_forward(shape, SAMPLES, input, &packed, &bias, output, workspace);
                    }
                };
            let mut group = group(c, "lstm");
            group.throughput(Throughput::Elements(forward_flops));
            let id = BenchmarkId::new(format!("{name} forward"), kernels.isa());
            group.bench_function(id, |b| {
                b.iter(|| forward(x.next(), &mut output, &mut workspace, &mut scratch));
            });
            // Backward uses up what forward kept, so the two are timed together.
            group.throughput(Throughput::Elements(3 * forward_flops));
            let id = BenchmarkId::new(format!("{name} forward and backward"), kernels.isa());
            group.bench_function(id, |b| {
                b.iter(|| {
                    let input = x.next();
                    forward(input, &mut output, &mut workspace, &mut scratch);
                    let [d_kernel, d_recurrent, d_bias] = &mut gradients;
                    kernels.lstm_backward(
                        shape,
                        SAMPLES,
                        input,
                        &output,
                        d_output.next(),
                        &mut workspace,
                        &packed,
                        Some(&mut d_x),
                        d_kernel,
                        d_recurrent,
                        d_bias,
                        &mut scratch,
                    );
                });
            });
        }
    }
}

/// In values of the full map.
fn pool_and_norm(c: &mut Criterion) {
    let Some(pool) = block(
        [80, 80, 1],
        32,
        [3, 3],
        false,
        Activation::Relu,
        Some(([3, 3], [2, 2], true)),
    )
    .pool
    else {
        return;
    };
    let (inputs, outputs) = (SAMPLES * pool.input_len(), SAMPLES * pool.output_len());
    let (channels, rows) = (pool.channels, outputs / pool.channels);
    let (mut x, mut y) = (Rotating::new(inputs), Rotating::new(outputs));
    let (mut d_x, mut d_y) = (Rotating::new(inputs), Rotating::new(outputs));
    let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
    for kernels in sets() {
        let mut codes = vec![0; outputs];
        let mut group = group(c, "memory");
        let id = |what: &str| BenchmarkId::new(what, kernels.isa());
        group.throughput(Throughput::Elements(inputs as u64));
        group.bench_function(id("max-pool 3x3 forward"), |b| {
            b.iter(|| kernels.max_pool_forward(&pool, SAMPLES, x.next(), y.next(), &mut codes));
        });
        group.bench_function(id("max-pool 3x3 backward"), |b| {
            b.iter(|| kernels.max_pool_backward(&pool, SAMPLES, d_y.next(), &codes, d_x.next()));
        });
        group.throughput(Throughput::Elements(outputs as u64));
        let mut sums = vec![0.0; 2 * channels];
        group.bench_function(id("norm sums"), |b| {
            b.iter(|| kernels.norm_sums(rows, channels, y.next(), &mut sums));
        });
        group.bench_function(id("norm forward"), |b| {
            b.iter(|| {
                let (y, to) = (y.next(), d_y.next());
                kernels.norm_forward(rows, channels, y, &zeros, &ones, &ones, &zeros, to);
            });
        });
        group.bench_function(id("norm backward sums"), |b| {
            b.iter(|| {
                let (y, d_y) = (y.next(), d_y.next());
                kernels.norm_backward_sums(rows, channels, y, d_y, &zeros, &ones, &mut sums);
            });
        });
        let mut d_norm = AlignedVec::zeros(outputs);
        let gradient = NormGradient {
            mean: &zeros,
            inverse_deviation: &ones,
            gamma: &ones,
            mean_d_y: &zeros,
            mean_d_y_x_hat: &zeros,
        };
        group.bench_function(id("norm backward"), |b| {
            b.iter(|| {
                let (y, d_y) = (y.next(), d_y.next());
                kernels.norm_backward(rows, channels, y, d_y, gradient, &mut d_norm);
            });
        });
    }
}

/// In weights.
fn optimisers(c: &mut Criterion) {
    // `accurate` stays in a second-level cache, `window` does not.
    for (name, len) in [("accurate", 320_168), ("window", 1_650_442)] {
        let gradients = &Rotating::new(len).buffers[0];
        for kernels in sets() {
            let [mut w, mut m, mut v] = [0; 3].map(|_| AlignedVec::zeros(len));
            let mut group = group(c, "optimiser");
            group.throughput(Throughput::Elements(len as u64));
            let id = |rule: &str| BenchmarkId::new(format!("{rule} {name}"), kernels.isa());
            group.bench_function(id("sgd"), |b| {
                b.iter(|| kernels.sgd(&mut w, gradients, 1e-3));
            });
            group.bench_function(id("adam"), |b| {
                b.iter(|| {
                    kernels.adam(
                        &mut w, gradients, &mut m, &mut v, 1e-3, 0.9, 0.999, 1e-7, 0.0,
                    );
                });
            });
            group.bench_function(id("adadelta"), |b| {
                b.iter(|| {
                    kernels.adadelta(&mut w, gradients, &mut m, &mut v, 1.0, 0.95, 1e-7);
                });
            });
        }
    }
}

/// In samples: whole steps of every model on all cores.
fn steps(c: &mut Criterion) {
    for &model in Model::ALL {
        for isa in sets().map(Kernels::isa) {
            step(c, model, isa);
        }
    }
}

fn step(c: &mut Criterion, model: Model, isa: Isa) {
    let size = Size {
        classes: model.classes(),
        width: 1.0,
        dropout: true,
    };
    let built = thread_pool(0).and_then(|pool| {
        let plan = model.compile(size)?;
        Executor::new(plan, BATCH, pool, isa)
    });
    let mut executor = match built {
        Ok(executor) => executor,
        Err(error) => panic!("{model} on {isa}: {error}"),
    };
    executor.initialize(0);
    let (rule, rate) = model.optimizer();
    let mut optimizer = Optimizer::new(rule, rate, executor.plan().trainable_len());
    let sample = executor.plan().input_shape().len();
    let mut inputs = Rotating::new(BATCH * sample);
    let mut targets = vec![0.0; BATCH * size.classes];
    for (i, row) in targets.chunks_mut(size.classes).enumerate() {
        row[i % size.classes] = 1.0;
    }
    let mut group = group(c, "model");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(BenchmarkId::new(format!("{model} train step"), isa), |b| {
        b.iter(|| {
            let batch = SliceBatch {
                inputs: inputs.next(),
                targets: &targets,
                samples: BATCH,
            };
            executor.train_step(&batch, &mut optimizer)
        });
    });
    for samples in [BATCH, 1] {
        let mut probabilities = vec![0.0; samples * size.classes];
        group.throughput(Throughput::Elements(samples as u64));
        let id = BenchmarkId::new(format!("{model} predict {samples}"), isa);
        group.bench_function(id, |b| {
            b.iter(|| {
                let batch = SliceBatch {
                    inputs: &inputs.next()[..samples * sample],
                    targets: &[],
                    samples,
                };
                executor.predict(&batch, &mut probabilities)
            });
        });
    }
}

/// In slices: 30 s of sound on one thread.
fn front_end(c: &mut Criterion) {
    let mut songs = Rotating::new(30 * SAMPLE_RATE as usize);
    for front_end in FrontEnd::ALL {
        let extractor = Extractor::new(front_end);
        let mut worker = extractor.worker();
        let count = front_end.slice_count(songs.next().len());
        let mut group = group(c, "front end");
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("30 s, {front_end}"), |b| {
            b.iter(|| worker.features(songs.next()));
        });
    }
}

criterion::criterion_group!(
    benches,
    convolution,
    products,
    lstm,
    pool_and_norm,
    optimisers,
    steps,
    front_end
);
criterion::criterion_main!(benches);
