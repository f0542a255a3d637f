use super::*;
use crate::exec::check::random_graph;
use crate::graph::Graph;
use crate::models::{Model, Size};

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Value(usize),
    Gradient(usize),
}

/// Slots by what was last written into them: a reader must find what it came for.
struct Slotted<'a> {
    what: &'a str,
    slots: &'a Slots,
    held: Vec<Option<Held>>,
}

impl Slotted<'_> {
    fn slot(&self, held: Held) -> usize {
        match held {
            Held::Value(i) => self.slots.values[i],
            Held::Gradient(i) => self.slots.gradients[i],
        }
    }

    fn write(&mut self, held: Held, len: usize) {
        let slot = self.slot(held);
        assert!(
            slot < self.held.len(),
            "{}: {held:?} has no slot",
            self.what
        );
        assert!(
            len <= self.slots.lens[slot],
            "{}: {held:?} does not fit",
            self.what
        );
        self.held[slot] = Some(held);
    }

    fn read(&self, held: Held, when: &str) {
        let found = self.held.get(self.slot(held)).copied().flatten();
        assert_eq!(found, Some(held), "{}: {when}", self.what);
    }
}

/// Plays a plan's schedule on slots that know what they hold.
fn play(what: &str, plan: &Plan, training: bool) {
    use Held::{Gradient, Value};
    let slots = if training { &plan.train } else { &plan.predict };
    let mut memory = Slotted {
        what,
        slots,
        held: vec![None; slots.lens.len()],
    };
    let len = |value: usize| plan.value_lens[value];
    let last = plan.steps.len() - 1;
    memory.write(Value(0), len(0));
    for (i, step) in plan.steps.iter().enumerate() {
        memory.write(Value(step.output), len(step.output));
        // After the output is written: no operation works in place.
        for &value in &step.inputs {
            memory.read(Value(value), &format!("forward {i}"));
        }
        if training && i == last {
            memory.write(Gradient(step.inputs[0]), len(step.inputs[0]));
            memory.read(Value(step.inputs[0]), "loss");
            memory.read(Value(step.output), "loss");
        }
    }
    let whole_batch = |step: &Step| step.op.needs(1, 1).gradient_block > 0;
    if training {
        for (i, step) in plan.steps[..last].iter().enumerate().rev() {
            if !step.has_backward {
                continue;
            }
            let when = format!("backward {i}");
            for (&value, &gradient) in step.inputs.iter().zip(&step.input_gradients) {
                match gradient {
                    InputGradient::None => {}
                    InputGradient::Set => memory.write(Gradient(value), len(value)),
                    InputGradient::Add => memory.read(Gradient(value), &when),
                }
            }
            memory.read(Gradient(step.output), &when);
            let needs = step.op.needs(1, 1);
            if needs.reads_inputs {
                step.inputs
                    .iter()
                    .for_each(|&value| memory.read(Value(value), &when));
            }
            if needs.reads_output {
                memory.read(Value(step.output), &when);
            }
        }
        for step in plan.steps.iter().filter(|step| whole_batch(step)) {
            memory.read(Value(step.inputs[0]), "whole-batch gradient");
            memory.read(Gradient(step.output), "whole-batch gradient");
        }
    }
    memory.read(Value(plan.steps[last].output), "the probabilities");
}

fn play_both(what: &str, build: impl Fn() -> (Graph, Var)) {
    for fused in [true, false] {
        let (graph, output) = build();
        let plan = if fused {
            graph.compile(output)
        } else {
            graph.compile_unfused(output)
        };
        let plan = plan.unwrap();
        play(what, &plan, true);
        play(what, &plan, false);
    }
}

#[test]
fn no_two_live_buffers_share_a_slot() {
    for seed in 0..2000 {
        play_both(&format!("random graph {seed}"), || random_graph(seed));
    }
    for &model in Model::ALL {
        let size = Size {
            classes: 8,
            width: 1.0,
            dropout: false,
        };
        play_both(model.name(), || model.build(size).unwrap());
    }
}

/// Else the test above would be met by a slot for each. Fused, these small graphs have few values left that could share one.
#[test]
fn buffers_that_do_not_live_at_one_time_do_share() {
    let shared = (0..200).filter(|&seed| {
        let (graph, output) = random_graph(seed);
        let plan = graph.compile_unfused(output).unwrap();
        let used = |places: &[usize]| places.iter().filter(|&&slot| slot != usize::MAX).count();
        plan.train.lens.len() < used(&plan.train.values) + used(&plan.train.gradients)
            && plan.predict.lens.len() < used(&plan.predict.values)
    });
    assert!(shared.count() > 100);
}

#[test]
fn every_weight_has_its_own_place() {
    for seed in 0..200 {
        let (graph, output) = random_graph(seed);
        let plan = graph.compile(output).unwrap();
        let mut ranges: Vec<_> = plan.weights.iter().map(|w| w.range.clone()).collect();
        ranges.sort_by_key(|range| range.start);
        let mut end = 0;
        for range in ranges {
            assert_eq!(range.start, end, "random graph {seed}");
            end = range.end;
        }
        assert_eq!(end, plan.trainable_len);
    }
}
