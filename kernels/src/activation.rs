//! Activations whose derivative can be read from their output.

use crate::simd::Simd;
use std::fmt;

/// What follows a layer's sum, one value after another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x`
    Linear,
    /// `max(x, 0)`; its derivative at 0 is 0. NaN stays NaN.
    Relu,
    /// `x > 0 ? x : slope * x`; its derivative at 0 is `slope`, as in Keras.
    LeakyRelu {
        /// The negative side's factor, above 0: the output has the sign of the input.
        slope: f32,
    },
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Activation::Linear => write!(f, "linear"),
            Activation::Relu => write!(f, "relu"),
            Activation::LeakyRelu { slope } => write!(f, "leaky relu {slope}"),
        }
    }
}

impl Activation {
    /// What a value below 0 is multiplied by.
    pub(crate) fn slope(self) -> f32 {
        match self {
            Activation::Linear => 1.0,
            Activation::Relu => 0.0,
            Activation::LeakyRelu { slope } => slope,
        }
    }

    /// # Panics
    /// Where a slope is not above 0: the sign of the output would not tell the sign of the input.
    pub(crate) fn check(self) {
        if let Activation::LeakyRelu { slope } = self {
            assert!(slope > 0.0, "a leaky slope must be above 0, not {slope}");
        }
    }
}

/// The activation of one register.
#[inline(always)]
pub(crate) fn activate<S: Simd>(s: S, activation: Activation, x: S::F) -> S::F {
    match activation {
        Activation::Linear => x,
        // The second operand is the answer where one is NaN.
        Activation::Relu => s.max(s.zero(), x),
        Activation::LeakyRelu { slope } => s.select(s.gt(x, s.zero()), x, s.mul(s.splat(slope), x)),
    }
}

/// The gradient before the activation of one register, from its output and the gradient `g` behind it.
#[inline(always)]
pub(crate) fn activation_gradient<S: Simd>(
    s: S,
    activation: Activation,
    output: S::F,
    g: S::F,
) -> S::F {
    let negative = match activation {
        Activation::Linear => return g,
        Activation::Relu => s.zero(),
        Activation::LeakyRelu { slope } => s.mul(s.splat(slope), g),
    };
    s.select(s.gt(output, s.zero()), g, negative)
}

/// `output[i] = activation(input[i])`
///
/// # Safety
/// Both slices have one length.
#[inline(always)]
pub(crate) unsafe fn forward<S: Simd>(
    s: S,
    activation: Activation,
    input: &[f32],
    output: &mut [f32],
) {
    let (len, x, y) = (input.len(), input.as_ptr(), output.as_mut_ptr());
    let mut i = 0;
    // SAFETY: every access stays below `len`, the length of both slices.
    unsafe {
        while i < len {
            let n = S::LANES.min(len - i);
            if n == S::LANES {
                s.store(y.add(i), activate(s, activation, s.load(x.add(i))));
            } else {
                let last = activate(s, activation, s.load_partial(x.add(i), n));
                s.store_partial(y.add(i), last, n);
            }
            i += n;
        }
    }
}

/// `d_input[i] = activation'(.) * d_output[i]`, the derivative read from the sign of `output[i]`.
///
/// # Safety
/// The three slices have one length.
#[inline(always)]
pub(crate) unsafe fn backward<S: Simd>(
    s: S,
    activation: Activation,
    output: &[f32],
    d_output: &[f32],
    d_input: &mut [f32],
) {
    let (len, y, g, dx) = (
        output.len(),
        output.as_ptr(),
        d_output.as_ptr(),
        d_input.as_mut_ptr(),
    );
    let mut i = 0;
    // SAFETY: every access stays below `len`, the length of the three slices.
    unsafe {
        while i < len {
            let n = S::LANES.min(len - i);
            if n == S::LANES {
                let d = activation_gradient(s, activation, s.load(y.add(i)), s.load(g.add(i)));
                s.store(dx.add(i), d);
            } else {
                let (y, g) = (s.load_partial(y.add(i), n), s.load_partial(g.add(i), n));
                let d = activation_gradient(s, activation, y, g);
                s.store_partial(dx.add(i), d, n);
            }
            i += n;
        }
    }
}
