//! From a graph to a plan: operations fused, gradients ordered, every buffer's lifetime known and given a slot.

use super::{Node, Var};
use crate::error::{Error, Result};
use crate::op::{Op, Parameter};
use crate::shape::Shape;
use sonograd_kernels::{ConvBlock, GemmAlgorithm};
use std::ops::Range;

/// One weight of a model: its path and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// `tower1.conv2.kernel`
    pub name: String,
    /// What the operation says of it.
    pub parameter: Parameter,
    /// Its elements in the flat slice of the trainable weights, or in that of the statistics.
    pub range: Range<usize>,
}

/// What a step's backward does with the gradient of one of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputGradient {
    /// No weight stands before it.
    None,
    /// It is the first to write it.
    Set,
    /// A later reader of the same value has written it already.
    Add,
}

/// One operation of a plan.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) op: Box<dyn Op>,
    /// The layer of each of the operation's weights: `tower1.conv2`.
    pub(crate) layers: Vec<String>,
    pub(crate) inputs: Vec<usize>,
    pub(crate) output: usize,
    /// Its trainable weights in the flat slice.
    pub(crate) trainable: Range<usize>,
    /// Its statistics in the flat slice of statistics.
    pub(crate) state: Range<usize>,
    /// What backward does with the gradient of each input.
    pub(crate) input_gradients: Vec<InputGradient>,
    /// False where neither it nor anything before it has a weight: backward never visits it.
    pub(crate) has_backward: bool,
}

/// Which slot holds what, a value or a gradient.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slots {
    /// A slot a value; `usize::MAX` where the value is not used.
    pub(crate) values: Vec<usize>,
    /// A slot a value's gradient.
    pub(crate) gradients: Vec<usize>,
    /// Elements a sample of each slot.
    pub(crate) lens: Vec<usize>,
}

/// A model that is ready to run on shards of any size.
#[derive(Debug)]
pub struct Plan {
    pub(crate) steps: Vec<Step>,
    /// Elements a sample of each value; value 0 is the input.
    pub(crate) value_lens: Vec<usize>,
    pub(crate) weights: Vec<Weight>,
    pub(crate) trainable_len: usize,
    /// The trainable weights before this are summed over the shards; those after it are whole-batch gradients.
    pub(crate) partial_len: usize,
    pub(crate) state_len: usize,
    pub(crate) train: Slots,
    pub(crate) predict: Slots,
    pub(crate) input_shape: Shape,
    pub(crate) classes: usize,
}

impl Plan {
    pub(super) fn new(nodes: Vec<Node>, output: Var) -> Result<Self> {
        let input_shape = nodes
            .first()
            .map(|node| node.shape.clone())
            .unwrap_or_default();
        let classes = nodes.get(output.0).map_or(0, |node| node.shape.len());
        let mut steps = steps(nodes, output)?;
        fuse(&mut steps);
        Ok(Self::lay_out(steps, input_shape, classes))
    }

    /// Every operation on its own, to hold the fused ones against.
    #[cfg(test)]
    pub(super) fn unfused(nodes: Vec<Node>, output: Var) -> Result<Self> {
        let (input_shape, classes) = (nodes[0].shape.clone(), nodes[output.0].shape.len());
        Ok(Self::lay_out(steps(nodes, output)?, input_shape, classes))
    }

    fn lay_out(mut steps: Vec<Step>, input_shape: Shape, classes: usize) -> Self {
        let value_lens = number_values(&mut steps, input_shape.len());
        differentiate(&mut steps, value_lens.len());
        let (weights, trainable_len, partial_len, state_len) = place_weights(&mut steps);
        let train = slots(&steps, &value_lens, true);
        let predict = slots(&steps, &value_lens, false);
        Self {
            steps,
            value_lens,
            weights,
            trainable_len,
            partial_len,
            state_len,
            train,
            predict,
            input_shape,
            classes,
        }
    }

    /// Every convolution with its layer's path.
    pub fn convolutions(&mut self) -> impl Iterator<Item = (&str, &mut ConvBlock)> {
        self.steps.iter_mut().filter_map(|step| {
            // Of several layers' weights the convolution's are the last.
            let layer = step.layers.last().map_or("", String::as_str);
            Some((layer, step.op.convolution()?))
        })
    }

    /// Every layer whose products can be multiplied in several ways, with its path and sizes.
    pub fn products(&mut self) -> impl Iterator<Item = (&str, String, &mut GemmAlgorithm)> {
        self.steps.iter_mut().filter_map(|step| {
            let layer = step.layers.last().map_or("", String::as_str);
            let (sizes, algorithm) = step.op.products()?;
            Some((layer, sizes, algorithm))
        })
    }

    /// One sample's input.
    pub fn input_shape(&self) -> &Shape {
        &self.input_shape
    }

    /// The value that the last step writes: the probabilities.
    pub(crate) fn output(&self) -> usize {
        self.steps.last().map_or(0, |step| step.output)
    }

