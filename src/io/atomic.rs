//! Files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes `bytes` to `path`: into a temporary file beside it, which then takes its name. A reader sees the old
/// file or the new one, never a part. Missing folders are not made.
///
/// # Errors
/// [`Error::Io`] where the folder is missing, not writable or full; `path` is then as it was before.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sonograd-");
    #[cfg(unix)]
    {
        // Temporary files are private by default; a result is as readable as any new file, less the umask.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder
        .tempfile_in(folder)
        .map_err(Error::io("write", path))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.persist(path)
        .map_err(|refused| Error::io("write", path)(refused.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_refused_write_names_the_file_and_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing").join("a.txt");
        let message = write(&missing, b"x").unwrap_err().to_string();
        assert!(message.contains("a.txt"), "{message}");

        // A folder stands under the final name: the last step fails and the temporary file goes.
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(write(&taken, b"x").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
