//! Sun/NeXT `.au`, the format of GTZAN's original archive.
//!
//! A big-endian header of six words (magic, offset of the data, bytes of data or 0xffffffff where they were not
//! known, encoding, sample rate, channels), a note, then interleaved big-endian samples.

use crate::audio::decode::{Audio, push_mean};

/// The first four bytes of the format.
pub const MAGIC: &[u8; 4] = b".snd";
/// Bytes of the header without the note.
const HEADER: usize = 24;
/// The number of bytes of a stream whose writer did not know it.
const UNKNOWN: u32 = u32::MAX;

/// How samples are written.
#[derive(Clone, Copy)]
enum Encoding {
    MuLaw,
    ALaw,
    /// Signed integers of this many bytes.
    Linear(usize),
    Float,
    Double,
}

impl Encoding {
    /// From the header's word; the numbers are those of Sun's `audio_filehdr.h`.
    fn from_word(word: u32) -> Option<Self> {
        Some(match word {
            1 => Self::MuLaw,
            2 => Self::Linear(1),
            3 => Self::Linear(2),
            4 => Self::Linear(3),
            5 => Self::Linear(4),
            6 => Self::Float,
            7 => Self::Double,
            27 => Self::ALaw,
            _ => return None,
        })
    }

    /// Bytes a sample.
    fn bytes(self) -> usize {
        match self {
            Self::MuLaw | Self::ALaw => 1,
            Self::Linear(bytes) => bytes,
            Self::Float => 4,
            Self::Double => 8,
        }
    }

    /// One sample of [`bytes`](Self::bytes) bytes, full scale at ±1.
    fn sample(self, bytes: &[u8]) -> f32 {
        match self {
            Self::MuLaw => f32::from(mu_law(bytes[0])) / 32_768.0,
            Self::ALaw => f32::from(a_law(bytes[0])) / 32_768.0,
            Self::Linear(_) => {
                // At the top of 32 bits, so that every width has its sign and its full scale there.
                let mut word = [0; 4];
                word[..bytes.len()].copy_from_slice(bytes);
                (f64::from(i32::from_be_bytes(word)) / 2_147_483_648.0) as f32
            }
            Self::Float => f32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            Self::Double => {
                let mut word = [0; 8];
                word.copy_from_slice(bytes);
                f64::from_be_bytes(word) as f32
            }
        }
    }
}

