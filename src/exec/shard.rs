//! One shard of a batch: its own buffers, and what it does with them.

use super::{Action, Batch, Shared};
use crate::graph::Plan;
use crate::graph::plan::{InputGradient, Slots};
use crate::op::{Backward, Forward, LossCall, MAX_INPUTS, Needs, RandomKey};
use sonograd_kernels::AlignedVec;
use std::mem::take;

/// The buffers of up to a fixed number of samples.
pub(super) struct Shard {
    pub(super) first_row: usize,
    /// Samples of the current batch; 0 leaves the shard out.
    pub(super) samples: usize,
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
        Self {
            first_row: 0,
            samples: 0,
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
            spares: spares.map(|len| AlignedVec::zeros(len * samples)),
        }
    }

    /// Takes the shard's rows of the batch.
    pub(super) fn fill(&mut self, shared: &Shared<'_>, batch: &dyn Batch) {
        let rows = self.first_row..self.first_row + self.samples;
        let slots = if shared.training {
            &shared.plan.train
        } else {
            &shared.plan.predict
        };
        let input = &mut self.slots[slots.values[0]][..shared.plan.value_lens[0] * self.samples];
        batch.fill_input(rows.clone(), input);
        if shared.training {
            batch.fill_target(
                rows,
                &mut self.targets[..shared.plan.classes * self.samples],
            );
        }
    }

    /// What a step keeps, for the current samples.
    pub(super) fn workspace(&self, step: usize) -> &[f32] {
        let workspace = &self.workspaces[step];
        &workspace[..workspace.len() / self.capacity * self.samples]
    }

    /// Does one action of a stage.
    pub(super) fn run(&mut self, shared: &Shared<'_>, action: Action) {
        match action {
            Action::Forward(i) | Action::ForwardSums(i) => self.forward(shared, i, action),
            Action::Loss(i) => self.loss(shared, i),
            Action::Backward(i) | Action::BackwardSums(i) => self.backward(shared, i, action),
        }
    }

    fn random(&self, shared: &Shared<'_>, i: usize) -> RandomKey {
        // A counter a step and a layer: the odd constants keep neighbouring counters apart in the kernel's hash.
        let step = shared.step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let key = shared.seed ^ step ^ (i as u64 + 1).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        RandomKey {
            key,
            first_row: self.first_row,
        }
    }

    fn forward(&mut self, shared: &Shared<'_>, i: usize, action: Action) {
        let (plan, samples) = (shared.plan, self.samples);
        let step = &plan.steps[i];
        let slots = if shared.training {
            &plan.train
        } else {
            &plan.predict
        };
        let random = self.random(shared, i);
        let len = |value: usize| plan.value_lens[value] * samples;
        let mut output = take(&mut self.slots[slots.values[step.output]]);
        let mut inputs: [&[f32]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        for (input, &value) in inputs.iter_mut().zip(&step.inputs) {
            *input = &self.slots[slots.values[value]][..len(value)];
        }
        let kept = |len: usize| len / self.capacity * samples;
        let (codes, workspace) = (&mut self.codes[i], &mut self.workspaces[i]);
        let (codes_len, workspace_len) = (kept(codes.len()), kept(workspace.len()));
        let mut call = Forward {
            kernels: shared.kernels,
            samples,
            training: shared.training,
            inputs: &inputs[..step.inputs.len()],
            parameters: &shared.weights.trainable[step.trainable.clone()],
            state: &shared.weights.state[step.state.clone()],
            packed: &shared.weights.packed[i],
            sums: &shared.sums.forward[i],
            output: &mut output[..len(step.output)],
            codes: &mut codes[..codes_len],
            workspace: &mut workspace[..workspace_len],
            scratch: &mut self.scratch,
            random,
        };
        match action {
            Action::ForwardSums(_) => {
                let sums = &mut self.sums[..shared.sums.forward[i].len()];
                step.op.forward_sums(&mut call, sums);
            }
            _ => step.op.forward(&mut call),
        }
        self.slots[slots.values[step.output]] = output;
    }

    fn loss(&mut self, shared: &Shared<'_>, i: usize) {
        let (plan, samples) = (shared.plan, self.samples);
        let (step, slots) = (&plan.steps[i], &plan.train);
        let len = plan.classes * samples;
        let mut probabilities = take(&mut self.slots[slots.values[step.output]]);
        let mut d_logits = take(&mut self.slots[slots.gradients[step.inputs[0]]]);
        let mut call = LossCall {
            kernels: shared.kernels,
            samples,
            logits: &self.slots[slots.values[step.inputs[0]]][..len],
            targets: &self.targets[..len],
            probabilities: &mut probabilities[..len],
            d_logits: &mut d_logits[..len],
            scale: 1.0 / shared.samples as f32,
        };
        self.loss = step.op.loss(&mut call);
        let rows = probabilities[..len]
            .chunks(plan.classes)
            .zip(self.targets.chunks(plan.classes));
        self.correct = rows.filter(|(p, t)| largest(p) == largest(t)).count();
        self.slots[slots.values[step.output]] = probabilities;
        self.slots[slots.gradients[step.inputs[0]]] = d_logits;
    }

    fn backward(&mut self, shared: &Shared<'_>, i: usize, action: Action) {
        let (plan, samples) = (shared.plan, self.samples);
        let (step, slots) = (&plan.steps[i], &plan.train);
        let needs = step.op.needs(self.capacity, shared.kernels.lanes());
        let random = self.random(shared, i);
        let len = |value: usize| plan.value_lens[value] * samples;
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
            if !sums_only
                && step
                    .input_gradients
                    .get(k)
                    .is_some_and(|&g| g != InputGradient::None)
            {
                *d_input = Some(&mut buffer[..len(step.inputs[k])]);
            }
        }
        let mut inputs: [&[f32]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        if needs.reads_inputs {
            for (input, &value) in inputs.iter_mut().zip(&step.inputs) {
                *input = &self.slots[slots.values[value]][..len(value)];
            }
        }
        let output: &[f32] = if needs.reads_output {
            &self.slots[slots.values[step.output]][..len(step.output)]
        } else {
            &[]
        };
        let partial = if needs.gradient_block > 0 {
            0..0
        } else {
            step.trainable.clone()
        };
        let mut call = Backward {
            kernels: shared.kernels,
            samples,
            inputs: &inputs[..step.inputs.len()],
            output,
            d_output: &self.slots[slots.gradients[step.output]][..len(step.output)],
            parameters: &shared.weights.trainable[step.trainable.clone()],
            packed: &shared.weights.packed[i],
            sums: &shared.sums.forward[i],
            backward_sums: &shared.sums.backward[i],
            codes: &self.codes[i][..needs.codes * samples],
            workspace: &mut self.workspaces[i][..needs.workspace * samples],
            scratch: &mut self.scratch,
            d_inputs: &mut d_inputs[..step.inputs.len()],
            d_parameters: &mut self.gradients[partial],
            random,
        };
        if sums_only {
            step.op
                .backward_sums(&mut call, &mut self.sums[..shared.sums.backward[i].len()]);
        } else {
            step.op.backward(&mut call);
        }
        for (k, buffer) in written.into_iter().enumerate().take(step.inputs.len()) {
            let value = step.inputs[k];
            match step.input_gradients[k] {
                InputGradient::Set => self.slots[slots.gradients[value]] = buffer,
                InputGradient::Add => {
                    if !sums_only {
                        let sum = &mut self.slots[slots.gradients[value]][..len(value)];
                        shared.kernels.add_assign(sum, &buffer[..len(value)]);
                    }
                    self.spares[k] = buffer;
                }
                InputGradient::None => {}
            }
        }
    }
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
