//! Uncompressed samples, as WAV and `.au` files hold them.

/// How one sample is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// ITU-T G.711 mu-law.
    MuLaw,
    /// ITU-T G.711 A-law.
    ALaw,
    /// Eight bits, 128 is silence.
    Unsigned8,
    /// Two's complement of one to four bytes; fewer bits than that are at the top.
    Signed(usize),
    /// IEEE 754 of 32 bits.
    Float,
    /// IEEE 754 of 64 bits.
    Double,
}

/// The order of a sample's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    /// As in WAV.
    Little,
    /// As in `.au`.
    Big,
}

impl Encoding {
    /// Bytes a sample.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::MuLaw | Self::ALaw | Self::Unsigned8 => 1,
            Self::Signed(bytes) => bytes,
            Self::Float => 4,
            Self::Double => 8,
        }
    }

    /// The mean of the interleaved channels, full scale at ±1. A frame that the data end in is left out.
    pub(crate) fn mono(self, data: &[u8], channels: usize, order: ByteOrder) -> Vec<f32> {
        use ByteOrder::{Big, Little};
        match (self, order) {
            (Self::MuLaw, _) => mean(data, channels, |[b]| i16_scale(mu_law(b))),
            (Self::ALaw, _) => mean(data, channels, |[b]| i16_scale(a_law(b))),
            (Self::Unsigned8, _) => mean(data, channels, |[b]| (f32::from(b) - 128.0) / 128.0),
            (Self::Signed(2), Little) => mean(data, channels, |b| i16_scale(i16::from_le_bytes(b))),
            (Self::Signed(2), Big) => mean(data, channels, |b| i16_scale(i16::from_be_bytes(b))),
            (Self::Signed(3), Little) => mean(data, channels, |[a, b, c]| i32_scale([0, a, b, c])),
            (Self::Signed(3), Big) => mean(data, channels, |[a, b, c]| i32_scale([0, c, b, a])),
            (Self::Signed(4), Little) => mean(data, channels, i32_scale),
            (Self::Signed(4), Big) => mean(data, channels, |[a, b, c, d]| i32_scale([d, c, b, a])),
            (Self::Signed(_), _) => mean(data, channels, |[b]| f32::from(b.cast_signed()) / 128.0),
            (Self::Float, Little) => mean(data, channels, f32::from_le_bytes),
            (Self::Float, Big) => mean(data, channels, f32::from_be_bytes),
            (Self::Double, Little) => mean(data, channels, |b| f64::from_le_bytes(b) as f32),
            (Self::Double, Big) => mean(data, channels, |b| f64::from_be_bytes(b) as f32),
        }
    }
}

fn i16_scale(sample: i16) -> f32 {
    f32::from(sample) / 32_768.0
}

/// Of the bytes of a 32-bit sample, lowest first.
fn i32_scale(bytes: [u8; 4]) -> f32 {
    i32::from_le_bytes(bytes) as f32 / 2_147_483_648.0
}

/// The mean of each frame of interleaved samples of `BYTES` bytes.
fn mean<const BYTES: usize>(
    data: &[u8],
    channels: usize,
    value: impl Fn([u8; BYTES]) -> f32,
) -> Vec<f32> {
    let (samples, _) = data.as_chunks::<BYTES>();
    match channels {
        // The usual two by themselves: they become SIMD.
        1 => samples.iter().map(|s| value(*s)).collect(),
        2 => {
            let (frames, _) = samples.as_chunks::<2>();
            frames
                .iter()
                .map(|[l, r]| 0.5 * (value(*l) + value(*r)))
                .collect()
        }
        _ => samples
            .chunks_exact(channels)
            .map(|frame| frame.iter().map(|s| value(*s)).sum::<f32>() / channels as f32)
            .collect(),
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

#[cfg(test)]
mod tests {
    use super::ByteOrder::{Big, Little};
    use super::*;

    #[test]
    fn every_encoding_has_its_full_scale() {
        let cases: [(Encoding, &[u8], &[f32]); 6] = [
            (
                Encoding::Signed(1),
                &[0x80, 0xc0, 0, 0x40],
                &[-1.0, -0.5, 0.0, 0.5],
            ),
            (
                Encoding::Signed(2),
                &[0x80, 0, 0x40, 0, 0xff, 0xff],
                &[-1.0, 0.5, -1.0 / 32_768.0],
            ),
            (
                Encoding::Signed(3),
                &[0x80, 0, 0, 0, 0, 1],
                &[-1.0, 1.0 / 8_388_608.0],
            ),
            (
                Encoding::Signed(4),
                &[0xc0, 0, 0, 0, 0, 1, 0, 0],
                &[-0.5, 1.0 / 32_768.0],
            ),
            (
                Encoding::Float,
                &[0x3e, 0x80, 0, 0, 0xbf, 0xc0, 0, 0],
                &[0.25, -1.5],
            ),
            (Encoding::Double, &[0xbf, 0xe8, 0, 0, 0, 0, 0, 0], &[-0.75]),
        ];
        for (encoding, data, want) in cases {
            assert_eq!(encoding.mono(data, 1, Big), want, "{encoding:?}");
            let swapped: Vec<u8> = data
                .chunks(encoding.bytes())
                .flat_map(|sample| sample.iter().rev().copied())
                .collect();
            assert_eq!(encoding.mono(&swapped, 1, Little), want, "{encoding:?}");
        }
        assert_eq!(
            Encoding::Unsigned8.mono(&[0, 128, 192], 1, Little),
            [-1.0, 0.0, 0.5]
        );
    }

    /// G.711's tables: the ends, the zeros and values in between of both laws.
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
        assert_eq!(
            Encoding::MuLaw.mono(&[0xff, 0x80], 1, Big),
            [0.0, 32_124.0 / 32_768.0]
        );
        assert_eq!(Encoding::ALaw.mono(&[0xd5], 1, Big), [8.0 / 32_768.0]);
    }

    #[test]
    fn channels_are_averaged_and_part_frames_left_out() {
        let eight = Encoding::Signed(1);
        assert_eq!(
            eight.mono(&[0x40, 0xc0, 0x40, 0x40, 0x40], 2, Big),
            [0.0, 0.5]
        );
        assert_eq!(eight.mono(&[0x40, 0x40, 0x80, 0x40], 3, Big), [0.0]);
        assert_eq!(Encoding::Signed(2).mono(&[0x40, 0, 0x40], 1, Big), [0.5]);
        assert!(eight.mono(&[], 1, Big).is_empty());
    }
}
