//! Flatten: the same values as one row. A view: nothing is computed or copied.

use crate::op::{Backward, Forward, Needs, Op};
use crate::shape::Shape;

/// The input's values in row-major order as one axis.
#[derive(Debug, Clone)]
pub struct Flatten {
    len: usize,
}

impl Flatten {
    /// For inputs of this shape.
    pub fn new(input: &Shape) -> Self {
        Self { len: input.len() }
    }
}

impl Op for Flatten {
    fn kind(&self) -> &'static str {
        "Flatten"
    }

    fn output_shape(&self) -> Shape {
        Shape::from([self.len])
    }

    fn needs(&self, _: usize, _: usize) -> Needs {
        Needs::default()
    }

    fn is_view(&self) -> bool {
        true
    }

    fn forward(&self, call: &mut Forward<'_>) {
        call.output.copy_from_slice(call.inputs[0]);
    }

    fn backward(&self, call: &mut Backward<'_>) {
        if let Some(d_input) = &mut call.d_inputs[0] {
            d_input.copy_from_slice(call.d_output);
        }
    }

    fn oracle(&self, _: usize, inputs: &[&[f64]], _: &[f64]) -> Vec<f64> {
        inputs[0].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn gradients() {
        check::op(
            &Flatten::new(&Shape::from([3, 5, 2])),
            &[Shape::from([3, 5, 2])],
            3,
        );
    }
}
