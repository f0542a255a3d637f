//! The models of the two sources, one a file.

mod cnn_rnn;
mod efficient;
mod parallel;
mod window;

use crate::audio::FrontEnd;
use crate::error::{Error, Result};
use crate::graph::{Graph, Plan, Var};
use crate::names;
use crate::nn::Dropout;
use crate::optim::Rule;
use std::fmt;
use std::str::FromStr;

/// A model of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Two convolution branches side by side.
    Parallel,
    /// Convolutions over time, then LSTMs.
    CnnRnn,
    /// A tower of convolutions, pools and norms.
    Efficient,
    /// Two such towers.
    Accurate,
    /// Convolutions over windows of 100 ms.
    Window,
}

/// How many filters, units and classes a model has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Genres that it tells apart.
    pub classes: usize,
    /// Multiplies filters and units; 1 is the sources' size.
    pub width: f64,
    /// False where nothing is to be dropped in training, as in recorded references.
    pub dropout: bool,
}

impl Size {
    /// `count` filters or units times the width, at least 1.
    pub fn scaled(&self, count: usize) -> usize {
        ((count as f64 * self.width).round() as usize).max(1)
    }

    /// The dropout layer of a source's rate.
    fn dropout(&self, rate: f32) -> Dropout {
        Dropout {
            rate: if self.dropout { rate } else { 0.0 },
        }
    }
}

impl Model {
    /// All models, in the order of the sources.
    pub const ALL: &'static [Model] = &[
        Model::Parallel,
        Model::CnnRnn,
        Model::Efficient,
        Model::Accurate,
        Model::Window,
    ];

    /// The models of these names; all where there is none.
    ///
    /// # Errors
    /// [`Error::Usage`] for a name that no model has.
    pub fn chosen(names: &[String]) -> Result<Vec<Model>> {
        match names {
            [] => Ok(Self::ALL.to_vec()),
            names => names.iter().map(|name| name.parse()).collect(),
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Model::Parallel => "parallel",
            Model::CnnRnn => "cnn-rnn",
            Model::Efficient => "efficient",
            Model::Accurate => "accurate",
            Model::Window => "window",
        }
    }

    /// Other names that it answers to.
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Model::Efficient => &["eff"],
            Model::Accurate => &["acc"],
            _ => &[],
        }
    }

    /// What it is, in a line.
    pub fn description(self) -> &'static str {
        match self {
            Model::Parallel => "two small convolution branches side by side and one dense layer",
            Model::CnnRnn => "convolutions over time, then two LSTMs",
            Model::Efficient => {
                "four blocks of convolution, max-pool and batch normalisation, 32 filters each"
            }
            Model::Accurate => "two such towers side by side, of 32 and 64 filters",
            Model::Window => "three convolutions over the frames of 100 ms and a wide dense layer",
        }
    }

    /// The front end that makes its features.
    pub fn front_end(self) -> FrontEnd {
        match self {
            Model::Window => FrontEnd::Windows,
            _ => FrontEnd::Segments,
        }
    }

    /// How many genres its source has.
    pub fn classes(self) -> usize {
        match self {
            Model::Window => 10,
            _ => 8,
        }
    }

    /// Its source's optimiser and learning rate.
    pub fn optimizer(self) -> (Rule, f32) {
        match self {
            Model::Parallel => (Rule::SGD, 5e-3),
            Model::CnnRnn => (Rule::SGD, 1e-1),
            Model::Efficient | Model::Accurate => (Rule::ADAM, 1e-3),
            Model::Window => (Rule::ADADELTA, 1.0),
        }
    }

    /// Its source's number of epochs.
    pub fn epochs(self) -> usize {
        match self {
            Model::Window => 10,
            _ => 50,
        }
    }

    /// Its source's early stopping: epochs without a lower validation loss. Source B says that it stops early, not
    /// after how many epochs; 2 of its 10 are ours.
    pub fn patience(self) -> Option<usize> {
        match self {
            Model::Window => Some(2),
            _ => None,
        }
    }

    /// The validation accuracy that its source publishes, by segment, its segments split at random.
    pub fn published_accuracy(self) -> f64 {
        match self {
            Model::Parallel => 0.7225,
            Model::CnnRnn => 0.6758,
            Model::Efficient => 0.8888,
            Model::Accurate => 0.9042,
            Model::Window => 0.62,
        }
    }

    /// The model as a graph, and its output.
    ///
    /// # Errors
    /// [`Error::Usage`] where there are fewer than two classes or the width is not a positive number.
    pub fn build(self, size: Size) -> Result<(Graph, Var)> {
        if size.classes < 2 {
            let classes = size.classes;
            return Err(Error::Usage(format!(
                "{classes} classes: a model tells two or more apart"
            )));
        }
        if !(size.width > 0.0 && size.width <= 64.0) {
            return Err(Error::Usage(format!(
                "a width of {}: it is above 0 and at most 64",
                size.width
            )));
        }
        let mut graph = Graph::new();
        let output = match self {
            Model::Parallel => parallel::build(&mut graph, size)?,
            Model::CnnRnn => cnn_rnn::build(&mut graph, size)?,
            Model::Efficient => efficient::build_efficient(&mut graph, size)?,
            Model::Accurate => efficient::build_accurate(&mut graph, size)?,
            Model::Window => window::build(&mut graph, size)?,
        };
        Ok((graph, output))
    }

    /// The model ready to run.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn compile(self, size: Size) -> Result<Plan> {
        let (graph, output) = self.build(size)?;
        graph.compile(output)
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Model {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let answers = |model: &&Model| model.name() == name || model.aliases().contains(&name);
        if let Some(model) = Self::ALL.iter().find(answers) {
            return Ok(*model);
        }
        let known = Self::ALL
            .iter()
            .flat_map(|m| std::iter::once(m.name()).chain(m.aliases().iter().copied()));
        let offer = names::nearest(name, known)
            .map(|other| format!(" Did you mean '{other}'?"))
            .unwrap_or_default();
        let all: Vec<&str> = Self::ALL.iter().map(|m| m.name()).collect();
        Err(Error::Usage(format!(
            "unknown model '{name}'.{offer} The models: {}",
            all.join(", ")
        )))
    }
}

/// A layer's path: `branch.name`, or `name` where there is one branch only.
fn path(branch: &str, name: &str) -> String {
    if branch.is_empty() {
        name.to_string()
    } else {
        format!("{branch}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_parameter_counts_to_the_last_weight() {
        let wanted = [
            (61_071, 0),
            (100_654, 0),
            (97_896, 256),
            (320_936, 768),
            (1_650_442, 0),
        ];
        for (&model, (all, kept)) in Model::ALL.iter().zip(wanted) {
            let plan = model
                .compile(Size {
                    classes: model.classes(),
                    width: 1.0,
                    dropout: true,
                })
                .unwrap();
            let count = |some: &dyn Fn(bool) -> bool| -> usize {
                let weights = plan
                    .weights()
                    .iter()
                    .filter(|weight| some(weight.parameter.trainable));
                weights.map(|weight| weight.range.len()).sum()
            };
            assert_eq!(
                (count(&|_| true), count(&|trained| !trained)),
                (all, kept),
                "{model}"
            );
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let answer = |name: &str| name.parse::<Model>().unwrap_err().to_string();
        assert!(
            answer("paralel").contains("'parallel'"),
            "{}",
            answer("paralel")
        );
        assert!(answer("cnnrnn").contains("'cnn-rnn'"));
        assert!(answer("zzz").contains("The models: parallel"));
        assert_eq!("eff".parse::<Model>().unwrap(), Model::Efficient);
    }
}
