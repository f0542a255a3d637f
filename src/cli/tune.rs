//! `sonograd tune`: which algorithm is fastest for each convolution, and for the products of each wide dense layer and LSTM,
//! on this machine, measured once and kept.

mod convolution;
mod products;

use super::common::{isa_or, precision};
use super::output::{Output, note};
use crate::data::default_cache;
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::machine;
use crate::models::{Model, Size};
use clap::Args;
use serde::{Deserialize, Serialize};
use sonograd_kernels::{Compute, ConvAlgorithm, GemmAlgorithm, Isa, Kernels, Precision, Tuned};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// Time the ways to compute each convolution and wide product once, and use the fastest on this machine from now on
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sonograd tune
  sonograd tune efficient accurate --precision fast
  sonograd tune --forget

Without a choice of this machine's a fixed rule decides by the shapes alone. The choice is kept in the cache's folder, for
this processor, this version and each instruction set and precision; run.json says how each layer was computed. Dense layers and
LSTMs have a choice where the CPU has matrix tiles: whole training steps are timed for them. The
same seed and choice give the same bits. Run it while nothing else runs.")]
pub(super) struct Tune {
    /// The models; none: all of them
    models: Vec<String>,

    /// f32, fast, bf16: see `sonograd train --help`
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: String,

    /// Multiplies the models' filters and units
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    width: f64,

    /// portable, avx2, avx512 [default: the best that this CPU has]
    #[arg(long)]
    isa: Option<String>,

    /// Seconds for each way to compute a layer
    #[arg(long, value_name = "S", default_value_t = 0.2)]
    seconds: f64,

    /// Remove the choices: the rule decides again
    #[arg(long, conflicts_with_all = ["models", "width", "isa", "seconds", "precision"])]
    forget: bool,

    /// One JSON object a layer on standard output
    #[arg(long)]
    json: bool,
}

/// An algorithm by a layer's shapes.
type Choices = BTreeMap<String, String>;
/// By instruction set and precision.
type ChoicesBySet = BTreeMap<String, BTreeMap<String, Choices>>;

/// The file of choices.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    machine: String,
    version: String,
    /// Of convolutions.
    choices: ChoicesBySet,
    /// Of the products of dense layers and LSTMs.
    #[serde(default)]
    products: ChoicesBySet,
}

/// One layer's times.
#[derive(Debug, Serialize)]
struct Measured<'a> {
    model: &'static str,
    layer: &'a str,
    /// Its shapes, the choice's key: a convolution's, or those of a layer of products.
    #[serde(skip_serializing_if = "Option::is_none")]
    convolution: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'a str>,
    /// Microseconds a sample by algorithm: the convolution forward and backward, or a training step of the model.
    microseconds: BTreeMap<&'static str, f64>,
    rule: &'static str,
    chosen: &'static str,
}

/// Another algorithm than the rule's must be faster by this factor: less is noise.
const WORTH: f64 = 1.03;
/// Each algorithm's time is measured in so many turns.
const TURNS: u32 = 5;

/// How long a turn is where each algorithm has so many seconds.
fn turn(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds / f64::from(TURNS))
}

fn path() -> Result<PathBuf> {
    let folder = default_cache().ok_or_else(|| {
        Error::Usage("no folder to keep the choice in: set HOME or SONOGRAD_CACHE".into())
    })?;
    Ok(folder.join("tuned.json"))
}

/// The file's content, or `None` where there is none.
fn read(path: &Path) -> Result<Option<Stored>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let stored = serde_json::from_slice(&text).map_err(|error| {
        let reason =
            format!("no choice of `sonograd tune` ({error}); `sonograd tune --forget` removes it");
        Error::file(path, reason)
    })?;
    Ok(Some(stored))
}

impl Stored {
    fn is_ours(&self) -> bool {
        self.machine == machine::describe() && self.version == env!("CARGO_PKG_VERSION")
    }
}

/// What was chosen on this machine, and nothing where `tune` never ran.
///
/// # Errors
/// [`Error::File`] where the file of choices is damaged.
pub(super) fn tuned(isa: Isa, precision: Precision) -> Result<Tuned> {
    let Ok(path) = path() else {
        return Ok(Tuned::default());
    };
    let Some(stored) = read(&path)? else {
        return Ok(Tuned::default());
    };
    if !stored.is_ours() {
        note(format!(
            "note: {} is of another machine or version and is left aside: run `sonograd tune` again",
            path.display()
        ));
        return Ok(Tuned::default());
    }
    Ok(Tuned {
        convolutions: parsed(&path, &stored.choices, isa, precision)?,
        products: parsed(&path, &stored.products, isa, precision)?,
    })
}

/// The choices of an instruction set and precision.
fn parsed<T: FromStr<Err = String>>(
    path: &Path,
    choices: &ChoicesBySet,
    isa: Isa,
    precision: Precision,
) -> Result<BTreeMap<String, T>> {
    let of_isa = choices.get(isa.name());
    let choices = of_isa.and_then(|choices| choices.get(precision.name()));
    let parsed = choices.into_iter().flatten().map(|(sizes, name)| {
        let algorithm = name
            .parse()
            .map_err(|reason: String| Error::file(path, reason))?;
        Ok((sizes.clone(), algorithm))
    });
    parsed.collect()
}

/// Microseconds by an algorithm's name.
fn microseconds<T: Copy>(
    seconds: &BTreeMap<T, f64>,
    name: fn(T) -> &'static str,
) -> BTreeMap<&'static str, f64> {
    let named = seconds.iter();
    named
        .map(|(&each, &time)| (name(each), time * 1e6))
        .collect()
}

