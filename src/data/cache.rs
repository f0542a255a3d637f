//! The feature cache: one file a song, so that a second run starts at once.
//!
//! A file is named by BLAKE3 over what its features were made from: the song's content, the front end's constants,
//! this format's version. It says all that again inside, with a checksum over the whole, and is used only where every
//! part is as expected; otherwise the song is decoded anew and the file replaced. Nothing else knows of bincode.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::audio::FrontEnd;
use crate::error::{Error, Result};
use crate::io::atomic;

/// Raised whenever a file's layout changes, the front end's output with the same constants, or what a usable song is.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"sonograd";
/// The longest file that is read or written: 10,000 segments of 80 x 80, over five hours of music.
const LIMIT: usize = 256 << 20;

/// Fixed-width little-endian integers; a length over the limit is refused before anything is read.
fn format() -> impl bincode::config::Config {
    bincode::config::standard()
        .with_fixed_int_encoding()
        .with_limit::<LIMIT>()
}

/// A file's contents. The features are borrowed bytes, so that a hostile length allocates nothing.
#[derive(bincode::Encode, bincode::BorrowDecode)]
struct Entry<'a> {
    magic: [u8; 8],
    version: u32,
    key: [u8; 32],
    /// Segments, frames, mels.
    shape: [u32; 3],
    /// BLAKE3 over version, key, shape and features.
    checksum: [u8; 32],
    /// Little-endian `f32`, in dB.
    features: &'a [u8],
}

impl Entry<'_> {
    fn checksum(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.version.to_le_bytes());
        hasher.update(&self.key);
        for extent in self.shape {
            hasher.update(&extent.to_le_bytes());
        }
        hasher.update(self.features);
        *hasher.finalize().as_bytes()
    }
}

/// What the cache has of a song.
pub(super) enum Found {
    /// Features as they were stored, [segments, frames, mels] in dB.
    Features(Vec<f32>),
    /// No file.
    Nothing,
    /// A file that is not to be trusted.
    Damaged,
}

/// A cache folder, for the features of one front end.
pub(super) struct Cache {
    folder: PathBuf,
    constants: String,
    /// Extents of a segment: frames, mels.
    segment: [usize; 2],
    /// The first failure to write; no more is written after it.
    failure: OnceLock<String>,
}

impl Cache {
    /// A cache in `folder`, which is made when first needed.
    pub(super) fn new(folder: &Path, front_end: FrontEnd) -> Self {
        let shape = front_end.shape();
        Self {
            folder: folder.to_path_buf(),
            constants: front_end.constants(),
            segment: [shape.extents()[0], shape.extents()[1]],
            failure: OnceLock::new(),
        }
    }

    /// Why nothing could be stored; `None` where all went well.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// The stored features of a song with this content.
    pub(super) fn get(&self, content: &[u8; 32]) -> Found {
        let key = self.key(content);
        let path = self.path(&key);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Found::Nothing,
            Ok(data) if data.is_file() && data.len() <= LIMIT as u64 => {}
            _ => return Found::Damaged,
        }
        let Ok(bytes) = std::fs::read(&path) else {
            return Found::Damaged;
        };
        match self.decode(&key, &bytes) {
            Some(features) => Found::Features(features),
            None => Found::Damaged,
        }
    }

    /// Stores features, [segments, frames, mels]; a failure is kept for [`Cache::failure`] and stops no one.
    pub(super) fn put(&self, content: &[u8; 32], features: &[f32]) {
        if self.failure.get().is_some() {
            return;
        }
        if let Err(error) = self.try_put(content, features) {
            // Another thread may have failed first; one reason is enough.
            let _ = self.failure.set(error.to_string());
        }
    }

    fn try_put(&self, content: &[u8; 32], features: &[f32]) -> Result<()> {
        let key = self.key(content);
        let [frames, mels] = self.segment;
        let bytes: Vec<u8> = features
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let mut entry = Entry {
            magic: MAGIC,
            version: VERSION,
            key,
            shape: [features.len() / (frames * mels), frames, mels].map(|extent| extent as u32),
            checksum: [0; 32],
            features: &bytes,
        };
        entry.checksum = entry.checksum();
        let path = self.path(&key);
        let encoded = bincode::encode_to_vec(&entry, format())
            .map_err(|error| Error::file(&path, format!("cannot be encoded: {error}")))?;
        if encoded.len() > LIMIT {
            return Ok(());
        }
        std::fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        // Two processes at once each put a whole file in place.
        atomic::write_with(&path, |file| file.write_all(&encoded))
    }

    fn decode(&self, key: &[u8; 32], bytes: &[u8]) -> Option<Vec<f32>> {
        let (entry, used): (Entry<'_>, usize) =
            bincode::borrow_decode_from_slice(bytes, format()).ok()?;
        let [segments, frames, mels] = entry.shape.map(|extent| extent as usize);
        let values = segments.checked_mul(frames)?.checked_mul(mels)?;
        let whole = used == bytes.len()
            && entry.magic == MAGIC
            && entry.version == VERSION
            && entry.key == *key
            && [frames, mels] == self.segment
            && segments > 0
            && entry.features.len() == values.checked_mul(4)?
            && entry.checksum == entry.checksum();
        whole.then(|| {
            entry
                .features
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect()
        })
    }

    fn key(&self, content: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(content);
        hasher.update(&VERSION.to_le_bytes());
        hasher.update(self.constants.as_bytes());
        *hasher.finalize().as_bytes()
    }

    fn path(&self, key: &[u8; 32]) -> PathBuf {
        let name = blake3::Hash::from_bytes(*key).to_hex();
        self.folder.join(format!("{name}.features"))
    }
}

