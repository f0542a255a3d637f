//! Windows that slide over an axis: how many there are, and where the first one starts.

use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// What a window sees beyond the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Nothing: every window lies inside.
    Valid,
    /// ceil(extent / stride) windows; the smaller half of the padding stands before, as in TensorFlow.
    Same,
}

/// The number of windows along an axis and the padding before it.
///
/// # Errors
/// A message where the window or the stride is 0, or a valid window is longer than the axis.
pub fn output_extent(
    extent: usize,
    window: usize,
    stride: usize,
    padding: Padding,
) -> Result<(usize, usize), String> {
    if window == 0 || stride == 0 {
        return Err(format!(
            "a window of {window} with stride {stride}: both must be at least 1"
        ));
    }
    match padding {
        Padding::Valid if window > extent => Err(format!(
            "a window of {window} does not fit into {extent}: the input is too short"
        )),
        Padding::Valid => Ok(((extent - window) / stride + 1, 0)),
        Padding::Same => {
            let out = extent.div_ceil(stride);
            Ok((
                out,
                ((out - 1) * stride + window).saturating_sub(extent) / 2,
            ))
        }
    }
}

/// Steps x channels as an image of one row, which is what a one-dimensional window slides over.
///
/// # Errors
/// A message where the input has not two axes.
pub(super) fn as_one_row(input: &Shape) -> Result<Shape, String> {
    let &[steps, channels] = input.extents() else {
        return Err(format!("its input is steps x channels, not {input}"));
    };
    Ok(Shape::from([1, steps, channels]))
}

#[cfg(test)]
mod tests {
    use super::{Padding, output_extent};

    #[test]
    fn as_tensorflow_counts_them() {
        assert_eq!(output_extent(78, 3, 2, Padding::Same), Ok((39, 0)));
        assert_eq!(output_extent(37, 3, 2, Padding::Same), Ok((19, 1)));
        assert_eq!(output_extent(80, 8, 1, Padding::Same), Ok((80, 3)));
        assert_eq!(output_extent(5, 2, 1, Padding::Same), Ok((5, 0)));
        assert_eq!(output_extent(9, 2, 1, Padding::Valid), Ok((8, 0)));
        assert!(
            output_extent(3, 4, 1, Padding::Valid)
                .unwrap_err()
                .contains("too short")
        );
    }
}
