//! One shard of a batch: its own buffers, and what it does with them.

use super::Shared;
use super::stages::Action;
use crate::graph::Plan;
use crate::graph::plan::{InputGradient, Slots};
use crate::op::{Backward, Forward, LossCall, MAX_INPUTS, Needs, RandomKey};
use sonograd_kernels::AlignedVec;
use std::mem::take;
use std::ops::Range;
use std::slice::from_mut;

/// The buffers of up to a fixed number of samples.
pub(super) struct Shard {
    pub(super) first_row: usize,
    /// Samples of the current batch; 0 leaves the shard out.
    pub(super) samples: usize,
    /// The samples that a stage is working on: see [`run`](Self::run).
    part: Range<usize>,
    pub(super) slots: Vec<AlignedVec>,
    pub(super) gradients: AlignedVec,
    pub(super) sums: Vec<f64>,
    /// The sum of the samples' losses.
    pub(super) loss: f64,
    /// Samples answered rightly.
    pub(super) correct: usize,
    /// The most samples that the buffers hold.
    capacity: usize,
    targets: AlignedVec,
    codes: Vec<Vec<u8>>,
    workspaces: Vec<AlignedVec>,
    scratch: AlignedVec,
    /// Of the normalisation that a backward takes along.
    norm_scratch: AlignedVec,
    /// What a later part adds to the shard's gradients and sums.
    part_gradients: AlignedVec,
    part_sums: Vec<f64>,
    /// Second readers' gradients before they are added to the first ones', by the number of the input.
    spares: [AlignedVec; MAX_INPUTS],
}

impl Shard {
    /// Zeroed buffers for `samples` samples.
    pub(super) fn new(plan: &Plan, needs: &[Needs], samples: usize) -> Self {
        let slot_count = plan.train.lens.len().max(plan.predict.lens.len());
        let len = |slots: &Slots, i: usize| slots.lens.get(i).copied().unwrap_or(0);
        let slot = |i| AlignedVec::zeros(len(&plan.train, i).max(len(&plan.predict, i)) * samples);
        let mut spares = [0; MAX_INPUTS];
        for step in &plan.steps {
            for (k, (&value, &gradient)) in
                step.inputs.iter().zip(&step.input_gradients).enumerate()
            {
                if gradient == InputGradient::Add {
                    spares[k] = plan.value_lens[value].max(spares[k]);
                }
            }
        }
        let sums = needs
            .iter()
            .map(|n| n.forward_sums.max(n.backward_sums))
            .max()
            .unwrap_or(0);
        let scratch = needs.iter().map(|n| n.scratch).max().unwrap_or(0);
        let norm_scratch = needs.iter().map(|n| n.norm_gradient).max().unwrap_or(0);
        let summed = plan
            .steps
            .iter()
            .zip(needs)
            .filter(|(_, n)| n.gradient_block == 0);
        let most_gradients = summed
            .map(|(step, _)| step.trainable.len())
            .max()
            .unwrap_or(0);
        Self {
            first_row: 0,
            samples: 0,
            part: 0..0,
            slots: (0..slot_count).map(slot).collect(),
            gradients: AlignedVec::zeros(plan.partial_len),
            sums: vec![0.0; sums],
            loss: 0.0,
            correct: 0,
            capacity: samples,
            targets: AlignedVec::zeros(plan.classes * samples),
            codes: needs.iter().map(|n| vec![0; n.codes * samples]).collect(),
            workspaces: needs
                .iter()
                .map(|n| AlignedVec::zeros(n.workspace * samples))
                .collect(),
            scratch: AlignedVec::zeros(scratch),
            norm_scratch: AlignedVec::zeros(norm_scratch),
            part_gradients: AlignedVec::zeros(most_gradients),
            part_sums: vec![0.0; sums],
            spares: spares.map(|len| AlignedVec::zeros(len * samples)),
        }
    }

    /// The part's rows of the batch.
    fn rows(&self) -> Range<usize> {
        self.first_row + self.part.start..self.first_row + self.part.end
    }

