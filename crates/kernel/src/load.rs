//! From a [`Program`] to one that the kernel holds.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use knobgate_bpf::{Imm64, Insn, MapDef, MapKind, MapReference, Program, ProgramBtf, Reg, TailCall, encode};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::capabilities::Capabilities;
use crate::load_error::LoadError;
use crate::map::{Map, possible_cpus};
use crate::object::{ATTACH_TYPE, PROGRAM_TYPE, kernel_name};
use crate::program::ProgramFd;
use crate::sys::bpf::{self, DebugSpec, MapSpec, ProgramSpec};
use crate::verifier_log::VerifierLog;

/// `BPF_MAXINSNS` for those who have `CAP_BPF`: `BPF_COMPLEXITY_LIMIT_INSNS` in `include/linux/bpf.h`.
const MOST_INSNS: usize = 1_000_000;

/// How a program is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// What a program that states no license of its own tells the kernel, which decides on the helpers that are for GPL
    /// programs alone.
    ///
    /// `Dual MIT/GPL` by default. What we compile calls no such helper; but of the permissive licenses this is the one
    /// that the kernel knows by name (`license_is_gpl_compatible()` in `include/linux/license.h`), and a program with
    /// an unknown one is shown as not compatible.
    pub license: CString,
    /// Whether the lines of the source go with the program, for the verifier's log and for `bpftool`. Where the kernel
    /// does not take them, the program is loaded without. A program whose functions helpers call back is refused without.
    pub line_info: bool,
    /// The most bytes of verifier's log that are kept when the program is refused. Before Linux 6.4 a longer log loses
    /// its end, since then its beginning.
    pub log_limit: usize,
    /// `expected_attach_type`: `BPF_CGROUP_SYSCTL` by default, without which `bpf_set_retval` is not offered.
    pub expected_attach_type: u32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            license: c"Dual MIT/GPL".to_owned(),
            line_info: true,
            log_limit: 16 << 20,
            expected_attach_type: ATTACH_TYPE,
        }
    }
}

/// A program that the kernel holds, with its maps.
#[derive(Debug)]
pub struct LoadedProgram {
    /// The program.
    pub program: ProgramFd,
    /// Its maps by the names of their definitions, in the order of these.
    pub maps: Vec<(String, Map)>,
    /// Whether the kernel took the lines of the source.
    pub has_line_info: bool,
}

impl LoadedProgram {
    /// The map that the definition of this name became.
    pub fn map(&self, name: &str) -> Option<&Map> {
        self.maps.iter().find(|(found, _)| found == name).map(|(_, map)| map)
    }
}

/// Creates the maps of a program, fills them, and loads it, for `BPF_PROG_TYPE_CGROUP_SYSCTL`.
///
/// A map that no instruction refers to is bound to the program, so that it lives as long as that and can be found
/// through it; kernels before 5.10 cannot, there it goes with [`LoadedProgram`].
///
/// Before Linux 5.11 maps count as locked memory; where that is refused, this process's limit is raised as far as it
/// may be.
///
/// # Errors
///
/// Every [`LoadError`]; a refused program is loaded once more with the verifier's log, which the error carries.
pub fn load(program: &Program, options: &LoadOptions) -> Result<LoadedProgram, LoadError> {
    let maps = program
        .maps
        .iter()
        .map(|def| create_map(&program.name, def))
        .collect::<Result<Vec<_>, LoadError>>()?;
    load_with_maps(program, maps, options)
}

/// Loads a program with these maps in place of those that it defines, in the same order: programs can so share maps.
///
/// # Errors
///
/// As [`load`]; [`LoadError::BadRelocation`] where there are too few.
pub fn load_with_maps(
    program: &Program,
    maps: Vec<Map>,
    options: &LoadOptions,
) -> Result<LoadedProgram, LoadError> {
    if let Some((callee, map)) = program.foreign_storage() {
        return Err(LoadError::ForeignStorage {
            program: program.name.clone(),
            callee: callee.name.clone(),
            map: map.name.clone(),
        });
    }
    let names = program.maps.iter().map(|def| def.name.clone());
    let maps: Vec<_> = names.zip(maps).collect();
    let (fd, has_line_info) = load_code(program, &maps, options)?;
    for (index, (_, map)) in maps.iter().enumerate() {
        if !program.relocations.iter().any(|relocation| relocation.map == index) {
            // Not a reason to go without a policy: all that is lost is that others can find this map.
            let _ = bpf::prog_bind_map(fd.as_fd(), map.as_fd());
        }
    }
    for TailCall { map, index, program: callee } in &program.tail_calls {
        let (callee, _) = load_code(callee, &maps, options)?;
        let no_map = || LoadError::BadTailCall { program: program.name.clone(), map: *map, index: *index };
        let (name, map) = maps.get(*map).ok_or_else(no_map)?;
        map.update(&index.to_ne_bytes(), &callee.as_raw_fd().to_ne_bytes())
            .map_err(|source| LoadError::MapContents { map: name.clone(), source })?;
    }
    let program = ProgramFd::from_fd(fd);
    let has_line_info = has_line_info && program.info().is_ok_and(|info| info.has_line_info);
    Ok(LoadedProgram { program, maps, has_line_info })
}

