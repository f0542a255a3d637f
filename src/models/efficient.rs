//! `efficient` and `accurate` of source A: towers of convolution, max-pool and batch normalisation.

use super::{Size, path};
use crate::error::Result;
use crate::graph::{Graph, Var};
use crate::nn::{
    Activation, BatchNormalization, Conv2D, Dense, Flatten, Layer, MaxPooling2D, Padding, Softmax,
    concatenate,
};

/// One tower of 32 filters.
pub(super) fn build_efficient(g: &mut Graph, size: Size) -> Result<Var> {
    let input = g.input("segments", [80, 80, 1])?;
    let x = tower(g, "", input, 32, size)?;
    head(g, x, size)
}

/// Two towers side by side, of 32 and 64 filters.
pub(super) fn build_accurate(g: &mut Graph, size: Size) -> Result<Var> {
    let input = g.input("segments", [80, 80, 1])?;
    let narrow = tower(g, "tower1", input, 32, size)?;
    let wide = tower(g, "tower2", input, 64, size)?;
    let x = concatenate(g, "concatenate", &[narrow, wide])?;
    head(g, x, size)
}

fn tower(g: &mut Graph, name: &str, mut x: Var, filters: usize, size: Size) -> Result<Var> {
    let filters = size.scaled(filters);
    let (padding, activation) = (Padding::Valid, Activation::Relu);
    for (i, kernel) in [(1, 3), (2, 3), (3, 3), (4, 2)] {
        let conv = Conv2D {
            filters,
            kernel: [kernel; 2],
            padding,
            activation,
        };
        x = conv.apply(g, &path(name, &format!("conv{i}")), x)?;
        let pool = MaxPooling2D {
            window: 3,
            stride: 2,
            padding: Padding::Same,
        };
        x = pool.apply(g, &path(name, &format!("pool{i}")), x)?;
        x = BatchNormalization.apply(g, &path(name, &format!("norm{i}")), x)?;
    }
    x = size.dropout(0.3).apply(g, &path(name, "dropout"), x)?;
    Flatten.apply(g, &path(name, "flatten"), x)
}

fn head(g: &mut Graph, x: Var, size: Size) -> Result<Var> {
    let x = Dense {
        units: size.scaled(128),
        activation: Activation::Relu,
    }
    .apply(g, "dense1", x)?;
    let x = Dense {
        units: size.scaled(64),
        activation: Activation::Relu,
    }
    .apply(g, "dense2", x)?;
    let x = Dense {
        units: size.classes,
        activation: Activation::Linear,
    }
    .apply(g, "classifier", x)?;
    Softmax.apply(g, "softmax", x)
}
