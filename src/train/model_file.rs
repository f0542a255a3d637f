//! A trained model as a file: weights, genres, front end, normalisation and how it was made.

use super::run::Recipe;
use crate::audio::FrontEnd;
use crate::data::Normalisation;
use crate::error::{Error, Result};
use crate::exec::Executor;
use crate::io::TensorFile;
use crate::models::{Model, Size};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use sonograd_kernels::Compute;
use std::path::Path;
use std::sync::Arc;

const FORMAT: &str = "sonograd-model-1";
/// The one text of the file's metadata: JSON, so that equal models are equal bytes.
const KEY: &str = "sonograd";

/// Everything about a model but its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The file's format.
    format: String,
    /// The model's name.
    pub model: String,
    /// What its filters and units are multiplied by.
    pub width: f64,
    /// The genres in the order of its answers.
    pub genres: Vec<String>,
    /// What makes its features.
    pub front_end: FrontEnd,
    /// The front end's constants, to be refused where they are not this build's.
    pub constants: String,
    /// Of the features.
    pub normalisation: Normalisation,
    /// How it was made: data, split, settings, seed. Nothing of time or machine: the same run gives the same bytes.
    pub made: Recipe,
}

/// A model on its way to or from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// What it is.
    pub description: Description,
    weights: TensorFile,
}

impl ModelFile {
    /// Takes the weights of a trained executor.
    pub fn of(
        executor: &Executor,
        model: Model,
        width: f64,
        genres: &[String],
        normalisation: Normalisation,
        made: Recipe,
    ) -> Result<Self> {
        let mut weights = TensorFile::default();
        for weight in executor.plan().weights() {
            let values = executor.weight(&weight.name).unwrap_or_default();
            let tensor = Tensor::new(weight.parameter.shape.clone(), values.to_vec())?;
            weights.tensors.insert(weight.name.clone(), tensor);
        }
        let description = Description {
            format: FORMAT.into(),
            model: model.name().into(),
            width,
            genres: genres.to_vec(),
            front_end: model.front_end(),
            constants: model.front_end().constants(),
            normalisation,
            made,
        };
        Ok(Self {
            description,
            weights,
        })
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(&self.description)
            .map_err(|error| Error::file(path, format!("cannot describe the model: {error}")))?;
        let mut file = self.weights.clone();
        file.metadata.insert(KEY.into(), text);
        file.write(path)
    }

    /// Reads a file and checks that this build can run it.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::File`] where it is cut off, not a model of this program, or of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let mut weights = TensorFile::read(path)?;
        let Some(text) = weights.metadata.remove(KEY) else {
            let reason = "a safetensors file, but not a model that 'sonograd train' wrote";
            return Err(Error::file(path, reason));
        };
        #[derive(Deserialize)]
        struct Format {
            format: String,
        }
        let broken = |error: serde_json::Error| {
            Error::file(path, format!("its description is damaged ({error})"))
        };
        let Format { format } = serde_json::from_str(&text).map_err(broken)?;
        if format != FORMAT {
            let reason =
                format!("its format is '{format}', this program reads '{FORMAT}': train it anew");
            return Err(Error::file(path, reason));
        }
        let description: Description = serde_json::from_str(&text).map_err(broken)?;
        let file = Self {
            description,
            weights,
        };
        file.check(path)?;
        Ok(file)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let description = &self.description;
        let model = self
            .model()
            .map_err(|error| Error::file(path, error.to_string()))?;
        let refuse = |reason: String| Err(Error::file(path, reason));
        if description.front_end != model.front_end() {
            let (found, wanted) = (description.front_end, model.front_end());
            return refuse(format!(
                "{model} takes the features of '{wanted}', the file says '{found}'"
            ));
        }
        if description.constants != model.front_end().constants() {
            return refuse(
                "it was trained with other constants of the front end: train it anew".into(),
            );
        }
        let Normalisation { mean, deviation } = description.normalisation;
        if !(mean.is_finite() && deviation.is_finite() && deviation > 0.0) {
            return refuse(format!(
                "its normalisation (mean {mean}, deviation {deviation}) is damaged"
            ));
        }
        let plan = model
            .compile(self.size())
            .map_err(|error| Error::file(path, error.to_string()))?;
        for weight in plan.weights() {
            let tensor = self.weights.tensor(path, &weight.name)?;
            if *tensor.shape() != weight.parameter.shape {
                let (found, wanted) = (tensor.shape(), &weight.parameter.shape);
                let classes = description.genres.len();
                return refuse(format!(
                    "weight '{}' is {found}, {model} for {classes} genres has {wanted}",
                    weight.name
                ));
            }
            if tensor.data().iter().any(|x| !x.is_finite()) {
                return refuse(format!(
                    "weight '{}' has values that are not numbers",
                    weight.name
                ));
            }
        }
        let known = |name: &String| plan.weights().iter().any(|weight| weight.name == *name);
        match self.weights.tensors.keys().find(|name| !known(name)) {
            Some(name) => refuse(format!("{model} has no weight '{name}'")),
            None => Ok(()),
        }
    }

    /// Which model it is.
    ///
    /// # Errors
    /// [`Error::Usage`] where this build has no model of the name.
    pub fn model(&self) -> Result<Model> {
        self.description.model.parse()
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        Size {
            classes: self.description.genres.len(),
            width: self.description.width,
            dropout: true,
        }
    }

    /// The model in memory.
    ///
    /// # Errors
    /// As [`Executor::new`].
    pub fn executor(
        &self,
        batch_size: usize,
        pool: Arc<rayon::ThreadPool>,
        compute: impl Into<Compute>,
    ) -> Result<Executor> {
        let plan = self.model()?.compile(self.size())?;
        let mut executor = Executor::new(plan, batch_size, pool, compute)?;
        for (name, tensor) in &self.weights.tensors {
            executor.set_weight(name, tensor.data())?;
        }
        Ok(executor)
    }
}
