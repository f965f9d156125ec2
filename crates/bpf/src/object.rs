//! Reads programs from ELF objects, as clang and `aya-ebpf` compile them, and writes them.
//!
//! An [`Object`] is a parsed file. [`Object::program`] extracts one program with the functions that it calls and the maps
//! that it uses, as a [`Program`] that can be loaded or run like any other:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use knobgate_bpf::Object;
//!
//! let object = Object::read(&std::fs::read("mine.bpf.o")?)?;
//! for program in object.programs() {
//!     println!("{} in {}", program.name, program.section);
//! }
//! let program = object.program(None)?; // the only one for this hook
//! # Ok(())
//! # }
//! ```
//!
//! Supported are any number of programs (`SEC("cgroup/sysctl")`), static and global functions, callbacks; global variables
//! in `.data`, `.bss` and `.rodata`, with their suffixes; maps in `.maps` and in `maps`, with the types of their keys and
//! values; arrays of programs, and arrays and hashes of maps, with initial contents; maps that are pinned by name; the license;
//! and source lines from BTF. Programs are linked for a [`TargetKernel`]: with the layout of its types (CO-RE), its
//! configuration (kconfig), its functions and variables (kfuncs and ksyms). Variables can be [set](Object::set) before.
//! Extracting a program that needs anything else is an error that names it.
//!
//! No input makes it panic. An object has at most [`Object::BYTES_MAX`] bytes, and linking one that takes too many steps of looking up
//! types, too much code or too many missing fields is an error.

mod core_compat;
mod core_relocations;
mod core_spec;
mod core_values;
mod debug_info;
mod elf;
mod error;
mod externs;
mod functions;
mod kconfig;
mod link;
mod link_env;
mod map_definition;
mod map_types;
mod maps;
mod target_kernel;
mod variables;
mod write;
mod write_btf;

use std::collections::HashMap;

use crate::btf_types::Types;
use crate::uapi::BPF_CGROUP_SYSCTL;
use debug_info::DebugInfo;
use elf::{Elf, Role};
pub use error::ObjectError;
pub(crate) use error::printable;
use externs::Extern;
use functions::Function;
pub use link_env::KernelTypes;
use maps::Map;
use target_kernel::NoKernel;
pub use target_kernel::{KernelSymbol, TargetKernel};
pub use write::{WriteError, write_object};

use crate::Program;

/// An object file with programs.
#[derive(Debug, Clone)]
pub struct Object {
    license: String,
    programs: Vec<ObjectProgram>,
    /// The first of each name among the programs.
    by_name: HashMap<String, usize>,
    /// The functions that the programs are.
    mains: Vec<usize>,
    functions: Vec<Function>,
    maps: Vec<Map>,
    variables: Vec<ObjectVariable>,
    externs: Vec<Extern>,
    /// The section `.BTF`, which was read; empty if there is none.
    btf: Vec<u8>,
}

/// A program in an [`Object`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectProgram {
    /// Its name, which is that of its function.
    pub name: String,
    /// Its section, which gives its type.
    pub section: String,
    /// The attach type that it is loaded with: 18, `BPF_CGROUP_SYSCTL`; `None` for programs of other hooks.
    pub expected_attach_type: Option<u32>,
}

/// A global or static variable in an [`Object`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVariable {
    /// Its name.
    pub name: String,
    /// Its section, such as `.bss`. The map with its value has this name.
    pub section: String,
    /// Where it is in the value of that map, in bytes.
    pub offset: usize,
    /// Its size in bytes.
    pub size: usize,
}

impl Object {
    /// The most bytes of a file, and of a section without data in the file.
    pub const BYTES_MAX: usize = 64 << 20;

    /// The most bytes of a program with all programs that it tail-calls; and of all programs of an object together. Each
    /// counts with everything it uses, even if others use it as well ([`Program::bytes`]).
    pub const PROGRAMS_MAX: usize = 256 << 20;

