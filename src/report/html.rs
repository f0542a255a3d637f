//! The report of one run: what was trained on what, how good it is, and where it goes wrong.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::calibration::reliability;
use super::chart::{Axis, LineChart, Rule, Series, Stroke, Unit};
use super::confusion::confusion;
pub use super::page::Settings;
use super::page::{
    Column, Text, count, duration, page, percent, percent_range, plural, section, settings, strip,
    table,
};
use crate::data::LeftOut;
use crate::error::Result;
use crate::io::atomic;
use crate::train::history::History;
use crate::train::metrics::{Evaluation, Score, chance_of};

/// Everything that the report of a run shows. All texts are shown as they are: they need no escaping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The heading.
    pub title: String,
    /// The model's name, `parallel`.
    pub model: String,
    /// The number of its parameters.
    pub parameters: u64,
    /// How many of them training does not change, such as moving averages.
    pub not_trained: u64,
    /// All settings of the run, in groups.
    pub settings: Vec<Settings>,
    /// What it was trained on: where from, how many songs and genres.
    pub data: String,
    /// How the songs were divided, and how many stand on each side.
    pub split: String,
    /// Why the figures are not to be trusted, where the split lets parts of one song stand on both sides.
    pub leak: Option<String>,
    /// The course of training; empty where nothing was trained.
    pub history: History,
    /// How good the answers are for the songs held out.
    pub evaluation: Evaluation,
    /// The songs that could not be used.
    pub left_out: Vec<LeftOut>,
    /// Wall time of training in seconds; NaN where nothing was trained.
    pub train_seconds: f64,
    /// The machine: its processor, instruction set and threads.
    pub machine: String,
}

/// Writes the report as one HTML file, whole or not at all. It reads without a script, a network or a second file.
///
/// # Errors
/// [`crate::Error::Io`] where the file cannot be written.
pub fn write(path: impl AsRef<Path>, report: &RunReport) -> Result<()> {
    atomic::write(path.as_ref(), render(report).as_bytes())
}

/// The report as the text of an HTML file, which is well-formed XML too.
pub fn render(report: &RunReport) -> String {
    let evaluation = &report.evaluation;
    let body = [
        header(report),
        headline(report),
        curves(report),
        section(
            "What is taken for what",
            &format!(
                "<p class=\"note\">Rows are true genres, columns answers. A cell gives the count; its shade is the share of the row.</p>\n\
                 <div class=\"grid\">\n{}</div>\n",
                confusions(evaluation)
            ),
        ),
        section("Genre by genre", &genre_table(evaluation)),
        section("How far to believe a probability", &calibration(evaluation)),
        section("Songs that went wrong", &wrong_songs(evaluation)),
        left_out(&report.left_out),
        section("How it was made", &made(report)),
    ];
    page(&report.title, &body.concat())
}

fn header(report: &RunReport) -> String {
    let frozen = if report.not_trained > 0 {
        format!(" ({} not trained)", count(report.not_trained))
    } else {
        String::new()
    };
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"lead\">Model <b>{}</b>, {} parameters{frozen}. {}</p>\n{}</header>\n",
        Text(&report.title),
        Text(&report.model),
        count(report.parameters),
        Text(&report.data),
        leak_warning(report.leak.as_deref())
    )
}

/// The box that says that figures are too good.
pub(super) fn leak_warning(leak: Option<&str>) -> String {
    warning("These figures are inflated.", leak)
}

/// A box with a warning, where there is one.
pub(super) fn warning(head: &str, text: Option<&str>) -> String {
    text.map_or(String::new(), |text| {
        format!(
            "<p class=\"warning\" role=\"note\"><b>{}</b> {}</p>\n",
            Text(head),
            Text(text)
        )
    })
}

