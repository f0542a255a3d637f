//! Runs a plan: a training step or a prediction, the batch cut into shards. Every buffer is allocated when it is made.
//!
//! The batch is cut into shards whose number depends on the batch alone, never on the threads. A shard runs every
//! operation of a stage on its own buffers; stages end where an operation needs sums over the whole batch. The shards'
//! partial gradients are added in the order of the shards. So the same seed gives the same bits on any number of threads.

mod bands;
pub mod batch;
#[cfg(test)]
pub(crate) mod check;
mod gradients;
mod rounds;
mod shard;
mod stages;
#[cfg(test)]
mod tests;
mod view;
mod weights;

use crate::error::{Error, Result};
use crate::graph::Plan;
use crate::graph::plan::Slots;
use crate::optim::Optimizer;
use crate::random::Random;
use bands::Bands;
pub use batch::{Batch, SliceBatch};
use rayon::prelude::*;
use shard::Shard;
use sonograd_kernels::{AlignedVec, Compute, Kernels};
pub(crate) use stages::PART_BYTES;
use stages::{Action, Stage, norms_behind, predict_stages, train_stages};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
pub use weights::Snapshot;
use weights::Weights;

/// The most samples a shard has.
const SHARD_SAMPLES: usize = 16;
/// A small batch is still cut into this many shards, so that it keeps several threads busy.
const SMALL_BATCH_SHARDS: usize = 8;
/// What a training step says of its batch, in training mode, before the update.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepOutcome {
    /// Mean cross-entropy of the samples.
    pub loss: f64,
    /// Samples whose highest probability was the target's.
    pub correct: usize,
    /// Samples of the batch.
    pub samples: usize,
}

/// Sums over the whole batch, a slice a step.
struct Sums {
    forward: Vec<Vec<f64>>,
    backward: Vec<Vec<f64>>,
    /// The shards' shares, one after another.
    gathered: Vec<f64>,
}

/// A model in memory, ready to train and to predict.
pub struct Executor {
    plan: Plan,
    kernels: &'static Kernels,
    pool: Arc<rayon::ThreadPool>,
    batch_size: usize,
    shard_samples: usize,
    shards: Vec<Shard>,
    /// Shards that one thread takes through a stage side by side, so that they share what they read of the weights.
    together: usize,
    weights: Weights,
    gradients: AlignedVec,
    sums: Sums,
    /// What the tasks of a whole-batch gradient share.
    gathered: AlignedVec,
    block_scratch: Vec<Mutex<AlignedVec>>,
    /// The normalisation behind each step that its backward takes along.
    norms: Vec<Option<usize>>,
    train_stages: Vec<Stage>,
    predict_stages: Vec<Stage>,
    bands: Bands,
    /// False where a whole-batch gradient, which sees the shards alone, reads the model's input: not in training then.
    reads_in_place: bool,
    seed: u64,
    step: u64,
}

/// What all shards read while they run a stage.
struct Shared<'a> {
    plan: &'a Plan,
    batch: &'a dyn Batch,
    /// The model's input of the whole batch, where it is read where it stands and no shard copies it.
    input: Option<&'a [f32]>,
    kernels: &'static Kernels,
    weights: &'a Weights,
    sums: &'a Sums,
    norms: &'a [Option<usize>],
    training: bool,
    samples: usize,
    seed: u64,
    step: u64,
}

impl<'a> Shared<'a> {
    /// The samples `rows` of a value, if it is the model's input and is read in the batch.
    fn in_place(&self, value: usize, rows: Range<usize>) -> Option<&'a [f32]> {
        let input = self.input.filter(|_| value == 0)?;
        let len = self.plan.value_lens[value];
        Some(&input[rows.start * len..rows.end * len])
    }

    /// The slices that an action is cut into.
    fn slices(&self, action: Action) -> usize {
        match action {
            Action::Forward(i) | Action::Backward(i) => self.plan.steps[i].op.slices(),
            _ => 1,
        }
    }

    fn slots(&self) -> &Slots {
        if self.training {
            &self.plan.train
        } else {
            &self.plan.predict
        }
    }
}

/// A pool of `threads` threads for [`Executor::new`]; 0 means one a core.
///
/// # Errors
/// [`Error::Data`] where the system gives no threads.
pub fn thread_pool(threads: usize) -> Result<Arc<rayon::ThreadPool>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map(Arc::new)
        .map_err(|error| Error::Data(format!("cannot start {threads} threads: {error}")))
}

