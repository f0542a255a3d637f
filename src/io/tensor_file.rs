//! A safetensors file of `f32` tensors with text metadata.

use super::atomic;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Named tensors and named texts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorFile {
    /// Texts by name.
    pub metadata: BTreeMap<String, String>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl TensorFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::File`] where it is not a whole safetensors file of `f32`.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        Self::from_bytes(&bytes, path)
    }

    /// Reads a file's content; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::File`] where it is not a whole safetensors file of `f32`.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let damaged = |error: safetensors::SafeTensorError| {
            Error::file(
                path,
                format!(
                    "not a whole safetensors file ({error}): it is damaged, cut off or of another kind"
                ),
            )
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                let found = view.dtype();
                return Err(Error::file(
                    path,
                    format!("tensor '{name}' is of type {found:?}: F32 is wanted"),
                ));
            }
            let words = view.data().as_chunks::<4>().0;
            let data = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
            tensors.insert(name.to_string(), Tensor::new(view.shape().to_vec(), data)?);
        }
        let metadata = header
            .metadata()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect();
        Ok(Self { metadata, tensors })
    }

    /// The file's content.
    ///
    /// The order of two texts or more is not fixed by the format: for equal bytes, keep to one.
    ///
    /// # Errors
    /// [`Error::Data`] where a tensor cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let refuse = |error: safetensors::SafeTensorError| {
            Error::Data(format!("cannot lay out tensors: {error}"))
        };
        let raw: Vec<(&String, &Tensor, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                (
                    name,
                    tensor,
                    tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect(),
                )
            })
            .collect();
        let mut views = Vec::with_capacity(raw.len());
        for (name, tensor, bytes) in &raw {
            let shape = tensor.shape().extents().to_vec();
            views.push((
                name.as_str(),
                TensorView::new(Dtype::F32, shape, bytes).map_err(refuse)?,
            ));
        }
        let metadata: HashMap<_, _> = self.metadata.clone().into_iter().collect();
        safetensors::serialize(views, Some(metadata)).map_err(refuse)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic::write(path, &self.to_bytes()?)
    }

    /// A text by name.
    ///
    /// # Errors
    /// [`Error::File`] where the file has none of that name.
    pub fn text(&self, path: &Path, name: &str) -> Result<&str> {
        let text = self.metadata.get(name).map(String::as_str);
        text.ok_or_else(|| Error::file(path, format!("its metadata has no '{name}'")))
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// [`Error::File`] where the file has none of that name.
    pub fn tensor(&self, path: &Path, name: &str) -> Result<&Tensor> {
        self.tensors
            .get(name)
            .ok_or_else(|| Error::file(path, format!("it has no tensor '{name}'")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> TensorFile {
        let tensor =
            Tensor::new([2, 3], vec![1.0, -2.0, f32::MIN_POSITIVE, 0.5, 3e38, 0.0]).unwrap();
        TensorFile {
            metadata: BTreeMap::from([("kind".into(), "example".into())]),
            tensors: BTreeMap::from([("b/x".into(), tensor.clone()), ("a".into(), tensor)]),
        }
    }

    #[test]
    fn comes_back_as_it_went() {
        let bytes = example().to_bytes().unwrap();
        assert_eq!(
            TensorFile::from_bytes(&bytes, Path::new("x")).unwrap(),
            example()
        );
        assert_eq!(bytes, example().to_bytes().unwrap());
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_refused_by_name() {
        let bytes = example().to_bytes().unwrap();
        for len in 0..bytes.len() {
            let error =
                TensorFile::from_bytes(&bytes[..len], Path::new("cut.safetensors")).unwrap_err();
            assert!(
                error.to_string().contains("cut.safetensors"),
                "{len}: {error}"
            );
        }
    }
}
