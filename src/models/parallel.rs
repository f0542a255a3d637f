//! `parallel` of source A: two convolution branches side by side.

use super::{Size, path};
use crate::error::Result;
use crate::graph::{Graph, Var};
use crate::nn::{
    Activation, Conv2D, Dense, Flatten, LEAKY_RELU, Layer, MaxPooling2D, Padding, Softmax,
    concatenate,
};

pub(super) fn build(g: &mut Graph, size: Size) -> Result<Var> {
    let input = g.input("segments", [80, 80, 1])?;
    let coarse = branch(g, "branch1", input, size.scaled(3), 8, 4)?;
    let fine = branch(g, "branch2", input, size.scaled(4), 4, 2)?;
    let x = concatenate(g, "concatenate", &[coarse, fine])?;
    let x = Dense {
        units: size.classes,
        activation: Activation::Linear,
    }
    .apply(g, "classifier", x)?;
    Softmax.apply(g, "softmax", x)
}

fn branch(
    g: &mut Graph,
    name: &str,
    x: Var,
    filters: usize,
    kernel: usize,
    pool: usize,
) -> Result<Var> {
    let x = Conv2D {
        filters,
        kernel: [kernel; 2],
        padding: Padding::Same,
        activation: Activation::Linear,
    }
    .apply(g, &path(name, "conv"), x)?;
    let x = LEAKY_RELU.apply(g, &path(name, "activation"), x)?;
    let x = MaxPooling2D {
        window: pool,
        stride: pool,
        padding: Padding::Valid,
    }
    .apply(g, &path(name, "pool"), x)?;
    Flatten.apply(g, &path(name, "flatten"), x)
}
