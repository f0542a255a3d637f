//! A song's features as a picture with axes.

use std::path::Path;

use crate::audio::mel::{NYQUIST, hz_to_mel};
use crate::audio::{FrontEnd, SAMPLE_RATE};
use crate::error::{Error, Result};

mod font;

/// Colours of the scale from quiet to loud, evenly spaced: matplotlib's magma (CC0).
const MAGMA: [[u8; 3]; 9] = [
    [0, 0, 4],
    [28, 16, 68],
    [79, 18, 123],
    [129, 37, 129],
    [181, 54, 122],
    [229, 80, 100],
    [251, 135, 97],
    [254, 194, 135],
    [252, 253, 191],
];
const PAPER: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [40, 40, 46];

/// Pixels around the plot, and the size of its parts.
const LEFT: usize = 92;
const RIGHT: usize = 128;
const TOP: usize = 52;
const BOTTOM: usize = 62;
const BAR_GAP: usize = 24;
const BAR_WIDTH: usize = 18;
const TICK: usize = 6;
/// A glyph's pixel is drawn this wide and high.
const TEXT: usize = 2;
/// Pixels from one character to the next.
const ADVANCE: usize = (font::WIDTH + 1) * TEXT;
/// The plot's width follows the song's length between these.
const PLOT_WIDTH: std::ops::RangeInclusive<usize> = 600..=1_800;
/// Pixels of width a second of song within [`PLOT_WIDTH`].
const PIXELS_A_SECOND: f64 = 40.0;
/// The plot's height is the largest multiple of the number of mel bands up to this.
const PLOT_HEIGHT: usize = 400;

/// Writes features ([count, frames, mels] in dB) as a PNG: time along x, the mel scale with its frequencies along y,
/// a bar with the colours' decibels, and the title on top. Overlapping windows each show their middle.
///
/// # Errors
/// [`Error::Data`] where the features are none, not whole slices of the front end, or not finite;
/// [`Error::Io`] where the file cannot be written; nothing half-written stays under `path`.
pub fn png(path: &Path, features: &[f32], front_end: FrontEnd, title: &str) -> Result<()> {
    let slice = front_end.shape().len();
    if features.is_empty() || !features.len().is_multiple_of(slice) {
        return Err(Error::Data(format!(
            "{} values are not whole slices of {} features",
            features.len(),
            front_end.shape()
        )));
    }
    if let Some(at) = features.iter().position(|value| !value.is_finite()) {
        return Err(Error::Data(format!("feature {at} is {}", features[at])));
    }
    let picture = draw(features, front_end, title);
    crate::io::write_atomic(path, |file| {
        let mut encoder = png::Encoder::new(file, picture.width as u32, picture.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&picture.pixels))
            .map_err(|error| match error {
                png::EncodingError::IoError(error) => error,
                other => std::io::Error::other(other),
            })
    })
}

/// The whole picture.
fn draw(features: &[f32], front_end: FrontEnd, title: &str) -> Picture {
    let (mels, slice) = (front_end.mels(), front_end.shape().len());
    let seconds = front_end.slice_seconds(features.len() / slice - 1).1;
    let width =
        ((seconds * PIXELS_A_SECOND) as usize).clamp(*PLOT_WIDTH.start(), *PLOT_WIDTH.end());
    let height = PLOT_HEIGHT / mels * mels;
    let (low, high) = features
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| {
            (low.min(*v), high.max(*v))
        });
    // Silence alone still gets a scale.
    let (low, high) = (low, high.max(low + 1.0));
    let mut picture = Picture::new(LEFT + width + RIGHT, TOP + height + BOTTOM);

    let columns = columns(features, front_end, width, seconds);
    for (x, column) in columns.chunks_exact(mels).enumerate() {
        for y in 0..height {
            let band = mels - 1 - y * mels / height;
            picture.set(
                LEFT + x,
                TOP + y,
                colour((column[band] - low) / (high - low)),
            );
        }
    }
    picture.frame(LEFT, TOP, width, height);
    // A title too long for the picture keeps its end, which is the file's name.
    let fits = (picture.width - LEFT) / ADVANCE;
    let skip = title.chars().count().saturating_sub(fits);
    let title: String = title.chars().skip(skip).collect();
    picture.text(LEFT, TOP / 2 - font::HEIGHT, &title);

    let step = nice_step(seconds / (width as f64 / 90.0));
    for i in 0.. {
        let time = f64::from(i) * step;
        if time > seconds + 1e-9 {
            break;
        }
        let x = LEFT + ((time / seconds) * (width - 1) as f64).round() as usize;
        picture.fill(x, TOP + height, 1, TICK, INK);
        picture.text_centred(x, TOP + height + TICK + 6, &shortest(time));
    }
    picture.text_centred(LEFT + width / 2, TOP + height + BOTTOM - 22, "time [s]");

    // The centre of band m is at m + 1 of mels + 1 steps up the scale.
    let bands = (mels + 1) as f64 / hz_to_mel(NYQUIST);
    for hz in [250.0, 500.0, 1e3, 2e3, 4e3, 8e3] {
        let band = hz_to_mel(hz) * bands - 0.5;
        let y = TOP + ((1.0 - band / mels as f64) * height as f64).round() as usize;
        picture.fill(LEFT - TICK, y, TICK, 1, INK);
        picture.text_right(LEFT - TICK - 4, y, &format!("{hz}"));
    }
    picture.text_right(LEFT - TICK - 4, TOP - 12, "Hz");

    let bar = LEFT + width + BAR_GAP;
    for y in 0..height {
        let loudness = 1.0 - y as f32 / (height - 1) as f32;
        picture.fill(bar, TOP + y, BAR_WIDTH, 1, colour(loudness));
    }
    picture.frame(bar, TOP, BAR_WIDTH, height);
    let (low, high) = (f64::from(low), f64::from(high));
    let step = nice_step((high - low) / 8.0);
    let mut decibels = (low / step).ceil() * step;
    while decibels <= high {
        let y =
            TOP + ((1.0 - (decibels - low) / (high - low)) * (height - 1) as f64).round() as usize;
        picture.fill(bar + BAR_WIDTH, y, TICK, 1, INK);
        picture.text(
            bar + BAR_WIDTH + TICK + 4,
            y - font::HEIGHT,
            &shortest(decibels),
        );
        decibels += step;
    }
    picture.text_centred(bar + BAR_WIDTH / 2, TOP - 20, "dB");
    picture
}

