//! `BPF_PROG_LOAD`, with its retries and the verifier's log.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use knobgate_bpf::uapi::{BPF_COMPLEXITY_LIMIT_INSNS, BPF_PROG_TYPE_CGROUP_SYSCTL};
use knobgate_bpf::{Imm64, Insn, MapReference, Program, ProgramBtf, Reg, encode};
use rustix::io::Errno;

use crate::capabilities::Capabilities;
use crate::load_error::LoadError;
use crate::load_options::LoadOptions;
use crate::locked_memory::{self, with_raised_limit};
use crate::map::Map;
use crate::object::kernel_name;
use crate::sys::bpf::{self, DebugSpec, LogSpec, ProgramSpec};
use crate::token::BpfToken;
use crate::verifier_log::{LogLevel, VerifierLog};

/// A program in the encoding of the kernel, with descriptors of its maps.
pub(crate) struct LoadRequest<'a> {
    program: &'a Program,
    options: &'a LoadOptions,
    insns: Vec<u8>,
    license: CString,
    debug: Option<DebugInfo>,
}

impl<'a> LoadRequest<'a> {
    /// Relocates the instructions, and loads the BTF of the program.
    ///
    /// # Errors
    ///
    /// [`LoadError::BadRelocation`], and those for exhausted resources.
    pub(crate) fn new(
        program: &'a Program,
        maps: &[(String, Map)],
        options: &'a LoadOptions,
    ) -> Result<Self, LoadError> {
        let insns = encode(&relocated(program, maps)?);
        // For the kernel, a NUL ends the license.
        let own = program.license.as_ref().map(|license| license.split('\0').next().unwrap_or_default());
        let own = own.and_then(|license| CString::new(license).ok());
        let license = own.unwrap_or_else(|| options.license.clone());
        let debug = if options.line_info { DebugInfo::load(program)? } else { None };
        Ok(Self { program, options, insns, license, debug })
    }

    /// Loads it. Returns whether it has line information.
    ///
    /// # Errors
    ///
    /// Every [`LoadError`] that does not concern maps.
    pub(crate) fn load(&self) -> Result<(OwnedFd, bool), LoadError> {
        let debug = self.debug.as_ref();
        let loaded = match debug {
            // The kernel may have rejected the line information, so try again without it.
            Some(_) => self.submit(debug, None).map(|fd| (fd, true)).or_else(|error| match error {
                Errno::TOOBIG | Errno::PERM => Err(error),
                error if is_about_the_system(error) => Err(error),
                _ => self.submit(None, None).map(|fd| (fd, false)).map_err(|_| error),
            }),
            None => self.submit(None, None).map(|fd| (fd, false)),
        };
        loaded.map_err(|error| self.explain(error))
    }

    /// The verifier's log.
    pub(crate) fn log(&self, with_lines: bool, level: LogLevel) -> VerifierLog {
        // The kernel rejects buffers of less than 128 bytes.
        let limit = self.options.log_limit.max(256);
        const FIRST: usize = 1 << 20;
        const GROWTH: usize = 16;
        let debug = self.debug.as_ref().filter(|_| with_lines);
        let mut size = FIRST.min(limit);
        loop {
            let mut buffer = vec![0; size];
            let log = LogSpec { level: level as u32, buffer: &mut buffer };
            let is_truncated = self.submit(debug, Some(log)).err() == Some(Errno::NOSPC);
            if !is_truncated || size == limit {
                return VerifierLog::from_buffer(&buffer, is_truncated).with_names(&self.program.unresolved);
            }
            size = size.saturating_mul(GROWTH).min(limit);
        }
    }

