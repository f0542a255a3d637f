//! The models of the two sources, one a file.

mod parallel;

use crate::audio::FrontEnd;
use crate::error::{Error, Result};
use crate::graph::{Graph, Plan, Var};
use crate::optim::Rule;
use std::fmt;
use std::str::FromStr;

/// A model of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Two convolution branches side by side.
    Parallel,
}

/// How many filters, units and classes a model has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Genres that it tells apart.
    pub classes: usize,
    /// Multiplies filters and units; 1 is the sources' size.
    pub width: f64,
}

impl Size {
    /// `count` filters or units times the width, at least 1.
    pub fn scaled(&self, count: usize) -> usize {
        ((count as f64 * self.width).round() as usize).max(1)
    }
}

impl Model {
    /// All models, in the order of the sources.
    pub const ALL: &'static [Model] = &[Model::Parallel];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Model::Parallel => "parallel",
        }
    }

    /// Other names that it answers to.
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Model::Parallel => &[],
        }
    }

    /// What it is, in a line.
    pub fn description(self) -> &'static str {
        match self {
            Model::Parallel => {
                "two small convolution branches side by side, one dense layer; the fastest"
            }
        }
    }

    /// The front end that makes its features.
    pub fn front_end(self) -> FrontEnd {
        match self {
            Model::Parallel => FrontEnd::Segments,
        }
    }

    /// How many genres its source has.
    pub fn classes(self) -> usize {
        match self {
            Model::Parallel => 8,
        }
    }

    /// Its source's optimiser and learning rate.
    pub fn optimizer(self) -> (Rule, f32) {
        match self {
            Model::Parallel => (Rule::Sgd, 5e-3),
        }
    }

    /// Its source's number of epochs.
    pub fn epochs(self) -> usize {
        50
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
        let names: Vec<&str> = Self::ALL
            .iter()
            .flat_map(|m| std::iter::once(m.name()).chain(m.aliases().iter().copied()))
            .collect();
        let nearest = names.iter().max_by(|a, b| {
            let near = |other: &str| strsim::jaro_winkler(name, other);
            near(a).total_cmp(&near(b))
        });
        let near = nearest.filter(|other| strsim::jaro_winkler(name, other) > 0.7);
        let offer = near
            .map(|other| format!(" Did you mean '{other}'?"))
            .unwrap_or_default();
        let all: Vec<&str> = Self::ALL.iter().map(|m| m.name()).collect();
        Err(Error::Usage(format!(
            "unknown model '{name}'.{offer} The models: {}",
            all.join(", ")
        )))
    }
}

/// `path.name`: a layer's path.
fn path(branch: &str, name: &str) -> String {
    format!("{branch}.{name}")
}
