//! Uncompressed WAV: most data sets' format, so it has a reader that does nothing but convert. What
//! is compressed otherwise (ADPCM) or odd is left to symphonia.

use crate::audio::decode::{Audio, cut_off};
use crate::audio::pcm::{ByteOrder, Encoding};

/// The number of bytes of a chunk whose writer did not know it (a pipe).
const UNKNOWN: u32 = u32::MAX;
/// `wFormatTag` of integers, of IEEE floats, of G.711's two laws, and of a header whose sub-format says which.
const PCM: u16 = 1;
const IEEE_FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;

/// The `fmt ` chunk, as far as it is needed.
struct Format {
    encoding: Encoding,
    channels: usize,
    sample_rate: u32,
}

/// Decodes a whole WAV file to the mean of its channels. `None` where it is no plain RIFF WAVE of integers,
/// floats or G.711; in an error, what is wrong.
pub(crate) fn decode(file: &[u8]) -> Option<Result<Audio, String>> {
    if file.get(..4)? != b"RIFF" || file.get(8..12)? != b"WAVE" {
        return None;
    }
    let mut format = None;
    let mut at = 12usize;
    loop {
        let header = file.get(at..at + 8)?;
        let size = u32_at(header, 4)?;
        let body = &file[at + 8..];
        match &header[..4] {
            b"fmt " => format = Some(parse_format(body.get(..size as usize)?)?),
            b"data" => return Some(convert(format?, size, body)),
            _ => {}
        }
        // Chunks start at even bytes.
        at = at
            .checked_add(8 + size as usize)?
            .checked_next_multiple_of(2)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn parse_format(chunk: &[u8]) -> Option<Format> {
    let tag = match u16_at(chunk, 0)? {
        // The sub-format is a GUID whose first two bytes are a tag.
        EXTENSIBLE => u16_at(chunk, 24)?,
        tag => tag,
    };
    let (channels, frame, bits) = (u16_at(chunk, 2)?, u16_at(chunk, 12)?, u16_at(chunk, 14)?);
    // A sample fills whole bytes, whatever its bits: 20 bits are the top of 24.
    let bytes = frame.checked_div(channels)?;
    if bytes * channels != frame || bits.div_ceil(8) != bytes {
        return None;
    }
    let encoding = match (tag, bytes) {
        (PCM, 1) => Encoding::Unsigned8,
        (PCM, 2..=4) => Encoding::Signed(usize::from(bytes)),
        (IEEE_FLOAT, 4) => Encoding::Float,
        (IEEE_FLOAT, 8) => Encoding::Double,
        (A_LAW, 1) => Encoding::ALaw,
        (MU_LAW, 1) => Encoding::MuLaw,
        _ => return None,
    };
    Some(Format {
        encoding,
        channels: usize::from(channels),
        sample_rate: u32_at(chunk, 4)?,
    })
}

fn convert(format: Format, size: u32, body: &[u8]) -> Result<Audio, String> {
    let frame = format.encoding.bytes() * format.channels;
    let data = match size {
        UNKNOWN => body,
        size => body
            .get(..size as usize)
            .ok_or_else(|| cut_off(size as usize / frame, body.len() / frame))?,
    };
    Ok(Audio {
        samples: format
            .encoding
            .mono(data, format.channels, ByteOrder::Little),
        sample_rate: format.sample_rate,
    })
}