    fn submit(&self, debug: Option<&DebugInfo>, mut log: Option<LogSpec<'_>>) -> rustix::io::Result<OwnedFd> {
        let spec = ProgramSpec {
            kind: BPF_PROG_TYPE_CGROUP_SYSCTL,
            expected_attach_type: self.options.expected_attach_type,
            insns: &self.insns,
            license: &self.license,
            name: kernel_name(&self.program.name),
            debug: debug.map(DebugInfo::spec),
        };
        // Verification takes long, and signals interrupt it (EAGAIN).
        const TRIES: u32 = 5;
        let mut tries = 1;
        loop {
            match with_raised_limit(|| bpf::prog_load(&spec, log.as_mut())) {
                Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    fn explain(&self, error: Errno) -> LoadError {
        let program = self.program.name.clone();
        let source: io::Error = error.into();
        if error == Errno::PERM {
            let what = || format!("load \"{program}\"");
            if let Some(error) = LoadError::not_delegated(what, BpfToken::lacks_for_programs) {
                return error;
            }
            let capabilities = Capabilities::of_this_process().ok();
            return match locked_memory::limit() {
                Some(limit) if capabilities.is_some_and(Capabilities::can_load) => {
                    LoadError::LockedMemory { what: format!("load \"{program}\""), limit, source }
                }
                _ => LoadError::NotPermitted { program, capabilities, source },
            };
        }
        if is_about_the_system(error) {
            return system_error(program, error);
        }
        let insns = self.insns.len() / 8;
        let log =
            if insns > BPF_COMPLEXITY_LIMIT_INSNS { VerifierLog::default() } else { self.log_of_rejection() };
        // BPF_MAXINSNS, without CAP_BPF.
        const LONG: usize = 4096;
        match error {
            // The kernel also returns E2BIG for a program without instructions.
            Errno::TOOBIG if insns == 0 || insns > LONG || !log.text().is_empty() => {
                LoadError::TooLarge { program, insns, log, source }
            }
            Errno::INVAL if log.text().is_empty() => LoadError::Unsupported { program, source },
            // The verifier did not reject it.
            _ if log.stated_reason().is_none() => {
                let is_denied = error == Errno::ACCESS;
                let advice = if is_denied { "; a security module may forbid it" } else { "" };
                LoadError::Failed { program, advice, error: source }
            }
            _ => LoadError::Rejected { program, log, source },
        }
    }

    /// The log including its end, which states the reason. The verifier prints reasons at every level; without the
    /// path, the log is short (`verbose()` in kernel/bpf/verifier.c).
    fn log_of_rejection(&self) -> VerifierLog {
        let log = self.log(true, self.options.log_level);
        if !log.is_truncated() || log.stats().processed_insns.is_some() {
            return log;
        }
        self.log(true, LogLevel::Stats).truncated()
    }
}

/// Whether the error is not about the program, but about exhausted resources or a missing bpf(2).
fn is_about_the_system(error: Errno) -> bool {
    matches!(error, Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::INTR | Errno::NOSYS)
}

fn system_error(program: String, error: Errno) -> LoadError {
    let source = error.into();
    let advice = match error {
        Errno::NOMEM => return LoadError::NoMemory { program, source },
        Errno::MFILE => "; raise the limit of open files of this process: ulimit -n",
        Errno::NFILE => "; raise the limit of open files of this machine: fs.file-max",
        Errno::AGAIN | Errno::INTR => "; signals kept interrupting the verifier: try again",
        _ => "; this kernel has no bpf(2), or a seccomp(2) filter forbids it",
    };
    LoadError::Failed { program, advice, error: source }
}

/// The instructions with the descriptors of the maps.
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

/// The program's BTF, with its line information.
struct DebugInfo {
    fd: OwnedFd,
    tables: ProgramBtf,
}

impl DebugInfo {
    /// `None` if there is nothing to describe, or the kernel rejects the BTF.
    fn load(program: &Program) -> Result<Option<Self>, LoadError> {
        if program.functions.is_empty() {
            return Ok(None);
        }
        let tables = ProgramBtf::of(program);
        match bpf::btf_load(&tables.btf) {
            Ok(fd) => Ok(Some(Self { fd, tables })),
            Err(error) if is_about_the_system(error) => Err(system_error(program.name.clone(), error)),
            Err(_) => Ok(None),
        }
    }

    fn spec(&self) -> DebugSpec<'_> {
        let ProgramBtf { func_info, line_info, .. } = &self.tables;
        DebugSpec { btf: self.fd.as_fd(), func_info, line_info }
    }
}
