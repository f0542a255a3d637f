//! What a run shows a person: one self-contained HTML file, SVG curves, confusion matrix, spectrogram.

pub mod spectrogram;
