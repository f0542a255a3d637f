//! Sun/NeXT `.au`, the format of GTZAN's original archive.
//!
//! A big-endian header of six words (magic, offset of the data, bytes of data or 0xffffffff where they were not
//! known, encoding, sample rate, channels), a note, then interleaved big-endian samples.

use crate::audio::decode::{Audio, cut_off};
use crate::audio::pcm::{ByteOrder, Encoding};

/// The first four bytes of the format.
pub(crate) const MAGIC: &[u8; 4] = b".snd";
/// Bytes of the header without the note.
const HEADER: usize = 24;
/// The number of bytes of a stream whose writer did not know it.
const UNKNOWN: u32 = u32::MAX;

/// The header's word; the numbers are those of Sun's `audio_filehdr.h`.
fn encoding(word: u32) -> Option<Encoding> {
    Some(match word {
        1 => Encoding::MuLaw,
        2 => Encoding::Signed(1),
        3 => Encoding::Signed(2),
        4 => Encoding::Signed(3),
        5 => Encoding::Signed(4),
        6 => Encoding::Float,
        7 => Encoding::Double,
        27 => Encoding::ALaw,
        _ => return None,
    })
}

/// Decodes a whole `.au` file to the mean of its channels; in the answer's error, what is wrong.
pub(crate) fn decode(file: &[u8]) -> Result<Audio, String> {
    let (words, _) = file.as_chunks::<4>();
    let Some(&[_, offset, size, format, sample_rate, channels]) = words.first_chunk::<6>() else {
        return Err(format!(
            "its header is cut off: {} bytes of {HEADER}",
            file.len()
        ));
    };
    let [offset, size, format, sample_rate, channels] =
        [offset, size, format, sample_rate, channels].map(u32::from_be_bytes);
    let encoding = encoding(format).ok_or_else(|| {
        format!("its encoding {format} is not supported: convert it to 16-bit linear")
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
        size => data
            .get(..size as usize)
            .ok_or_else(|| cut_off(size as usize / frame, data.len() / frame))?,
    };
    Ok(Audio {
        samples: encoding.mono(data, channels, ByteOrder::Big),
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

    #[test]
    fn every_encoding_is_told_by_its_number() {
        let double = 0.5f64.to_be_bytes();
        let cases: [(u32, &[u8], f32); 8] = [
            (1, &[0x80], 32_124.0 / 32_768.0),
            (2, &[0x40], 0.5),
            (3, &[0x40, 0], 0.5),
            (4, &[0x40, 0, 0], 0.5),
            (5, &[0x40, 0, 0, 0], 0.5),
            (6, &[0x3f, 0, 0, 0], 0.5),
            (7, &double, 0.5),
            (27, &[0xd5], 8.0 / 32_768.0),
        ];
        for (encoding, data, want) in cases {
            let audio = decode(&au(data.len() as u32, encoding, 1, data)).unwrap();
            assert_eq!(
                (audio.samples, audio.sample_rate),
                (vec![want], 22_050),
                "{encoding}"
            );
        }
    }

    #[test]
    fn the_length_is_the_headers_or_the_files() {
        let data = [0x40, 0, 0x20, 0, 0x10];
        assert_eq!(
            decode(&au(UNKNOWN, 3, 1, &data)).unwrap().samples,
            [0.5, 0.25]
        );
        assert_eq!(decode(&au(2, 3, 1, &data)).unwrap().samples, [0.5]);
        assert_eq!(decode(&au(4, 3, 2, &data)).unwrap().samples, [0.375]);
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
        for offset in [9_999u32, 3] {
            let mut outside = file.clone();
            outside[4..8].copy_from_slice(&offset.to_be_bytes());
            assert!(decode(&outside).unwrap_err().contains(&offset.to_string()));
        }
    }
}