/// The mean spectrum of every pixel column, [width, mels]: of all the frames whose centres lie in it, or of the one
/// that is nearest to it.
fn columns(features: &[f32], front_end: FrontEnd, width: usize, seconds: f64) -> Vec<f32> {
    let (mels, frames) = (front_end.mels(), front_end.frames());
    let count = features.len() / (mels * frames);
    let mut columns = vec![0.0f32; width * mels];
    let mut members = vec![0u32; width];
    let frame = |slice: usize, frame: usize| &features[(slice * frames + frame) * mels..][..mels];
    // Frame j is centred j hops after its slice's start.
    let time = |slice: usize, frame: usize| {
        front_end.slice_seconds(slice).0 + (frame * front_end.hop()) as f64 / f64::from(SAMPLE_RATE)
    };
    let shown = match front_end {
        FrontEnd::Segments => 0..frames,
        // Half of each window is its neighbour's; its ends look at padding.
        FrontEnd::Windows => 1..frames - 1,
    };
    for slice in 0..count {
        for j in shown.clone() {
            let x = ((time(slice, j) / seconds) * width as f64) as usize;
            let Some(members) = members.get_mut(x) else {
                continue;
            };
            *members += 1;
            let column = &mut columns[x * mels..][..mels];
            for (sum, value) in column.iter_mut().zip(frame(slice, j)) {
                *sum += value;
            }
        }
    }
    for x in 0..width {
        let column = &mut columns[x * mels..][..mels];
        if members[x] > 0 {
            column.iter_mut().for_each(|sum| *sum /= members[x] as f32);
            continue;
        }
        let centre = (x as f64 + 0.5) / width as f64 * seconds;
        let near = |slice: usize, j: usize| (time(slice, j) - centre).abs();
        let spacing = front_end.slice_seconds(1).0;
        let around = ((centre / spacing) as usize).min(count - 1);
        let nearest = (around.saturating_sub(1)..=around)
            .flat_map(|slice| shown.clone().map(move |j| (slice, j)))
            .min_by(|a, b| near(a.0, a.1).total_cmp(&near(b.0, b.1)));
        if let Some((slice, j)) = nearest {
            column.copy_from_slice(frame(slice, j));
        }
    }
    columns
}

/// The least of 1, 2, 5 times a power of ten that is not below `least`.
fn nice_step(least: f64) -> f64 {
    let decade = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * decade)
        .into_iter()
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * decade)
}