    /// Takes the part's rows of the batch.
    fn fill(&mut self, shared: &Shared<'_>) {
        let rows = self.rows();
        if shared.input.is_none() {
            let (slot, share) = (shared.slots().values[0], self.value_share(shared, 0));
            shared
                .batch
                .fill_input(rows.clone(), &mut self.slots[slot][share]);
        }
        if shared.training {
            let share = self.share(shared.plan.classes);
            shared.batch.fill_target(rows, &mut self.targets[share]);
        }
    }

    /// The part's samples of a value.
    pub(super) fn value<'a>(&'a self, shared: &Shared<'a>, value: usize) -> &'a [f32] {
        let share = self.value_share(shared, value);
        samples_of(shared, &self.slots, value, self.rows(), share)
    }

    /// What a step keeps, for the current samples.
    pub(super) fn workspace(&self, step: usize) -> &[f32] {
        let workspace = &self.workspaces[step];
        &workspace[..workspace.len() / self.capacity * self.samples]
    }

    /// Does all actions of a stage for shards that hold samples, `part` samples at a time: what one action writes is still
    /// in a cache when the next one reads it. The first part sets a shard's gradients and sums, the others add to them. The
    /// first stage takes its samples from the batch.
    pub(super) fn run(
        shards: &mut [Self],
        shared: &Shared<'_>,
        is_first: bool,
        stage: &[Action],
        part: usize,
    ) {
        let longest = shards.iter().map(|shard| shard.samples).max();
        for start in (0..longest.unwrap_or(0)).step_by(part) {
            for shard in shards.iter_mut() {
                shard.part = start.min(shard.samples)..shard.samples.min(start + part);
                if is_first {
                    shard.fill(shared);
                }
            }
            for &action in stage {
                for slice in 0..shared.slices(action) {
                    for shard in shards.iter_mut().filter(|shard| !shard.part.is_empty()) {
                        shard.act(shared, action, slice);
                    }
                }
            }
        }
    }

    /// One slice of an action.
    fn act(&mut self, shared: &Shared<'_>, action: Action, slice: usize) {
        match action {
            Action::Forward(i) | Action::ForwardSums(i) => self.forward(shared, i, action, slice),
            Action::Loss(i) => self.loss(shared, i),
            Action::Backward(i) | Action::BackwardSums(i) => {
                self.backward(shared, i, action, slice)
            }
        }
    }

    /// Takes the shard's one sample, to be predicted step by step.
    pub(super) fn begin(&mut self, shared: &Shared<'_>) {
        self.part = 0..1;
        self.fill(shared);
    }

    /// One step of a prediction, behind [`begin`](Self::begin).
    pub(super) fn predict_step(&mut self, shared: &Shared<'_>, i: usize) {
        Self::run(from_mut(self), shared, false, &[Action::Forward(i)], 1);
    }

    /// The part's share of a buffer that holds `len` elements a sample.
    fn share(&self, len: usize) -> Range<usize> {
        len * self.part.start..len * self.part.end
    }

    /// Where the part's share of a value stands: in a prediction every part but the output's takes the place of the last.
    fn value_share(&self, shared: &Shared<'_>, value: usize) -> Range<usize> {
        let len = shared.plan.value_lens[value];
        if shared.training || value == shared.plan.output() {
            self.share(len)
        } else {
            0..len * self.part.len()
        }
    }

