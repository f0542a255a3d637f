//! From a file to mono samples at the file's own rate.
//!
//! Symphonia decodes AIFF, FLAC, MP3, Ogg Vorbis, AAC in MP4 or ADTS, Matroska and WAV of ADPCM; plain WAV
//! and Sun/NeXT `.au` have small readers of their own. Encoder delay and padding are cut off where the file tells them
//! (LAME's tag in MP3, Ogg Vorbis); AAC keeps its priming samples, 1024 and more of near silence.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::well_known::CODEC_ID_MP3;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;

use crate::audio::{au, largest_magnitude, wav};
use crate::error::{Error, Result};

/// Decoded sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    /// The mean of the channels, full scale at ±1, never empty, all finite.
    pub samples: Vec<f32>,
    /// Samples a second, in Hz, as the file says: not zero.
    pub sample_rate: u32,
}

/// The largest sample that passes for sound. Full scale is 1; lossy decoders go a little over. Float files
/// that hold integers (full scale 32768) would train a model on nonsense.
const LARGEST: f32 = 256.0;

/// What to do about a file that cannot be decoded; the end of several messages.
const WAY_OUT: &str = "replace it, or convert it to WAV or FLAC";

/// Decodes a file, told by its content, to the mean of its channels. Of several tracks it takes the
/// default audio track. A packet that cannot be decoded is left out.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read; [`Error::File`] where it is empty, of no known format, of a codec that
/// is not supported, damaged, shorter than its header says, without a single sample, or with samples that are not
/// finite or far over full scale.
pub fn decode(path: &Path) -> Result<Audio> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut magic = [0; 4];
    let got = read_up_to(&mut file, &mut magic).map_err(Error::io("read", path))?;
    if got == 0 {
        return Err(Error::file(path, format!("the file is empty: {WAY_OUT}")));
    }
    if &magic == b"OggS" && ogg_is_cut(&mut file).map_err(Error::io("read", path))? {
        return Err(Error::file(
            path,
            format!("it is cut off within its last Ogg page: {WAY_OUT}"),
        ));
    }
    let own = match &magic {
        au::MAGIC => Some(au::decode(&read_all(&mut file, path)?)),
        b"RIFF" => wav::decode(&read_all(&mut file, path)?),
        _ => None,
    };
    let audio = match own {
        Some(audio) => audio,
        None => {
            file.rewind().map_err(Error::io("read", path))?;
            // A damaged file must not end a run over a thousand songs, even where it finds an assertion
            // in the decoder. Nothing that the decoder touched is used afterwards.
            catch_unwind(AssertUnwindSafe(|| decode_symphonia(path, file)))
                .unwrap_or_else(|_| Err(format!("the decoder gave up on it: {WAY_OUT}")))
        }
    };
    audio
        .and_then(check)
        .map_err(|reason| Error::file(path, reason))
}

/// The whole of an opened file.
fn read_all(file: &mut File, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// What is wrong with a file that has fewer samples a channel than its header says.
pub(crate) fn cut_off(promised: impl Display, there: impl Display) -> String {
    format!(
        "it is cut off: its header says {promised} samples a channel, but only {there} can be read: \
         {WAY_OUT}"
    )
}

/// Reads until the buffer is full or the file ends.
fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Whether an Ogg file ends within a page. Its decoder would take that for the song's end: the format has no
/// length in its header.
fn ogg_is_cut(file: &mut File) -> io::Result<bool> {
    /// Bytes of a page's header before its table of segment lengths, whose length is the last of them.
    const HEADER: usize = 27;
    /// A page with 255 segments of 255 bytes.
    const LONGEST_PAGE: u64 = 65_307;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST_PAGE)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let Some(page) = tail.windows(4).rposition(|word| word == b"OggS") else {
        return Ok(false);
    };
    let page = &tail[page..];
    let whole = page.get(HEADER - 1).and_then(|segments| {
        let table = page.get(HEADER..HEADER + usize::from(*segments))?;
        Some(HEADER + table.len() + table.iter().map(|len| usize::from(*len)).sum::<usize>())
    });
    Ok(whole.is_none_or(|whole| page.len() < whole))
}

/// What every decoder's answer must be.
fn check(audio: Audio) -> std::result::Result<Audio, String> {
    if audio.samples.is_empty() {
        return Err(format!("it holds no samples: {WAY_OUT}"));
    }
    if audio.sample_rate == 0 {
        return Err("its header gives a sample rate of 0 Hz".to_owned());
    }
    let largest = largest_magnitude(&audio.samples);
    if largest <= LARGEST {
        return Ok(audio);
    }
    let not_finite = audio.samples.iter().position(|sample| !sample.is_finite());
    Err(match not_finite {
        Some(at) => format!("sample {at} is {}: {WAY_OUT}", audio.samples[at]),
        None => {
            format!("its samples go up to {largest}, where full scale is 1: scale them down")
        }
    })
}

/// A track of an opened container and the decoder for it.
struct Track {
    id: u32,
    decoder: Box<dyn AudioDecoder>,
    /// Frames that the header promises, and how many may be missing before the file counts as cut off.
    promised: Option<(u64, u64)>,
}

