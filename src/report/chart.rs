//! Line charts as inline SVG: any number of series over common axes, the legend in text beside them.

use std::fmt::Write;

use super::page::{Text, figure};

mod scale;

pub use scale::{Axis, Unit};
use scale::{Scale, finite};

/// The size of a drawing in its own units; the page scales it to the room that there is.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 300.0;
/// The height of a line of labels and the mean width of a character, at the style sheet's 12 units.
const LINE: f64 = 14.0;
const CHARACTER: f64 = 6.8;
/// The number of colours and of mark shapes before they come again.
const COLORS: usize = 8;
const SHAPES: usize = 5;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// A plain line with marks: what is to be read.
    Solid,
    /// A dashed line: what it is compared with.
    Dashed,
    /// A thin pale line without marks and without a place in the legend: one of many.
    Faint,
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// `(x, y)` in the order of drawing; a NaN or infinite value interrupts the line.
    pub points: Vec<(f64, f64)>,
    /// Which of the colours and mark shapes; they come again after the eighth and the fifth.
    pub color: usize,
    /// How it is drawn.
    pub stroke: Stroke,
}

/// A thin line across the chart with its name: a level to compare with, or a moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// At one value of y, from side to side.
    Level(f64, String),
    /// At one value of x, from top to bottom.
    Moment(f64, String),
}

/// Series over common axes. It draws sensibly with one point, with no finite point, and with long names.
#[derive(Debug, Clone, PartialEq)]
pub struct LineChart {
    /// What the chart shows.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The lines, later ones on top.
    pub series: Vec<Series>,
    /// Lines across, below the series. A level widens the axis to hold it.
    pub rules: Vec<Rule>,
}

impl LineChart {
    /// A `<figure>` with caption, legend and drawing.
    pub fn to_html(&self) -> String {
        let points = || {
            self.series
                .iter()
                .flat_map(|series| &series.points)
                .copied()
        };
        let levels = self.rules.iter().filter_map(|rule| match rule {
            Rule::Level(y, _) => Some(*y),
            Rule::Moment(..) => None,
        });
        let frame = Frame::new(
            Scale::of(&self.x, points().map(|point| point.0), false),
            Scale::of(&self.y, points().map(|point| point.1).chain(levels), true),
        );
        let mut svg = frame.open(&format!(
            "{}: {} by {}",
            self.title, self.y.title, self.x.title
        ));
        frame.axes(&mut svg, &self.x.title, &self.y.title);
        for rule in &self.rules {
            frame.rule(&mut svg, rule);
        }
        for series in &self.series {
            self.draw(&mut svg, &frame, series);
        }
        if !points().any(drawable) {
            let (x, y) = (
                (frame.left + frame.right) / 2.0,
                (frame.top + frame.bottom) / 2.0,
            );
            label(&mut svg, x, y, "middle", "nothing to draw");
        }
        svg += "</svg>\n";
        figure(&self.title, &(self.legend() + &svg))
    }

    fn draw(&self, svg: &mut String, frame: &Frame, series: &Series) {
        let color = series.color % COLORS;
        let class = match series.stroke {
            Stroke::Solid => "line",
            Stroke::Dashed => "line dashed",
            Stroke::Faint => "line faint",
        };
        for run in series.points.split(|point| !drawable(*point)) {
            if run.len() > 1 {
                let points: Vec<String> = run
                    .iter()
                    .map(|&(x, y)| format!("{:.1},{:.1}", frame.x(x), frame.y(y)))
                    .collect();
                let _ = writeln!(
                    svg,
                    "<polyline class=\"{class} c{color}\" points=\"{}\"/>",
                    points.join(" ")
                );
            }
        }
        if series.stroke == Stroke::Faint {
            return;
        }
        // Marks tell lines apart without colour; on a long line they stand apart, shifted from series to series.
        let every = series.points.len().div_ceil(8);
        for (at, &(x, y)) in series.points.iter().enumerate() {
            if !drawable((x, y)) {
                continue;
            }
            let (px, py) = (frame.x(x), frame.y(y));
            if (at + 1 + series.color).is_multiple_of(every) {
                *svg += &mark(px, py, series.color);
            }
            let _ = writeln!(
                svg,
                "<circle class=\"spot c{color}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"4\"><title>{}, {} {}: {}</title></circle>",
                Text(&series.name),
                Text(&self.x.title),
                frame.horizontal.exact(x),
                frame.vertical.exact(y),
            );
        }
    }

    fn legend(&self) -> String {
        let named: Vec<&Series> = self
            .series
            .iter()
            .filter(|series| series.stroke != Stroke::Faint)
            .collect();
        if named.is_empty() {
            return String::new();
        }
        let mut out = String::from("<ul class=\"legend\">\n");
        for series in named {
            let dashed = if series.stroke == Stroke::Dashed {
                " dashed"
            } else {
                ""
            };
            let _ = writeln!(
                out,
                "<li><svg viewBox=\"0 0 30 12\" aria-hidden=\"true\"><path class=\"line{dashed} c{}\" d=\"M1 6H29\"/>{}</svg>{}</li>",
                series.color % COLORS,
                mark(15.0, 6.0, series.color).trim_end(),
                Text(&series.name)
            );
        }
        out + "</ul>\n"
    }
}

fn drawable((x, y): (f64, f64)) -> bool {
    finite(x) && finite(y)
}

