//! The report of several models on the same data: one table, one chart, and what a leaking split adds.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::chart::{Axis, LineChart, Rule, Series, Stroke, Unit};
use super::confusion::confusion;
use super::html::{leak_warning, warning};
use super::page::{
    Column, Settings, Text, count, duration, page, percent, percent_range, plural, section,
    settings, strip, table,
};
use crate::error::Result;
use crate::io::atomic;
use crate::train::history::History;
use crate::train::metrics::{Evaluation, Pooled, Spread, chance_of};

/// Everything that the comparison of several models shows. All texts are shown as they are: they need no escaping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The heading.
    pub title: String,
    /// What the models were trained on: where from, how many songs and genres.
    pub data: String,
    /// How the songs were divided: the split, and how many seeds or folds.
    pub split: String,
    /// How much of it is done, where it is not all: `5 of 30 runs are done`.
    pub unfinished: Option<String>,
    /// Why the figures are not to be trusted, where the split lets parts of one song stand on both sides.
    pub leak_warning: Option<String>,
    /// One model a row, in the order of showing.
    pub rows: Vec<ModelRow>,
    /// What the split by segment adds; empty where it was not tried.
    pub leak: Vec<LeakRow>,
    /// Runs that gave no figure, and why; they are in no mean.
    pub failed: Vec<String>,
    /// All settings, in groups.
    pub settings: Vec<Settings>,
    /// The machine: its processor, instruction set and threads.
    pub machine: String,
}

/// One model of a comparison, trained once or several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRow {
    /// The model's name, `parallel`.
    pub model: String,
    /// The number of its parameters.
    pub parameters: u64,
    /// Its runs, one a seed or fold.
    pub runs: Vec<ModelRun>,
    /// Time of a prediction for one segment in milliseconds, where it was taken.
    pub predict_one_ms: Option<f64>,
}

/// One run of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRun {
    /// What sets it apart from the others: `seed 1`, `fold 3`.
    pub name: String,
    /// The course of training.
    pub history: History,
    /// How good the answers are for the songs held out.
    pub evaluation: Evaluation,
    /// Wall time of training in seconds.
    pub train_seconds: f64,
}

/// One model under the split by segment, where parts of one song stand on both sides, and under the split by song.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeakRow {
    /// The model's name.
    pub model: String,
    /// Segment accuracy, 0 to 1, under the split by segment.
    pub segment_split_segment_accuracy: Spread,
    /// Segment accuracy, 0 to 1, under the split by song: what to expect of a new song.
    pub song_split_segment_accuracy: Spread,
    /// The published accuracy, 0 to 1, where there is one: by segment, under the split by segment, on other data.
    pub published: Option<f64>,
}

impl ModelRow {
    /// A figure of every run as mean and spread; `None` without runs.
    pub fn spread(&self, figure: impl Fn(&ModelRun) -> f64) -> Option<Spread> {
        Spread::of(&self.runs.iter().map(figure).collect::<Vec<_>>())
    }

    /// The answers of all runs put together song by song; `None` without runs.
    pub fn pooled(&self) -> Option<Pooled> {
        (!self.runs.is_empty()).then(|| Pooled::of(self.runs.iter().map(|run| &run.evaluation)))
    }

    /// The songs' confusion matrices of all runs added up; empty without runs.
    ///
    /// Rows of runs with fewer genres count as far as they go.
    pub fn confusion_songs(&self) -> Vec<Vec<u64>> {
        let mut sum: Vec<Vec<u64>> = Vec::new();
        for run in &self.runs {
            let matrix = &run.evaluation.confusion_songs;
            if sum.is_empty() {
                sum = vec![vec![0; matrix.len()]; matrix.len()];
            }
            for (row, other) in sum.iter_mut().zip(matrix) {
                for (cell, other) in row.iter_mut().zip(other) {
                    *cell += other;
                }
            }
        }
        sum
    }
}

/// Writes the comparison as one HTML file, whole or not at all. It reads without a script, a network or a second file.
///
/// # Errors
/// [`crate::Error::Io`] where the file cannot be written.
pub fn write(path: impl AsRef<Path>, comparison: &Comparison) -> Result<()> {
    atomic::write(path.as_ref(), render(comparison).as_bytes())
}

