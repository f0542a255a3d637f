//! Optimisers: one pass over the flat slices of weights, gradients and moments, as Keras computes them.
//!
//! Where epsilon stands, and that weight decay comes first: see docs/parity.md.

pub mod schedule;

use crate::error::Error;
use rayon::prelude::*;
pub use schedule::{Schedule, Scheduler};
use serde::{Deserialize, Serialize};
use sonograd_kernels::{AlignedVec, Kernels};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// How weights follow their gradients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Rule {
    /// Gradient descent; with a momentum other than 0 the classical or Nesterov's.
    Sgd {
        /// In [0, 1).
        momentum: f32,
        /// Look ahead by the velocity.
        nesterov: bool,
    },
    /// Kingma and Ba (2015); with a weight decay other than 0 it is AdamW (Loshchilov and Hutter, 2019).
    Adam {
        /// Of the mean.
        beta_1: f64,
        /// Of the mean square.
        beta_2: f64,
        /// Beside the root.
        epsilon: f32,
        /// A share of the weight, times the learning rate.
        weight_decay: f32,
    },
    /// Zeiler (2012).
    Adadelta {
        /// Of both means.
        rho: f64,
        /// Inside both roots.
        epsilon: f32,
    },
    /// Hinton (2012).
    RmsProp {
        /// Of the mean square.
        rho: f64,
        /// 0 for none.
        momentum: f32,
        /// Inside the root.
        epsilon: f32,
    },
}

/// Keras' epsilon of every optimiser.
const EPSILON: f32 = 1e-7;

impl Rule {
    /// Plain gradient descent.
    pub const SGD: Rule = Rule::Sgd {
        momentum: 0.0,
        nesterov: false,
    };
    /// Adam as Keras sets it.
    pub const ADAM: Rule = Rule::Adam {
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: EPSILON,
        weight_decay: 0.0,
    };
    /// Adadelta as Keras sets it.
    pub const ADADELTA: Rule = Rule::Adadelta {
        rho: 0.95,
        epsilon: EPSILON,
    };

    /// The names that [`from_str`](FromStr::from_str) takes.
    pub const NAMES: [&'static str; 7] = [
        "sgd", "momentum", "nesterov", "adam", "adamw", "adadelta", "rmsprop",
    ];

    /// Slices of moments that the rule keeps.
    fn moments(&self) -> usize {
        match *self {
            Rule::Sgd { momentum, .. } => usize::from(momentum != 0.0),
            Rule::RmsProp { momentum, .. } => 1 + usize::from(momentum != 0.0),
            Rule::Adam { .. } | Rule::Adadelta { .. } => 2,
        }
    }

    /// A rule and its learning rate from text as a record says it: `sgd lr=0.005`, `adam lr=0.001 beta1=0.9
    /// beta2=0.999 eps=1e-7`.
    ///
    /// # Errors
    /// A message where the rule is unknown or a number is missing.
    pub fn from_record(text: &str) -> Result<(Rule, f32), String> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let values: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        let number = |key: &str| -> Result<f64, String> {
            let value = values
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| *value);
            let parsed = value.and_then(|value| value.parse().ok());
            parsed.ok_or_else(|| format!("optimiser '{text}' says no {key}"))
        };
        let rule = match name {
            "sgd" => Rule::SGD,
            "adam" => Rule::Adam {
                beta_1: number("beta1")?,
                beta_2: number("beta2")?,
                epsilon: number("eps")? as f32,
                weight_decay: 0.0,
            },
            "adadelta" => Rule::Adadelta {
                rho: number("rho")?,
                epsilon: number("eps")? as f32,
            },
            _ => return Err(format!("unknown optimiser '{name}'")),
        };
        Ok((rule, number("lr")? as f32))
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "sgd" => Rule::SGD,
            "momentum" => Rule::Sgd {
                momentum: 0.9,
                nesterov: false,
            },
            "nesterov" => Rule::Sgd {
                momentum: 0.9,
                nesterov: true,
            },
            "adam" => Rule::ADAM,
            "adamw" => Rule::Adam {
                beta_1: 0.9,
                beta_2: 0.999,
                epsilon: EPSILON,
                weight_decay: 0.004,
            },
            "adadelta" => Rule::ADADELTA,
            "rmsprop" => Rule::RmsProp {
                rho: 0.9,
                momentum: 0.0,
                epsilon: EPSILON,
            },
            _ => {
                let names = Self::NAMES.join(", ");
                return Err(Error::Usage(format!(
                    "unknown optimiser '{name}': one of {names}"
                )));
            }
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Rule::Sgd { momentum: 0.0, .. } => f.write_str("SGD"),
            Rule::Sgd {
                momentum,
                nesterov: false,
            } => write!(f, "SGD, momentum {momentum}"),
            Rule::Sgd {
                momentum,
                nesterov: true,
            } => write!(f, "SGD, Nesterov momentum {momentum}"),
            Rule::Adam {
                beta_1,
                beta_2,
                epsilon,
                weight_decay: 0.0,
            } => {
                write!(f, "Adam (beta {beta_1} and {beta_2}, epsilon {epsilon})")
            }
            Rule::Adam {
                beta_1,
                beta_2,
                epsilon,
                weight_decay,
            } => {
                write!(
                    f,
                    "AdamW (beta {beta_1} and {beta_2}, epsilon {epsilon}, decay {weight_decay})"
                )
            }
            Rule::Adadelta { rho, epsilon } => write!(f, "Adadelta (rho {rho}, epsilon {epsilon})"),
            Rule::RmsProp {
                rho,
                momentum,
                epsilon,
            } => {
                write!(
                    f,
                    "RMSprop (rho {rho}, momentum {momentum}, epsilon {epsilon})"
                )
            }
        }
    }
}