    /// How many classes the model tells apart.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The weights, each with its place.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// Elements of the flat slice of trainable weights.
    pub fn trainable_len(&self) -> usize {
        self.trainable_len
    }

    /// Floating-point operations of one sample in a training step whose gradients are all dense: forward, the weights'
    /// gradient, and the inputs' where one is wanted.
    pub fn dense_flops(&self) -> f64 {
        let passes = |step: &Step| {
            let wanted = step
                .input_gradients
                .iter()
                .any(|&gradient| gradient != InputGradient::None);
            if wanted { 3.0 } else { 2.0 }
        };
        self.steps
            .iter()
            .map(|step| step.op.flops() * passes(step))
            .sum()
    }

    /// Elements a sample of the activations that a training step keeps at once.
    pub fn activation_len(&self) -> usize {
        self.train.lens.iter().sum()
    }
}

/// The nodes that the output needs, as steps; views are replaced by what they view. Values are still node numbers.
fn steps(nodes: Vec<Node>, output: Var) -> Result<Vec<Step>> {
    let head = nodes.get(output.0).and_then(|node| node.op.as_ref());
    if !head.is_some_and(|op| op.is_head()) {
        let layer = nodes
            .get(output.0)
            .map(|node| node.name.clone())
            .unwrap_or_default();
        let reason = "a model ends with a softmax: this layer cannot be trained against targets";
        return Err(Error::Shape {
            layer,
            reason: reason.into(),
        });
    }
    let mut needed = vec![false; nodes.len()];
    needed[output.0] = true;
    for i in (0..nodes.len()).rev() {
        if needed[i] {
            nodes[i].inputs.iter().for_each(|var| needed[var.0] = true);
        }
    }
    let mut viewed: Vec<usize> = (0..nodes.len()).collect();
    let mut steps = Vec::new();
    for (i, node) in nodes.into_iter().enumerate() {
        let Some(op) = node.op else { continue };
        let inputs: Vec<usize> = node.inputs.iter().map(|var| viewed[var.0]).collect();
        if op.is_view() {
            viewed[i] = inputs[0];
        } else if needed[i] {
            steps.push(Step {
                layers: vec![node.name; op.parameters().len()],
                op,
                inputs,
                output: i,
                trainable: 0..0,
                state: 0..0,
                input_gradients: Vec::new(),
                has_backward: false,
            });
        }
    }
    Ok(steps)
}

/// Lets every operation absorb the one that alone reads it.
fn fuse(steps: &mut Vec<Step>) {
    let mut i = 0;
    while i < steps.len() {
        let output = steps[i].output;
        let mut readers = (i + 1..steps.len()).filter(|&j| steps[j].inputs.contains(&output));
        let (reader, others) = (readers.next(), readers.next());
        let fused = match (reader, others) {
            (Some(j), None) if steps[j].inputs.len() == 1 => {
                steps[i].op.absorb(&*steps[j].op).map(|op| (j, op))
            }
            _ => None,
        };
        match fused {
            Some((j, op)) => {
                let next = steps.remove(j);
                steps[i].op = op;
                steps[i].layers.extend(next.layers);
                steps[i].output = next.output;
            }
            None => i += 1,
        }
    }
}

/// Numbers the values that are left, the input as 0, and gives their lengths.
fn number_values(steps: &mut [Step], input_len: usize) -> Vec<usize> {
    let mut numbers = std::collections::HashMap::from([(0, 0)]);
    let mut lens = vec![input_len];
    for step in steps {
        step.inputs
            .iter_mut()
            .for_each(|value| *value = numbers[value]);
        numbers.insert(step.output, lens.len());
        step.output = lens.len();
        lens.push(step.op.output_shape().len());
    }
    lens
}

/// Finds which values lie behind a weight: only they need a gradient. Backward visits the steps in reverse, so the
/// last reader of a value writes its gradient first.
fn differentiate(steps: &mut [Step], values: usize) {
    let mut trained = vec![false; values];
    for step in steps.iter_mut() {
        let own = step
            .op
            .parameters()
            .iter()
            .any(|parameter| parameter.trainable);
        step.has_backward = own || step.inputs.iter().any(|&value| trained[value]);
        trained[step.output] = step.has_backward;
    }
    let mut written = vec![false; values];
    for step in steps.iter_mut().rev() {
        for &value in &step.inputs {
            step.input_gradients
                .push(match (trained[value], written[value]) {
                    (false, _) => InputGradient::None,
                    (true, false) => InputGradient::Set,
                    (true, true) => InputGradient::Add,
                });
            written[value] = true;
        }
    }
}

