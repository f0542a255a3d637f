//! The recorded cases, and how a result is compared with one. `fixtures/check_ops.py` says what each operation means.

use serde_json::Value;
use sonograd::io::TensorFile;
use sonograd::ops::window::Padding;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/keras")
        .join(name)
}

/// One recorded case of an operation.
pub(crate) struct Case {
    /// `conv2d/3`, for messages.
    pub(crate) name: String,
    pub(crate) attributes: Value,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Case {
    pub(crate) fn has(&self, tensor: &str) -> bool {
        self.tensors.contains_key(tensor)
    }

    pub(crate) fn data(&self, tensor: &str) -> &[f32] {
        let found = self.tensors.get(tensor);
        &found
            .unwrap_or_else(|| panic!("{}: no {tensor}", self.name))
            .1
    }

    pub(crate) fn shape(&self, tensor: &str) -> &[usize] {
        &self.tensors[tensor].0
    }

    pub(crate) fn text(&self, attribute: &str) -> &str {
        self.attributes[attribute].as_str().unwrap()
    }

    pub(crate) fn number(&self, attribute: &str) -> f64 {
        self.attributes[attribute].as_f64().unwrap()
    }

    /// A pair, or a number for both.
    pub(crate) fn pair(&self, attribute: &str) -> [usize; 2] {
        let value = &self.attributes[attribute];
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        match value.as_array() {
            Some(pair) => [number(&pair[0]), number(&pair[1])],
            None => [number(value); 2],
        }
    }

    pub(crate) fn padding(&self) -> Padding {
        match self.text("padding") {
            "same" => Padding::Same,
            "valid" => Padding::Valid,
            other => panic!("{}: padding {other}", self.name),
        }
    }

    /// Compares relative to the largest recorded magnitude, as `check_ops.py` does.
    pub(crate) fn near(&self, what: &str, found: &[f32], tensor: &str, tolerance: f64) {
        let recorded = self.data(tensor);
        assert_eq!(found.len(), recorded.len(), "{} {what}", self.name);
        let size = recorded.iter().fold(1e-6, |size: f32, x| size.max(x.abs()));
        for (i, (&found, &recorded)) in found.iter().zip(recorded).enumerate() {
            let error = (f64::from(found) - f64::from(recorded)).abs() / f64::from(size);
            assert!(
                error <= tolerance,
                "{} {what}: element {i} is {found}, Keras has {recorded} (largest {size})",
                self.name
            );
        }
    }
}

/// Every case of an operation; there is at least one.
pub(crate) fn of(op: &str) -> Vec<Case> {
    let path = fixture("ops.safetensors");
    let file = TensorFile::read(&path).unwrap();
    let mut cases = Vec::new();
    for (key, text) in &file.metadata {
        let Some(number) = key.strip_prefix(&format!("case/{op}/")) else {
            continue;
        };
        let mut tensors = BTreeMap::new();
        for (name, tensor) in &file.tensors {
            let parts: Vec<&str> = name.split('/').collect();
            if parts[1..3] == [op, number] {
                let value = (tensor.shape().extents().to_vec(), tensor.data().to_vec());
                tensors.insert(parts[3].to_string(), value);
            }
        }
        cases.push(Case {
            name: format!("{op}/{number}"),
            attributes: serde_json::from_str(text).unwrap(),
            tensors,
        });
    }
    assert!(!cases.is_empty(), "no case of {op}");
    cases
}

/// Every recorded operation is tested somewhere in this folder: a new one must not stay unread.
#[test]
fn all_recorded_operations_are_known() {
    let file = TensorFile::read(&fixture("ops.safetensors")).unwrap();
    let names = file.metadata.keys().filter_map(|key| key.split('/').nth(1));
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    let known = [
        "batch_norm",
        "clip",
        "clip_by_global_norm",
        "conv1d",
        "conv2d",
        "dense",
        "leaky_relu",
        "lstm",
        "max_pool1d",
        "max_pool2d",
        "optimizer",
        "relu",
        "sigmoid",
        "softmax",
        "softmax_cross_entropy",
        "tanh",
    ];
    assert_eq!(names, known);
}
