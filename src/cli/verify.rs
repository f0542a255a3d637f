//! `sonograd verify`: this build on this CPU against answers recorded from Keras.

use super::common::{compute, isa, precision};
use super::output::Output;
use crate::error::{Error, Result};
use crate::io::reference::Reference;
use crate::verify::{TOLERANCE, Verdict, verify};
use clap::Args;
use sonograd_kernels::Isa;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check this build on this CPU against answers recorded from Keras
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sonograd verify
      the records built into the program
  sonograd verify reference/keras --isa avx2 --json

Exit code 1 where a record is not met.")]
pub(super) struct Verify {
    /// Records (.safetensors), or folders of them; none: those built into the program
    #[arg(value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,

    /// Only this instruction set: portable, avx2, avx512 [default: all that this CPU has]
    #[arg(long)]
    isa: Option<String>,

    /// f32, fast, bf16 (whose products miss the limits): see `sonograd train --help`
    #[arg(long, value_name = "P", default_value = "f32")]
    precision: String,

    /// One JSON object a record and instruction set on standard output
    #[arg(long)]
    json: bool,
}

macro_rules! built_in {
    ($($name:literal),*) => {
        &[$(($name, include_bytes!(concat!("../../fixtures/keras/", $name, ".safetensors")))),*]
    };
}

/// The records built into the program.
const BUILT_IN: &[(&str, &[u8])] =
    built_in!["parallel", "cnn-rnn", "efficient", "accurate", "window"];

impl Verify {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let output = Output { json: self.json };
        let sets: Vec<Isa> = match &self.isa {
            Some(name) => vec![name.parse().map_err(Error::Usage)?],
            None if std::env::var_os("SONOGRAD_ISA").is_some() => vec![isa()?],
            None => Isa::available().collect(),
        };
        let precision = precision(&self.precision)?;
        let sets = sets.into_iter().map(|isa| compute(isa, precision));
        let sets = sets.collect::<Result<Vec<_>>>()?;
        let mut passed = true;
        for reference in self.references()? {
            for compute in &sets {
                let verdict = verify(&reference, compute)?;
                passed &= verdict.pass;
                output.object(&verdict)?;
                print(output, &verdict)?;
            }
        }
        Ok(if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn references(&self) -> Result<Vec<Reference>> {
        if self.paths.is_empty() {
            return BUILT_IN
                .iter()
                .map(|(name, bytes)| Reference::from_bytes(bytes, Path::new(name)))
                .collect();
        }
        let mut references = Vec::new();
        for path in &self.paths {
            if !path.is_dir() {
                references.push(Reference::read(path)?);
                continue;
            }
            let entries = std::fs::read_dir(path).map_err(Error::io("list", path))?;
            let mut files = Vec::new();
            for entry in entries {
                let file = entry.map_err(Error::io("list", path))?.path();
                if file.extension().is_some_and(|kind| kind == "safetensors") {
                    files.push(file);
                }
            }
            if files.is_empty() {
                return Err(Error::file(path, "no .safetensors file in this folder"));
            }
            files.sort();
            for file in files {
                references.push(Reference::read(&file)?);
            }
        }
        Ok(references)
    }
}

fn print(output: Output, verdict: &Verdict) -> Result<()> {
    let (found, limit) = (&verdict.differences, &TOLERANCE);
    let word = if verdict.pass { "pass" } else { "FAIL" };
    output.text(format!(
        "{word}  {} in {} on {} ({})",
        verdict.model, verdict.precision, verdict.isa, verdict.file
    ))?;
    for (what, found, limit) in [
        (
            "output, absolute",
            found.output_max_abs,
            limit.output_max_abs,
        ),
        ("loss, relative", found.loss_rel, limit.loss_rel),
        (
            "gradients, relative L2",
            found.grad_rel_l2,
            limit.grad_rel_l2,
        ),
        (
            "loss while training, relative",
            found.trajectory_loss_rel,
            limit.trajectory_loss_rel,
        ),
        (
            "weights after training, relative L2",
            found.params_rel_l2,
            limit.params_rel_l2,
        ),
    ] {
        let mark = if found <= limit { ' ' } else { '!' };
        output.text(format!(
            "    {mark} {what:36} {found:9.2e}  (at most {limit:.0e})"
        ))?;
    }
    Ok(())
}