/// The comparison as the text of an HTML file, which is well-formed XML too.
pub fn render(comparison: &Comparison) -> String {
    let run = Settings {
        group: "comparison".into(),
        values: [
            ("data", &comparison.data),
            ("split", &comparison.split),
            ("machine", &comparison.machine),
        ]
        .map(|(name, value)| (name.to_string(), value.clone()))
        .into(),
    };
    let failed = (!comparison.failed.is_empty()).then(|| comparison.failed.join("; "));
    let groups: Vec<Settings> = std::iter::once(run)
        .chain(comparison.settings.iter().cloned())
        .collect();
    let body = [
        format!(
            "<header>\n<h1>{}</h1>\n<p class=\"lead\">{} {}</p>\n{}{}{}</header>\n",
            Text(&comparison.title),
            Text(&comparison.data),
            Text(&comparison.split),
            warning("Not finished.", comparison.unfinished.as_deref()),
            warning("Runs without a figure, in no mean:", failed.as_deref()),
            leak_warning(comparison.leak_warning.as_deref())
        ),
        section("The models", &models(&comparison.rows)),
        section("How they learned", &curves(&comparison.rows)),
        leak(&comparison.leak),
        section("What is taken for what", &confusions(&comparison.rows)),
        section("How it was made", &settings(&groups)),
    ];
    page(&comparison.title, &body.concat())
}

/// A mean with its spread, markup: `87.5 %` and `± 1.2` below.
fn with_spread(spread: Option<Spread>) -> String {
    let Some(spread) = spread else {
        return "–".into();
    };
    let deviation = spread.deviation.filter(|deviation| deviation.is_finite());
    percent(spread.mean)
        + &deviation.map_or(String::new(), |deviation| {
            format!("<small>± {:.1}</small>", 100.0 * deviation)
        })
}

fn models(rows: &[ModelRow]) -> String {
    let several = rows.iter().any(|row| row.runs.len() > 1);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let song = row.spread(|run| run.evaluation.song_accuracy);
            let segment = row.spread(|run| run.evaluation.segment_accuracy);
            let pooled = row.pooled();
            let song_interval = pooled.map(|pooled| pooled.song_interval);
            let segment_interval = pooled.map(|pooled| pooled.segment_interval);
            let chance = row
                .runs
                .first()
                .map(|run| chance_of(&run.evaluation.confusion_songs));
            let range = |ends: Option<(f64, f64)>| {
                format!("<small>{}</small>", ends.map_or("–".into(), percent_range))
            };
            vec![
                Text(&row.model).to_string(),
                with_spread(song),
                strip(
                    song.map_or(f64::NAN, |song| song.mean),
                    song_interval,
                    chance,
                ) + &range(song_interval),
                with_spread(segment),
                range(segment_interval),
                row.spread(|run| run.evaluation.macro_f1)
                    .map_or("–".into(), |f1| format!("{:.3}", f1.mean)),
                count(row.parameters),
                row.spread(|run| run.train_seconds)
                    .map_or("–".into(), |seconds| duration(seconds.mean)),
                row.predict_one_ms
                    .filter(|ms| ms.is_finite())
                    .map_or("–".into(), |ms| format!("{ms:.3} ms")),
            ]
        })
        .collect();
    let columns = [
        ("Model", Column::Head),
        ("Song accuracy", Column::Number),
        ("95\u{202F}% interval", Column::Text),
        ("Segment accuracy", Column::Number),
        ("95\u{202F}% interval", Column::Text),
        ("Macro F1", Column::Number),
        ("Parameters", Column::Number),
        ("Training", Column::Number),
        ("Answer", Column::Number),
    ];
    let note = if several {
        "Figures are means over the runs, with the sample standard deviation after ±: what another seed or fold changes. \
         The interval is about the songs: each distinct song counts once, with all its answers, however many runs judged it \
         (Wilson's interval with songs as clusters); more runs do not make it narrower by themselves."
    } else {
        "One run a model: the intervals are those of its figures, Wilson's for songs, and for segments \
         one that counts songs, not segments, as independent."
    };
    let distinct = rows
        .iter()
        .find_map(ModelRow::pooled)
        .map_or(String::new(), |pooled| {
            format!(
                " {} judged.",
                match pooled.songs {
                    1 => "1 song is".into(),
                    songs => format!("{} distinct songs are", count(songs as u64)),
                }
            )
        });
    table(&columns, &cells)
        + &format!(
            "<p class=\"note\">{note}{distinct} The dashed tick is chance: to name the most frequent genre always. Macro F1 is the songs'; the last column is \
             the time of an answer for one segment.</p>\n"
        )
}

