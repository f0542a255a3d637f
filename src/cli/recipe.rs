//! How models are trained: the arguments that `train` and `compare` share.

use super::common::{compute, precision};
use crate::data::{SplitKind, check_share};
use crate::error::{Error, Result};
use crate::models::{Model, Size};
use crate::train::run::RunOptions;
use clap::Args;
use sonograd_kernels::{Compute, Isa};

/// How a model is trained; what is not given is as its source has it.
#[derive(Debug, Args)]
pub(super) struct RecipeArguments {
    /// Which songs are held out: auto (group where the folder has a groups.csv, else song), song, group, segment
    /// (parts of one song on both sides, as the sources do it: it leaks), fault-filtered (GTZAN)
    #[arg(long, default_value = "auto")]
    pub(super) split: String,

    /// The share of the songs that is held out
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub(super) validation: f64,

    /// Passes over the training songs [default: the source's: 10 for window, else 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) epochs: Option<u32>,

    /// Segments a step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(super) batch_size: u32,

    /// The optimiser's learning rate [default: the source's]
    #[arg(long, value_name = "F")]
    pub(super) learning_rate: Option<f32>,

    /// sgd, momentum, nesterov, adam, adamw, adadelta, rmsprop [default: the source's]; its own learning rate is the
    /// source's only with the source's optimiser, so give --learning-rate too
    #[arg(long, value_name = "NAME", requires = "learning_rate")]
    pub(super) optimizer: Option<String>,

    /// How the learning rate changes: constant, step:EPOCHS:FACTOR, cosine:WARM-UP-EPOCHS, plateau:EPOCHS:FACTOR
    #[arg(long, value_name = "PLAN", default_value = "constant")]
    pub(super) schedule: String,

    /// Scale all gradients together down to this norm where theirs is larger
    #[arg(long, value_name = "F")]
    pub(super) clip_norm: Option<f32>,

    /// Stop after so many epochs without a lower validation loss and keep the best epoch's weights; 0 for never
    /// [default: the source's: 2 for window, else 0]
    #[arg(long, value_name = "EPOCHS")]
    pub(super) patience: Option<usize>,

    /// Multiplies the model's filters and units
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    pub(super) width: f64,

    /// What the products of wide layers may lose: f32, nothing; fast, up to 2^-15 of a sum in prediction where the CPU
    /// has matrix tiles, nothing in training; bf16, 2^-7 in both, on every CPU. Sums and weights are f32
    #[arg(long, value_name = "P", default_value = "f32")]
    pub(super) precision: String,
}

impl RecipeArguments {
    /// What every run is computed with.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown precision; [`Error::File`] where what was tuned is damaged.
    pub(super) fn compute(&self, isa: Isa) -> Result<Compute> {
        compute(isa, precision(&self.precision)?)
    }

    /// What a run of this model with this seed is asked to do.
    ///
    /// # Errors
    /// [`Error::Usage`] for what no data can make right, before a song is read.
    pub(super) fn options(&self, model: Model, seed: u64, compute: &Compute) -> Result<RunOptions> {
        let (rule, learning_rate) = model.optimizer();
        let rule = self.optimizer.as_deref().map_or(Ok(rule), str::parse)?;
        if let Some(norm) = self.clip_norm
            && !(norm > 0.0 && norm.is_finite())
        {
            return Err(Error::Usage(format!(
                "--clip-norm {norm}: it is a number above 0"
            )));
        }
        let learning_rate = self.learning_rate.unwrap_or(learning_rate);
        if !(learning_rate > 0.0 && learning_rate.is_finite()) {
            return Err(Error::Usage(format!(
                "--learning-rate {learning_rate}: it is a number above 0"
            )));
        }
        check_share(self.validation)?;
        // A width that no model can have is refused now, not after the songs are read.
        model.build(Size {
            classes: model.classes(),
            width: self.width,
            dropout: true,
        })?;
        Ok(RunOptions {
            model,
            width: self.width,
            split: self.split.parse::<SplitKind>()?,
            validation: self.validation,
            epochs: self.epochs.map_or(model.epochs(), |epochs| epochs as usize),
            batch_size: self.batch_size as usize,
            rule,
            learning_rate,
            schedule: self.schedule.parse()?,
            clip_norm: self.clip_norm,
            patience: self
                .patience
                .map_or(model.patience(), |epochs| (epochs > 0).then_some(epochs)),
            seed,
            compute: compute.clone(),
        })
    }
}
