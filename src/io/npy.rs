//! NumPy's `.npy` format, version 1.0: `numpy.lib.format` is the specification.

use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::shape::Shape;

/// The bytes before the header's text: magic, version, and the text's length.
const PREFIX: usize = 10;
/// NumPy pads the header so that the data start at a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes values in row-major order as a little-endian `float32` array of the given shape.
///
/// # Errors
/// [`Error::Data`] where the number of values is not the shape's, [`Error::Io`] where the file cannot
/// be written; nothing half-written stays under `path`.
pub fn write(path: &Path, shape: &Shape, values: &[f32]) -> Result<()> {
    if shape.len() != values.len() {
        return Err(Error::Data(format!(
            "an array of shape {shape} holds {} values, not {}",
            shape.len(),
            values.len()
        )));
    }
    let header = header(shape);
    crate::io::write_atomic(path, |file| {
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        values
            .iter()
            .try_for_each(|value| file.write_all(&value.to_le_bytes()))
    })
}

/// The header: a Python dictionary, padded with spaces and ended by a newline.
fn header(shape: &Shape) -> String {
    let extents: String = shape.extents().iter().map(|e| format!("{e}, ")).collect();
    // `(3, )` is Python for a tuple of one; of several, NumPy writes no last comma.
    let extents = match shape.rank() {
        0 => "",
        1 => extents.trim_end(),
        _ => extents.trim_end_matches(", "),
    };
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({extents}), }}");
    while !(PREFIX + text.len() + 1).is_multiple_of(ALIGNMENT) {
        text.push(' ');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `numpy.save` of NumPy 2 writes for `np.array([[1.0, -2.5]], "<f4")`.
    #[test]
    fn the_bytes_are_numpys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        write(&path, &Shape::from([1, 2]), &[1.0, -2.5]).unwrap();
        let mut want = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        want.extend(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }");
        want.resize(127, b' ');
        want.push(b'\n');
        want.extend([0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]);
        assert_eq!(std::fs::read(&path).unwrap(), want);
    }

    #[test]
    fn shapes_are_python_tuples() {
        assert!(header(&Shape::from([3])).contains("'shape': (3,), "));
        assert!(header(&Shape::new(vec![])).contains("'shape': (), "));
        assert!(header(&Shape::from([599, 5, 128])).contains("'shape': (599, 5, 128), "));
    }

    #[test]
    fn a_shape_of_another_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        assert!(write(&path, &Shape::from([2, 2]), &[1.0]).is_err());
        assert!(!path.exists());
    }
}
