//! What reads and writes the value of a knob: the kernel's `proc_handler`.
//!
//! The generic handlers of kernel/sysctl.c are here with their quirks: how they spell and parse numbers, what they do at
//! file positions other than 0, what they keep when they fail halfway, and what they return. For the rest there is
//! [`custom`].

mod bitmap;
mod cpu_mask;
mod int_vec;
mod number;
mod string;
mod uint;
mod ulong_vec;
mod unit;

pub mod custom;

pub use bitmap::Bitmap;
pub use cpu_mask::CpuMask;
pub use custom::{Custom, ReadFails};
pub use int_vec::{Bool, IntVec};
pub use string::Text;
pub use uint::{U8, Uint};
pub use ulong_vec::UlongVec;
pub use unit::{Hz, Unit};

use std::fmt;

use crate::{Errno, Profile};

/// How many bytes of a value numeric handlers look at (`PAGE_SIZE - 1`).
pub(crate) const PARSED_BYTES: usize = 4095;

/// `kernel.sysctl_writes_strict`: what writes at other file positions than 0 do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WritesStrict {
    /// −1: they write from the start.
    Legacy,
    /// 0: the same, and the kernel's log says so.
    Warn,
    /// 1: they continue strings, and are ignored by numbers.
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

/// What a handler may need to know of the kernel.
#[derive(Debug, Clone, Copy)]
pub struct HandlerEnv<'a> {
    /// What writes at other file positions than 0 do.
    pub strict: WritesStrict,
    /// Which kernel it is.
    pub profile: &'a Profile,
}

impl HandlerEnv<'_> {
    /// Whether a write at `position` is passed over by handlers of numbers (`proc_first_pos_non_zero_ignore`).
    pub(crate) fn ignores_writes_at(&self, position: i64) -> bool {
        position != 0 && self.strict == WritesStrict::Strict
    }
}

/// The buffer with what is written.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// What is written: as many bytes as the handler is told of.
    pub bytes: &'a [u8],
    /// What lies behind them in memory. It begins with a NUL, unless a program has replaced the value on a kernel that does
    /// not terminate it.
    pub behind: &'a [u8],
}

impl<'a> Written<'a> {
    /// `bytes` with a NUL behind them, as the kernel hands over what a process writes.
    pub const fn terminated(bytes: &'a [u8]) -> Self {
        Self { bytes, behind: b"\0" }
    }

    /// The bytes up to the first NUL, wherever it is: what handlers see that take the buffer for a C string, as
    /// `cpumask_parse`, `sscanf` and `kstrtoint` do.
    pub fn c_string(&self) -> Vec<u8> {
        self.bytes.iter().chain(self.behind).copied().take_while(|&byte| byte != 0).collect()
    }
}

/// Reads and writes the value of a knob.
pub trait Handler: fmt::Debug + Send + Sync {
    /// Reads at most `count` bytes from `position`, and moves it on.
    ///
    /// # Errors
    ///
    /// What the system call fails with.
    fn read(&mut self, count: usize, position: &mut i64, env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno>;

    /// Writes at `position`, moves it on, and returns the number of bytes that the system call returns.
    ///
    /// # Errors
    ///
    /// What the system call fails with.
    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno>;
}
