//! What a run shows a person: one self-contained HTML file, SVG curves, confusion matrix, spectrogram.
//!
//! A report needs no script, no network and no second file. Its markup is well-formed XML, and its colours follow
//! the reader's light or dark scheme and the printer.

mod calibration;
pub mod chart;
pub mod compare;
mod confusion;
pub mod html;
mod page;
pub mod spectrogram;

#[cfg(test)]
mod sample;
