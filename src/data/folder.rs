//! A folder of `<genre>/<song>`: which files are songs of which genre.
//!
//! - A song is a file with one of [`audio::EXTENSIONS`], in any letter case, in a folder whose name is its genre.
//! - Hidden files (a leading `.`) and all others are ignored; links to files and to genre folders are followed.
//! - Folders inside a genre's folder are not searched; a note says so.
//! - A folder without a song in it is left out with a note, unless it was chosen by name: then it is an error.
//! - Audio files beside the genre folders belong to no genre: they are left out and listed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::audio;
use crate::data::dataset::LeftOut;
use crate::data::groups;
use crate::data::listing::{self, Entry, Listing, Origin};
use crate::error::{Error, Result};

/// One folder's direct contents, by name; hidden ones left out.
struct Contents {
    songs: Vec<(OsString, PathBuf)>,
    folders: Vec<(OsString, PathBuf)>,
}

/// Lists the songs of a data folder.
///
/// # Errors
/// [`Error::File`], [`Error::Data`]: no such folder, songs in no genre's folder, fewer than two genres, a bad
/// `groups.csv`. [`Error::Usage`]: a chosen genre that is not there. [`Error::Io`]: a folder that cannot be listed.
pub(super) fn list(root: &Path, chosen: Option<&[String]>) -> Result<Listing> {
    let layout =
        "give the folder that holds one folder of songs for each genre, <genre>/<song>.wav";
    match std::fs::metadata(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::file(root, format!("no such folder: {layout}")));
        }
        Err(error) => return Err(Error::io("list", root)(error)),
        Ok(data) if !data.is_dir() => {
            return Err(Error::file(root, format!("not a folder: {layout}")));
        }
        Ok(_) => {}
    }
    let contents = read_folder(root)?;
    let mut left_out: Vec<LeftOut> = contents
        .songs
        .iter()
        .map(|(name, _)| LeftOut {
            path: name.to_string_lossy().into_owned(),
            reason: "beside the genre folders: move it into one".into(),
        })
        .collect();

    let available = contents
        .folders
        .iter()
        .map(|(name, path)| utf8(name, path))
        .collect::<Result<Vec<String>>>()?;
    if available.is_empty() {
        return Err(too_few_genres(root, &[], left_out.len()));
    }
    let wanted = listing::choose(&available, chosen)?;

    let mut genres = Vec::new();
    let mut entries = Vec::new();
    let mut notes = Vec::new();
    let groups = groups::read(root)?;
    for name in wanted {
        let folder = root.join(&name);
        let inside = read_folder(&folder)?;
        if inside.songs.is_empty() {
            let nested = match inside.folders.len() {
                0 => "",
                _ => " (the folders inside it are not searched)",
            };
            if chosen.is_some() {
                return Err(Error::file(
                    &folder,
                    format!(
                        "no audio file in the folder of a chosen genre{nested}: add songs or leave it out of --genres"
                    ),
                ));
            }
            notes.push(format!(
                "folder '{name}' left out: no audio file in it{nested}"
            ));
            continue;
        }
        if !inside.folders.is_empty() {
            let count = inside.folders.len();
            notes.push(format!(
                "genre '{name}': {count} folder(s) inside it not searched, songs must lie straight in {name}/"
            ));
        }
        for (file, path) in inside.songs {
            let Some(file) = file.to_str() else {
                left_out.push(LeftOut {
                    path: format!("{name}/{}", file.to_string_lossy()),
                    reason: "its name is not UTF-8: rename it".into(),
                });
                continue;
            };
            let song = format!("{name}/{file}");
            entries.push(Entry {
                group: groups
                    .as_ref()
                    .and_then(|groups| groups.get(&song).cloned()),
                path: song,
                genre: genres.len(),
                origin: Origin::File(path),
            });
        }
        genres.push(name);
    }
    if genres.len() < 2 {
        return Err(too_few_genres(root, &genres, left_out.len()));
    }
    if let Some(groups) = &groups {
        notes.extend(group_notes(groups, &genres, &entries));
    }
    Ok(Listing {
        name: root.display().to_string(),
        genres,
        entries,
        left_out,
        notes,
        has_groups: groups.is_some(),
        built_in: false,
    })
}

