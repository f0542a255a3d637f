//! Concatenate along the last axis.

use super::Dense;
use crate::op::{Backward, Forward, Needs, Op};
use crate::shape::Shape;
use std::any::Any;

/// The inputs side by side along the last axis; all other extents are equal. In front of a dense layer nothing is moved: it reads them
/// one by one.
#[derive(Debug, Clone)]
pub struct Concatenate {
    /// The last extents.
    widths: Vec<usize>,
    output: Shape,
}

impl Concatenate {
    /// For inputs of these shapes.
    ///
    /// # Errors
    /// A message where extents other than the last differ.
    pub fn new(inputs: &[&Shape]) -> Result<Self, String> {
        let Some((first_last, outer)) = inputs
            .first()
            .and_then(|shape| shape.extents().split_last())
        else {
            return Err("nothing to concatenate".into());
        };
        let mut widths = vec![*first_last];
        for shape in &inputs[1..] {
            match shape.extents().split_last() {
                Some((last, others)) if others == outer => widths.push(*last),
                _ => {
                    return Err(format!(
                        "{} and {shape} differ before the last axis",
                        inputs[0]
                    ));
                }
            }
        }
        let mut output = outer.to_vec();
        output.push(widths.iter().sum());
        Ok(Self {
            widths,
            output: Shape::new(output),
        })
    }

    fn width(&self) -> usize {
        self.widths.iter().sum()
    }
}

impl Op for Concatenate {
    fn kind(&self) -> &'static str {
        "Concatenate"
    }

    fn output_shape(&self) -> Shape {
        self.output.clone()
    }

    fn needs(&self, _: usize, _: usize) -> Needs {
        Needs::default()
    }

    /// A dense layer reads the inputs where they stand.
    fn absorb(&self, next: &dyn Op) -> Option<Box<dyn Op>> {
        let next: &dyn Any = next;
        let next = next.downcast_ref::<Dense>()?;
        Some(Box::new(next.over(&self.widths)?))
    }

    fn forward(&self, call: &mut Forward<'_>) {
        let mut column = 0;
        for (input, &width) in call.inputs.iter().zip(&self.widths) {
            let rows = call
                .output
                .chunks_exact_mut(self.width())
                .zip(input.chunks_exact(width));
            rows.for_each(|(to, from)| to[column..column + width].copy_from_slice(from));
            column += width;
        }
    }

    fn backward(&self, call: &mut Backward<'_>) {
        let mut column = 0;
        for (d_input, &width) in call.d_inputs.iter_mut().zip(&self.widths) {
            if let Some(d_input) = d_input {
                let rows = d_input
                    .chunks_exact_mut(width)
                    .zip(call.d_output.chunks_exact(self.width()));
                rows.for_each(|(to, from)| to.copy_from_slice(&from[column..column + width]));
            }
            column += width;
        }
    }

    fn oracle(&self, _: usize, inputs: &[&[f64]], _: &[f64]) -> Vec<f64> {
        let rows = inputs[0].len() / self.widths[0];
        let row = |i: usize| {
            inputs
                .iter()
                .zip(&self.widths)
                .flat_map(move |(input, &w)| &input[i * w..(i + 1) * w])
        };
        (0..rows).flat_map(row).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn gradients() {
        let shapes = [
            Shape::from([2, 3]),
            Shape::from([2, 1]),
            Shape::from([2, 5]),
        ];
        let op = Concatenate::new(&[&shapes[0], &shapes[1], &shapes[2]]).unwrap();
        assert_eq!(op.output_shape(), Shape::from([2, 9]));
        check::op(&op, &shapes, 3);
    }

    /// With the dense layer behind it: small, over the whole batch with parts that end inside a block of rows, and cut into slices.
    #[test]
    fn gradients_in_front_of_a_dense_layer() {
        for (widths, units, samples) in [
            ([3, 1, 5], 4, 3),
            ([1, 2, 1], 1, 1),
            ([1300, 70, 2730], 8, 3),
            ([200, 33, 67], 900, 5),
        ] {
            let shapes = widths.map(|width| Shape::from([width]));
            let joined = Concatenate::new(&[&shapes[0], &shapes[1], &shapes[2]]).unwrap();
            let dense = Dense::new(&joined.output_shape(), units).unwrap();
            check::op(&*joined.absorb(&dense).unwrap(), &shapes, samples);
        }
        let matrix = Shape::from([2, 3]);
        let joined = Concatenate::new(&[&matrix, &matrix]).unwrap();
        assert!(
            joined
                .absorb(&Dense::new(&Shape::from([12]), 2).unwrap())
                .is_none()
        );
    }

    #[test]
    fn other_extents_must_agree() {
        let error = Concatenate::new(&[&Shape::from([2, 3]), &Shape::from([3, 3])]).unwrap_err();
        assert!(error.contains("2x3") && error.contains("3x3"), "{error}");
    }
}