/// The default cache folder: `$SONOGRAD_CACHE`, else `$XDG_CACHE_HOME/sonograd`, else `~/.cache/sonograd`; `None`
/// where none of these variables is set.
pub fn default_cache() -> Option<PathBuf> {
    folder_from(|name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    })
}

fn folder_from(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable("SONOGRAD_CACHE")
        // A relative XDG path is to be ignored: XDG Base Directory Specification 0.8.
        .or_else(|| {
            Some(
                variable("XDG_CACHE_HOME")
                    .filter(|path| path.is_absolute())?
                    .join("sonograd"),
            )
        })
        .or_else(|| Some(variable("HOME")?.join(".cache").join("sonograd")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: [u8; 32] = [7; 32];

    fn features(segments: usize) -> Vec<f32> {
        let length = FrontEnd::Segments.shape().len();
        (0..segments * length)
            .map(|i| i as f32 * 0.25 - 80.0)
            .collect()
    }

    fn stored(cache: &Cache) -> Option<Vec<f32>> {
        match cache.get(&CONTENT) {
            Found::Features(features) => Some(features),
            Found::Nothing | Found::Damaged => None,
        }
    }

    #[test]
    fn what_was_put_is_found_and_only_under_its_content_and_front_end() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(&folder.path().join("made/when/needed"), FrontEnd::Segments);
        assert!(matches!(cache.get(&CONTENT), Found::Nothing));
        cache.put(&CONTENT, &features(3));
        assert_eq!(cache.failure(), None);
        assert_eq!(stored(&cache), Some(features(3)));
        assert!(matches!(cache.get(&[8; 32]), Found::Nothing));
        let windows = Cache::new(&folder.path().join("made/when/needed"), FrontEnd::Windows);
        assert!(matches!(windows.get(&CONTENT), Found::Nothing));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), FrontEnd::Segments);
        cache.put(&CONTENT, &features(1));
        let path = cache.path(&cache.key(&CONTENT));
        let whole = std::fs::read(&path).unwrap();
        // All of the head, then every so often.
        let places = (0..128).chain((128..whole.len()).step_by(997));
        for place in places {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            std::fs::write(&path, bytes).unwrap();
            assert!(
                matches!(cache.get(&CONTENT), Found::Damaged),
                "byte {place}"
            );
            std::fs::write(&path, &whole[..place]).unwrap();
            assert!(
                matches!(cache.get(&CONTENT), Found::Damaged),
                "cut at {place}"
            );
        }
        std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert!(
            matches!(cache.get(&CONTENT), Found::Damaged),
            "one byte too many"
        );
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(stored(&cache), Some(features(1)));
    }

    #[test]
    fn a_consistent_entry_of_another_version_key_or_shape_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), FrontEnd::Segments);
        cache.put(&CONTENT, &features(1));
        let key = cache.key(&CONTENT);
        let path = cache.path(&key);
        let whole = std::fs::read(&path).unwrap();
        let changes: [fn(&mut Entry<'_>); 5] = [
            |entry| entry.version += 1,
            |entry| entry.key[0] ^= 1,
            |entry| entry.shape = [2, 40, 80],
            |entry| entry.shape = [u32::MAX; 3],
            |entry| (entry.shape, entry.features) = ([0, 80, 80], &[]),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let (mut entry, _): (Entry<'_>, usize) =
                bincode::borrow_decode_from_slice(&whole, format()).unwrap();
            change(&mut entry);
            entry.checksum = entry.checksum();
            std::fs::write(&path, bincode::encode_to_vec(&entry, format()).unwrap()).unwrap();
            assert!(
                matches!(cache.get(&CONTENT), Found::Damaged),
                "change {number}"
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told_once_and_stops_no_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let cache = Cache::new(&file.join("cache"), FrontEnd::Segments);
        cache.put(&CONTENT, &features(1));
        assert!(cache.failure().unwrap().contains("cannot create"));
        cache.put(&CONTENT, &features(1));
    }

    #[test]
    fn threads_that_store_and_read_one_song_at_once_see_whole_files_only() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let cache = Cache::new(folder.path(), FrontEnd::Segments);
                    for _ in 0..20 {
                        cache.put(&CONTENT, &features(2));
                        assert_eq!(stored(&cache), Some(features(2)));
                    }
                    assert_eq!(cache.failure(), None);
                });
            }
        });
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file stays"
        );
    }

    #[test]
    fn the_default_folder_follows_the_variables() {
        let folder = |set: &[(&str, &str)]| {
            folder_from(|name| {
                set.iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| value.into())
            })
        };
        let home = ("HOME", "/home/me");
        let xdg = ("XDG_CACHE_HOME", "/xdg");
        assert_eq!(
            folder(&[home, xdg, ("SONOGRAD_CACHE", "own")]),
            Some("own".into())
        );
        assert_eq!(folder(&[home, xdg]), Some("/xdg/sonograd".into()));
        assert_eq!(
            folder(&[home, ("XDG_CACHE_HOME", "relative")]),
            Some("/home/me/.cache/sonograd".into())
        );
        assert_eq!(folder(&[home]), Some("/home/me/.cache/sonograd".into()));
        assert_eq!(folder(&[]), None);
    }
}