/// A rule, its learning rate and its moments.
#[derive(Debug, Clone)]
pub struct Optimizer {
    rule: Rule,
    /// The step's length; may be changed between steps.
    pub learning_rate: f32,
    /// All gradients together are scaled down to this L2 norm where theirs is larger; `None` for no clipping.
    pub clip_norm: Option<f32>,
    moments: [AlignedVec; 2],
    /// The squared norm of each task's gradients.
    norms: Vec<f64>,
    steps: u64,
}

/// What a mean that started at 0 has seen of its values, 1 - beta^steps, in f32 as Keras rounds it: the first steps
/// of a training feel the difference.
fn mass(beta: f64, steps: u64) -> f32 {
    let power = f64::from(beta as f32).powf(steps as f64);
    1.0 - power as f32
}

/// Elements of the flat slices that one task updates: with two moments 256 kB, a share of a second-level cache.
const CHUNK: usize = 16_384;

impl Optimizer {
    /// For `len` trainable weights.
    pub fn new(rule: Rule, learning_rate: f32, len: usize) -> Self {
        let moment = |i: usize| AlignedVec::zeros(if i < rule.moments() { len } else { 0 });
        let norms = vec![0.0; len.div_ceil(CHUNK)];
        Self {
            rule,
            learning_rate,
            clip_norm: None,
            moments: [moment(0), moment(1)],
            norms,
            steps: 0,
        }
    }

    /// Updates the weights on the current thread pool; clipping changes the gradients.
    ///
    /// # Panics
    /// Where the slices are not of the optimiser's length.
    pub fn step(&mut self, kernels: &'static Kernels, weights: &mut [f32], gradients: &mut [f32]) {
        assert_eq!(weights.len(), gradients.len());
        self.begin();
        self.clip(kernels, gradients);
        let all = 0..weights.len();
        self.update(kernels, weights, gradients, all, CHUNK, |_, _| {});
    }

    /// A step begins, whose updates follow.
    pub(crate) fn begin(&mut self) {
        self.steps += 1;
    }

