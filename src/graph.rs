//! A model as an append-only list of operations.

pub mod plan;

use crate::error::{Error, Result};
use crate::op::{MAX_INPUTS, Op, Parameter};
use crate::shape::Shape;
pub use plan::Plan;

/// A value of a [`Graph`]: a copyable index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Var(pub(crate) usize);

impl Var {
    /// The position of the value's layer in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One layer: an operation, its inputs and its path.
#[derive(Debug)]
pub struct Node {
    /// The layer's path: `tower1.conv2`.
    pub name: String,
    /// `None` for the graph's input.
    pub op: Option<Box<dyn Op>>,
    /// What it reads.
    pub inputs: Vec<Var>,
    /// One sample's output.
    pub shape: Shape,
}

impl Node {
    /// The layer's weights.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.op
            .as_ref()
            .map(|op| op.parameters())
            .unwrap_or_default()
    }
}

/// A model: layers append themselves, and [`Graph::compile`] makes it run.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// The graph's one input, of one sample's shape. It must be the first node.
    ///
    /// # Errors
    /// [`Error::Shape`] where the graph has one already or the shape is empty.
    pub fn input(&mut self, name: &str, shape: impl Into<Shape>) -> Result<Var> {
        let shape = shape.into();
        let refuse = |reason: String| Error::Shape {
            layer: name.to_string(),
            reason,
        };
        if !self.nodes.is_empty() {
            return Err(refuse("a graph has one input, and it comes first".into()));
        }
        if shape.is_empty() {
            return Err(refuse(format!("the input's shape {shape} has no elements")));
        }
        self.nodes.push(Node {
            name: name.to_string(),
            op: None,
            inputs: Vec::new(),
            shape,
        });
        Ok(Var(0))
    }

    /// Appends an operation.
    ///
    /// # Errors
    /// [`Error::Shape`] where the name is taken, an input is of another graph or there are too many.
    pub fn push(&mut self, name: &str, op: Box<dyn Op>, inputs: &[Var]) -> Result<Var> {
        let refuse = |reason: String| Error::Shape {
            layer: name.to_string(),
            reason,
        };
        if self.nodes.iter().any(|node| node.name == name) {
            return Err(refuse("the name is taken".into()));
        }
        if inputs.is_empty() || inputs.len() > MAX_INPUTS {
            return Err(refuse(format!(
                "{} inputs: 1 to {MAX_INPUTS} can be",
                inputs.len()
            )));
        }
        if inputs.iter().any(|var| var.0 >= self.nodes.len()) {
            return Err(refuse("an input is not of this graph".into()));
        }
        if (1..inputs.len()).any(|i| inputs[..i].contains(&inputs[i])) {
            return Err(refuse("it would read one value twice".into()));
        }
        let shape = op.output_shape();
        if shape.is_empty() {
            return Err(refuse(format!("its output {shape} would have no elements")));
        }
        self.nodes.push(Node {
            name: name.to_string(),
            op: Some(op),
            inputs: inputs.to_vec(),
            shape,
        });
        Ok(Var(self.nodes.len() - 1))
    }

    /// One sample's shape.
    ///
    /// # Panics
    /// Where the value is of another graph.
    pub fn shape(&self, var: Var) -> &Shape {
        &self.nodes[var.0].shape
    }

    /// The layers in the order they were appended, the input first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Fuses, differentiates and lays out everything that a training step and a prediction need.
    ///
    /// # Errors
    /// [`Error::Shape`] where `output` is not a head that can be trained (a softmax).
    pub fn compile(self, output: Var) -> Result<Plan> {
        Plan::new(self.nodes, output)
    }

    /// As [`compile`](Self::compile), but every operation stays on its own.
    #[cfg(test)]
    pub(crate) fn compile_unfused(self, output: Var) -> Result<Plan> {
        Plan::unfused(self.nodes, output)
    }
}
