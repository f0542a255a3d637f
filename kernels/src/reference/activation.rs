//! Activations from their definition.

use crate::activation::Activation;

/// `activation(x)`, one value after another.
pub fn activation_forward(activation: Activation, input: &[f64]) -> Vec<f64> {
    let apply = |&x: &f64| match activation {
        Activation::Linear => x,
        Activation::Relu => {
            if x > 0.0 {
                x
            } else {
                0.0
            }
        }
        Activation::LeakyRelu { slope } => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope) * x
            }
        }
    };
    input.iter().map(apply).collect()
}

/// The gradient of the activation's input, from the activation's output and the gradient of that output.
///
/// At 0 the derivative is that of the negative side, as in Keras.
pub fn activation_backward(activation: Activation, output: &[f64], d_output: &[f64]) -> Vec<f64> {
    let negative = match activation {
        Activation::Linear => 1.0,
        Activation::Relu => 0.0,
        Activation::LeakyRelu { slope } => f64::from(slope),
    };
    let apply = |(&y, &g): (&f64, &f64)| if y > 0.0 { g } else { negative * g };
    output.iter().zip(d_output).map(apply).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_agree_with_central_differences() {
        let x = [-2.0, -0.3, 0.4, 5.0];
        for activation in [
            Activation::Linear,
            Activation::Relu,
            Activation::LeakyRelu { slope: 0.3 },
        ] {
            let y = activation_forward(activation, &x);
            let dx = activation_backward(activation, &y, &[1.0; 4]);
            for i in 0..x.len() {
                let (mut up, mut down) = (x, x);
                up[i] += 1e-4;
                down[i] -= 1e-4;
                let slope = (activation_forward(activation, &up)[i]
                    - activation_forward(activation, &down)[i])
                    / 2e-4;
                assert!((slope - dx[i]).abs() < 1e-9, "{activation:?} at {}", x[i]);
            }
        }
    }

    #[test]
    fn zero_has_the_negative_sides_derivative() {
        let leaky = Activation::LeakyRelu { slope: 0.25 };
        assert_eq!(activation_backward(leaky, &[0.0], &[2.0]), [0.5]);
        assert_eq!(activation_backward(Activation::Relu, &[0.0], &[2.0]), [0.0]);
    }
}