impl Executor {
    /// Lays out every buffer for batches of up to `batch_size` samples. All weights are 0: see
    /// [`initialize`](Self::initialize) and [`set_weight`](Self::set_weight).
    ///
    /// # Errors
    /// [`Error::Usage`] where the batch size is 0 or this CPU has no such instruction set.
    pub fn new(
        mut plan: Plan,
        batch_size: usize,
        pool: Arc<rayon::ThreadPool>,
        compute: impl Into<Compute>,
    ) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::Usage(
                "the batch size is 0: it must be at least 1".into(),
            ));
        }
        let compute = compute.into();
        let isa = compute.isa;
        let kernels = Kernels::of(isa)
            .ok_or_else(|| Error::Usage(format!("this CPU has no {isa} instructions")))?;
        for (_, block) in plan.convolutions() {
            block.algorithm = Some(compute.algorithm(block));
        }
        for (_, sizes, algorithm) in plan.products() {
            *algorithm = compute.products(&sizes);
        }
        let lanes = kernels.lanes();
        let shard_samples = batch_size.div_ceil(SMALL_BATCH_SHARDS).min(SHARD_SAMPLES);
        let count = batch_size.div_ceil(shard_samples);
        let needs: Vec<_> = plan
            .steps
            .iter()
            .map(|step| step.op.needs(shard_samples, lanes))
            .collect();
        let shards = (0..count)
            .map(|_| Shard::new(&plan, &needs, shard_samples))
            .collect();
        let whole_batch = || {
            let steps = plan.steps.iter().zip(&needs);
            steps.filter(|(_, needs)| needs.gradient_block > 0)
        };
        let most = whole_batch().fold([0; 3], |[tasks, gathered, scratch], (step, needs)| {
            let own_tasks = step.trainable.len().div_ceil(needs.gradient_block);
            let own = step.op.batch_gradient_needs(batch_size, lanes);
            [
                own_tasks.max(tasks),
                own.0.max(gathered),
                own.1.max(scratch),
            ]
        });
        let [tasks, gathered, scratch] = most;
        let reads_in_place = !whole_batch().any(|(step, _)| step.inputs.contains(&0));
        let most_sums = needs
            .iter()
            .map(|n| n.forward_sums.max(n.backward_sums))
            .max()
            .unwrap_or(0);
        let together = match plan.steps.iter().any(|step| step.op.slices() > 1) {
            // One turn a thread, or two where the shards do not come out even.
            true => {
                let threads = pool.current_num_threads();
                let turns = threads * if count.is_multiple_of(threads) { 1 } else { 2 };
                (count / turns).max(1)
            }
            false => 1,
        };
        let norms = norms_behind(&plan, &needs);
        let bands = Bands::new(&plan, pool.current_num_threads(), lanes);
        Ok(Self {
            kernels,
            pool,
            batch_size,
            shard_samples,
            together,
            shards,
            weights: Weights {
                trainable: AlignedVec::zeros(plan.trainable_len),
                state: AlignedVec::zeros(plan.state_len),
                packed: needs.iter().map(|n| AlignedVec::zeros(n.packed)).collect(),
                packed_lens: (plan.steps.iter())
                    .map(|step| step.op.packed_lens(lanes))
                    .collect(),
                stale: true,
            },
            gradients: AlignedVec::zeros(plan.trainable_len),
            sums: Sums {
                forward: needs.iter().map(|n| vec![0.0; n.forward_sums]).collect(),
                backward: needs.iter().map(|n| vec![0.0; n.backward_sums]).collect(),
                gathered: vec![0.0; most_sums * count],
            },
            gathered: AlignedVec::zeros(gathered),
            block_scratch: (0..tasks)
                .map(|_| Mutex::new(AlignedVec::zeros(scratch)))
                .collect(),
            train_stages: train_stages(&plan, &needs, &norms),
            norms,
            predict_stages: predict_stages(&plan),
            bands,
            reads_in_place,
            seed: 0,
            step: 0,
            plan,
        })
    }

    /// The plan that runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How each convolution is computed, by its layer's path.
    pub fn convolutions(&mut self) -> BTreeMap<String, String> {
        let blocks = self.plan.convolutions();
        blocks
            .filter_map(|(layer, block)| Some((layer.into(), block.algorithm?.to_string())))
            .collect()
    }

    /// How each wide dense layer's and LSTM's products are multiplied, by its path.
    pub fn products(&mut self) -> BTreeMap<String, String> {
        let products = self.plan.products();
        products
            .map(|(layer, _, algorithm)| (layer.into(), algorithm.to_string()))
            .collect()
    }

    /// The kernels that run.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// The pool that the shards run on.
    pub fn pool(&self) -> &Arc<rayon::ThreadPool> {
        &self.pool
    }

    /// The most samples of a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Starts every weight as its layer says, from random numbers named by `seed` and the weight's path.
    pub fn initialize(&mut self, seed: u64) {
        self.seed = seed;
        self.step = 0;
        for weight in &self.plan.weights {
            let name = blake3::hash(weight.name.as_bytes());
            let (word, _) = name.as_bytes().split_at(8);
            let word = word
                .iter()
                .fold(0, |word, &byte| word << 8 | u64::from(byte));
            let values = self
                .weights
                .slice_mut(weight.parameter.trainable, weight.range.clone());
            let extents = weight.parameter.shape.extents();
            crate::nn::init::fill(
                weight.parameter.initializer,
                extents,
                &mut Random::new(&[seed, word]),
                values,
            );
        }
        self.weights.stale = true;
    }

    /// A weight's values by its path, `branch1.conv.kernel`.
    pub fn weight(&self, name: &str) -> Option<&[f32]> {
        let weight = self
            .plan
            .weights
            .iter()
            .find(|weight| weight.name == name)?;
        let flat = if weight.parameter.trainable {
            &self.weights.trainable
        } else {
            &self.weights.state
        };
        Some(&flat[weight.range.clone()])
    }

    /// Sets a weight by its path.
    ///
    /// # Errors
    /// [`Error::Data`] where there is no such weight or the number of values is not its own.
    pub fn set_weight(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let Some(weight) = self.plan.weights.iter().find(|weight| weight.name == name) else {
            return Err(Error::Data(format!("the model has no weight '{name}'")));
        };
        if weight.range.len() != values.len() {
            let (shape, found) = (&weight.parameter.shape, values.len());
            return Err(Error::Data(format!(
                "weight '{name}' is {shape}, but {found} values are given"
            )));
        }
        self.weights
            .slice_mut(weight.parameter.trainable, weight.range.clone())
            .copy_from_slice(values);
        self.weights.stale = true;
        Ok(())
    }

    /// A trainable weight's gradient from the last step, by its path.
    pub fn gradient(&self, name: &str) -> Option<&[f32]> {
        let trained = |weight: &&crate::graph::plan::Weight| {
            weight.name == name && weight.parameter.trainable
        };
        let weight = self.plan.weights.iter().find(trained)?;
        Some(&self.gradients[weight.range.clone()])
    }

    /// All weights, trainable ones first, to restore by [`restore`](Self::restore).
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            trainable: self.weights.trainable.clone(),
            state: self.weights.state.clone(),
        }
    }

    /// Puts back the weights of a snapshot of the same model.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.weights.trainable.copy_from_slice(&snapshot.trainable);
        self.weights.state.copy_from_slice(&snapshot.state);
        self.weights.stale = true;
    }

    /// One step: forward, loss, backward, update. Weights whose loss is not finite are not updated.
    ///
    /// # Errors
    /// [`Error::Usage`] where the batch is empty or larger than the executor's, or its samples or targets are not the model's.
    pub fn train_step(
        &mut self,
        batch: &dyn Batch,
        optimizer: &mut Optimizer,
    ) -> Result<StepOutcome> {
        let samples = self.run(batch, true)?;
        let outcome = self.outcome(samples);
        let (pool, updates) = (Arc::clone(&self.pool), outcome.loss.is_finite());
        pool.install(|| match updates && optimizer.clip_norm.is_none() {
            true => self.set_gradients(Some(optimizer)),
            false => {
                self.set_gradients(None);
                let (weights, gradients) = (&mut self.weights.trainable, &mut self.gradients);
                if updates {
                    optimizer.step(self.kernels, weights, gradients);
                }
            }
        });
        Ok(outcome)
    }

    /// Forward in training mode, loss and backward: the gradients are there to read afterwards.
    ///
    /// # Errors
    /// [`Error::Usage`] where the batch is empty or larger than the executor's, or its samples or targets are not the model's.
    pub fn loss_and_gradients(&mut self, batch: &dyn Batch) -> Result<StepOutcome> {
        let samples = self.run(batch, true)?;
        let pool = Arc::clone(&self.pool);
        pool.install(|| self.set_gradients(None));
        Ok(self.outcome(samples))
    }

    /// What the shards say of the batch that has just run; the next one is another step.
    fn outcome(&mut self, samples: usize) -> StepOutcome {
        self.step += 1;
        let used = self.shards.iter().filter(|shard| shard.samples > 0);
        let (loss, correct) = used.fold((0.0, 0), |(loss, correct), shard| {
            (loss + shard.loss, correct + shard.correct)
        });
        StepOutcome {
            loss: loss / samples as f64,
            correct,
            samples,
        }
    }

    /// The probabilities of a batch, samples x classes, in inference mode.
    ///
    /// # Errors
    /// [`Error::Usage`] where the batch is empty or larger than the executor's, its samples are not the model's, or `probabilities` has
    /// another length.
    pub fn predict(&mut self, batch: &dyn Batch, probabilities: &mut [f32]) -> Result<()> {
        let classes = self.plan.classes;
        if probabilities.len() != batch.len() * classes {
            let (given, wanted) = (probabilities.len(), batch.len() * classes);
            return Err(Error::Usage(format!(
                "room for {given} probabilities, {wanted} are computed"
            )));
        }
        self.run(batch, false)?;
        let slot = self.plan.predict.values[self.plan.output()];
        for shard in self.shards.iter().filter(|shard| shard.samples > 0) {
            let out = &mut probabilities[shard.first_row * classes..][..shard.samples * classes];
            out.copy_from_slice(&shard.slots[slot][..out.len()]);
        }
        Ok(())
    }

    /// Lays the batch into the shards and runs all stages; the number of samples.
    fn run(&mut self, batch: &dyn Batch, training: bool) -> Result<usize> {
        let samples = batch.len();
        if samples == 0 || samples > self.batch_size {
            let most = self.batch_size;
            return Err(Error::Usage(format!(
                "a batch of {samples} samples: 1 to {most} can be"
            )));
        }
        let input = batch.input();
        batch::check("input", input, samples, self.plan.value_lens[0])?;
        if training {
            batch::check("targets", batch.targets(), samples, self.plan.classes)?;
        }
        // A prediction's answers do not depend on the cut: a small batch is spread over the shards too.
        let shard_samples = match training {
            true => self.shard_samples,
            false => samples
                .div_ceil(SMALL_BATCH_SHARDS.min(self.shards.len()))
                .min(self.shard_samples),
        };
        for (i, shard) in self.shards.iter_mut().enumerate() {
            shard.first_row = i * shard_samples;
            shard.samples = samples.saturating_sub(shard.first_row).min(shard_samples);
        }
        let pool = Arc::clone(&self.pool);
        pool.install(|| {
            self.weights.pack(&self.plan, self.kernels, training);
            let stages = if training {
                &self.train_stages
            } else {
                &self.predict_stages
            };
            for (i, stage) in stages.iter().enumerate() {
                let shared = Shared {
                    plan: &self.plan,
                    batch,
                    input: input.filter(|_| !training || self.reads_in_place),
                    kernels: self.kernels,
                    weights: &self.weights,
                    sums: &self.sums,
                    norms: &self.norms,
                    training,
                    samples,
                    seed: self.seed,
                    step: self.step,
                };
                if let (1, false, [shard, ..]) = (samples, training, &mut *self.shards) {
                    self.bands.predict(&shared, shard);
                    continue;
                }
                let used = samples.div_ceil(shard_samples);
                let turns = self.shards[..used].par_chunks_mut(self.together);
                let run = |shards: &mut [Shard]| {
                    Shard::run(shards, &shared, i == 0, &stage.actions, stage.part);
                };
                // There and back: a stage begins with what the one before has left in the third-level cache.
                match i % 2 {
                    0 => turns.with_max_len(1).for_each(run),
                    _ => turns.rev().with_max_len(1).for_each(run),
                }
                if let Some(&action) = stage.actions.last() {
                    let (sums, weights) = (&mut self.sums, &mut self.weights);
                    combine(
                        &self.plan,
                        self.kernels,
                        &self.shards,
                        sums,
                        weights,
                        samples,
                        action,
                    );
                }
            }
        });
        Ok(samples)
    }
}

