//! Reading files that may have no end.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The bytes of the file at `path`: at most one more than `most`, so that whoever takes them sees that they are too many,
/// and an endless file ends.
pub(crate) fn read_file(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same, of standard input where `path` is `-`.
pub(crate) fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    if !is_stdin(path) {
        return read_file(path, most);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether `path` is `-`.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_endless_file_one_byte_too_many_is_read() {
        for most in [0, 1, 100_000] {
            assert_eq!(read(Path::new("/dev/zero"), most).unwrap().len(), most + 1);
        }
    }
}