/// Loads the instructions of a program whose maps are there. Says whether its lines went with it.
fn load_code(
    program: &Program,
    maps: &[(String, Map)],
    options: &LoadOptions,
) -> Result<(OwnedFd, bool), LoadError> {
    let insns = encode(&relocated(program, maps)?);
    // A NUL would end it for the kernel as well.
    let own = program.license.as_ref().map(|license| license.split('\0').next().unwrap_or_default());
    let own = own.and_then(|license| CString::new(license).ok());
    let license = own.as_deref().unwrap_or(&options.license);
    let attempt = Attempt { program, insns: &insns, license, options };

    let debug = options.line_info.then(|| DebugInfo::load(program)).flatten();
    let loaded = match &debug {
        // Whether it is the lines that the kernel does not like, a second attempt without them tells.
        Some(debug) => attempt.load(Some(debug)).or_else(|error| match error {
            Errno::TOOBIG | Errno::PERM | Errno::NOMEM => Err(error),
            _ => attempt.load(None).map_err(|_| error),
        }),
        None => attempt.load(None),
    };
    let fd = loaded.map_err(|error| attempt.explain(debug.as_ref(), error))?;
    Ok((fd, debug.is_some()))
}

/// The instructions with the descriptors of the maps in them.
fn relocated(program: &Program, maps: &[(String, Map)]) -> Result<Vec<Insn>, LoadError> {
    let mut insns = program.insns.clone();
    for relocation in &program.relocations {
        let bad = || LoadError::BadRelocation {
            program: program.name.clone(),
            insn: relocation.insn,
            map: relocation.map,
        };
        let (_, map) = maps.get(relocation.map).ok_or_else(bad)?;
        let Some([first, second, ..]) = insns.get_mut(relocation.insn..) else { return Err(bad()) };
        if !first.is_load_imm64() {
            return Err(bad());
        }
        let fd = map.as_fd().as_raw_fd();
        let value = match relocation.target {
            MapReference::Map => Imm64::Map { fd },
            MapReference::Value(offset) => Imm64::MapValue { fd, offset },
        };
        let dst = Reg::from_number(first.dst()).ok_or_else(bad)?;
        [*first, *second] = Insn::load_imm64(dst, value);
    }
    Ok(insns)
}

/// Creates a map and fills it. `program` is what is told to need it.
///
/// # Errors
///
/// Those of [`load`] that are about maps.
pub fn create_map(program: &str, def: &MapDef) -> Result<Map, LoadError> {
    const NO_PREALLOC: u32 = 1 << 0;
    const RDONLY_PROG: u32 = 1 << 7;
    let of_kind = if def.kind == MapKind::LpmTrie { NO_PREALLOC } else { 0 };
    let max_entries = match (def.kind, def.max_entries) {
        (MapKind::PerfEventArray, 0) => possible_cpus().unwrap_or(1) as u32,
        (_, max_entries) => max_entries,
    };
    let spec = MapSpec {
        kind: def.kind as u32,
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries,
        flags: def.flags | of_kind | if def.frozen { RDONLY_PROG } else { 0 },
        name: kernel_name(&def.name),
    };
    let fd = create_within_limit(&spec).map_err(|error| map_error(program, def, error))?;
    let contents = |source| LoadError::MapContents { map: def.name.clone(), source };
    let map = Map::from_fd(fd).map_err(contents)?;
    for (key, value) in &def.contents {
        map.update(key, value).map_err(contents)?;
    }
    if def.frozen {
        map.freeze().map_err(contents)?;
    }
    Ok(map)
}