/// At a barrier: the shards' sums of a stage's last action into one.
fn combine(
    plan: &Plan,
    kernels: &'static Kernels,
    shards: &[Shard],
    sums: &mut Sums,
    weights: &mut Weights,
    samples: usize,
    action: Action,
) {
    let (i, combined) = match action {
        Action::ForwardSums(i) => (i, &mut sums.forward[i]),
        Action::BackwardSums(i) => (i, &mut sums.backward[i]),
        _ => return,
    };
    let len = combined.len();
    let used = shards.iter().filter(|shard| shard.samples > 0);
    let mut count = 0;
    for (shard, gathered) in used.zip(sums.gathered.chunks_mut(len)) {
        gathered.copy_from_slice(&shard.sums[..len]);
        count += 1;
    }
    let gathered = &sums.gathered[..count * len];
    let step = &plan.steps[i];
    match action {
        Action::ForwardSums(_) => {
            let state = &mut weights.state[step.state.clone()];
            step.op.combine_forward(samples, gathered, combined, state);
            let (parameters, packed) = (
                &weights.trainable[step.trainable.clone()],
                &mut weights.packed[i],
            );
            step.op
                .fold(kernels, parameters, state, Some(combined), packed);
        }
        _ => step.op.combine_backward(samples, gathered, combined),
    }
}