/// The mark of a series, centred on a point: circle, square, triangle, diamond or cross.
fn mark(x: f64, y: f64, color: usize) -> String {
    let shape = match color % SHAPES {
        0 => "m-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0z",
        1 => "m-3.4 -3.4h6.8v6.8h-6.8z",
        2 => "m0 -4.4l4.4 7.6h-8.8z",
        3 => "m0 -4.6l4.6 4.6l-4.6 4.6l-4.6 -4.6z",
        _ => "m-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    };
    format!(
        "<path class=\"mark c{}\" d=\"M{x:.1} {y:.1}{shape}\"/>\n",
        color % COLORS
    )
}

pub(super) fn label(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        Text(text)
    );
}

/// The area of a drawing between its axes, and the way from values to places.
pub(super) struct Frame {
    horizontal: Scale,
    vertical: Scale,
    height: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Frame {
    fn new(horizontal: Scale, vertical: Scale) -> Self {
        let widest = vertical
            .ticks
            .iter()
            .map(|&tick| vertical.tick(tick).chars().count())
            .max()
            .unwrap_or(0);
        Self {
            left: LINE + 14.0 + CHARACTER * widest as f64,
            right: WIDTH - 22.0,
            top: LINE + 8.0,
            bottom: HEIGHT - 2.0 * LINE - 14.0,
            height: HEIGHT,
            horizontal,
            vertical,
        }
    }

    /// A frame with fixed ends.
    pub(super) fn fixed(x: &Axis, y: &Axis) -> Self {
        let none = std::iter::empty;
        Self::new(Scale::of(x, none(), false), Scale::of(y, none(), false))
    }

    /// The place of a value of x; beyond the frame where the value is beyond the axis.
    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.horizontal.share(value)
    }

    /// The place of a value of y.
    pub(super) fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.vertical.share(value)
    }

    /// The drawing's first tag; `description` is for those who hear it.
    pub(super) fn open(&self, description: &str) -> String {
        format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">\n",
            self.height,
            Text(description)
        )
    }

    pub(super) fn axes(&self, svg: &mut String, x_title: &str, y_title: &str) {
        let Self {
            left,
            right,
            top,
            bottom,
            ..
        } = *self;
        for &tick in &self.vertical.ticks {
            let y = self.y(tick);
            let _ = writeln!(
                svg,
                "<path class=\"grid-line\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>"
            );
            label(svg, left - 7.0, y + 4.0, "end", &self.vertical.tick(tick));
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{left:.1} {bottom:.1}H{right:.1}\"/>"
        );
        // Labels that would touch are passed over.
        let mut free = f64::NEG_INFINITY;
        for &tick in &self.horizontal.ticks {
            let text = self.horizontal.tick(tick);
            let x = self.x(tick);
            let half = CHARACTER * text.chars().count() as f64 / 2.0;
            if x - half < free {
                continue;
            }
            free = x + half + CHARACTER;
            let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x:.1} {bottom:.1}v4\"/>");
            label(svg, x, bottom + LINE + 4.0, "middle", &text);
        }
        let _ = writeln!(
            svg,
            "<text class=\"title\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text class=\"title\" transform=\"translate({LINE} {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (left + right) / 2.0,
            bottom + 2.0 * LINE + 10.0,
            Text(x_title),
            (top + bottom) / 2.0,
            Text(y_title)
        );
    }

    fn rule(&self, svg: &mut String, rule: &Rule) {
        let Self {
            left,
            right,
            top,
            bottom,
            ..
        } = *self;
        match rule {
            Rule::Level(value, name) if finite(*value) => {
                let y = self.y(*value);
                let _ = writeln!(
                    svg,
                    "<path class=\"rule\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>"
                );
                // Above the line; below it at the top, where moments have their names.
                let dy = if y - LINE < top { LINE - 2.0 } else { -4.0 };
                label(svg, right - 2.0, y + dy, "end", name);
            }
            Rule::Moment(value, name) if finite(*value) => {
                let x = self.x(*value);
                let _ = writeln!(
                    svg,
                    "<path class=\"rule\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>"
                );
                // Above the frame, within the drawing's sides.
                let half = CHARACTER * name.chars().count() as f64 / 2.0;
                let middle = x.min(WIDTH - half - 2.0).max(half + 2.0);
                label(svg, middle, top - 7.0, "middle", name);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_breaks_at_nan_and_one_point_is_a_mark() {
        let series = |points: &[(f64, f64)], stroke| Series {
            name: "a < b".into(),
            points: points.to_vec(),
            color: 9,
            stroke,
        };
        let chart = |series| {
            LineChart {
                title: "t".into(),
                x: Axis::new("epoch", Unit::Integer),
                y: Axis::new("loss", Unit::Number),
                series: vec![series],
                rules: vec![
                    Rule::Moment(1.0, "best".into()),
                    Rule::Level(f64::NAN, "none".into()),
                ],
            }
            .to_html()
        };
        let gap = [
            (1.0, 1.0),
            (2.0, 2.0),
            (3.0, f64::NAN),
            (4.0, 2.0),
            (5.0, f64::INFINITY),
            (6.0, 1.0),
            (7.0, 2.0),
        ];
        let html = chart(series(&gap, Stroke::Solid));
        assert_eq!(html.matches("<polyline").count(), 2);
        assert_eq!(html.matches("class=\"spot").count(), 5);
        assert!(
            html.contains("a &lt; b") && !html.contains("NaN") && !html.contains("inf"),
            "{html}"
        );

        let html = chart(series(&[(1.0, 0.7)], Stroke::Dashed));
        assert_eq!(html.matches("<polyline").count(), 0);
        assert_eq!(
            html.matches("class=\"mark").count(),
            2,
            "the point and the legend"
        );

        let html = chart(series(&[], Stroke::Solid));
        assert!(html.contains("nothing to draw"));
        assert!(
            !chart(series(&gap, Stroke::Faint)).contains("<ul"),
            "no legend"
        );
    }
}
