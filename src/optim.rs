//! Optimisers: one pass over the flat slices of weights, gradients and moments, as Keras computes them.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sonograd_kernels::{AlignedVec, Kernels};

/// How weights follow their gradients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Rule {
    /// Gradient descent.
    Sgd,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rule::Sgd => f.write_str("SGD"),
        }
    }
}

/// A rule, its learning rate and its moments.
#[derive(Debug, Clone)]
pub struct Optimizer {
    rule: Rule,
    /// The step's length; may be changed between steps.
    pub learning_rate: f32,
    moments: [AlignedVec; 2],
    steps: u64,
}

impl Optimizer {
    /// For `len` trainable weights.
    pub fn new(rule: Rule, learning_rate: f32, len: usize) -> Self {
        let moments = match rule {
            Rule::Sgd => [0, 0],
        };
        Self {
            rule,
            learning_rate,
            moments: moments.map(|n| AlignedVec::zeros(n * len)),
            steps: 0,
        }
    }

    /// A rule and its learning rate from text as Keras' configuration says it: `sgd lr=0.005`.
    ///
    /// # Errors
    /// A message where the rule is unknown or a number is missing.
    pub fn parse(text: &str) -> Result<(Rule, f32), String> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let values: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        let number = |key: &str| -> Result<f32, String> {
            let value = values
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| *value);
            let parsed = value.and_then(|value| value.parse().ok());
            parsed.ok_or_else(|| format!("optimiser '{text}' says no {key}"))
        };
        let rule = match name {
            "sgd" => Rule::Sgd,
            _ => return Err(format!("unknown optimiser '{name}'")),
        };
        Ok((rule, number("lr")?))
    }

    /// Updates the weights, in tasks of `chunk` elements on the current thread pool.
    pub fn step(
        &mut self,
        kernels: &'static Kernels,
        weights: &mut [f32],
        gradients: &[f32],
        chunk: usize,
    ) {
        self.steps += 1;
        let (rule, learning_rate) = (self.rule, self.learning_rate);
        match rule {
            Rule::Sgd => weights
                .par_chunks_mut(chunk)
                .zip(gradients.par_chunks(chunk))
                .for_each(|(w, g)| kernels.sgd(w, g, learning_rate)),
        }
    }
}
