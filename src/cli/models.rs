//! `sonograd models`: the models and their layers.

use super::output::Output;
use crate::error::Result;
use crate::graph::{Graph, Node};
use crate::models::{Model, Size};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

/// List the models, or show one layer by layer
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sonograd models
  sonograd models parallel
  sonograd models parallel --classes 10 --width 2")]
pub(super) struct Models {
    /// The model to show
    model: Option<String>,

    /// Genres that it tells apart [default: its source's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    classes: Option<u16>,

    /// Multiplies filters and units
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    width: f64,

    /// One JSON object a model on standard output
    #[arg(long)]
    json: bool,
}

/// A model's weights: all, and those that training does not change.
fn counts(graph: &Graph) -> (usize, usize) {
    let parameters = graph.nodes().iter().flat_map(Node::parameters);
    parameters.fold((0, 0), |(all, kept), parameter| {
        let len = parameter.shape.len();
        (all + len, kept + if parameter.trainable { 0 } else { len })
    })
}

/// `61071` as `61,071`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let mut text = digits[..head].to_string();
    for group in digits.as_bytes()[head..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(group.iter().map(|&digit| char::from(digit)));
    }
    text
}

impl Models {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let output = Output { json: self.json };
        let models = match &self.model {
            Some(name) => vec![name.parse::<Model>()?],
            None => Model::ALL.to_vec(),
        };
        for &model in &models {
            let classes = self.classes.map_or(model.classes(), usize::from);
            let (graph, _) = model.build(Size {
                classes,
                width: self.width,
                dropout: true,
            })?;
            let (all, kept) = counts(&graph);
            output.object(&json!({
                "model": model.name(),
                "classes": classes,
                "width": self.width,
                "parameters": all,
                "not_trained": kept,
                "layers": graph.nodes().iter().map(layer).collect::<Vec<_>>(),
            }))?;
            if self.model.is_some() {
                summary(output, model, &graph)?;
            } else {
                let fixed = if kept > 0 {
                    format!(" ({kept} not trained)")
                } else {
                    String::new()
                };
                let name = model.name();
                output.text(format!(
                    "{name:10} {:>9} parameters{fixed} for {classes} genres",
                    thousands(all)
                ))?;
                output.text(format!("           {}", model.description()))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn layer(node: &Node) -> serde_json::Value {
    json!({
        "name": node.name,
        "kind": kind(node),
        "output_shape": node.shape.extents(),
        "parameters": node.parameters().iter().map(|p| p.shape.len()).sum::<usize>(),
    })
}

fn kind(node: &Node) -> &'static str {
    node.op.as_ref().map_or("InputLayer", |op| op.kind())
}

/// The table that Keras' `Model.summary()` prints: layers, output shapes with the batch first, parameters, inputs.
fn summary(output: Output, model: Model, graph: &Graph) -> Result<()> {
    let nodes = graph.nodes();
    let mut rows = vec![[
        "Layer (type)".to_string(),
        "Output Shape".into(),
        "Param #".into(),
        "Connected to".into(),
    ]];
    // Keras writes the softmax into its dense layer.
    for node in nodes
        .iter()
        .filter(|node| !node.op.as_ref().is_some_and(|op| op.is_head()))
    {
        let extents: Vec<String> = node
            .shape
            .extents()
            .iter()
            .map(ToString::to_string)
            .collect();
        let parameters: usize = node.parameters().iter().map(|p| p.shape.len()).sum();
        let inputs: Vec<&str> = node
            .inputs
            .iter()
            .map(|var| nodes[var.index()].name.as_str())
            .collect();
        rows.push([
            format!("{} ({})", node.name, kind(node)),
            format!("(None, {})", extents.join(", ")),
            thousands(parameters),
            inputs.join(", "),
        ]);
    }
    let widths: Vec<usize> = (0..4)
        .map(|i| rows.iter().map(|row| row[i].len()).max().unwrap_or(0))
        .collect();
    output.text(format!("Model: \"{model}\""))?;
    for (i, [name, shape, count, inputs]) in rows.iter().enumerate() {
        let [a, b, c, _] = widths[..] else { continue };
        output.text(format!("{name:a$}  {shape:b$}  {count:>c$}  {inputs}").trim_end())?;
        if i == 0 {
            output.text("-".repeat(widths.iter().sum::<usize>() + 6))?;
        }
    }
    let (all, kept) = counts(graph);
    output.text(format!("Total params: {}", thousands(all)))?;
    output.text(format!("Trainable params: {}", thousands(all - kept)))?;
    output.text(format!("Non-trainable params: {}", thousands(kept)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (61_071, "61,071"),
            (1_650_442, "1,650,442"),
        ] {
            assert_eq!(super::thousands(number), text);
        }
    }
}
