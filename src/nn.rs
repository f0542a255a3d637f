//! Layers by their Keras names: plain configurations that append operations to a graph and own no weights.

pub mod init;

use crate::error::{Error, Result};
use crate::graph::{Graph, Var};
use crate::op::Op;
use crate::ops;
pub use crate::ops::window::Padding;
pub use sonograd_kernels::activation::Activation;

/// Something that appends itself to a graph.
pub trait Layer {
    /// Appends the layer under its path and returns its output.
    ///
    /// # Errors
    /// [`Error::Shape`] with the path where the input's shape does not fit.
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var>;
}

/// Appends an operation, or says which layer refused its input.
fn append<O: Op>(
    graph: &mut Graph,
    name: &str,
    op: std::result::Result<O, String>,
    inputs: &[Var],
) -> Result<Var> {
    let op = op.map_err(|reason| Error::Shape {
        layer: name.to_string(),
        reason,
    })?;
    graph.push(name, Box::new(op), inputs)
}

/// Convolution of stride 1 over height x width x channels, with bias.
#[derive(Debug, Clone, Copy)]
pub struct Conv2D {
    /// Output channels.
    pub filters: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    /// At the edges.
    pub padding: Padding,
    /// Of the output.
    pub activation: Activation,
}

impl Layer for Conv2D {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op = ops::Conv2d::new(graph.shape(input), self.filters, self.kernel, self.padding)
            .map(|op| op.with_activation(self.activation));
        append(graph, name, op, &[input])
    }
}

/// Convolution of stride 1 over steps x channels, with bias.
#[derive(Debug, Clone, Copy)]
pub struct Conv1D {
    /// Output channels.
    pub filters: usize,
    /// Steps.
    pub kernel: usize,
    /// At the ends.
    pub padding: Padding,
    /// Of the output.
    pub activation: Activation,
}

impl Layer for Conv1D {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op = ops::Conv2d::new_1d(graph.shape(input), self.filters, self.kernel, self.padding)
            .map(|op| op.with_activation(self.activation));
        append(graph, name, op, &[input])
    }
}

/// An activation on its own.
impl Layer for Activation {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op = ops::Activate::new(*self, graph.shape(input));
        append(graph, name, Ok(op), &[input])
    }
}

/// Keras 3's `LeakyReLU` has slope 0.3.
pub const LEAKY_RELU: Activation = Activation::LeakyRelu { slope: 0.3 };

/// Max-pooling over height x width x channels.
#[derive(Debug, Clone, Copy)]
pub struct MaxPooling2D {
    /// Height and width of a window.
    pub window: usize,
    /// From window to window.
    pub stride: usize,
    /// At the edges.
    pub padding: Padding,
}

impl Layer for MaxPooling2D {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op = ops::MaxPool2d::new(
            graph.shape(input),
            [self.window; 2],
            [self.stride; 2],
            self.padding,
        );
        append(graph, name, op, &[input])
    }
}

/// Max-pooling over steps x channels, window by window.
#[derive(Debug, Clone, Copy)]
pub struct MaxPooling1D {
    /// Steps of a window, and from window to window.
    pub window: usize,
}

impl Layer for MaxPooling1D {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op =
            ops::MaxPool2d::new_1d(graph.shape(input), self.window, self.window, Padding::Valid);
        append(graph, name, op, &[input])
    }
}

/// Normalisation of the last axis by the batch's statistics, momentum 0.99, epsilon 1e-3.
#[derive(Debug, Clone, Copy)]
pub struct BatchNormalization;

impl Layer for BatchNormalization {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op = ops::BatchNormalization::new(graph.shape(input));
        append(graph, name, op, &[input])
    }
}

/// LSTM over steps x features.
#[derive(Debug, Clone, Copy)]
pub struct Lstm {
    /// Width of the state.
    pub units: usize,
    /// Every step's state, not only the last one's.
    pub sequences: bool,
}

impl Layer for Lstm {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op = ops::Lstm::new(graph.shape(input), self.units, self.sequences);
        append(graph, name, op, &[input])
    }
}

/// Drops values in training.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// The probability, in [0, 1).
    pub rate: f32,
}

impl Layer for Dropout {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op = ops::Dropout::new(graph.shape(input), self.rate);
        append(graph, name, op, &[input])
    }
}

/// All axes as one.
#[derive(Debug, Clone, Copy)]
pub struct Flatten;

impl Layer for Flatten {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op = ops::Flatten::new(graph.shape(input));
        append(graph, name, Ok(op), &[input])
    }
}

/// Joins values along the last axis.
///
/// # Errors
/// [`Error::Shape`] where other extents differ.
pub fn concatenate(graph: &mut Graph, name: &str, inputs: &[Var]) -> Result<Var> {
    let shapes: Vec<_> = inputs.iter().map(|&var| graph.shape(var)).collect();
    let op = ops::Concatenate::new(&shapes);
    append(graph, name, op, inputs)
}

/// x W + b.
#[derive(Debug, Clone, Copy)]
pub struct Dense {
    /// Outputs.
    pub units: usize,
    /// Of the output.
    pub activation: Activation,
}

impl Layer for Dense {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op = ops::Dense::new(graph.shape(input), self.units)
            .map(|op| op.with_activation(self.activation));
        append(graph, name, op, &[input])
    }
}

/// Probabilities from logits: where a classifier ends.
#[derive(Debug, Clone, Copy)]
pub struct Softmax;

impl Layer for Softmax {
    fn apply(&self, graph: &mut Graph, name: &str, input: Var) -> Result<Var> {
        let op = ops::Softmax::new(graph.shape(input));
        append(graph, name, op, &[input])
    }
}
