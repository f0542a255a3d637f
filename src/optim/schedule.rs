//! How the learning rate changes while training.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A plan for the learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Multiplied by `factor` after every `every` epochs.
    Step {
        /// Epochs between changes.
        every: usize,
        /// In (0, 1].
        factor: f32,
    },
    /// Rises evenly for `warm_up` epochs, then falls along half a cosine to 0 at the last step.
    Cosine {
        /// Epochs.
        warm_up: usize,
    },
    /// Multiplied by `factor` when the validation loss has not fallen for `patience` epochs.
    Plateau {
        /// Epochs.
        patience: usize,
        /// In (0, 1].
        factor: f32,
    },
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Constant => f.write_str("constant"),
            Schedule::Step { every, factor } => write!(f, "step:{every}:{factor}"),
            Schedule::Cosine { warm_up } => write!(f, "cosine:{warm_up}"),
            Schedule::Plateau { patience, factor } => write!(f, "plateau:{patience}:{factor}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = Error;

    /// `constant`, `step:EVERY:FACTOR`, `cosine:WARM_UP`, `plateau:PATIENCE:FACTOR`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || {
            Error::Usage(format!(
                "schedule '{text}': it is constant, step:EPOCHS:FACTOR, cosine:WARM-UP-EPOCHS or \
                 plateau:EPOCHS:FACTOR with factors above 0 and at most 1"
            ))
        };
        let parts: Vec<&str> = text.split(':').collect();
        let epochs = |text: &str, least: usize| -> Result<usize, Error> {
            text.parse()
                .ok()
                .filter(|&epochs| epochs >= least)
                .ok_or_else(refuse)
        };
        let factor = |text: &str| -> Result<f32, Error> {
            text.parse()
                .ok()
                .filter(|&factor: &f32| factor > 0.0 && factor <= 1.0)
                .ok_or_else(refuse)
        };
        match parts[..] {
            ["constant"] => Ok(Schedule::Constant),
            ["step", every, by] => Ok(Schedule::Step {
                every: epochs(every, 1)?,
                factor: factor(by)?,
            }),
            ["cosine"] => Ok(Schedule::Cosine { warm_up: 0 }),
            ["cosine", warm_up] => Ok(Schedule::Cosine {
                warm_up: epochs(warm_up, 0)?,
            }),
            ["plateau", patience, by] => Ok(Schedule::Plateau {
                patience: epochs(patience, 1)?,
                factor: factor(by)?,
            }),
            _ => Err(refuse()),
        }
    }
}

/// A schedule on its way through a training.
#[derive(Debug, Clone)]
pub struct Scheduler {
    schedule: Schedule,
    base: f32,
    epochs: usize,
    steps_per_epoch: usize,
    lowest: f64,
    since: usize,
    scale: f32,
}

impl Scheduler {
    /// For a training of `epochs` epochs that starts at the rate `base`.
    pub fn new(schedule: Schedule, base: f32, epochs: usize, steps_per_epoch: usize) -> Self {
        Self {
            schedule,
            base,
            epochs,
            steps_per_epoch,
            lowest: f64::INFINITY,
            since: 0,
            scale: 1.0,
        }
    }

    /// The rate of a step, both counted from 0.
    pub fn rate(&self, epoch: usize, step: usize) -> f32 {
        match self.schedule {
            Schedule::Constant => self.base,
            Schedule::Plateau { .. } => self.base * self.scale,
            Schedule::Step { every, factor } => self.base * factor.powf((epoch / every) as f32),
            Schedule::Cosine { warm_up } => {
                let done = (epoch * self.steps_per_epoch + step) as f64;
                let rise = (warm_up * self.steps_per_epoch) as f64;
                let all = (self.epochs * self.steps_per_epoch) as f64;
                let share = if done < rise {
                    (done + 1.0) / rise
                } else {
                    0.5 * (1.0
                        + (std::f64::consts::PI * (done - rise) / (all - rise).max(1.0)).cos())
                };
                (f64::from(self.base) * share) as f32
            }
        }
    }

    /// Takes note of an epoch's validation loss.
    pub fn after_epoch(&mut self, validation_loss: f64) {
        let Schedule::Plateau { patience, factor } = self.schedule else {
            return;
        };
        if validation_loss < self.lowest {
            (self.lowest, self.since) = (validation_loss, 0);
            return;
        }
        self.since += 1;
        if self.since >= patience {
            (self.scale, self.since) = (self.scale * factor, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(text: &str) -> Scheduler {
        Scheduler::new(text.parse().unwrap(), 0.1, 10, 5)
    }

    #[test]
    fn steps_and_cosine() {
        assert_eq!(scheduler("constant").rate(9, 4), 0.1);
        let step = scheduler("step:3:0.5");
        assert_eq!(
            [0, 2, 3, 6].map(|epoch| step.rate(epoch, 0)),
            [0.1, 0.1, 0.05, 0.025]
        );
        let cosine = scheduler("cosine:2");
        assert!((cosine.rate(0, 0) - 0.01).abs() < 1e-7);
        assert!((cosine.rate(1, 4) - 0.1).abs() < 1e-7);
        assert!((cosine.rate(6, 0) - 0.05).abs() < 1e-7);
        assert!(cosine.rate(9, 4) < 0.001);
    }

    #[test]
    fn a_plateau_lowers_the_rate() {
        let mut plateau = scheduler("plateau:2:0.1");
        for loss in [1.0, 0.9, 0.95, 0.9] {
            assert_eq!(plateau.rate(0, 0), 0.1);
            plateau.after_epoch(loss);
        }
        assert!((plateau.rate(0, 0) - 0.01).abs() < 1e-8);
    }

    #[test]
    fn texts_come_back_and_nonsense_is_refused() {
        for text in ["constant", "step:3:0.5", "cosine:2", "plateau:5:0.1"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "step",
            "step:0:0.5",
            "step:3:2",
            "cosine:-1",
            "plateau:2:nan",
            "poly",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
