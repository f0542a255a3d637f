//! `sonograd tune`: which algorithm is fastest for each convolution on this machine, measured once and kept.

use super::common::{isa_or, precision};
use super::output::{Output, note};
use crate::data::default_cache;
use crate::error::{Error, Result};
use crate::exec::PART_BYTES;
use crate::io::atomic;
use crate::machine;
use crate::models::{Model, Size};
use crate::random::Random;
use clap::Args;
use serde::{Deserialize, Serialize};
use sonograd_kernels::{AlignedVec, Compute, ConvAlgorithm, ConvBlock, Isa, Kernels, Precision};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time the ways to compute each convolution once, and use the fastest on this machine from now on
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sonograd tune
  sonograd tune efficient accurate --precision fast
  sonograd tune --forget

Without a choice of this machine's a fixed rule decides by the shapes alone. The choice is kept in the cache's folder, for
this processor, this version and each instruction set and precision; run.json says how each convolution was computed. The
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

    /// Seconds for each way to compute a convolution
    #[arg(long, value_name = "S", default_value_t = 0.2)]
    seconds: f64,

    /// Remove the choices: the rule decides again
    #[arg(long, conflicts_with_all = ["models", "width", "isa", "seconds", "precision"])]
    forget: bool,

    /// One JSON object a convolution on standard output
    #[arg(long)]
    json: bool,
}

/// An algorithm by a block's shapes.
type Choices = BTreeMap<String, String>;

/// The file of choices.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    machine: String,
    version: String,
    /// By instruction set and precision.
    choices: BTreeMap<String, BTreeMap<String, Choices>>,
}

/// One convolution's times.
#[derive(Debug, Serialize)]
struct Measured<'a> {
    model: &'static str,
    layer: &'a str,
    convolution: &'a str,
    /// Microseconds a sample, forward and backward, by algorithm.
    microseconds: &'a BTreeMap<&'static str, f64>,
    rule: &'static str,
    chosen: &'static str,
}

/// Another algorithm than the rule's must be faster by this factor: less is noise.
const WORTH: f64 = 1.03;
/// Each algorithm's time is measured in so many turns.
const TURNS: u32 = 5;

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
pub(super) fn tuned(isa: Isa, precision: Precision) -> Result<BTreeMap<String, ConvAlgorithm>> {
    let Ok(path) = path() else {
        return Ok(BTreeMap::new());
    };
    let Some(stored) = read(&path)? else {
        return Ok(BTreeMap::new());
    };
    if !stored.is_ours() {
        note(format!(
            "note: {} is of another machine or version and is left aside: run `sonograd tune` again",
            path.display()
        ));
        return Ok(BTreeMap::new());
    }
    let of_isa = stored.choices.get(isa.name());
    let Some(choices) = of_isa.and_then(|choices| choices.get(precision.name())) else {
        return Ok(BTreeMap::new());
    };
    let parsed = choices.iter().map(|(block, name)| {
        let algorithm = name
            .parse()
            .map_err(|reason: String| Error::file(&path, reason))?;
        Ok((block.clone(), algorithm))
    });
    parsed.collect()
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
        let compute = Compute {
            precision: precision(&self.precision)?,
            ..isa_or(self.isa.as_deref())?.into()
        };
        let Some(kernels) = Kernels::of(compute.isa) else {
            let isa = compute.isa;
            return Err(Error::Usage(format!("this CPU has no {isa} instructions")));
        };
        let mut choices = Choices::new();
        for model in models {
            let mut plan = model.compile(Size {
                classes: model.classes(),
                width: self.width,
                dropout: true,
            })?;
            let data_len = plan.input_shape().len();
            for (layer, block) in plan.convolutions() {
                let name = block.to_string();
                if choices.contains_key(&name) {
                    continue;
                }
                let rule = compute.algorithm(block);
                // The first layer's gradient by the data is never computed.
                let wants_input = block.conv.input_len() != data_len;
                let times = self.times(&compute, kernels, *block, wants_input);
                let mut chosen = rule;
                for (&algorithm, &time) in &times {
                    let best = times.get(&chosen).copied().unwrap_or(f64::INFINITY);
                    let worth = if chosen == rule { WORTH } else { 1.0 };
                    if time * worth < best {
                        chosen = algorithm;
                    }
                }
                let microseconds = times
                    .iter()
                    .map(|(algorithm, &time)| (algorithm.name(), time * 1e6))
                    .collect();
                let measured = Measured {
                    model: model.name(),
                    layer,
                    convolution: &name,
                    microseconds: &microseconds,
                    rule: rule.name(),
                    chosen: chosen.name(),
                };
                output.object(&measured)?;
                let times: Vec<_> = microseconds
                    .iter()
                    .map(|(name, time)| format!("{name} {time:.1}"))
                    .collect();
                let (times, model) = (times.join(", "), model.name());
                output.text(format!(
                    "{model} {layer}: {chosen} (us a sample: {times}); {name}"
                ))?;
                choices.insert(name, chosen.to_string());
            }
        }
        let mut stored = read(&path)?
            .filter(Stored::is_ours)
            .unwrap_or_else(|| Stored {
                machine: machine::describe(),
                version: env!("CARGO_PKG_VERSION").into(),
                choices: BTreeMap::new(),
            });
        let of_isa = stored.choices.entry(compute.isa.to_string()).or_default();
        let kept = of_isa.entry(compute.precision.to_string()).or_default();
        kept.extend(choices);
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

    /// Seconds a sample by each algorithm, the least of many, in turns.
    fn times(
        &self,
        compute: &Compute,
        kernels: &Kernels,
        block: ConvBlock,
        wants_input: bool,
    ) -> BTreeMap<ConvAlgorithm, f64> {
        let mut ways: Vec<Way> = compute
            .candidates(&block)
            .into_iter()
            .map(|algorithm| Way::new(kernels, block, algorithm, wants_input))
            .collect();
        let turn = Duration::from_secs_f64(self.seconds / f64::from(TURNS));
        for _ in 0..TURNS {
            ways.iter_mut().for_each(|way| way.time(kernels, turn));
        }
        ways.iter()
            .map(|way| (way.algorithm, way.best / way.samples as f64))
            .collect()
    }
}

