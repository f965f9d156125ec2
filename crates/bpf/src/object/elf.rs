//! The ELF file: its sections, symbols and relocations, with checked bounds.

use std::collections::BTreeMap;
use std::ops::Range;

use object::elf::SHT_NOBITS;
use object::read::elf::{ElfFile64, SectionHeader as _};
use object::{
    Architecture, Endianness, Object as _, ObjectKind, ObjectSection as _, ObjectSymbol as _,
    RelocationTarget, SymbolKind,
};

use super::{Object, ObjectError};

/// A file. Sections and symbols are named by their indices in it.
pub(super) struct Elf<'a> {
    pub(super) sections: Vec<Section<'a>>,
    pub(super) symbols: Vec<Symbol<'a>>,
    /// For each section, its symbols.
    symbols_in: Vec<Vec<usize>>,
}

pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    pub(super) role: Role,
    /// In memory. A section of zeros has no data in the file.
    pub(super) size: usize,
    pub(super) data: &'a [u8],
    /// By offset. Only of sections of code, data and maps.
    pub(super) relocations: Vec<Relocation>,
}

/// The indices of functions, by section and address.
pub(super) type FunctionAddresses = BTreeMap<(usize, usize), usize>;

/// The role of a section, which its name gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Functions that programs call.
    Functions,
    /// Programs.
    Programs,
    /// Definitions of maps, described by BTF.
    Maps,
    /// Definitions of maps as structs.
    LegacyMaps,
    Data,
    ReadOnlyData,
    License,
    Btf,
    BtfExt,
    /// Irrelevant, unless a program refers to it.
    Other,
}

pub(super) struct Symbol<'a> {
    pub(super) name: &'a str,
    /// `None`: it is defined elsewhere, or nowhere.
    pub(super) section: Option<usize>,
    pub(super) address: usize,
    pub(super) size: usize,
    pub(super) kind: SymbolKind,
    pub(super) is_local: bool,
    pub(super) is_weak: bool,
}

impl Symbol<'_> {
    pub(super) fn range(&self) -> Range<usize> {
        self.address..self.address + self.size
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Relocation {
    pub(super) offset: usize,
    pub(super) symbol: usize,
    /// `None`: it is in the place that is relocated.
    pub(super) addend: Option<i64>,
}

impl<'a> Elf<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, ObjectError> {
        let not = |why: &str| ObjectError::NotAnObject { why: why.to_owned() };
        if !bytes.starts_with(b"\x7fELF") {
            return Err(not("it is not in ELF format"));
        }
        if bytes.len() > Object::BYTES_MAX {
            return Err(not("it has more than 64 MiB"));
        }
        if bytes.get(4..6) != Some(&[2, 1]) {
            return Err(not("it is not for a 64-bit little-endian machine"));
        }
        let file = ElfFile64::<Endianness>::parse(bytes).map_err(damaged)?;
        if file.architecture() != Architecture::Bpf {
            return Err(not("it is for another machine than BPF"));
        }
        if file.kind() != ObjectKind::Relocatable {
            return Err(not("it is linked already"));
        }

        let mut sections = Vec::new();
        let mut section_bytes = 0;
        for section in file.sections() {
            // Indices count from 1: section 0 is none.
            if section.index().0 != sections.len() + 1 {
                return Err(ObjectError::damaged("its sections are not in order"));
            }
            let section = Section::read(&section)?;
            // Otherwise a small file could have any number of large ones.
            section_bytes += section.data.len();
            if section_bytes > bytes.len() {
                return Err(ObjectError::damaged("its sections overlap"));
            }
            sections.push(section);
        }
        let mut symbols = Vec::new();
        for symbol in file.symbols() {
            symbols.resize_with(symbol.index().0, Symbol::nothing);
            symbols.push(Symbol::read(&symbol, &sections)?);
        }
        for relocation in sections.iter().flat_map(|section| &section.relocations) {
            if relocation.symbol >= symbols.len() {
                return Err(ObjectError::damaged("a relocation is for a symbol that does not exist"));
            }
        }
        let mut symbols_in = vec![Vec::new(); sections.len()];
        for (index, symbol) in symbols.iter().enumerate() {
            if let Some(section) = symbol.section {
                symbols_in[section].push(index);
            }
        }
        Ok(Self { sections, symbols, symbols_in })
    }

    /// The first section that is for this.
    pub(super) fn section(&self, role: Role) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.role == role)
    }

    /// The symbols in a section.
    pub(super) fn symbols_in(&self, section: usize) -> impl Iterator<Item = (usize, &Symbol<'a>)> {
        self.symbols_in[section].iter().map(|index| (*index, &self.symbols[*index]))
    }
}