/// Songs and folders straight in a folder, sorted by name.
fn read_folder(folder: &Path) -> Result<Contents> {
    let mut contents = Contents {
        songs: Vec::new(),
        folders: Vec::new(),
    };
    for item in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let item = item.map_err(Error::io("list", folder))?;
        let (name, path) = (item.file_name(), item.path());
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // A broken link is still a song: reading it says what is wrong with it.
        match std::fs::metadata(&path) {
            Ok(data) if data.is_dir() => contents.folders.push((name, path)),
            Ok(data) if !data.is_file() => {}
            _ if is_audio(&path) => contents.songs.push((name, path)),
            _ => {}
        }
    }
    contents.songs.sort_unstable();
    contents.folders.sort_unstable();
    Ok(contents)
}

/// True where the extension is that of an audio format, in any letter case.
fn is_audio(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| {
            audio::EXTENSIONS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(extension))
        })
}

fn utf8(name: &OsString, path: &Path) -> Result<String> {
    name.to_str().map(str::to_owned).ok_or_else(|| {
        Error::file(
            path,
            "a genre is named by its folder, and this name is not UTF-8: rename it",
        )
    })
}

/// The error for a folder with no or one genre, with the way out that its contents suggest.
fn too_few_genres(root: &Path, genres: &[String], strays: usize) -> Error {
    let way_out = match genres_below(root) {
        Some(below) => format!(
            "its folder '{below}' holds genre folders: give {}",
            root.join(&below).display()
        ),
        None if strays > 0 => format!(
            "{strays} audio file(s) lie straight in it: give the folder above if this is one genre's, or \
             sort them into <genre>/<song>"
        ),
        None => "it should hold one folder of songs for each genre, <genre>/<song>.wav".into(),
    };
    let found = match genres {
        [] => "no genre folder with songs in it".into(),
        [one, ..] => format!("only one genre, '{one}', and telling genres apart takes two"),
    };
    Error::file(root, format!("{found}: {way_out}"))
}

/// The first folder inside `root` that itself holds two or more folders with songs: an archive's `genres/`.
fn genres_below(root: &Path) -> Option<String> {
    let has_songs =
        |folder: &Path| read_folder(folder).is_ok_and(|inside| !inside.songs.is_empty());
    read_folder(root)
        .ok()?
        .folders
        .into_iter()
        .find_map(|(name, path)| {
            let inside = read_folder(&path).ok()?.folders;
            let genres = inside
                .iter()
                .filter(|(_, folder)| has_songs(folder))
                .count();
            (genres >= 2).then(|| name.to_string_lossy().into_owned())
        })
}

/// What does not match between `groups.csv` and the songs of the genres in use.
fn group_notes(groups: &groups::Groups, genres: &[String], entries: &[Entry]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut alone = entries.iter().filter(|entry| entry.group.is_none());
    if let Some(first) = alone.next() {
        let count = 1 + alone.count();
        notes.push(format!(
            "{}: {count} song(s) not listed, each a group of its own (first: {})",
            groups::FILE_NAME,
            first.path
        ));
    }
    let here: std::collections::HashSet<&str> =
        entries.iter().map(|entry| entry.path.as_str()).collect();
    let mut absent = groups.keys().filter(|path| {
        let genre = path.split('/').next().unwrap_or_default();
        !here.contains(path.as_str())
            && (!path.contains('/') || genres.iter().any(|known| known == genre))
    });
    if let Some(first) = absent.next() {
        let count = 1 + absent.count();
        notes.push(format!(
            "{}: {count} listed path(s) not among the songs, ignored (first: {first})",
            groups::FILE_NAME
        ));
    }
    notes
}