/// Gives every weight its place: first those whose gradients are summed over shards, then the whole-batch ones.
fn place_weights(steps: &mut [Step]) -> (Vec<Weight>, usize, usize, usize) {
    let (mut trainable_len, mut state_len, mut partial_len) = (0, 0, 0);
    for whole_batch in [false, true] {
        for step in steps.iter_mut() {
            if (step.op.needs(1, 1).gradient_block > 0) != whole_batch {
                continue;
            }
            let len = |trainable: bool| -> usize {
                let parameters = step.op.parameters();
                parameters
                    .iter()
                    .filter(|p| p.trainable == trainable)
                    .map(|p| p.shape.len())
                    .sum()
            };
            let (trained, kept) = (len(true), len(false));
            step.trainable = trainable_len..trainable_len + trained;
            step.state = state_len..state_len + kept;
            trainable_len += trained;
            state_len += kept;
        }
        if !whole_batch {
            partial_len = trainable_len;
        }
    }
    let mut weights = Vec::new();
    for step in steps.iter() {
        let (mut trainable, mut state) = (step.trainable.start, step.state.start);
        for (parameter, layer) in step.op.parameters().into_iter().zip(&step.layers) {
            let start = if parameter.trainable {
                &mut trainable
            } else {
                &mut state
            };
            let range = *start..*start + parameter.shape.len();
            *start = range.end;
            let name = format!("{layer}.{}", parameter.name);
            weights.push(Weight {
                name,
                parameter,
                range,
            });
        }
    }
    (weights, trainable_len, partial_len, state_len)
}

/// When a buffer is first written and last read, in steps of the schedule.
struct Lifetime {
    first: usize,
    last: usize,
    len: usize,
}

/// Gives every value and gradient a slot such that two that live at one time never share one.
///
/// Some samples go through all steps of a stage before the next ones do. In training a sample's values keep their place in
/// the slot, so only values of one length share one; in a prediction the next samples overwrite all but the output, so
/// any values share one but the output, which has its own.
///
/// Forward step i runs at time i, the loss at the head's time, backward of step i at time 2n - 1 - i.
fn slots(steps: &[Step], value_lens: &[usize], training: bool) -> Slots {
    let n = steps.len();
    let end = 2 * n;
    let values = value_lens.len();
    let unused = |len| Lifetime {
        first: usize::MAX,
        last: 0,
        len,
    };
    let mut lives: Vec<Lifetime> = value_lens
        .iter()
        .chain(value_lens)
        .map(|&len| unused(len))
        .collect();
    let touch = |life: &mut Lifetime, time: usize| {
        life.first = life.first.min(time);
        life.last = life.last.max(time);
    };
    // The batch is laid into the input's slot before the first step.
    touch(&mut lives[0], 0);
    for (i, step) in steps.iter().enumerate() {
        step.inputs
            .iter()
            .for_each(|&value| touch(&mut lives[value], i));
        touch(&mut lives[step.output], i);
        // The probabilities are read when all is done; the loss writes the gradient of what they come from.
        let head = i + 1 == n;
        if head {
            touch(&mut lives[step.output], end);
            if training {
                touch(&mut lives[values + step.inputs[0]], i);
            }
        }
        if !training || !step.has_backward {
            continue;
        }
        let needs = step.op.needs(1, 1);
        let time = if head { i } else { 2 * n - 1 - i };
        // Whole-batch gradients read the input and the output's gradient when all shards are done.
        let whole_batch = needs.gradient_block > 0;
        for (&value, &wanted) in step.inputs.iter().zip(&step.input_gradients) {
            if needs.reads_inputs {
                touch(&mut lives[value], if whole_batch { end } else { time });
            }
            if wanted != InputGradient::None {
                touch(&mut lives[values + value], time);
            }
        }
        if needs.reads_output {
            touch(&mut lives[step.output], time);
        }
        if !head {
            touch(
                &mut lives[values + step.output],
                if whole_batch { end } else { time },
            );
        }
    }
    let mut tenants: Vec<Vec<usize>> = Vec::new();
    let mut place = vec![usize::MAX; lives.len()];
    // The largest first: a slot's length is then its first tenant's.
    let mut order: Vec<usize> = (0..lives.len())
        .filter(|&i| lives[i].first != usize::MAX)
        .collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lives[i].len), i));
    let output = steps.last().map_or(0, |step| step.output);
    let may_share = |i: usize, j: usize| match training {
        true => lives[i].len == lives[j].len,
        false => i != output && j != output,
    };
    for i in order {
        let apart = |j: usize| lives[i].last < lives[j].first || lives[j].last < lives[i].first;
        let free = tenants
            .iter()
            .position(|others| others.iter().all(|&j| apart(j) && may_share(i, j)));
        place[i] = free.unwrap_or(tenants.len());
        match free {
            Some(slot) => tenants[slot].push(i),
            None => tenants.push(vec![i]),
        }
    }
    let lens = tenants
        .iter()
        .map(|tenants| lives[tenants[0]].len)
        .collect();
    let gradients = place.split_off(values);
    Slots {
        values: place,
        gradients,
        lens,
    }
}

#[cfg(test)]
mod tests;