fn headline(report: &RunReport) -> String {
    let evaluation = &report.evaluation;
    let card = |name: &str, share: f64, interval, chance: f64, detail: String| {
        format!(
            "<div class=\"card\"><div class=\"name\">{name}</div><div class=\"figure\">{}</div>{}<p>95\u{202F}% interval {}<br/>{detail}; chance {}</p></div>\n",
            percent(share),
            strip(share, Some(interval), Some(chance)),
            percent_range(interval),
            percent(chance)
        )
    };
    let right = |share: f64, total: u64, one: &str| {
        let right = (share * total as f64).round() as u64;
        format!("{} of {} right", count(right), plural(total, one))
    };
    let mut out = String::from("<div class=\"cards\">\n");
    out += &card(
        "Song accuracy",
        evaluation.song_accuracy,
        evaluation.song_interval,
        chance_of(&evaluation.confusion_songs),
        right(evaluation.song_accuracy, evaluation.songs, "song"),
    );
    out += &card(
        "Segment accuracy",
        evaluation.segment_accuracy,
        evaluation.segment_interval,
        chance_of(&evaluation.confusion_segments),
        right(evaluation.segment_accuracy, evaluation.segments, "segment"),
    );
    out += "</div>\n<ul class=\"facts\">\n";
    let mut facts = vec![
        (format!("{:.3}", evaluation.macro_f1), "macro F1, songs"),
        (
            format!("{:.3}", evaluation.segment_loss),
            "cross-entropy, segments",
        ),
        (
            percent(evaluation.song_calibration.ece),
            "calibration error, songs",
        ),
        (
            percent(evaluation.calibration.ece),
            "calibration error, segments",
        ),
    ];
    if !report.history.0.is_empty() {
        facts.push((count(report.history.0.len() as u64), "epochs"));
        facts.push((duration(report.train_seconds), "training"));
    }
    for (value, name) in facts {
        out += &format!("<li><b>{value}</b><span>{name}</span></li>\n");
    }
    out + &format!(
        "</ul>\n<p class=\"note\" style=\"margin-top:1rem\">A song's answer is the {} of its segments. Chance, the dashed tick, is to name \
         the most frequent genre always. The segments' interval counts songs, not segments, as independent: \
         segments of one song are alike.</p>\n",
        vote_words(evaluation)
    )
}

/// What the vote is, in words that go on with `of its segments`.
pub(super) fn vote_words(evaluation: &Evaluation) -> &'static str {
    use crate::train::metrics::Vote;
    match evaluation.vote {
        Vote::Mean => "mean probability",
        Vote::Majority => "majority vote",
        Vote::Maximum => "highest probability",
    }
}

fn curves(report: &RunReport) -> String {
    let history = &report.history;
    if history.0.is_empty() {
        return String::new();
    }
    let best: Vec<Rule> = history
        .best()
        .map(|best| {
            let name = format!("best: epoch {}, {}", best.epoch, percent(best.val_accuracy));
            Rule::Moment(best.epoch as f64, name)
        })
        .into_iter()
        .collect();
    let pair = |train: fn(&crate::train::history::Epoch) -> f64,
                validation: fn(&crate::train::history::Epoch) -> f64| {
        let series = |name: &str, color, stroke, value: fn(&_) -> f64| Series {
            name: name.into(),
            points: history
                .0
                .iter()
                .map(|epoch| (epoch.epoch as f64, value(epoch)))
                .collect(),
            color,
            stroke,
        };
        vec![
            series("training", 1, Stroke::Dashed, train),
            series("validation", 0, Stroke::Solid, validation),
        ]
    };
    let accuracy = LineChart {
        title: "Accuracy by segment".into(),
        x: Axis::new("epoch", Unit::Integer),
        y: Axis::new("segments named rightly", Unit::Percent).from_to(0.0, 1.0),
        series: pair(|epoch| epoch.accuracy, |epoch| epoch.val_accuracy),
        rules: std::iter::once(Rule::Level(
            chance_of(&report.evaluation.confusion_segments),
            "chance".into(),
        ))
        .chain(best.clone())
        .collect(),
    };
    let loss = LineChart {
        title: "Loss".into(),
        x: Axis::new("epoch", Unit::Integer),
        y: Axis::new("cross-entropy, nats", Unit::Number),
        series: pair(|epoch| epoch.loss, |epoch| epoch.val_loss),
        rules: best,
    };
    section(
        "How it learned",
        &format!(
            "<div class=\"grid\">\n{}{}</div>\n",
            accuracy.to_html(),
            loss.to_html()
        ),
    )
}

/// Both heat maps of an evaluation: songs, then segments.
fn confusions(evaluation: &Evaluation) -> String {
    confusion(
        &format!("By song ({})", plural(evaluation.songs, "song")),
        &evaluation.genres,
        &evaluation.confusion_songs,
        "songs",
    ) + &confusion(
        &format!("By segment ({})", plural(evaluation.segments, "segment")),
        &evaluation.genres,
        &evaluation.confusion_segments,
        "segments",
    )
}

