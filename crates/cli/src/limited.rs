//! Reading files with a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The bytes of the file at `path`, at most `most` + 1: enough for the caller to see that it is too long.
pub(crate) fn read_file(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    read_from(File::open(path)?, most)
}

/// The same from what is open.
pub(crate) fn read_from(input: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same; `-` is standard input.
pub(crate) fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    if !is_stdin(path) {
        return read_file(path, most);
    }
    read_from(io::stdin().lock(), most)
}

/// Whether `path` is `-`.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_more_than_the_limit_is_read() {
        for most in [0, 1, 100_000] {
            assert_eq!(read(Path::new("/dev/zero"), most).unwrap().len(), most + 1);
        }
    }
}
