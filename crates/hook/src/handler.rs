//! What reads and writes the value of a knob: the kernel's `proc_handler`.
//!
//! Here are the generic handlers of kernel/sysctl.c with their quirks: how they format and parse numbers, what they do at
//! file positions other than 0, what they keep when they fail halfway, and what they return. Other handlers are closures:
//! [`custom`].

mod bitmap;
mod cpu_mask;
mod int_vec;
mod number;
mod stable_secret;
mod string;
mod uint;
mod ulong_vec;
mod unit;

pub mod custom;

pub use bitmap::Bitmap;
pub use cpu_mask::CpuMask;
pub use custom::{Custom, ReadFails};
pub use int_vec::{Bool, IntVec};
pub use stable_secret::StableSecret;
pub use string::Text;
pub use uint::{U8, Uint};
pub use ulong_vec::UlongVec;
pub use unit::{Hz, Unit};

use std::fmt;

use crate::{Errno, Profile};

/// How many bytes of a value numeric handlers parse (`PAGE_SIZE - 1`).
pub(crate) const PARSED_BYTES: usize = 4095;

/// `kernel.sysctl_writes_strict`: what writes at file positions other than 0 do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WritesStrict {
    /// −1: they write from the start.
    Legacy,
    /// 0: the same, with a warning in the kernel log.
    Warn,
    /// 1: string handlers continue the value; numeric handlers ignore the write.
    #[default]
    Strict,
}

impl WritesStrict {
    /// The value of the knob.
    pub const fn value(self) -> i32 {
        match self {
            Self::Legacy => -1,
            Self::Warn => 0,
            Self::Strict => 1,
        }
    }
}

/// The environment of a handler: what it needs to know about the kernel.
#[derive(Debug, Clone, Copy)]
pub struct HandlerEnv<'a> {
    /// What writes at file positions other than 0 do.
    pub strict: WritesStrict,
    /// Which kernel it is.
    pub profile: &'a Profile,
}

impl HandlerEnv<'_> {
    /// Whether numeric handlers ignore a write at `position` (`proc_first_pos_non_zero_ignore`).
    pub(crate) fn ignores_writes_at(&self, position: i64) -> bool {
        position != 0 && self.strict == WritesStrict::Strict
    }
}

/// The buffer of a write.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// The written bytes: as many as the handler's `lenp` says.
    pub bytes: &'a [u8],
    /// The memory after them. It starts with a NUL, unless a program has replaced the value on a kernel that does not
    /// terminate it.
    pub after: &'a [u8],
}

impl<'a> Written<'a> {
    /// `bytes` with a NUL after them, which is how the kernel passes the bytes that a process writes.
    pub const fn terminated(bytes: &'a [u8]) -> Self {
        Self { bytes, after: b"\0" }
    }

    /// The bytes up to the first NUL, wherever it is: what handlers see that treat the buffer as a C string, with
    /// `cpumask_parse`, `sscanf` or `kstrtoint`.
    pub fn c_string(&self) -> Vec<u8> {
        self.bytes.iter().chain(self.after).copied().take_while(|&byte| byte != 0).collect()
    }
}

/// Reads and writes the value of a knob.
pub trait Handler: fmt::Debug + Send + Sync {
    /// Reads at most `count` bytes from `position`, and advances it.
    ///
    /// # Errors
    ///
    /// The errno of the system call.
    fn read(&mut self, count: usize, position: &mut i64, env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno>;

    /// Writes at `position`, advances it, and returns the number of bytes that the system call returns.
    ///
    /// # Errors
    ///
    /// The errno of the system call.
    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno>;
}

impl Handler for Box<dyn Handler> {
    fn read(&mut self, count: usize, position: &mut i64, env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        (**self).read(count, position, env)
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        (**self).write(written, position, env)
    }
}