/// A number with as many digits as a step of 0.1 or larger needs.
fn shortest(number: f64) -> String {
    // Adding zero takes the sign off a negative zero.
    let text = format!("{:.1}", number + 0.0);
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// [`MAGMA`] at 0 to 1.
fn colour(loudness: f32) -> [u8; 3] {
    let at = loudness.clamp(0.0, 1.0) * (MAGMA.len() - 1) as f32;
    let low = (at as usize).min(MAGMA.len() - 2);
    let share = at - low as f32;
    std::array::from_fn(|c| {
        let (a, b) = (f32::from(MAGMA[low][c]), f32::from(MAGMA[low + 1][c]));
        (a + (b - a) * share).round() as u8
    })
}

/// Pixels to draw on; what lies outside is not drawn.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: PAPER.repeat(width * height),
        }
    }

    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = 3 * (y * self.width + x);
            self.pixels[at..at + 3].copy_from_slice(&colour);
        }
    }

    fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: [u8; 3]) {
        for y in y..y + height {
            for x in x..x + width {
                self.set(x, y, colour);
            }
        }
    }

    /// A line around an area, just outside of it.
    fn frame(&mut self, x: usize, y: usize, width: usize, height: usize) {
        self.fill(x - 1, y - 1, width + 2, 1, INK);
        self.fill(x - 1, y + height, width + 2, 1, INK);
        self.fill(x - 1, y - 1, 1, height + 2, INK);
        self.fill(x + width, y - 1, 1, height + 2, INK);
    }

    /// Text from its upper left corner on.
    fn text(&mut self, x: usize, y: usize, text: &str) {
        for (i, character) in text.chars().enumerate() {
            for (column, bits) in font::glyph(character).into_iter().enumerate() {
                for row in (0..font::HEIGHT).filter(|row| bits >> row & 1 == 1) {
                    let (x, y) = (x + i * ADVANCE + column * TEXT, y + row * TEXT);
                    self.fill(x, y, TEXT, TEXT, INK);
                }
            }
        }
    }

    /// Text whose upper edge's middle is at (x, y).
    fn text_centred(&mut self, x: usize, y: usize, text: &str) {
        let width = text.chars().count() * ADVANCE;
        self.text(x.saturating_sub(width / 2), y, text);
    }

    /// Text whose right edge's middle is at (x, y).
    fn text_right(&mut self, x: usize, y: usize, text: &str) {
        let width = text.chars().count() * ADVANCE;
        self.text(
            x.saturating_sub(width),
            y.saturating_sub(font::HEIGHT),
            text,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(path: &Path) -> (usize, usize, Vec<u8>) {
        let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width as usize, info.height as usize, pixels)
    }

    #[test]
    fn a_loud_band_is_bright_where_it_belongs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        for front_end in FrontEnd::ALL {
            // Quiet but for one band in the second half of the slices.
            let (count, band) = (40, 20);
            let slice = front_end.shape().len();
            let mut features = vec![-60.0f32; count * slice];
            for (i, value) in features.iter_mut().enumerate() {
                if i % front_end.mels() == band && i / slice >= count / 2 {
                    *value = 20.0;
                }
            }
            png(&path, &features, front_end, "a band").unwrap();
            let (width, height, pixels) = decode(&path);
            assert_eq!(pixels.len(), 3 * width * height);
            let (plot, rows) = (width - LEFT - RIGHT, height - TOP - BOTTOM);
            let at = |x: usize, band: usize| {
                let y = TOP + rows - 1 - (2 * band + 1) * rows / (2 * front_end.mels());
                let i = 3 * (y * width + LEFT + x);
                [pixels[i], pixels[i + 1], pixels[i + 2]]
            };
            let (quiet, loud) = (MAGMA[0], MAGMA[8]);
            assert_eq!(at(plot / 4, band), quiet, "{front_end}");
            assert_eq!(at(plot * 3 / 4, band), loud, "{front_end}");
            assert_eq!(at(plot * 3 / 4, band + 1), quiet, "{front_end}");
            assert_eq!(at(plot * 3 / 4, band - 1), quiet, "{front_end}");
        }
    }

    #[test]
    fn silence_one_window_and_long_titles_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        png(&path, &[-100.0; 640], FrontEnd::Windows, "").unwrap();
        png(
            &path,
            &[-100.0; 6_400],
            FrontEnd::Segments,
            &"søng ".repeat(99),
        )
        .unwrap();
        decode(&path);
    }

    #[test]
    fn what_is_no_spectrogram_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let mut features = vec![0.0; 6_400];
        assert!(png(&path, &[], FrontEnd::Segments, "").is_err());
        assert!(png(&path, &features[1..], FrontEnd::Segments, "").is_err());
        features[7] = f32::NAN;
        assert!(png(&path, &features, FrontEnd::Segments, "").is_err());
        assert!(!path.exists());
    }

    #[test]
    fn ticks_are_round() {
        for (least, step) in [
            (0.9, 1.0),
            (1.1, 2.0),
            (2.0, 2.0),
            (0.3, 0.5),
            (7.0, 10.0),
            (30.0, 50.0),
        ] {
            assert!((nice_step(least) - step).abs() < 1e-9, "{least}");
        }
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (10.0, "10"),
            (0.5, "0.5"),
            (-20.0, "-20"),
            (100.0, "100"),
        ] {
            assert_eq!(shortest(number), text);
        }
    }
}
