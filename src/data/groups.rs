//! `groups.csv`: which songs must stay on one side of a split (one artist, one album).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};

/// The file's name in the data folder.
pub(super) const FILE_NAME: &str = "groups.csv";

/// The group of each listed song, by its path relative to the data folder with `/`.
pub(super) type Groups = BTreeMap<String, String>;

/// Reads `groups.csv` of a data folder; `None` where the folder has none.
///
/// A header with the columns `path` and `group` is required; other columns are ignored.
///
/// # Errors
/// [`Error::File`] with the line: no such header, a line without a path or group, a path in two groups, text
/// that is not UTF-8. [`Error::Io`] where the file cannot be read.
pub(super) fn read(root: &Path) -> Result<Option<Groups>> {
    let path = root.join(FILE_NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(file);
    let header = reader
        .headers()
        .map_err(|error| unreadable(&path, error))?
        .clone();
    let column = |name: &str| {
        header.iter().position(|title| title == name).ok_or_else(|| {
            Error::file(
                &path,
                format!("line 1: no column '{name}': the first line must name the columns, path,group"),
            )
        })
    };
    let (path_column, group_column) = (column("path")?, column("group")?);

    let mut groups = Groups::new();
    for record in reader.records() {
        let record = record.map_err(|error| unreadable(&path, error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |column: usize, name: &str| {
            record
                .get(column)
                .filter(|text| !text.is_empty())
                .ok_or_else(|| {
                    Error::file(
                        &path,
                        format!("line {line}: no {name}: a line is path,group"),
                    )
                })
        };
        let song = field(path_column, "path")?;
        let song = song.strip_prefix("./").unwrap_or(song);
        let group = field(group_column, "group")?;
        if let Some(before) = groups.insert(song.to_owned(), group.to_owned())
            && before != group
        {
            return Err(Error::file(
                &path,
                format!(
                    "line {line}: '{song}' is in group '{group}' here and in '{before}' above: keep one of the lines"
                ),
            ));
        }
    }
    Ok(Some(groups))
}

/// The error of the CSV reader with our file and its line.
fn unreadable(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map_or(1, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::io("read", path)(source),
        csv::ErrorKind::Utf8 { .. } => Error::file(
            path,
            format!("line {line}: not UTF-8 text: save the file as UTF-8"),
        ),
        kind => Error::file(path, format!("line {line}: not a line of CSV ({kind:?})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: impl AsRef<[u8]>) -> Result<Option<Groups>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), text).unwrap();
        read(folder.path())
    }

    #[test]
    fn columns_may_stand_anywhere_among_others() {
        let groups =
            read_text("\u{feff}artist,group,path\r\nx,one,a/1.wav\r\ny,\"two, too\",./b/2.ogg\r\n")
                .unwrap()
                .unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups["a/1.wav"], "one");
        assert_eq!(groups["b/2.ogg"], "two, too");
    }

    #[test]
    fn a_missing_file_is_no_groups_and_a_repeated_line_is_one() {
        assert!(read(tempfile::tempdir().unwrap().path()).unwrap().is_none());
        assert_eq!(
            read_text("path,group\na,1\na,1\n").unwrap().unwrap().len(),
            1
        );
    }

    #[test]
    fn malformed_files_are_refused_with_file_and_line() {
        for (text, line, reason) in [
            (&b""[..], 1, "no column 'path'"),
            (b"a/1.wav,one\n", 1, "no column 'path'"),
            (b"path,artist\na/1.wav,one\n", 1, "no column 'group'"),
            (b"path,group\na/1.wav,one\na/2.wav\n", 3, "no group"),
            (b"path,group\na/1.wav,\n", 2, "no group"),
            (b"path,group\n,one\n", 2, "no path"),
            (
                b"path,group\na/1.wav,one\nb,x\na/1.wav,two\n",
                4,
                "'one' above",
            ),
            (b"path,group\na/1.wav,\xff\xfe\n", 2, "not UTF-8"),
        ] {
            let message = read_text(text).unwrap_err().to_string();
            assert!(message.contains("groups.csv: "), "{message}");
            assert!(message.contains(&format!("line {line}: ")), "{message}");
            assert!(message.contains(reason), "{message}");
        }
    }
}