    /// Updates the weights `range` of all, block by block, each after `set` has been called with its place in the range and its gradient.
    ///
    /// # Panics
    /// Where the range is not inside the slices, or these are not of the optimiser's length.
    pub(crate) fn update<F>(
        &mut self,
        kernels: &'static Kernels,
        weights: &mut [f32],
        gradients: &mut [f32],
        range: Range<usize>,
        block: usize,
        set: F,
    ) where
        F: Fn(Range<usize>, &mut [f32]) + Sync + Send,
    {
        let rate = self.learning_rate;
        let [first, second] = self.moments.each_mut().map(|moment| match moment.len() {
            0 => &mut [],
            _ => &mut moment[range.clone()],
        });
        let pairs = weights[range.clone()]
            .par_chunks_mut(block)
            .zip(gradients[range].par_chunks_mut(block))
            .with_max_len(1)
            .enumerate()
            .map(|(i, (w, g))| {
                set(i * block..i * block + g.len(), g);
                (w, &*g)
            });
        match self.rule {
            Rule::Sgd { momentum: 0.0, .. } => pairs.for_each(|(w, g)| kernels.sgd(w, g, rate)),
            Rule::Sgd { momentum, nesterov } => pairs
                .zip(first.par_chunks_mut(block))
                .for_each(|((w, g), v)| kernels.sgd_momentum(w, g, v, rate, momentum, nesterov)),
            Rule::Adam {
                beta_1,
                beta_2,
                epsilon,
                weight_decay,
            } => {
                let (mean, square) = (mass(beta_1, self.steps), mass(beta_2, self.steps));
                let corrected = rate * square.sqrt() / mean;
                let decay = rate * weight_decay;
                let moments = first
                    .par_chunks_mut(block)
                    .zip(second.par_chunks_mut(block));
                pairs.zip(moments).for_each(|((w, g), (m, v))| {
                    kernels.adam(w, g, m, v, corrected, beta_1, beta_2, epsilon, decay)
                });
            }
            Rule::Adadelta { rho, epsilon } => pairs
                .zip(
                    first
                        .par_chunks_mut(block)
                        .zip(second.par_chunks_mut(block)),
                )
                .for_each(|((w, g), (a, u))| kernels.adadelta(w, g, a, u, rate, rho, epsilon)),
            Rule::RmsProp {
                rho,
                momentum: 0.0,
                epsilon,
            } => pairs
                .zip(first.par_chunks_mut(block))
                .for_each(|((w, g), a)| kernels.rmsprop(w, g, a, None, rate, rho, 0.0, epsilon)),
            Rule::RmsProp {
                rho,
                momentum,
                epsilon,
            } => pairs
                .zip(
                    first
                        .par_chunks_mut(block)
                        .zip(second.par_chunks_mut(block)),
                )
                .for_each(|((w, g), (a, b))| {
                    kernels.rmsprop(w, g, a, Some(b), rate, rho, momentum, epsilon)
                }),
        }
    }

    /// `global_clipnorm` of Keras: all gradients by the norm of all.
    fn clip(&mut self, kernels: &'static Kernels, gradients: &mut [f32]) {
        let Some(limit) = self.clip_norm else { return };
        let norms = self.norms.par_iter_mut().zip(gradients.par_chunks(CHUNK));
        norms.for_each(|(norm, g)| *norm = kernels.squared_norm(g));
        let norm = self.norms.iter().sum::<f64>().sqrt();
        if norm > f64::from(limit) {
            let factor = (f64::from(limit) / norm) as f32;
            gradients
                .par_chunks_mut(CHUNK)
                .for_each(|g| kernels.scale(g, factor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_scales_all_gradients_by_the_norm_of_all() {
        let kernels = Kernels::available().last().unwrap();
        let mut gradients = vec![0.0; 40_000];
        (gradients[0], gradients[39_999]) = (3.0, 4.0);
        for (limit, factor) in [(10.0, 1.0), (1.0, 0.2)] {
            let mut optimizer = Optimizer::new(Rule::SGD, 1.0, gradients.len());
            optimizer.clip_norm = Some(limit);
            let mut weights = vec![0.0; gradients.len()];
            optimizer.step(kernels, &mut weights, &mut gradients.clone());
            assert!((weights[0] + 3.0 * factor).abs() < 1e-6, "{}", weights[0]);
            assert!((weights[39_999] + 4.0 * factor).abs() < 1e-6);
        }
    }

    #[test]
    fn every_rule_walks_down_a_parabola_across_task_borders() {
        let kernels = Kernels::available().last().unwrap();
        for name in Rule::NAMES {
            let rule: Rule = name.parse().unwrap();
            let mut weights = vec![1.0; CHUNK + 17];
            let mut optimizer = Optimizer::new(rule, 0.02, weights.len());
            for _ in 0..200 {
                let mut gradients = weights.clone();
                optimizer.step(kernels, &mut weights, &mut gradients);
            }
            // Adadelta starts with steps of sqrt(epsilon): it has hardly moved.
            let bound = if name == "adadelta" { 1.0 - 1e-5 } else { 0.5 };
            assert!(
                weights.iter().all(|w| w.abs() < bound),
                "{name}: {}",
                weights[0]
            );
            assert_eq!(
                weights[0],
                weights[CHUNK + 16],
                "{name}: all elements move alike"
            );
        }
    }
}