fn curves(rows: &[ModelRow]) -> String {
    let value = |history: &History, at: usize| history.0.get(at).map(|epoch| epoch.val_accuracy);
    let mut series = Vec::new();
    for (color, row) in rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.runs.len() > 1)
    {
        series.extend(row.runs.iter().map(|run| {
            Series {
                name: format!("{}, {}", row.model, run.name),
                points: (0..run.history.0.len())
                    .filter_map(|at| Some(((at + 1) as f64, value(&run.history, at)?)))
                    .collect(),
                color,
                stroke: Stroke::Faint,
            }
        }));
    }
    for (color, row) in rows.iter().enumerate() {
        // The mean goes as far as every run does: a run that stopped early would bend it.
        let epochs = row
            .runs
            .iter()
            .map(|run| run.history.0.len())
            .min()
            .unwrap_or(0);
        series.push(Series {
            name: row.model.clone(),
            points: (0..epochs)
                .filter_map(|at| {
                    let values: Option<Vec<f64>> =
                        row.runs.iter().map(|run| value(&run.history, at)).collect();
                    Some(((at + 1) as f64, Spread::of(&values?)?.mean))
                })
                .collect(),
            color,
            stroke: Stroke::Solid,
        });
    }
    let chance = rows.iter().find_map(|row| row.runs.first()).map(|run| {
        Rule::Level(
            chance_of(&run.evaluation.confusion_segments),
            "chance".into(),
        )
    });
    let several = series.iter().any(|series| series.stroke == Stroke::Faint);
    let chart = LineChart {
        title: if several {
            "Validation accuracy by segment: mean of the runs, each run pale".into()
        } else {
            "Validation accuracy by segment".into()
        },
        x: Axis::new("epoch", Unit::Integer),
        y: Axis::new("segments named rightly", Unit::Percent),
        series,
        rules: chance.into_iter().collect(),
    };
    chart.to_html()
}

fn leak(rows: &[LeakRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let (by_segment, by_song) = (
                row.segment_split_segment_accuracy,
                row.song_split_segment_accuracy,
            );
            vec![
                Text(&row.model).to_string(),
                with_spread(Some(by_segment)),
                with_spread(Some(by_song)),
                format!("{:+.1}", 100.0 * (by_segment.mean - by_song.mean)),
                row.published.map_or("–".into(), percent),
            ]
        })
        .collect();
    section(
        "What the leak is worth",
        &("<p>Segment accuracy of the same models under two splits. By segment, parts of one song stand in training and validation, and a \
           model may know the song instead of the genre; by song, or by whole groups of songs, it has heard nothing of those that it is judged by. The \
           difference, in points, is how much the split by segment flatters.</p>\n"
            .to_string()
            + &table(
                &[
                    ("Model", Column::Head),
                    ("Split by segment", Column::Number),
                    ("Split by song", Column::Number),
                    ("Difference", Column::Number),
                    ("Published (by segment, other data)", Column::Number),
                ],
                &cells,
            )),
    )
}

fn confusions(rows: &[ModelRow]) -> String {
    let mut out = String::from("<div class=\"grid\">\n");
    for row in rows {
        let Some(first) = row.runs.first() else {
            continue;
        };
        let runs = if row.runs.len() > 1 {
            format!(", {}", plural(row.runs.len() as u64, "run"))
        } else {
            String::new()
        };
        out += &confusion(
            &format!("{}, by song{runs}", row.model),
            &first.evaluation.genres,
            &row.confusion_songs(),
            "songs",
        );
    }
    out + "</div>\n"
}

#[cfg(test)]
mod tests;
