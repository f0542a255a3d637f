//! Line charts as inline SVG: any number of series over common axes, the legend in text beside them.

use std::fmt::Write;

use super::page::{Text, figure};

/// The size of a drawing in its own units; the page scales it to the room that there is.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 300.0;
/// The height of a line of labels and the mean width of a character, at the style sheet's 12 units.
const LINE: f64 = 14.0;
const CHARACTER: f64 = 6.8;
/// Values beyond this are left out like NaN, so that no difference of two overflows.
const LARGEST: f64 = 1e100;
/// The number of colours and of mark shapes before they come again.
const COLORS: usize = 8;
const SHAPES: usize = 5;

/// How an axis writes its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Whole numbers with ticks on whole numbers only: epochs.
    Integer,
    /// As many digits as the ticks need.
    Number,
    /// Shares of 1, written as percent.
    Percent,
}

/// One axis of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What stands along it, with its unit.
    pub title: String,
    /// How its values are written.
    pub unit: Unit,
    /// Its ends; where the data say when `None`.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    /// An axis whose ends the data give.
    pub fn new(title: impl Into<String>, unit: Unit) -> Self {
        Self {
            title: title.into(),
            unit,
            range: None,
        }
    }

    /// The same axis from `low` to `high`.
    #[must_use]
    pub fn from_to(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }
}

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

fn finite(value: f64) -> bool {
    value.abs() <= LARGEST
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

/// The ends of an axis and where its ticks stand.
pub(super) struct Scale {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
    unit: Unit,
    /// Decimals of a tick's label (of its percent, where it is one).
    decimals: usize,
}

impl Scale {
    /// From the axis, and from the values where the axis leaves its ends open. `rounded` moves the ends to ticks.
    fn of(axis: &Axis, values: impl Iterator<Item = f64>, rounded: bool) -> Self {
        let values = values.filter(|value| finite(*value));
        let (low, high) = axis
            .range
            .filter(|(low, high)| finite(*low) && finite(*high) && low < high)
            .unwrap_or_else(|| {
                values
                    .fold(None, |ends: Option<(f64, f64)>, value| {
                        Some(ends.map_or((value, value), |(low, high)| {
                            (low.min(value), high.max(value))
                        }))
                    })
                    .unwrap_or((0.0, 1.0))
            });
        // One value alone gets some room, more than the last digits of a large number.
        let (low, high) = if high - low <= 1e-9 * low.abs().max(high.abs()) {
            let room = match axis.unit {
                Unit::Integer => 1.0,
                Unit::Number | Unit::Percent if low == 0.0 => 0.5,
                Unit::Number | Unit::Percent => 0.1 * low.abs(),
            };
            match axis.unit {
                // A share has no room beyond 0 and 1.
                Unit::Percent => (
                    (low - room).max(0.0_f64.min(low)),
                    (high + room).min(1.0_f64.max(high)),
                ),
                _ => (low - room, high + room),
            }
        } else {
            (low, high)
        };
        let mut step = nice_step((high - low) / 5.0);
        if axis.unit == Unit::Integer {
            step = step.max(1.0);
        }
        let (low, high) = if rounded && axis.range.is_none() {
            ((low / step).floor() * step, (high / step).ceil() * step)
        } else {
            (low, high)
        };
        // A hair of tolerance, for 0.1 * 3 is more than 0.3.
        let first = (low / step - 1e-6).ceil();
        let last = (high / step + 1e-6).floor();
        let ticks: Vec<f64> = (0..=(last - first).clamp(0.0, 20.0) as u32)
            .map(|at| (first + f64::from(at)) * step)
            .collect();
        let shown = if axis.unit == Unit::Percent {
            step * 100.0
        } else {
            step
        };
        Self {
            low,
            high,
            ticks,
            unit: axis.unit,
            decimals: (-shown.log10().floor()).clamp(0.0, 12.0) as usize,
        }
    }

    fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// A tick's label.
    fn tick(&self, value: f64) -> String {
        let decimals = self.decimals;
        // `+ 0.0` turns -0 into 0.
        match self.unit {
            Unit::Percent => format!("{:.decimals$}\u{202F}%", 100.0 * value + 0.0),
            _ if value != 0.0 && (value.abs() >= 1e6 || decimals > 5) => format!("{value:.1e}"),
            _ => format!("{:.decimals$}", value + 0.0),
        }
    }

    /// A value to read, more exact than the ticks.
    fn exact(&self, value: f64) -> String {
        match self.unit {
            Unit::Integer => format!("{value}"),
            Unit::Number if value != 0.0 && !(1e-3..1e6).contains(&value.abs()) => {
                format!("{value:.3e}")
            }
            Unit::Number => format!("{value:.4}"),
            Unit::Percent => format!("{:.2}\u{202F}%", 100.0 * value),
        }
    }
}

/// The smallest of 1, 2 or 5 times a power of ten that is not below `rough`.
///
/// After Heckbert, Nice numbers for graph labels, Graphics Gems (1990).
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let fraction = rough / power;
    let nice = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|nice| fraction <= nice * (1.0 + 1e-9))
        .unwrap_or(10.0);
    nice * power
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
                label(svg, right - 2.0, y - 4.0, "end", name);
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
mod tests;
