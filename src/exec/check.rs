//! The check of whole models: a compiled graph against its definition in `f64`.
//!
//! The definition is every layer's oracle, one after another as the graph was written: nothing fused, no plan, no
//! shards. The loss must agree; and for each weight, the executor's gradient along a direction must be the central
//! difference of the `f64` loss along it.

use super::{Executor, SliceBatch, thread_pool};
use crate::graph::{Graph, Node, Plan, Var};
use crate::nn::{
    Activation, Conv2D, Dense, Flatten, LEAKY_RELU, Layer, MaxPooling2D, Padding, Softmax,
    concatenate,
};
use crate::random::Random;
use sonograd_kernels::Isa;
use std::collections::BTreeMap;

/// Half the distance of the two points along a direction of length 1: short, so that few maxima and signs change
/// on the way, and long enough for the rounding of `f64`.
const STEP: f64 = 1e-7;
/// Of the loss, relative.
const LOSS_TOLERANCE: f64 = 1e-5;
/// Of a slope, relative to the length of the weight's gradient.
const SLOPE_TOLERANCE: f64 = 3e-4;
/// Of a slope, relative to the length of the whole gradient: a bias before a batch normalisation has none of its own.
const FLOOR: f64 = 1e-6;
/// Directions tried for each weight.
const DIRECTIONS: usize = 2;

/// Weights by path, and one batch.
pub(crate) struct Case {
    pub(crate) weights: BTreeMap<String, Vec<f32>>,
    pub(crate) inputs: Vec<f32>,
    pub(crate) targets: Vec<f32>,
    pub(crate) samples: usize,
}

impl Case {
    /// Weights as the layers start them but none of them 0, normal inputs, random targets.
    pub(crate) fn new(plan: Plan, samples: usize, seed: u64) -> Self {
        let mut random = Random::new(&[seed, samples as u64]);
        let (input_len, classes) = (plan.input_shape().len(), plan.classes());
        let mut targets = vec![0.0; samples * classes];
        targets
            .chunks_mut(classes)
            .for_each(|row| row[random.below(classes)] = 1.0);
        let mut executor = Executor::new(plan, 1, thread_pool(1).unwrap(), Isa::Portable).unwrap();
        executor.initialize(seed);
        let mut weights = BTreeMap::new();
        for weight in executor.plan().weights() {
            let moved = executor.weight(&weight.name).unwrap().iter();
            let moved = moved.map(|w| w + 0.1 * random.normal() as f32).collect();
            weights.insert(weight.name.clone(), moved);
        }
        let inputs = (0..samples * input_len)
            .map(|_| random.normal() as f32)
            .collect();
        Self {
            weights,
            inputs,
            targets,
            samples,
        }
    }

    pub(crate) fn batch(&self) -> SliceBatch<'_> {
        SliceBatch {
            inputs: &self.inputs,
            targets: &self.targets,
            samples: self.samples,
        }
    }

    /// The plan in memory, with the case's weights.
    pub(crate) fn executor(&self, plan: Plan, isa: Isa) -> Executor {
        let mut executor = Executor::new(plan, self.samples, thread_pool(2).unwrap(), isa).unwrap();
        for (name, values) in &self.weights {
            executor.set_weight(name, values).unwrap();
        }
        executor
    }

    /// The probabilities by the layers' oracles, with one weight moved along a direction.
    fn output(&self, graph: &Graph, output: Var, moved: &str, by: &[f64]) -> Vec<f64> {
        let mut values: Vec<Vec<f64>> = Vec::new();
        for node in graph.nodes() {
            let Some(op) = &node.op else {
                values.push(self.inputs.iter().map(|&x| f64::from(x)).collect());
                continue;
            };
            let inputs: Vec<&[f64]> = node
                .inputs
                .iter()
                .map(|var| values[var.index()].as_slice())
                .collect();
            values.push(op.oracle(self.samples, &inputs, &self.parameters(node, moved, by)));
        }
        values.swap_remove(output.index())
    }

    fn parameters(&self, node: &Node, moved: &str, by: &[f64]) -> Vec<f64> {
        let mut parameters = Vec::new();
        for parameter in node.parameters().iter().filter(|p| p.trainable) {
            let name = format!("{}.{}", node.name, parameter.name);
            let start = parameters.len();
            // A layer that nothing needs is not in the plan: any weights do.
            match self.weights.get(&name) {
                Some(weights) => parameters.extend(weights.iter().map(|&w| f64::from(w))),
                None => parameters.resize(start + parameter.shape.len(), 0.0),
            }
            if name == moved {
                parameters[start..]
                    .iter_mut()
                    .zip(by)
                    .for_each(|(w, by)| *w += by);
            }
        }
        parameters
    }

    /// The mean cross-entropy by the definition.
    fn loss(&self, graph: &Graph, output: Var, moved: &str, by: &[f64]) -> f64 {
        let probabilities = self.output(graph, output, moved, by);
        let terms = probabilities.iter().zip(&self.targets);
        let sum: f64 = terms
            .filter(|(_, target)| **target > 0.0)
            .map(|(p, &target)| -f64::from(target) * p.ln())
            .sum();
        sum / self.samples as f64
    }
}