/// Opens the default audio track.
fn open_track(format: &dyn FormatReader) -> std::result::Result<Track, String> {
    let track = format
        .default_track(TrackType::Audio)
        .ok_or_else(|| format!("it has no audio track: {WAY_OUT}"))?;
    let parameters = track
        .codec_params
        .as_ref()
        .and_then(|parameters| parameters.audio())
        .ok_or_else(|| format!("its audio track is of an unknown codec: {WAY_OUT}"))?;
    // Without LAME's tag, an MP3's length is an estimate from its first frames, which must neither
    // trim its end nor call it cut off.
    let exact = parameters.codec != CODEC_ID_MP3 || track.delay.is_some();
    let lossless = ["wave", "aiff", "flac"].contains(&format.format_info().short_name);
    // Containers of lossy codecs round their length to packets, priming or edit lists.
    let slack = if lossless { 0 } else { 4_096 };
    let promised = track.num_frames.filter(|_| exact).map(|n| (n, slack));
    let decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default().gapless(exact))
        .map_err(|fault| format!("its codec is not supported ({fault}): {WAY_OUT}"))?;
    Ok(Track {
        id: track.id,
        decoder,
        promised,
    })
}

/// Everything but `.au`.
fn decode_symphonia(path: &Path, file: File) -> std::result::Result<Audio, String> {
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let mut hint = Hint::new();
    if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
        hint.with_extension(extension);
    }
    let mut format = symphonia::default::get_probe()
        .probe(&hint, stream, Default::default(), Default::default())
        .map_err(|fault| match fault {
            Fault::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                format!("it ends within its header: {WAY_OUT}")
            }
            fault => {
                format!("it is no sound that can be read, whatever its name ({fault}): {WAY_OUT}")
            }
        })?;
    let mut track = open_track(&*format)?;
    let mut mono = Mono::default();
    if let Some((promised, _)) = track.promised {
        // A header may promise anything: beyond ten minutes, the vector grows as ever.
        mono.samples.reserve(promised.min(1 << 24) as usize);
    }
    let (mut packets, mut lost_packets, mut lost_frames) = (0u64, 0u64, 0u64);
    let end = loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break None,
            // A chained Ogg stream: another song, or the next part of this one, follows.
            Err(Fault::ResetRequired) => {
                track = open_track(&*format)?;
                track.promised = None;
                continue;
            }
            Err(fault) => break Some(fault),
        };
        if packet.track_id != track.id {
            continue;
        }
        packets += 1;
        match track.decoder.decode(&packet) {
            Ok(decoded) => mono.push(&decoded)?,
            Err(Fault::DecodeError(_) | Fault::IoError(_)) => {
                lost_packets += 1;
                lost_frames += packet.dur.get();
            }
            Err(fault) => return Err(format!("it cannot be decoded ({fault}): {WAY_OUT}")),
        }
    };
    let audio = mono.finish();
    if let Some((promised, slack)) = track.promised {
        let there = audio.samples.len() as u64 + lost_frames;
        if there + slack < promised {
            return Err(cut_off(promised, there));
        }
    }
    // One or two packets are lost at the start of an MP3 that was cut out of another.
    if lost_packets > 2 && lost_packets * 10 > packets {
        return Err(format!(
            "{lost_packets} of its {packets} packets cannot be decoded: {WAY_OUT}"
        ));
    }
    match end {
        // A stream of unknown length (a WAV that was written to a pipe) ends where the file does.
        None => Ok(audio),
        Some(Fault::IoError(error))
            if error.kind() == io::ErrorKind::UnexpectedEof && track.promised.is_none() =>
        {
            Ok(audio)
        }
        Some(fault) => Err(format!(
            "it breaks off after {} samples ({fault}): {WAY_OUT}",
            audio.samples.len()
        )),
    }
}

/// Collects packets of any channel count as their channels' mean.
#[derive(Default)]
struct Mono {
    samples: Vec<f32>,
    sample_rate: u32,
    interleaved: Vec<f32>,
}

impl Mono {
    fn push(&mut self, decoded: &GenericAudioBufferRef<'_>) -> std::result::Result<(), String> {
        let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
        if decoded.frames() == 0 || channels == 0 {
            return Ok(());
        }
        // The decoder's word, not the container's: AAC with spectral band replication is told at
        // twice the rate that its core decodes to.
        if self.sample_rate != 0 && self.sample_rate != rate {
            return Err(format!(
                "its sample rate changes from {} to {rate} Hz within: {WAY_OUT}",
                self.sample_rate
            ));
        }
        self.sample_rate = rate;
        decoded.copy_to_vec_interleaved(&mut self.interleaved);
        push_mean(&self.interleaved, channels, &mut self.samples);
        Ok(())
    }

    fn finish(self) -> Audio {
        Audio {
            samples: self.samples,
            sample_rate: self.sample_rate,
        }
    }
}

/// Appends the mean of each frame of interleaved channels.
fn push_mean(interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) {
    match channels {
        1 => mono.extend_from_slice(interleaved),
        2 => mono.extend(interleaved.chunks_exact(2).map(|f| 0.5 * (f[0] + f[1]))),
        _ => mono.extend(
            interleaved
                .chunks_exact(channels)
                .map(|frame| frame.iter().sum::<f32>() / channels as f32),
        ),
    }
}
