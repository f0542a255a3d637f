//! `f32` values in a file of their own, read as a slice: for sets larger than memory.

use memmap2::Mmap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Deref;
use std::path::Path;

/// Values on their way into a file without a name, which nobody else can open.
#[derive(Debug)]
pub struct MappedWriter {
    file: BufWriter<File>,
    len: usize,
}

impl MappedWriter {
    /// An empty file in `folder`.
    ///
    /// # Errors
    /// Where no file can be made there.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(folder)?);
        Ok(Self { file, len: 0 })
    }

    /// Appends values.
    ///
    /// # Errors
    /// Where the disk takes no more.
    pub fn write(&mut self, values: &[f32]) -> io::Result<()> {
        // SAFETY: f32 has no padding, and every byte may be read as u8.
        let bytes = unsafe {
            std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values))
        };
        self.len += values.len();
        self.file.write_all(bytes)
    }

    /// The values as a slice that the system reads in when they are looked at, and may drop again.
    ///
    /// # Errors
    /// Where the rest cannot be written, or the system maps no file.
    pub fn finish(self) -> io::Result<MappedSlice> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let map = match self.len {
            0 => None,
            // SAFETY: the file has no name and its only handle ends here: nobody can change or shorten it.
            _ => Some(unsafe { Mmap::map(&file)? }),
        };
        Ok(MappedSlice { map, len: self.len })
    }
}

/// What [`MappedWriter::finish`] gives: a slice that stands in a file.
#[derive(Debug)]
pub struct MappedSlice {
    map: Option<Mmap>,
    len: usize,
}

impl Deref for MappedSlice {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.map {
            None => &[],
            // SAFETY: `len` values were written; a map starts on a page, so they are aligned; any bits are an f32.
            Some(map) => unsafe { std::slice::from_raw_parts(map.as_ptr().cast(), self.len) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_in_their_order_across_many_writes() {
        let folder = std::env::temp_dir();
        let mut writer = MappedWriter::in_folder(&folder).unwrap();
        let values: Vec<f32> = (0..1_000_003).map(|i| i as f32 * 0.5 - 7.0).collect();
        values
            .chunks(4_001)
            .for_each(|part| writer.write(part).unwrap());
        let mapped = writer.finish().unwrap();
        assert_eq!(mapped.len(), values.len());
        assert!(mapped.iter().zip(&values).all(|(a, b)| a == b));
    }

    #[test]
    fn nothing_is_an_empty_slice() {
        let mapped = MappedWriter::in_folder(&std::env::temp_dir())
            .unwrap()
            .finish();
        assert!(mapped.unwrap().is_empty());
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(MappedWriter::in_folder(Path::new("/nowhere/at/all")).is_err());
    }
}
