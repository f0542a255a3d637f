//! Activations that a kernel applies to what it has just computed.

/// The function after a bias.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// `x`
    Linear,
    /// `max(x, 0)`
    Relu,
    /// `x` where it is positive, `slope * x` elsewhere.
    LeakyRelu {
        /// The factor of negative values; Keras' default is 0.3.
        slope: f32,
    },
}