    /// Reads an object from the bytes of its file.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NotAnObject`], [`ObjectError::Damaged`].
    pub fn read(bytes: &[u8]) -> Result<Self, ObjectError> {
        let elf = Elf::read(bytes)?;
        let damaged = || ObjectError::damaged("the section .BTF is cut short or of an unknown version");
        let btf = elf.section(Role::Btf);
        let types = btf.map(|section| Types::read(section.data).ok_or_else(damaged));
        let types = types.transpose()?.unwrap_or_default();
        let debug = elf.section(Role::BtfExt).map(|section| DebugInfo::read(section.data, &types));
        let debug = debug.transpose()?.unwrap_or_default();
        let externs = externs::read(&elf, &types);
        let mut maps = maps::read(&elf, &types)?;
        let (functions, addresses) = functions::read(&elf, &debug, &maps, &externs)?;
        maps::resolve_values(&elf, &mut maps, &addresses);
        let license = elf.section(Role::License).map(|section| section.data).unwrap_or_default();
        let license = license.split(|byte| *byte == 0).next().unwrap_or_default();
        let mains: Vec<usize> = (0..functions.len()).filter(|&index| functions[index].is_program).collect();
        let programs: Vec<_> = mains.iter().map(|&main| ObjectProgram::of(&functions[main])).collect();
        let mut by_name = HashMap::new();
        for (index, program) in programs.iter().enumerate() {
            by_name.entry(program.name.clone()).or_insert(index);
        }
        Ok(Self {
            license: String::from_utf8_lossy(license).into_owned(),
            programs,
            by_name,
            mains,
            functions,
            maps,
            variables: maps::data_variables(&elf),
            externs,
            btf: btf.map(|section| section.data.to_vec()).unwrap_or_default(),
        })
    }

    /// The programs, in the order of the file; also those for other hooks.
    pub fn programs(&self) -> &[ObjectProgram] {
        &self.programs
    }

    /// The global and static variables, in the order of sections and addresses.
    pub fn variables(&self) -> &[ObjectVariable] {
        &self.variables
    }

    /// The license that it states, such as `GPL`; "" if it states none.
    pub fn license(&self) -> &str {
        &self.license
    }

    /// Extracts the program `name`; without a name, the only one for this hook. It must not depend on the kernel, except for the
    /// context: [`program_for`](Self::program_for) links one that does.
    ///
    /// The program's maps are those that it uses, and every section of read-only data.
    ///
    /// # Errors
    ///
    /// [`ObjectError::NoProgram`], [`WhichProgram`](ObjectError::WhichProgram),
    /// [`NoSuchProgram`](ObjectError::NoSuchProgram), [`OtherHook`](ObjectError::OtherHook),
    /// [`Unsupported`](ObjectError::Unsupported).
    pub fn program(&self, name: Option<&str>) -> Result<Program, ObjectError> {
        self.program_for(name, &NoKernel)
    }

    /// The same, linked for a kernel: relocated to the layout of its types (CO-RE), with its configuration (kconfig), and
    /// with its functions and variables (kfuncs and ksyms).
    ///
    /// Instructions that need a field or a weak function that this kernel lacks are [`Program::unresolved`].
    ///
    /// # Errors
    ///
    /// As [`program`](Self::program).
    pub fn program_for(&self, name: Option<&str>, kernel: &dyn TargetKernel) -> Result<Program, ObjectError> {
        let chosen = match name {
            Some(name) => self.named(name)?,
            None => self.only()?,
        };
        link::program(self, self.mains[chosen], kernel)
    }

    fn types(&self) -> Types<'_> {
        Types::read(&self.btf).unwrap_or_default()
    }

    fn named(&self, name: &str) -> Result<usize, ObjectError> {
        let index = *self.by_name.get(name).ok_or_else(|| self.no_such(name))?;
        let found = &self.programs[index];
        match found.expected_attach_type {
            Some(_) => Ok(index),
            None => Err(ObjectError::OtherHook { name: name.to_owned(), section: found.section.clone() }),
        }
    }

    fn only(&self) -> Result<usize, ObjectError> {
        let is_ours = |index: &usize| self.programs[*index].expected_attach_type.is_some();
        let ours: Vec<_> = (0..self.programs.len()).filter(is_ours).collect();
        match ours[..] {
            [only] => Ok(only),
            [] => {
                let programs = self.programs.iter();
                let programs = programs.map(|program| format!("{} ({})", program.name, program.section));
                Err(ObjectError::NoProgram { programs: programs.collect() })
            }
            _ => Err(ObjectError::WhichProgram {
                programs: ours.iter().map(|&index| self.programs[index].name.clone()).collect(),
            }),
        }
    }

    fn no_such(&self, name: &str) -> ObjectError {
        let programs = self.programs.iter().map(|program| program.name.clone()).collect();
        ObjectError::NoSuchProgram { name: name.to_owned(), programs }
    }
}

impl ObjectProgram {
    fn of(function: &Function) -> Self {
        // Libbpf skips sections with a `?` by default; older aya adds the name.
        let section = function.section.trim_start_matches('?');
        let is_ours = section == "cgroup/sysctl" || section.starts_with("cgroup/sysctl/");
        Self {
            name: function.name.clone(),
            section: function.section.clone(),
            expected_attach_type: is_ours.then_some(BPF_CGROUP_SYSCTL),
        }
    }
}
