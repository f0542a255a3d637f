//! `cnn-rnn` of source A: convolutions over time, then two LSTMs.

use super::Size;
use crate::error::Result;
use crate::graph::{Graph, Var};
use crate::nn::{
    Activation, Conv1D, Dense, LEAKY_RELU, Layer, Lstm, MaxPooling1D, Padding, Softmax,
};

pub(super) fn build(g: &mut Graph, size: Size) -> Result<Var> {
    let conv = |filters, kernel| Conv1D {
        filters: size.scaled(filters),
        kernel,
        padding: Padding::Valid,
        activation: Activation::Linear,
    };
    let x = g.input("segments", [80, 80])?;
    let x = conv(8, 4).apply(g, "conv1", x)?;
    let x = LEAKY_RELU.apply(g, "activation1", x)?;
    let x = MaxPooling1D { window: 2 }.apply(g, "pool1", x)?;
    let x = conv(6, 3).apply(g, "conv2", x)?;
    let x = LEAKY_RELU.apply(g, "activation2", x)?;
    let x = MaxPooling1D { window: 2 }.apply(g, "pool2", x)?;
    let x = Lstm {
        units: size.scaled(128),
        sequences: true,
    }
    .apply(g, "lstm1", x)?;
    let x = Lstm {
        units: size.scaled(32),
        sequences: false,
    }
    .apply(g, "lstm2", x)?;
    let x = Dense {
        units: size.scaled(200),
        activation: Activation::Relu,
    }
    .apply(g, "dense", x)?;
    let x = size.dropout(0.2).apply(g, "dropout", x)?;
    let x = Dense {
        units: size.classes,
        activation: Activation::Linear,
    }
    .apply(g, "classifier", x)?;
    Softmax.apply(g, "softmax", x)
}