impl<'a> Section<'a> {
    fn read(section: &object::read::elf::ElfSection64<'a, '_, Endianness>) -> Result<Self, ObjectError> {
        let name = checked_name(section.name().map_err(damaged)?)?;
        let is_code = section.kind() == object::SectionKind::Text;
        let role = Role::of(name, is_code);
        let size =
            usize::try_from(section.size()).ok().filter(|size| *size <= Object::BYTES_MAX).ok_or_else(
                || ObjectError::damaged(format!("the section {name} has {} bytes", section.size())),
            )?;
        let header = section.elf_section_header();
        let has_no_bytes = header.sh_type(Endianness::Little) == SHT_NOBITS;
        if section.address() != 0 || (has_no_bytes && role != Role::Data && role != Role::Other) {
            return Err(ObjectError::damaged(format!(
                "the section {name} is not like one of an object file"
            )));
        }
        let data = section.data().map_err(damaged)?;
        let mut relocations = Vec::new();
        if !matches!(role, Role::License | Role::Btf | Role::BtfExt | Role::Other) {
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(symbol) = relocation.target() else {
                    return Err(ObjectError::damaged(format!("a relocation in {name} has no symbol")));
                };
                let offset = usize::try_from(offset).ok().filter(|offset| *offset < size);
                let offset = offset.ok_or_else(|| {
                    ObjectError::damaged(format!("a relocation is beyond the end of the section {name}"))
                })?;
                let addend = (!relocation.has_implicit_addend()).then(|| relocation.addend());
                relocations.push(Relocation { offset, symbol: symbol.0, addend });
            }
            relocations.sort_by_key(|relocation| relocation.offset);
        }
        Ok(Self { name, role, size, data, relocations })
    }

    /// The relocations of these bytes. In a damaged object, they may end before they start.
    pub(super) fn relocations_in(&self, bytes: Range<usize>) -> &[Relocation] {
        let before = |end: usize| self.relocations.partition_point(|relocation| relocation.offset < end);
        self.relocations.get(before(bytes.start)..before(bytes.end)).unwrap_or_default()
    }
}

impl Role {
    fn of(name: &str, is_code: bool) -> Self {
        let is = |start: &str| {
            name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match name {
            ".BTF" => Self::Btf,
            ".BTF.ext" => Self::BtfExt,
            ".maps" => Self::Maps,
            "maps" => Self::LegacyMaps,
            "license" => Self::License,
            _ if is(".text") => Self::Functions,
            _ if is_code => Self::Programs,
            _ if is(".rodata") => Self::ReadOnlyData,
            _ if is(".data") || is(".bss") => Self::Data,
            // Programs of aya say `maps/NAME`.
            _ if name.starts_with("maps/") => Self::LegacyMaps,
            _ => Self::Other,
        }
    }
}

impl<'a> Symbol<'a> {
    fn read(
        symbol: &object::read::elf::ElfSymbol64<'a, '_, Endianness>,
        sections: &[Section<'_>],
    ) -> Result<Self, ObjectError> {
        let name = checked_name(symbol.name().map_err(damaged)?)?;
        let section = symbol.section_index().map(|index| index.0.wrapping_sub(1));
        let of = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let (address, size) = (of(symbol.address()), of(symbol.size()));
        if let Some(section) = section {
            let end = address.checked_add(size);
            let is_inside = |section: &Section<'_>| end.is_some_and(|end| end <= section.size);
            if !sections.get(section).is_some_and(is_inside) {
                return Err(ObjectError::damaged(format!("the symbol {name} is not inside of a section")));
            }
        }
        let (kind, is_local, is_weak) = (symbol.kind(), symbol.is_local(), symbol.is_weak());
        Ok(Self { name, section, address, size, kind, is_local, is_weak })
    }

    /// What stands for symbols that are left out, of which 0 is one.
    fn nothing() -> Self {
        Self {
            name: "",
            section: None,
            address: 0,
            size: 0,
            kind: SymbolKind::Unknown,
            is_local: true,
            is_weak: false,
        }
    }
}

/// A name that is not longer than those of the kernel's symbols (`KSYM_NAME_LEN`). Any number of symbols can share one string.
fn checked_name(name: &str) -> Result<&str, ObjectError> {
    const KSYM_NAME_LEN: usize = 512;
    if name.len() < KSYM_NAME_LEN {
        return Ok(name);
    }
    let start = &name[..name.floor_char_boundary(32)];
    Err(ObjectError::damaged(format!(
        "the name \"{start}…\" has {} bytes, not less than {KSYM_NAME_LEN}",
        name.len()
    )))
}

fn damaged(error: object::read::Error) -> ObjectError {
    ObjectError::damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_longer_than_those_of_the_kernel() {
        let longest = "n".repeat(511);
        assert_eq!(checked_name(&longest), Ok(&*longest));
        let error = checked_name(&"ö".repeat(256)).expect_err("it is longer").to_string();
        let start = "ö".repeat(16);
        let expected =
            format!("the object is damaged: the name \"{start}…\" has 512 bytes, not less than 512");
        assert_eq!(error, expected);
    }
}
