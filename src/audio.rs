//! Sound: from a file to the log-mel features that the models see. Knows nothing of graphs.
//!
//! [`load`] takes any supported file to mono samples at [`SAMPLE_RATE`]; an [`Extractor`] takes those to
//! decibels on the mel scale, cut as a [`FrontEnd`] says, with librosa's constants and librosa's answers.

use std::path::Path;

use crate::error::{Error, Result};

mod au;
pub mod decibel;
pub mod decode;
pub mod extractor;
pub mod front_end;
pub mod mel;
mod pcm;
pub mod resample;
pub mod stft;
mod wav;

pub use extractor::{Extractor, Worker};
pub use front_end::FrontEnd;

/// The rate that the models hear, in Hz: GTZAN's own.
pub const SAMPLE_RATE: u32 = 22_050;

/// File name extensions of the formats that [`load`] reads, in lower case and without the dot.
pub const EXTENSIONS: &[&str] = &[
    "wav", "wave", "mp3", "flac", "ogg", "oga", "m4a", "mp4", "aac", "aif", "aiff", "aifc", "au",
    "snd", "mka",
];

/// Reads any supported file as mono samples at [`SAMPLE_RATE`]: the mean of its channels, full scale at ±1.
///
/// Values a little over full scale, as lossy decoders and resampling give them, are kept: librosa
/// keeps them too. The format is told by the content, not by the name.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::File`] where it is empty, no sound, damaged, cut off
/// (as far as its header tells), has no samples or others than finite ones near ±1, or a sample rate
/// outside [`resample::RATES`].
pub fn load(path: &Path) -> Result<Vec<f32>> {
    let audio = decode::decode(path)?;
    if !resample::RATES.contains(&audio.sample_rate) {
        return Err(Error::file(
            path,
            format!(
                "its sample rate is {} Hz, not between {} and {} Hz: convert it to {SAMPLE_RATE} Hz",
                audio.sample_rate,
                resample::RATES.start(),
                resample::RATES.end()
            ),
        ));
    }
    if audio.sample_rate == SAMPLE_RATE {
        return Ok(audio.samples);
    }
    resample::resample(&audio.samples, audio.sample_rate, SAMPLE_RATE)
}

/// Writes mono samples as a 16-bit WAV file, rounded to the nearest step and clipped at full scale.
///
/// # Errors
/// [`Error::Io`] where the file cannot be written, [`Error::Usage`] for samples that are not finite; in
/// both cases nothing stands under `path` that did not before.
pub fn write_wav(path: &Path, samples: &[f32], sample_rate: u32) -> Result<()> {
    if !largest_magnitude(samples).is_finite()
        && let Some(at) = samples.iter().position(|sample| !sample.is_finite())
    {
        return Err(Error::Usage(format!(
            "{}: sample {at} is {}, which a WAV file cannot hold",
            path.display(),
            samples[at]
        )));
    }
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let io_error = |error: hound::Error| match error {
        hound::Error::IoError(error) => error,
        other => std::io::Error::other(other),
    };
    crate::io::write_atomic(path, |file| {
        let mut writer = hound::WavWriter::new(file, spec).map_err(io_error)?;
        for sample in samples {
            // 32768 as in every decoder's way back, so that a written file reads as the same samples.
            let step = (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0);
            writer.write_sample(step as i16).map_err(io_error)?;
        }
        writer.finalize().map_err(io_error)
    })
}

/// The largest absolute value; NaN or infinite where a sample is, 0 of nothing.
fn largest_magnitude(samples: &[f32]) -> f32 {
    // Without their sign, floats are ordered as their bits are, NaN last; integers have a maximum that
    // the compiler turns into SIMD.
    let bits = samples.iter().fold(0, |most: i32, sample| {
        most.max(sample.abs().to_bits().cast_signed())
    });
    f32::from_bits(bits.cast_unsigned())
}
