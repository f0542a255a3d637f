//! `window` of source B: convolutions over the five frames of a 100 ms window.

use super::Size;
use crate::error::Result;
use crate::graph::{Graph, Var};
use crate::nn::{Activation, Conv1D, Dense, Flatten, Layer, Padding, Softmax};

pub(super) fn build(g: &mut Graph, size: Size) -> Result<Var> {
    let (filters, padding, activation) = (size.scaled(256), Padding::Same, Activation::Relu);
    let mut x = g.input("windows", [5, 128])?;
    for name in ["conv1", "conv2", "conv3"] {
        x = Conv1D {
            filters,
            kernel: 2,
            padding,
            activation,
        }
        .apply(g, name, x)?;
    }
    let x = Flatten.apply(g, "flatten", x)?;
    let x = Dense {
        units: size.scaled(1024),
        activation,
    }
    .apply(g, "dense", x)?;
    let x = size.dropout(0.5).apply(g, "dropout", x)?;
    let x = Dense {
        units: size.classes,
        activation: Activation::Linear,
    }
    .apply(g, "classifier", x)?;
    Softmax.apply(g, "softmax", x)
}
