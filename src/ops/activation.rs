//! An activation on its own: applied to every element.

use crate::op::{Backward, Forward, Needs, Op};
use crate::shape::Shape;
use sonograd_kernels::activation::Activation;
use sonograd_kernels::reference;

/// Applies an activation to every element.
#[derive(Debug, Clone)]
pub struct Activate {
    /// Which one.
    pub activation: Activation,
    shape: Shape,
}

impl Activate {
    /// For inputs of this shape.
    pub fn new(activation: Activation, input: &Shape) -> Self {
        Self {
            activation,
            shape: input.clone(),
        }
    }
}

impl Op for Activate {
    fn kind(&self) -> &'static str {
        match self.activation {
            Activation::Linear => "Activation",
            Activation::Relu => "ReLU",
            Activation::LeakyRelu { .. } => "LeakyReLU",
        }
    }

    fn output_shape(&self) -> Shape {
        self.shape.clone()
    }

    fn needs(&self, _: usize, _: usize) -> Needs {
        Needs {
            reads_output: true,
            ..Needs::default()
        }
    }

    fn forward(&self, call: &mut Forward<'_>) {
        call.kernels
            .activation_forward(self.activation, call.inputs[0], call.output);
    }

    fn backward(&self, call: &mut Backward<'_>) {
        if let Some(d_input) = &mut call.d_inputs[0] {
            call.kernels
                .activation_backward(self.activation, call.output, call.d_output, d_input);
        }
    }

    fn oracle(&self, _: usize, inputs: &[&[f64]], _: &[f64]) -> Vec<f64> {
        reference::activation_forward(self.activation, inputs[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn gradients() {
        for activation in [
            Activation::Linear,
            Activation::Relu,
            Activation::LeakyRelu { slope: 0.3 },
        ] {
            let shape = Shape::from([3, 7]);
            check::op(&Activate::new(activation, &shape), &[shape], 5);
        }
    }
}