/// ITU-T G.711 mu-law to 16-bit linear.
fn mu_law(byte: u8) -> i16 {
    let byte = !byte;
    let (exponent, mantissa) = ((byte >> 4) & 7, i16::from(byte & 15));
    let magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    if byte & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// ITU-T G.711 A-law to 16-bit linear.
fn a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = ((byte >> 4) & 7, i16::from(byte & 15));
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    if byte & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

/// Decodes a whole `.au` file to the mean of its channels; in the answer's error, what is wrong.
pub(crate) fn decode(file: &[u8]) -> Result<Audio, String> {
    if file.len() < HEADER {
        return Err(format!(
            "its header is cut off: {} bytes of {HEADER}",
            file.len()
        ));
    }
    let word = |i: usize| {
        u32::from_be_bytes([
            file[4 * i],
            file[4 * i + 1],
            file[4 * i + 2],
            file[4 * i + 3],
        ])
    };
    let (offset, size, encoding, sample_rate, channels) =
        (word(1), word(2), word(3), word(4), word(5));
    let encoding = Encoding::from_word(encoding).ok_or_else(|| {
        format!("its encoding {encoding} is not supported: convert it to 16-bit linear")
    })?;
    if !(1..=256).contains(&channels) {
        return Err(format!("its header says {channels} channels"));
    }
    let data = match file.get(offset as usize..) {
        Some(data) if offset as usize >= HEADER => data,
        _ => {
            return Err(format!(
                "its header puts the samples at byte {offset} of {}",
                file.len()
            ));
        }
    };
    let channels = channels as usize;
    let frame = encoding.bytes() * channels;
    let data = match size {
        UNKNOWN => data,
        size => data.get(..size as usize).ok_or_else(|| {
            format!(
                "it is cut off: its header says {} samples a channel, but only {} can be read",
                size as usize / frame,
                data.len() / frame
            )
        })?,
    };
    let whole = &data[..data.len() / frame * frame];
    let interleaved: Vec<f32> = whole
        .chunks_exact(encoding.bytes())
        .map(|bytes| encoding.sample(bytes))
        .collect();
    let mut samples = Vec::with_capacity(whole.len() / frame);
    push_mean(&interleaved, channels, &mut samples);
    Ok(Audio {
        samples,
        sample_rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a note of eight bytes.
    fn au(size: u32, encoding: u32, channels: u32, data: &[u8]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for word in [32, size, encoding, 22_050, channels] {
            file.extend(word.to_be_bytes());
        }
        file.extend(b"a note\0\0");
        file.extend(data);
        file
    }

    fn samples(encoding: u32, channels: u32, data: &[u8]) -> Vec<f32> {
        let audio = decode(&au(data.len() as u32, encoding, channels, data)).unwrap();
        assert_eq!(audio.sample_rate, 22_050);
        audio.samples
    }

    #[test]
    fn every_encoding_has_its_full_scale() {
        assert_eq!(
            samples(2, 1, &[0x80, 0xc0, 0, 0x40]),
            [-1.0, -0.5, 0.0, 0.5]
        );
        assert_eq!(
            samples(3, 1, &[0x80, 0, 0x40, 0, 0xff, 0xff]),
            [-1.0, 0.5, -1.0 / 32_768.0]
        );
        assert_eq!(
            samples(4, 1, &[0x80, 0, 0, 0, 0, 1]),
            [-1.0, 1.0 / 8_388_608.0]
        );
        assert_eq!(
            samples(5, 1, &[0xc0, 0, 0, 0, 0, 1, 0, 0]),
            [-0.5, 1.0 / 32_768.0]
        );
        let floats: Vec<u8> = [0.25f32, -1.5]
            .iter()
            .flat_map(|x| x.to_be_bytes())
            .collect();
        assert_eq!(samples(6, 1, &floats), [0.25, -1.5]);
        let doubles: Vec<u8> = [0.125f64, -0.75]
            .iter()
            .flat_map(|x| x.to_be_bytes())
            .collect();
        assert_eq!(samples(7, 1, &doubles), [0.125, -0.75]);
    }

    /// G.711's tables: the ends, the zeros and a value in between of both laws.
    #[test]
    fn the_laws_are_g711s() {
        for (byte, linear) in [
            (0x00, -32_124),
            (0x80, 32_124),
            (0xff, 0),
            (0x7f, 0),
            (0xf0, 120),
            (0x0f, -16_764),
        ] {
            assert_eq!(mu_law(byte), linear, "mu-law {byte:#x}");
        }
        for (byte, linear) in [
            (0xd5, 8),
            (0x55, -8),
            (0xaa, 32_256),
            (0x2a, -32_256),
            (0x80, 5_504),
        ] {
            assert_eq!(a_law(byte), linear, "A-law {byte:#x}");
        }
        assert_eq!(samples(1, 1, &[0xff, 0x80]), [0.0, 32_124.0 / 32_768.0]);
        assert_eq!(samples(27, 1, &[0xd5]), [8.0 / 32_768.0]);
    }

    #[test]
    fn channels_are_averaged() {
        assert_eq!(samples(2, 2, &[0x40, 0xc0, 0x40, 0x40]), [0.0, 0.5]);
        assert_eq!(samples(2, 3, &[0x40, 0x40, 0x80]), [0.0]);
    }

    #[test]
    fn an_unknown_length_goes_to_the_end() {
        let audio = decode(&au(UNKNOWN, 3, 1, &[0x40, 0, 0x20, 0, 0x10])).unwrap();
        assert_eq!(audio.samples, [0.5, 0.25]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let file = au(8, 3, 2, &[0; 8]);
        assert!(decode(&file).is_ok());
        let error = decode(&file[..file.len() - 1]).unwrap_err();
        assert!(
            error.contains("2 samples") && error.contains("only 1"),
            "{error}"
        );
        for cut in 0..HEADER {
            assert!(decode(&file[..cut]).unwrap_err().contains("header"));
        }
        assert!(
            decode(&au(0, 23, 1, &[]))
                .unwrap_err()
                .contains("encoding 23")
        );
        assert!(
            decode(&au(0, 3, 0, &[]))
                .unwrap_err()
                .contains("0 channels")
        );
        assert!(
            decode(&au(0, 3, u32::MAX, &[]))
                .unwrap_err()
                .contains("channels")
        );
        let mut outside = file;
        outside[4..8].copy_from_slice(&9_999u32.to_be_bytes());
        assert!(decode(&outside).unwrap_err().contains("9999"));
        outside[4..8].copy_from_slice(&3u32.to_be_bytes());
        assert!(decode(&outside).is_err());
    }
}