fn genre_table(evaluation: &Evaluation) -> String {
    let mut columns = vec![("Genre", Column::Head)];
    for name in [
        "Songs",
        "Precision",
        "Recall",
        "F1",
        "Segments",
        "Precision",
        "Recall",
        "F1",
    ] {
        columns.push((name, Column::Number));
    }
    let cells = |score: &Score| {
        // A share of nothing is no 0 to show.
        let of = |share, whole: u64| {
            if whole == 0 {
                "–".into()
            } else {
                percent(share)
            }
        };
        let f1 = if score.support + score.predicted == 0 {
            "–".into()
        } else {
            format!("{:.3}", score.f1)
        };
        [
            count(score.support),
            of(score.precision, score.predicted),
            of(score.recall, score.support),
            f1,
        ]
    };
    let rows: Vec<Vec<String>> = evaluation
        .per_genre
        .iter()
        .map(|genre| {
            std::iter::once(Text(&genre.genre).to_string())
                .chain(cells(&genre.songs))
                .chain(cells(&genre.segments))
                .collect()
        })
        .collect();
    table(&columns, &rows)
        + "<p class=\"note\">Precision: of what was given the name, the share that is it. Recall: of what is it, the share that was \
           given the name. F1: their harmonic mean.</p>\n"
}

fn calibration(evaluation: &Evaluation) -> String {
    let (segments, songs) = (&evaluation.calibration, &evaluation.song_calibration);
    let bin = segments
        .bins
        .iter()
        .filter(|bin| bin.count > 0)
        .max_by_key(|bin| bin.count);
    let example = bin.map_or(String::new(), |bin| {
        format!(
            " Of the {} answers for segments with a confidence of {:.0} to {:.0}\u{202F}%, {} are right.",
            count(bin.count),
            100.0 * bin.lo,
            100.0 * bin.hi,
            percent(bin.accuracy)
        )
    });
    format!(
        "<p>The expected calibration error is <b>{}</b> by song and <b>{}</b> by segment: on average, the confidence of an answer \
         and its chance of being right lie that far apart. With few answers a part of it is chance.{example}</p>\n\
         <div class=\"grid\">\n{}{}</div>\n<p class=\"note\">A bar is the share of right \
         answers among those of one range of confidence, the number above it how many they are. The dashed box reaches from there to their \
         mean confidence; on the diagonal both are equal. (Guo et al. 2017, 10 bins of equal width.)</p>\n",
        percent(songs.ece),
        percent(segments.ece),
        reliability("Confidence against accuracy, by song", songs),
        reliability("Confidence against accuracy, by segment", segments),
    )
}

fn wrong_songs(evaluation: &Evaluation) -> String {
    if evaluation.wrong_songs.is_empty() {
        return format!(
            "<p>None: {} named rightly.</p>\n",
            if evaluation.songs == 1 {
                "the one song is".into()
            } else {
                format!("all {} songs are", count(evaluation.songs))
            }
        );
    }
    let rows: Vec<Vec<String>> = evaluation
        .wrong_songs
        .iter()
        .map(|song| {
            vec![
                Text(&song.path).to_string(),
                Text(&song.genre).to_string(),
                Text(&song.predicted).to_string(),
                percent(song.probability),
                format!("{} of {}", count(song.segments_right), count(song.segments)),
            ]
        })
        .collect();
    format!(
        "<p>{} of {}, the surest answers first.</p>\n",
        count(rows.len() as u64),
        plural(evaluation.songs, "song")
    ) + &table(
        &[
            ("Song", Column::File),
            ("Is", Column::Text),
            ("Was named", Column::Text),
            ("Probability", Column::Number),
            ("Segments right", Column::Number),
        ],
        &rows,
    )
}

fn left_out(songs: &[LeftOut]) -> String {
    if songs.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = songs
        .iter()
        .map(|song| vec![Text(&song.path).to_string(), Text(&song.reason).to_string()])
        .collect();
    section(
        "Songs left out",
        &table(&[("Song", Column::File), ("Why", Column::Text)], &rows),
    )
}

fn made(report: &RunReport) -> String {
    let mut groups = vec![Settings {
        group: "run".into(),
        values: [
            ("data", report.data.clone()),
            ("split", report.split.clone()),
            ("training time", duration(report.train_seconds)),
            ("machine", report.machine.clone()),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into(),
    }];
    groups.extend(report.settings.iter().cloned());
    settings(&groups)
}

#[cfg(test)]
mod tests;