/// Writes a layer's times.
fn report(output: Output, measured: &Measured<'_>) -> Result<()> {
    output.object(measured)?;
    let times = measured.microseconds.iter();
    let times: Vec<_> = times
        .map(|(name, time)| format!("{name} {time:.1}"))
        .collect();
    let sizes = measured
        .convolution
        .or(measured.product)
        .unwrap_or_default();
    let (model, layer, chosen) = (measured.model, measured.layer, measured.chosen);
    output.text(format!(
        "{model} {layer}: {chosen} (us a sample: {}); {sizes}",
        times.join(", ")
    ))
}

/// Keeps choices of an instruction set and precision beside those that are there.
fn keep<T: Display>(
    all: &mut ChoicesBySet,
    (isa, precision): (&str, &str),
    choices: &BTreeMap<String, T>,
) {
    let of_isa = all.entry(isa.into()).or_default();
    let kept = of_isa.entry(precision.into()).or_default();
    kept.extend(
        choices
            .iter()
            .map(|(sizes, algorithm)| (sizes.clone(), algorithm.to_string())),
    );
}

/// The fastest of `times`, unless it is hardly faster than the rule's.
fn fastest<T: Copy + Ord>(rule: T, times: &BTreeMap<T, f64>) -> T {
    let mut chosen = rule;
    for (&algorithm, &time) in times {
        let best = times.get(&chosen).copied().unwrap_or(f64::INFINITY);
        let worth = if chosen == rule { WORTH } else { 1.0 };
        if time * worth < best {
            chosen = algorithm;
        }
    }
    chosen
}

impl Tune {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let output = Output { json: self.json };
        let path = path()?;
        if self.forget {
            return match std::fs::remove_file(&path) {
                Ok(()) => output.text(format!("removed {}", path.display())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    output.text("nothing was chosen")
                }
                Err(error) => Err(Error::io("remove", &path)(error)),
            }
            .map(|()| ExitCode::SUCCESS);
        }
        if !(self.seconds > 0.0 && self.seconds <= 60.0) {
            return Err(Error::Usage(format!(
                "--seconds {}: it is above 0 and at most 60",
                self.seconds
            )));
        }
        let models = Model::chosen(&self.models)?;
        let mut compute = Compute {
            precision: precision(&self.precision)?,
            ..isa_or(self.isa.as_deref())?.into()
        };
        let Some(kernels) = Kernels::of(compute.isa) else {
            let isa = compute.isa;
            return Err(Error::Usage(format!("this CPU has no {isa} instructions")));
        };
        for model in models {
            self.convolutions(model, &mut compute, kernels, output)?;
            self.products(model, &mut compute, output)?;
        }
        let mut stored = read(&path)?
            .filter(Stored::is_ours)
            .unwrap_or_else(|| Stored {
                machine: machine::describe(),
                version: env!("CARGO_PKG_VERSION").into(),
                choices: BTreeMap::new(),
                products: BTreeMap::new(),
            });
        let set = (compute.isa.name(), compute.precision.name());
        keep(&mut stored.choices, set, &compute.tuned.convolutions);
        keep(&mut stored.products, set, &compute.tuned.products);
        let text = serde_json::to_vec_pretty(&stored)
            .map_err(|error| Error::file(&path, error.to_string()))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        atomic::write(&path, &text)?;
        let (precision, isa) = (compute.precision, compute.isa);
        output.text(format!(
            "the choice for {precision} on {isa} is in {}",
            path.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }

    fn size(&self, model: Model) -> Size {
        Size {
            classes: model.classes(),
            width: self.width,
            dropout: true,
        }
    }

    /// Adds a model's convolutions to what is tuned.
    fn convolutions(
        &self,
        model: Model,
        compute: &mut Compute,
        kernels: &Kernels,
        output: Output,
    ) -> Result<()> {
        let mut plan = model.compile(self.size(model))?;
        let data_len = plan.input_shape().len();
        for (layer, block) in plan.convolutions() {
            let name = block.to_string();
            if compute.tuned.convolutions.contains_key(&name) {
                continue;
            }
            let rule = compute.algorithm(block);
            // The first layer's gradient by the data is never computed.
            let wants_input = block.conv.input_len() != data_len;
            let times = convolution::times(compute, kernels, *block, wants_input, self.seconds);
            let chosen = fastest(rule, &times);
            report(
                output,
                &Measured {
                    model: model.name(),
                    layer,
                    convolution: Some(&name),
                    product: None,
                    microseconds: microseconds(&times, ConvAlgorithm::name),
                    rule: rule.name(),
                    chosen: chosen.name(),
                },
            )?;
            compute.tuned.convolutions.insert(name, chosen);
        }
        Ok(())
    }

    /// Adds a model's products to what is tuned: whole training steps are timed, with the choices so far for all other layers.
    fn products(&self, model: Model, compute: &mut Compute, output: Output) -> Result<()> {
        let candidates = compute.product_candidates();
        if candidates.len() < 2 {
            return Ok(());
        }
        let size = self.size(model);
        let mut plan = model.compile(size)?;
        let layers = plan.products();
        let layers: Vec<_> = layers
            .map(|(layer, sizes, _)| (layer.to_owned(), sizes))
            .collect();
        for (layer, sizes) in layers {
            if compute.tuned.products.contains_key(&sizes) {
                continue;
            }
            let rule = compute.products(&sizes);
            let times = products::times(model, size, &sizes, compute, &candidates, self.seconds)?;
            let chosen = fastest(rule, &times);
            report(
                output,
                &Measured {
                    model: model.name(),
                    layer: &layer,
                    convolution: None,
                    product: Some(&sizes),
                    microseconds: microseconds(&times, GemmAlgorithm::name),
                    rule: rule.name(),
                    chosen: chosen.name(),
                },
            )?;
            compute.tuned.products.insert(sizes, chosen);
        }
        Ok(())
    }
}