/// Raises the limit of locked memory when that may be what is in the way.
fn create_within_limit(spec: &MapSpec) -> rustix::io::Result<OwnedFd> {
    match bpf::map_create(spec) {
        Err(Errno::PERM) if getrlimit(Resource::Memlock).current.is_some() => {
            let hard = getrlimit(Resource::Memlock).maximum;
            setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })
                .or_else(|_| setrlimit(Resource::Memlock, Rlimit { current: hard, maximum: hard }))
                .map_err(|_| Errno::PERM)?;
            bpf::map_create(spec)
        }
        done => done,
    }
}

fn map_error(program: &str, def: &MapDef, error: Errno) -> LoadError {
    let capabilities = Capabilities::of_this_process().ok();
    let source = error.into();
    match (error, getrlimit(Resource::Memlock).current) {
        (Errno::PERM, Some(limit)) if capabilities.is_some_and(Capabilities::can_load) => {
            LoadError::LockedMemory { map: def.name.clone(), limit, source }
        }
        (Errno::PERM, _) => LoadError::NotPermitted { program: program.to_owned(), capabilities, source },
        (Errno::NOMEM, _) => LoadError::NoMemory { program: program.to_owned(), source },
        _ => LoadError::Map {
            map: def.name.clone(),
            kind: def.kind,
            max_entries: def.max_entries,
            key_size: def.key_size,
            value_size: def.value_size,
            source,
        },
    }
}

/// The lines of the source as the kernel takes them.
struct DebugInfo {
    fd: OwnedFd,
    tables: ProgramBtf,
}

impl DebugInfo {
    /// `None` where there are no lines, or the kernel does not take the BTF.
    fn load(program: &Program) -> Option<Self> {
        if program.functions.is_empty() {
            return None;
        }
        let tables = ProgramBtf::of(program);
        let fd = bpf::btf_load(&tables.btf).ok()?;
        Some(Self { fd, tables })
    }

    fn spec(&self) -> DebugSpec<'_> {
        let ProgramBtf { func_info, line_info, .. } = &self.tables;
        DebugSpec { btf: self.fd.as_fd(), func_info, line_info }
    }
}

struct Attempt<'a> {
    program: &'a Program,
    insns: &'a [u8],
    license: &'a CStr,
    options: &'a LoadOptions,
}

impl Attempt<'_> {
    fn spec<'a>(&'a self, debug: Option<&'a DebugInfo>) -> ProgramSpec<'a> {
        ProgramSpec {
            kind: PROGRAM_TYPE,
            expected_attach_type: self.options.expected_attach_type,
            insns: self.insns,
            license: self.license,
            name: kernel_name(&self.program.name),
            debug: debug.map(DebugInfo::spec),
        }
    }

    fn load(&self, debug: Option<&DebugInfo>) -> rustix::io::Result<OwnedFd> {
        // The verifier can be interrupted by a signal (EAGAIN), for it takes long.
        const TRIES: u32 = 5;
        let mut tries = 1;
        loop {
            match bpf::prog_load(&self.spec(debug), None) {
                Err(Errno::AGAIN) if tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    fn explain(&self, debug: Option<&DebugInfo>, error: Errno) -> LoadError {
        let program = self.program.name.clone();
        let source: io::Error = error.into();
        if error == Errno::PERM {
            return LoadError::NotPermitted {
                program,
                capabilities: Capabilities::of_this_process().ok(),
                source,
            };
        }
        if error == Errno::NOMEM {
            return LoadError::NoMemory { program, source };
        }
        let insns = self.insns.len() / 8;
        let log = if insns > MOST_INSNS { VerifierLog::from_buffer(b"") } else { self.log(debug) };
        match error {
            Errno::TOOBIG => LoadError::TooLarge { program, insns, log, source },
            Errno::INVAL if log.text().is_empty() => LoadError::Unsupported { program, source },
            _ if log.text().is_empty() => LoadError::Failed { program, source },
            _ => LoadError::Rejected { program, log, source },
        }
    }

    /// Loads once more for the log; and again, with the largest buffer, if it is a long one.
    fn log(&self, debug: Option<&DebugInfo>) -> VerifierLog {
        const USUAL: usize = 1 << 20;
        // The kernel takes no less than 128 bytes, which for a log is as good as nothing.
        let limit = self.options.log_limit.max(256);
        let mut buffer = vec![0; USUAL.min(limit)];
        if bpf::prog_load(&self.spec(debug), Some(&mut buffer)).err() == Some(Errno::NOSPC) && limit > USUAL {
            buffer = vec![0; limit];
            let _ = bpf::prog_load(&self.spec(debug), Some(&mut buffer));
        }
        VerifierLog::from_buffer(&buffer)
    }
}
