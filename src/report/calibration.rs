//! A reliability diagram: how often answers of each confidence are right.

use std::fmt::Write;

use super::chart::{Axis, Frame, Unit, label};
use super::page::{count, figure, percent};
use crate::train::metrics::Calibration;

/// The diagram, under this caption: a bar a bin as high as its accuracy, a dashed box from there to its confidence, the number of answers above.
pub(super) fn reliability(caption: &str, calibration: &Calibration) -> String {
    let axis = |title: &str| Axis::new(title, Unit::Percent).from_to(0.0, 1.0);
    let (x, y) = (
        axis("confidence of the answer"),
        axis("answers that are right"),
    );
    let frame = Frame::fixed(&x, &y);
    let mut svg = frame.open(&format!(
        "Reliability diagram: expected calibration error {}",
        percent(calibration.ece)
    ));
    frame.axes(&mut svg, &x.title, &y.title);
    for bin in calibration.bins.iter().filter(|bin| bin.count > 0) {
        let (left, right) = (frame.x(bin.lo) + 1.5, frame.x(bin.hi) - 1.5);
        let (accuracy, confidence) = (frame.y(bin.accuracy), frame.y(bin.confidence));
        let _ = writeln!(
            svg,
            "<g><title>{} to {}: {} answers, mean confidence {}, right {}</title>\
             <rect class=\"bar\" x=\"{left:.1}\" y=\"{accuracy:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <rect class=\"gap\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></g>",
            percent(bin.lo),
            percent(bin.hi),
            count(bin.count),
            percent(bin.confidence),
            percent(bin.accuracy),
            right - left,
            frame.bottom - accuracy,
            accuracy.min(confidence),
            right - left,
            (accuracy - confidence).abs(),
        );
        let above = accuracy.min(confidence) - 4.0;
        label(
            &mut svg,
            (left + right) / 2.0,
            above,
            "middle",
            &count(bin.count),
        );
    }
    let _ = writeln!(
        svg,
        "<path class=\"rule\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>\n</svg>",
        frame.left, frame.bottom, frame.right, frame.top
    );
    figure(caption, &svg)
}