    /// Adds a part's sums to the shard's.
    fn add_sums(&mut self, len: usize) {
        let (sums, part) = (&mut self.sums[..len], &self.part_sums[..len]);
        match self.part.start {
            0 => sums.copy_from_slice(part),
            _ => sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x),
        }
    }

    fn random(&self, shared: &Shared<'_>, i: usize) -> RandomKey {
        // A counter a step and a layer: the odd constants keep neighbouring counters apart in the kernel's hash.
        let step = shared.step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let key = shared.seed ^ step ^ (i as u64 + 1).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        RandomKey {
            key,
            first_row: self.first_row + self.part.start,
        }
    }

    fn forward(&mut self, shared: &Shared<'_>, i: usize, action: Action, slice: usize) {
        let (plan, samples) = (shared.plan, self.part.len());
        let step = &plan.steps[i];
        let (slots, rows) = (shared.slots(), self.rows());
        let random = self.random(shared, i);
        // Codes are for backward alone.
        let codes = self.codes[i].len() * usize::from(shared.training);
        let kept = [codes, self.workspaces[i].len()].map(|len| self.share(len / self.capacity));
        let output_share = self.value_share(shared, step.output);
        let input_shares: [Range<usize>; MAX_INPUTS] = std::array::from_fn(|k| {
            let value = step.inputs.get(k);
            value.map_or(0..0, |&value| self.value_share(shared, value))
        });
        let mut output = take(&mut self.slots[slots.values[step.output]]);
        let mut inputs: [&[f32]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        for ((input, &value), share) in inputs.iter_mut().zip(&step.inputs).zip(input_shares) {
            *input = samples_of(shared, &self.slots, value, rows.clone(), share);
        }
        let [codes, workspace] = kept;
        let mut call = Forward {
            kernels: shared.kernels,
            samples,
            slice,
            training: shared.training,
            inputs: &inputs[..step.inputs.len()],
            parameters: &shared.weights.trainable[step.trainable.clone()],
            state: &shared.weights.state[step.state.clone()],
            packed: &shared.weights.packed[i],
            sums: &shared.sums.forward[i],
            output: &mut output[output_share],
            codes: &mut self.codes[i][codes],
            workspace: &mut self.workspaces[i][workspace],
            scratch: &mut self.scratch,
            random,
        };
        let sums = shared.sums.forward[i].len();
        match action {
            Action::ForwardSums(_) => step.op.forward_sums(&mut call, &mut self.part_sums[..sums]),
            _ => step.op.forward(&mut call),
        }
        self.slots[slots.values[step.output]] = output;
        if matches!(action, Action::ForwardSums(_)) {
            self.add_sums(sums);
        }
    }

    fn loss(&mut self, shared: &Shared<'_>, i: usize) {
        let (plan, samples) = (shared.plan, self.part.len());
        let (step, slots) = (&plan.steps[i], &plan.train);
        let share = self.share(plan.classes);
        let mut probabilities = take(&mut self.slots[slots.values[step.output]]);
        let mut d_logits = take(&mut self.slots[slots.gradients[step.inputs[0]]]);
        let targets = &self.targets[share.clone()];
        let (logits, rows) = (step.inputs[0], self.rows());
        let mut call = LossCall {
            kernels: shared.kernels,
            samples,
            logits: samples_of(shared, &self.slots, logits, rows, share.clone()),
            targets,
            probabilities: &mut probabilities[share.clone()],
            d_logits: &mut d_logits[share.clone()],
            scale: 1.0 / shared.samples as f32,
        };
        let loss = step.op.loss(&mut call);
        let rows = probabilities[share]
            .chunks(plan.classes)
            .zip(targets.chunks(plan.classes));
        let correct = rows.filter(|(p, t)| largest(p) == largest(t)).count();
        if self.part.start == 0 {
            (self.loss, self.correct) = (0.0, 0);
        }
        self.loss += loss;
        self.correct += correct;
        self.slots[slots.values[step.output]] = probabilities;
        self.slots[slots.gradients[step.inputs[0]]] = d_logits;
    }

    fn backward(&mut self, shared: &Shared<'_>, i: usize, action: Action, slice: usize) {
        let (plan, samples) = (shared.plan, self.part.len());
        let (step, slots) = (&plan.steps[i], &plan.train);
        let needs = step.op.needs(self.capacity, shared.kernels.lanes());
        let random = self.random(shared, i);
        let (part, rows) = (self.part.clone(), self.rows());
        let share = |value: usize| {
            let len = plan.value_lens[value];
            len * part.start..len * part.end
        };
        let sums_only = matches!(action, Action::BackwardSums(_));
        // The buffers to write leave the shard for the call, so that those to read can be borrowed.
        let mut written: [AlignedVec; MAX_INPUTS] = Default::default();
        let gradients = step
            .inputs
            .iter()
            .zip(&step.input_gradients)
            .zip(&mut written);
        for (k, ((&value, gradient), buffer)) in gradients.enumerate() {
            match gradient {
                InputGradient::Set => *buffer = take(&mut self.slots[slots.gradients[value]]),
                InputGradient::Add => *buffer = take(&mut self.spares[k]),
                InputGradient::None => {}
            }
        }
        let mut d_inputs: [Option<&mut [f32]>; MAX_INPUTS] = Default::default();
        for (k, (d_input, buffer)) in d_inputs.iter_mut().zip(&mut written).enumerate() {
            let wanted = step.input_gradients.get(k);
            if wanted.is_some_and(|&wanted| wanted != InputGradient::None) {
                *d_input = Some(&mut buffer[share(step.inputs[k])]);
            }
        }
        let mut inputs: [&[f32]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        if needs.reads_inputs {
            for (input, &value) in inputs.iter_mut().zip(&step.inputs) {
                *input = samples_of(shared, &self.slots, value, rows.clone(), share(value));
            }
        }
        let output: &[f32] = if needs.reads_output {
            &self.slots[slots.values[step.output]][share(step.output)]
        } else {
            &[]
        };
        // Gradients come with the sums where there are any, or over the whole batch.
        let partial = if needs.gradient_block > 0 || (needs.backward_sums > 0 && !sums_only) {
            0..0
        } else {
            step.trainable.clone()
        };
        let d_parameters = match part.start {
            0 => &mut self.gradients[partial.clone()],
            _ => &mut self.part_gradients[..partial.len()],
        };
        let norm = shared.norms[i].and_then(|j| {
            let (parameters, sums) = (plan.steps[j].trainable.clone(), shared.sums);
            plan.steps[j].op.norm_gradient(
                &shared.weights.trainable[parameters],
                &sums.forward[j],
                &sums.backward[j],
                &mut self.norm_scratch,
            )
        });
        let (codes, workspace) = (needs.codes, needs.workspace);
        let mut call = Backward {
            kernels: shared.kernels,
            samples,
            slice,
            inputs: &inputs[..step.inputs.len()],
            output,
            d_output: &self.slots[slots.gradients[step.output]][share(step.output)],
            norm,
            parameters: &shared.weights.trainable[step.trainable.clone()],
            packed: &shared.weights.packed[i],
            sums: &shared.sums.forward[i],
            backward_sums: &shared.sums.backward[i],
            codes: &self.codes[i][codes * part.start..codes * part.end],
            workspace: &mut self.workspaces[i][workspace * part.start..workspace * part.end],
            scratch: &mut self.scratch,
            d_inputs: &mut d_inputs[..step.inputs.len()],
            d_parameters,
            random,
        };
        let sums = needs.backward_sums;
        if sums_only {
            step.op
                .backward_sums(&mut call, &mut self.part_sums[..sums]);
        } else {
            step.op.backward(&mut call);
        }
        for (k, buffer) in written.into_iter().enumerate().take(step.inputs.len()) {
            let value = step.inputs[k];
            match step.input_gradients[k] {
                InputGradient::Set => self.slots[slots.gradients[value]] = buffer,
                InputGradient::Add => {
                    if !sums_only && slice + 1 == shared.slices(action) {
                        let sum = &mut self.slots[slots.gradients[value]][share(value)];
                        shared.kernels.add_assign(sum, &buffer[share(value)]);
                    }
                    self.spares[k] = buffer;
                }
                InputGradient::None => {}
            }
        }
        if sums_only {
            self.add_sums(sums);
        }
        if part.start > 0 {
            let addend = &self.part_gradients[..partial.len()];
            shared
                .kernels
                .add_assign(&mut self.gradients[partial], addend);
        }
    }
}

/// The batch's `rows` of a value: where they stand in the batch, or in their share of the value's slot.
fn samples_of<'a>(
    shared: &Shared<'a>,
    slots: &'a [AlignedVec],
    value: usize,
    rows: Range<usize>,
    share: Range<usize>,
) -> &'a [f32] {
    let in_place = shared.in_place(value, rows);
    in_place.unwrap_or_else(|| &slots[shared.slots().values[value]][share])
}

/// The index of the largest value, the first one of equals; 0 where all are NaN.
fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = i;
        }
    }
    best
}