/// One algorithm's buffers for one convolution.
struct Way {
    algorithm: ConvAlgorithm,
    block: ConvBlock,
    samples: usize,
    input: AlignedVec,
    packed: AlignedVec,
    bias: AlignedVec,
    output: AlignedVec,
    codes: Vec<u8>,
    d_output: AlignedVec,
    d_input: Option<AlignedVec>,
    d_kernel: AlignedVec,
    d_bias: AlignedVec,
    scratch: AlignedVec,
    /// Seconds.
    best: f64,
}

impl Way {
    fn new(
        kernels: &Kernels,
        block: ConvBlock,
        algorithm: ConvAlgorithm,
        wants_input: bool,
    ) -> Self {
        let block = ConvBlock {
            algorithm: Some(algorithm),
            ..block
        };
        let (conv, lanes) = (&block.conv, kernels.lanes());
        // As many as the engine gives a stage.
        let samples = (PART_BYTES / size_of::<f32>() / conv.input_len()).clamp(1, 16);
        let mut random = Random::new(&[3]);
        let mut noise = |len: usize| {
            let mut values = AlignedVec::zeros(len);
            values.iter_mut().for_each(|x| *x = random.normal() as f32);
            values
        };
        let kernel = noise(conv.kernel_len());
        let mut packed = AlignedVec::zeros(block.packed_len(lanes));
        kernels.conv_block_pack(&block, &kernel, &mut packed);
        let scratch = block
            .forward_scratch_len(lanes)
            .max(block.backward_scratch_len(lanes));
        Self {
            algorithm,
            samples,
            input: noise(samples * conv.input_len()),
            packed,
            bias: noise(conv.out_channels),
            output: AlignedVec::zeros(samples * block.output_len()),
            codes: vec![0; samples * block.codes_len()],
            d_output: noise(samples * block.output_len()),
            d_input: wants_input.then(|| AlignedVec::zeros(samples * conv.input_len())),
            d_kernel: AlignedVec::zeros(conv.kernel_len()),
            d_bias: AlignedVec::zeros(conv.out_channels),
            scratch: AlignedVec::zeros(scratch),
            block,
            best: f64::INFINITY,
        }
    }

    /// Forward and backward again and again for so long, twice at least.
    fn time(&mut self, kernels: &Kernels, turn: Duration) {
        let begin = Instant::now();
        for repeat in 0.. {
            if repeat > 1 && begin.elapsed() > turn {
                break;
            }
            let start = Instant::now();
            kernels.conv_block_forward(
                &self.block,
                self.samples,
                &self.input,
                &self.packed,
                &self.bias,
                &mut self.output,
                &mut self.codes,
                &mut self.scratch,
            );
            kernels.conv_block_backward(
                &self.block,
                self.samples,
                &self.input,
                &self.output,
                &self.codes,
                &self.d_output,
                &self.packed,
                self.d_input.as_deref_mut(),
                &mut self.d_kernel,
                &mut self.d_bias,
                &mut self.scratch,
            );
            self.best = self.best.min(start.elapsed().as_secs_f64());
        }
    }
}
