//! Max-pooling over windows of rows and columns, channel by channel.

use super::window::Padding;
use super::window::{as_one_row, output_extent};
use crate::op::{Backward, Forward, Needs, Op};
use crate::shape::Shape;
use sonograd_kernels::pool::PoolShape;
use sonograd_kernels::reference;

/// The largest value of each window; the first one in row-major order where several are equal, as TensorFlow on a CPU.
#[derive(Debug, Clone)]
pub struct MaxPool2d {
    /// Geometry of one sample.
    pub shape: PoolShape,
    /// True where the model's text says one dimension: height 1.
    one_dimensional: bool,
}

impl MaxPool2d {
    /// For an input of height x width x channels.
    ///
    /// # Errors
    /// A message where the input has not three axes, a window or stride is 0, or no window fits.
    pub fn new(
        input: &Shape,
        window: [usize; 2],
        stride: [usize; 2],
        padding: Padding,
    ) -> Result<Self, String> {
        let &[height, width, channels] = input.extents() else {
            return Err(format!(
                "its input is height x width x channels, not {input}"
            ));
        };
        let (out_height, pad_top) = output_extent(height, window[0], stride[0], padding)?;
        let (out_width, pad_left) = output_extent(width, window[1], stride[1], padding)?;
        if window[0] * window[1] > 255 {
            return Err(format!(
                "a window of {} x {}: at most 255 values can be",
                window[0], window[1]
            ));
        }
        let shape = PoolShape {
            height,
            width,
            channels,
            window_height: window[0],
            window_width: window[1],
            stride_height: stride[0],
            stride_width: stride[1],
            pad_top,
            pad_left,
            out_height,
            out_width,
        };
        Ok(Self {
            shape,
            one_dimensional: false,
        })
    }

    /// For an input of steps x channels.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_1d(
        input: &Shape,
        window: usize,
        stride: usize,
        padding: Padding,
    ) -> Result<Self, String> {
        let input = as_one_row(input)?;
        Ok(Self {
            one_dimensional: true,
            ..Self::new(&input, [1, window], [1, stride], padding)?
        })
    }
}

impl Op for MaxPool2d {
    fn kind(&self) -> &'static str {
        if self.one_dimensional {
            "MaxPooling1D"
        } else {
            "MaxPooling2D"
        }
    }

    fn output_shape(&self) -> Shape {
        let PoolShape {
            out_height,
            out_width,
            channels,
            ..
        } = self.shape;
        match self.one_dimensional {
            true => Shape::from([out_width, channels]),
            false => Shape::from([out_height, out_width, channels]),
        }
    }

    fn needs(&self, _: usize, _: usize) -> Needs {
        Needs {
            codes: self.output_shape().len(),
            ..Needs::default()
        }
    }

    fn forward(&self, call: &mut Forward<'_>) {
        call.kernels.max_pool_forward(
            &self.shape,
            call.samples,
            call.inputs[0],
            call.output,
            call.codes,
        );
    }

    fn backward(&self, call: &mut Backward<'_>) {
        if let Some(d_input) = &mut call.d_inputs[0] {
            call.kernels.max_pool_backward(
                &self.shape,
                call.samples,
                call.d_output,
                call.codes,
                d_input,
            );
        }
    }

    fn oracle(&self, samples: usize, inputs: &[&[f64]], _: &[f64]) -> Vec<f64> {
        reference::max_pool_forward(&self.shape, samples, inputs[0]).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn gradients() {
        for (window, stride, padding) in [
            ([2, 2], [2, 2], Padding::Valid),
            ([4, 4], [4, 4], Padding::Valid),
            ([3, 3], [2, 2], Padding::Same),
            ([3, 2], [1, 2], Padding::Same),
        ] {
            for (height, width, channels) in [(9, 8, 3), (4, 5, 17)] {
                let input = Shape::from([height, width, channels]);
                let op = MaxPool2d::new(&input, window, stride, padding).unwrap();
                check::op(&op, &[input], 3);
            }
        }
        let input = Shape::from([11, 6]);
        check::op(
            &MaxPool2d::new_1d(&input, 2, 2, Padding::Valid).unwrap(),
            &[input],
            2,
        );
    }
}
