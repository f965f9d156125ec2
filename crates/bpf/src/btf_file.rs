//! The BTF in a file.

use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSection as _};

/// Why a file has no BTF that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BtfFileError {
    /// It is something else.
    #[error("it is neither BTF, as in /sys/kernel/btf/vmlinux, nor a 64-bit ELF file")]
    OtherFormat,
    /// It is an ELF file without BTF.
    #[error("it is an ELF file without a section .BTF")]
    NoSection,
    /// It was written on a machine whose numbers begin with the most significant byte.
    #[error("it is BTF of a big-endian machine")]
    BigEndian,
}

/// The BTF in a file: all of one such as `/sys/kernel/btf/vmlinux`, or the section `.BTF` of an ELF file.
///
/// # Errors
///
/// [`BtfFileError`]
pub fn btf_of_file(file: &[u8]) -> Result<&[u8], BtfFileError> {
    match file {
        [0x9f, 0xeb, ..] => return Ok(file),
        [0xeb, 0x9f, ..] => return Err(BtfFileError::BigEndian),
        _ => {}
    }
    let elf = ElfFile64::<Endianness>::parse(file).map_err(|_| BtfFileError::OtherFormat)?;
    if !elf.is_little_endian() {
        return Err(BtfFileError::BigEndian);
    }
    let section = elf.section_by_name(".BTF").and_then(|section| section.data().ok());
    section.filter(|data| !data.is_empty()).ok_or(BtfFileError::NoSection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Program, write_object};

    #[test]
    fn btf_is_found_in_a_file() {
        let insns =
            crate::decode(&[0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]).expect("two instructions");
        let program = Program { name: "empty".to_owned(), insns, ..Program::default() };
        let elf = write_object(&program).expect("an object");
        let btf = btf_of_file(&elf).expect("BTF");
        assert_eq!(btf_of_file(btf), Ok(btf));
        let mut other_endian = elf.clone();
        other_endian[5] = 2;
        let cases = [
            (&b""[..], BtfFileError::OtherFormat),
            (b"\x7fELF", BtfFileError::OtherFormat),
            (b"\xeb\x9f\x01\x00", BtfFileError::BigEndian),
            (&[0; 64], BtfFileError::OtherFormat),
        ];
        for (file, expected) in cases {
            assert_eq!(btf_of_file(file), Err(expected), "{file:x?}");
        }
        assert!(btf_of_file(&other_endian).is_err());
        let renamed: Vec<u8> =
            elf.windows(5).position(|name| name == b".BTF\0").map_or_else(Vec::new, |at| {
                let mut renamed = elf.clone();
                renamed[at + 1] = b'X';
                renamed
            });
        assert_eq!(btf_of_file(&renamed), Err(BtfFileError::NoSection));
    }
}
