//! Holds this build on this CPU to answers recorded from Keras.

use crate::error::{Error, Result};
use crate::exec::{Executor, SliceBatch, thread_pool};
use crate::io::reference::Reference;
use crate::models::{Model, Size};
use crate::optim::{Optimizer, Rule};
use serde::Serialize;
use sonograd_kernels::Compute;

/// How far this build may be from the record: about ten times what two builds of TensorFlow differ by themselves.
pub const TOLERANCE: Differences = Differences {
    output_max_abs: 1e-5,
    loss_rel: 1e-5,
    grad_rel_l2: 1e-4,
    trajectory_loss_rel: 1e-4,
    params_rel_l2: 2e-2,
};

/// How far a build is from the record.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Differences {
    /// Probabilities in inference mode: the largest absolute difference.
    pub output_max_abs: f64,
    /// The loss in training mode, relative.
    pub loss_rel: f64,
    /// The weights' gradients: the largest relative L2 distance of a tensor.
    pub grad_rel_l2: f64,
    /// The loss before each step of the optimiser: the largest relative difference.
    pub trajectory_loss_rel: f64,
    /// The weights after the steps: the largest relative L2 distance of a tensor.
    pub params_rel_l2: f64,
}

/// The answer for one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The recorded file.
    pub file: String,
    /// The recorded model.
    pub model: String,
    /// The instruction set that ran.
    pub isa: String,
    /// What forward's products were allowed to lose.
    pub precision: String,
    /// The differences found.
    #[serde(flatten)]
    pub differences: Differences,
    /// True where every difference is within its tolerance.
    pub pass: bool,
}

impl Differences {
    /// True where every difference is at most the tolerance's; NaN is not.
    pub fn within(&self, tolerance: &Differences) -> bool {
        self.output_max_abs <= tolerance.output_max_abs
            && self.loss_rel <= tolerance.loss_rel
            && self.grad_rel_l2 <= tolerance.grad_rel_l2
            && self.trajectory_loss_rel <= tolerance.trajectory_loss_rel
            && self.params_rel_l2 <= tolerance.params_rel_l2
    }
}

/// Runs the recorded model on the recorded batch.
///
/// # Errors
/// [`Error::File`] where the record does not fit the model of its name, [`Error::Usage`] where the model is unknown.
pub fn verify(reference: &Reference, compute: &Compute) -> Result<Verdict> {
    let differences = differences(reference, compute)?;
    Ok(Verdict {
        file: reference.path.display().to_string(),
        model: reference.model.clone(),
        isa: compute.isa.to_string(),
        precision: compute.precision.to_string(),
        differences,
        pass: differences.within(&TOLERANCE),
    })
}

fn differences(reference: &Reference, compute: &Compute) -> Result<Differences> {
    let model: Model = reference.model.parse()?;
    let plan = model.compile(Size {
        classes: reference.classes,
        width: reference.width,
        dropout: false,
    })?;
    let samples = reference.samples();
    if reference.input.data().len() != samples * plan.input_shape().len() {
        let (found, wanted) = (reference.input.shape(), plan.input_shape());
        let reason =
            format!("its input is {found}, but {model} takes {samples} samples of {wanted}");
        return Err(Error::file(&reference.path, reason));
    }
    let weights = plan.weights().to_vec();
    let trainable = plan.trainable_len();
    let mut executor = Executor::new(plan, samples, thread_pool(0)?, compute.clone())?;
    for weight in &weights {
        let recorded = reference.tensor(&format!("param/{}", weight.name))?;
        let set = executor.set_weight(&weight.name, recorded.data());
        set.map_err(|error| Error::file(&reference.path, error.to_string()))?;
    }
    let batch = SliceBatch {
        inputs: reference.input.data(),
        targets: reference.target.data(),
        samples,
    };

    let mut output = vec![0.0; samples * reference.classes];
    executor.predict(&batch, &mut output)?;
    let output_max_abs = largest_difference(&output, reference.tensor("output")?.data());

    let loss = executor.loss_and_gradients(&batch)?.loss;
    let recorded_loss = reference
        .tensor("loss")?
        .data()
        .first()
        .copied()
        .unwrap_or(f32::NAN);
    let mut grad_rel_l2: f64 = 0.0;
    let mut trained = weights.iter().filter(|weight| weight.parameter.trainable);
    if let Some((name, _)) = reference
        .under("grad")
        .find(|(name, _)| !trained.clone().any(|weight| weight.name == *name))
    {
        let reason = format!("{model} has no trained weight '{name}'");
        return Err(Error::file(&reference.path, reason));
    }
    // A gradient that was not recorded is an error, not one that agrees.
    trained.try_for_each(|weight| {
        let recorded = reference.tensor(&format!("grad/{}", weight.name))?;
        let found = executor.gradient(&weight.name).unwrap_or_default();
        grad_rel_l2 = worse(grad_rel_l2, relative_l2(found, recorded.data()));
        Ok::<_, Error>(())
    })?;

    let (rule, learning_rate) = Rule::from_record(&reference.optimizer)
        .map_err(|reason| Error::file(&reference.path, reason))?;
    let mut optimizer = Optimizer::new(rule, learning_rate, trainable);
    let mut trajectory_loss_rel: f64 = 0.0;
    // Statistics have moved by the gradient's own forward pass: start again from the record.
    for weight in &weights {
        executor.set_weight(
            &weight.name,
            reference.tensor(&format!("param/{}", weight.name))?.data(),
        )?;
    }
    let trajectory = reference.tensor("trajectory/loss")?.data();
    if trajectory.is_empty() {
        let reason = "its 'trajectory/loss' is empty: no step of the optimiser was recorded";
        return Err(Error::file(&reference.path, reason));
    }
    for &recorded in trajectory {
        let found = executor.train_step(&batch, &mut optimizer)?.loss;
        trajectory_loss_rel = worse(trajectory_loss_rel, relative(found, f64::from(recorded)));
    }
    let mut params_rel_l2: f64 = 0.0;
    for weight in &weights {
        let recorded = reference.tensor(&format!("trajectory/param/{}", weight.name))?;
        let found = executor.weight(&weight.name).unwrap_or_default();
        params_rel_l2 = worse(params_rel_l2, relative_l2(found, recorded.data()));
    }
    Ok(Differences {
        output_max_abs,
        loss_rel: relative(loss, f64::from(recorded_loss)),
        grad_rel_l2,
        trajectory_loss_rel,
        params_rel_l2,
    })
}

/// The larger of two differences; NaN is the largest.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn relative(found: f64, recorded: f64) -> f64 {
    (found - recorded).abs() / recorded.abs()
}

fn largest_difference(found: &[f32], recorded: &[f32]) -> f64 {
    if found.len() != recorded.len() {
        return f64::NAN;
    }
    let differences = found
        .iter()
        .zip(recorded)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    differences.fold(0.0, worse)
}

/// |found - recorded| / |recorded|; of an all-zero record the absolute distance.
fn relative_l2(found: &[f32], recorded: &[f32]) -> f64 {
    if found.len() != recorded.len() {
        return f64::NAN;
    }
    let square = |x: f64| x * x;
    let distance: f64 = found
        .iter()
        .zip(recorded)
        .map(|(&a, &b)| square(f64::from(a) - f64::from(b)))
        .sum();
    let size: f64 = recorded.iter().map(|&b| square(f64::from(b))).sum();
    if size == 0.0 {
        distance.sqrt()
    } else {
        (distance / size).sqrt()
    }
}
