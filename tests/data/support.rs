//! Small folders of songs, and sets made of nothing but names.

use std::path::{Path, PathBuf};

use sonograd::audio::FrontEnd;
use sonograd::data::{Dataset, LoadOptions, SongFeatures, Source, load};
use tempfile::TempDir;

/// 22,050 Hz, mono, 16 bit: the rate that needs no resampling.
pub(crate) const SPEC: hound::WavSpec = hound::WavSpec {
    channels: 1,
    sample_rate: 22_050,
    bits_per_sample: 16,
    sample_format: hound::SampleFormat::Int,
};

/// A data folder that is gone after the test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with these songs, each a tone of its own, 2.1 s long.
    pub(crate) fn with(songs: &[&str]) -> Self {
        let folder = Self::new();
        for (number, song) in songs.iter().enumerate() {
            folder.song(song, 2.1, number);
        }
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The place for a file, with its folder made.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.place(name), content).unwrap();
    }

    /// A tone; another number is another pitch.
    pub(crate) fn song(&self, name: &str, seconds: f64, number: usize) {
        let step = std::f64::consts::TAU * (200.0 + 37.0 * number as f64) / 22_050.0;
        self.samples(
            name,
            (0..(seconds * 22_050.0) as usize).map(|i| 0.5 * (step * i as f64).sin()),
        );
    }

    pub(crate) fn samples(&self, name: &str, samples: impl Iterator<Item = f64>) {
        let mut writer = hound::WavWriter::create(self.place(name), SPEC).unwrap();
        for sample in samples {
            writer.write_sample((32767.0 * sample) as i16).unwrap();
        }
        writer.finalize().unwrap();
    }

    pub(crate) fn source(&self) -> Source {
        Source::Folder {
            path: self.path().to_path_buf(),
            genres: None,
        }
    }

    pub(crate) fn load(&self) -> sonograd::Result<Dataset> {
        load(&self.source(), FrontEnd::Segments, &LoadOptions::default())
    }

    pub(crate) fn load_strictly(&self) -> sonograd::Result<Dataset> {
        let options = LoadOptions {
            strict: true,
            ..LoadOptions::default()
        };
        load(&self.source(), FrontEnd::Segments, &options)
    }

    pub(crate) fn load_genres(&self, genres: &[&str]) -> sonograd::Result<Dataset> {
        let source = Source::Folder {
            path: self.path().to_path_buf(),
            genres: Some(genres.iter().map(ToString::to_string).collect()),
        };
        load(&source, FrontEnd::Segments, &LoadOptions::default())
    }
}

/// The message of an error, which must name all of these.
pub(crate) fn message<T>(result: sonograd::Result<T>, named: &[&str]) -> String {
    let message = result.err().expect("an error").to_string();
    for part in named {
        assert!(message.contains(part), "no '{part}' in: {message}");
    }
    message
}

/// A song of an invented set: genre, group, number of segments.
pub(crate) type Invented = (usize, Option<usize>, usize);

/// A set of invented songs: the windows front end, every value the segment's number, no two contents alike.
pub(crate) fn invent(genres: usize, songs: &[Invented]) -> Dataset {
    let length = FrontEnd::Windows.shape().len();
    let mut segment = 0..;
    let songs = songs
        .iter()
        .enumerate()
        .map(|(number, (genre, group, segments))| SongFeatures {
            path: format!("genre{genre}/song{number:04}.wav"),
            genre: *genre,
            group: group.map(|group| format!("group{group}")),
            content: *blake3::hash(&number.to_le_bytes()).as_bytes(),
            features: segment
                .by_ref()
                .take(*segments)
                .flat_map(|value| vec![value as f32; length])
                .collect(),
        })
        .collect();
    let names = (0..genres).map(|genre| format!("genre{genre}")).collect();
    Dataset::from_songs(names, FrontEnd::Windows, songs).unwrap()
}