fn length(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Holds the model that `build` makes to its definition, on `samples` random samples and every instruction set.
///
/// Build without dropout: its random numbers have no definition.
pub(crate) fn model(what: &str, build: &dyn Fn() -> (Graph, Var), samples: usize) {
    let (graph, output) = build();
    let compile = || {
        let (graph, output) = build();
        graph.compile(output).unwrap()
    };
    let case = Case::new(compile(), samples, 3);
    let loss = case.loss(&graph, output, "", &[]);
    for isa in Isa::available() {
        let mut executor = case.executor(compile(), isa);
        let found = executor.loss_and_gradients(&case.batch()).unwrap().loss;
        assert!(
            (found - loss).abs() <= LOSS_TOLERANCE * loss.abs(),
            "{what} on {isa}: the loss is {found}, should be {loss}"
        );
        slopes(what, &case, &graph, output, &executor);
    }
}

/// Every weight's gradient along some directions against central differences.
pub(super) fn slopes(what: &str, case: &Case, graph: &Graph, output: Var, executor: &Executor) {
    let wide = |name: &str| -> Vec<f64> {
        let gradient = executor.gradient(name).unwrap_or_default();
        gradient.iter().map(|&g| f64::from(g)).collect()
    };
    let whole = length(case.weights.keys().flat_map(|name| wide(name)));
    assert!(whole.is_finite(), "{what}: the gradient is not finite");
    let mut random = Random::new(&[11]);
    for name in case.weights.keys() {
        let gradient = wide(name);
        if gradient.is_empty() {
            continue;
        }
        let size = length(gradient.iter().copied());
        for _ in 0..DIRECTIONS {
            // Half at random, half along the gradient: at random alone the slope of a large weight is all but 0.
            let normals: Vec<f64> = gradient.iter().map(|_| random.normal()).collect();
            // To the gradient's side, so that the two do not cancel.
            let side: f64 = gradient
                .iter()
                .zip(&normals)
                .map(|(g, normal)| g * normal)
                .sum();
            let spread = length(normals.iter().copied()).copysign(side);
            let mut direction: Vec<f64> = gradient
                .iter()
                .zip(&normals)
                .map(|(g, normal)| g / size.max(f64::MIN_POSITIVE) + normal / spread)
                .collect();
            let long = length(direction.iter().copied()) / STEP;
            direction.iter_mut().for_each(|x| *x /= long);
            let up = case.loss(graph, output, name, &direction);
            direction.iter_mut().for_each(|x| *x = -*x);
            let down = case.loss(graph, output, name, &direction);
            let slope = (down - up) / (2.0 * STEP);
            let along: f64 = gradient.iter().zip(&direction).map(|(g, x)| g * x).sum();
            let (found, isa) = (along / STEP, executor.kernels().isa());
            assert!(
                (found - slope).abs() <= SLOPE_TOLERANCE * size + FLOOR * whole,
                "{what} on {isa}: the slope along {name} is {found}, should be {slope} (of a gradient {size} long)"
            );
        }
    }
}

/// A small model made at random: images and rows, values with several readers, joins, softmaxes inside.
pub(crate) fn random_graph(seed: u64) -> (Graph, Var) {
    let mut random = Random::new(&[seed, 0x67_7261_7068]);
    let mut g = Graph::new();
    let extents = [
        3 + random.below(4),
        3 + random.below(4),
        1 + random.below(3),
    ];
    let mut values = vec![g.input("input", extents).unwrap()];
    for i in 0..3 + random.below(8) {
        // Mostly the newest values, so that chains come about as well as fans.
        let back = random.below(values.len()).min(random.below(values.len()));
        let x = values[values.len() - 1 - back];
        let name = format!("layer{i}");
        let activation = *random.choose(&[Activation::Relu, LEAKY_RELU]);
        let image = g.shape(x).rank() == 3;
        let added = match random.below(5) {
            0 => activation.apply(&mut g, &name, x),
            1 if image => MaxPooling2D {
                window: 2,
                stride: 1 + random.below(2),
                padding: Padding::Same,
            }
            .apply(&mut g, &name, x),
            2 if image => Flatten.apply(&mut g, &name, x),
            _ if image => Conv2D {
                filters: 1 + random.below(5),
                kernel: [1 + random.below(3), 1 + random.below(3)],
                padding: Padding::Same,
                activation: Activation::Linear,
            }
            .apply(&mut g, &name, x),
            1 => join(&mut g, &name, &values, &mut random),
            2 if g.shape(x).len() > 1 => Softmax.apply(&mut g, &name, x),
            _ => Dense {
                units: 1 + random.below(6),
                activation: Activation::Linear,
            }
            .apply(&mut g, &name, x),
        };
        values.push(added.unwrap());
    }
    // The end reads the last value of all and up to two rows before it.
    let last = values[values.len() - 1];
    let mut ends = vec![Flatten.apply(&mut g, "flatten", last).unwrap()];
    let mut rows: Vec<Var> = rows(&g, &values);
    rows.retain(|&var| var != last);
    ends.extend(rows.into_iter().rev().take(random.below(3)));
    let joined = concatenate(&mut g, "join", &ends).unwrap();
    let units = 2 + random.below(4);
    let logits = Dense {
        units,
        activation: Activation::Linear,
    }
    .apply(&mut g, "classifier", joined)
    .unwrap();
    let output = Softmax.apply(&mut g, "softmax", logits).unwrap();
    (g, output)
}

fn rows(g: &Graph, values: &[Var]) -> Vec<Var> {
    let row = |var: &Var| g.shape(*var).rank() == 1;
    values.iter().copied().filter(row).collect()
}

/// Two or three of the rows side by side, or one through a layer of its own.
fn join(g: &mut Graph, name: &str, values: &[Var], random: &mut Random) -> crate::Result<Var> {
    let mut rows = rows(g, values);
    random.shuffle(&mut rows);
    rows.truncate(2 + random.below(2));
    concatenate(g, name, &rows)
}
