//! Unsigned int and u8: `proc_douintvec`, `proc_douintvec_minmax` and `proc_dou8vec_minmax` in kernel/sysctl.c.

use super::number::{BLANK, Number, read_list, skip_blanks, take, write_list};
use super::{Handler, HandlerEnv, PARSED_BYTES, Written};
use crate::Errno;

/// An unsigned int; there are no vectors of them.
///
/// Before 7.3 a write returns its whole length, whatever follows the number, and does not move the file position. Since
/// then it is like a write of an int.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uint {
    value: u32,
    min: u32,
    max: u32,
}

impl Uint {
    /// Without bounds (`proc_douintvec`).
    pub const fn new(value: u32) -> Self {
        Self { value, min: 0, max: u32::MAX }
    }

    /// Within these bounds (`proc_douintvec_minmax`).
    #[must_use]
    pub const fn between(self, min: u32, max: u32) -> Self {
        Self { min, max, ..self }
    }

    /// The value.
    pub const fn value(self) -> u32 {
        self.value
    }

    fn keep(&mut self, Number { negative, magnitude }: Number) -> Result<(), Errno> {
        let value = u32::try_from(magnitude).map_err(|_| Errno::EINVAL)?;
        if negative || !(self.min..=self.max).contains(&value) {
            return Err(Errno::EINVAL);
        }
        self.value = value;
        Ok(())
    }
}

/// `__do_proc_douintvec`.
impl Handler for Uint {
    fn read(&mut self, count: usize, position: &mut i64, _env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        Ok(read_list([Number { negative: false, magnitude: self.value.into() }], count, position))
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        if env.profile.uint_writes_count {
            return write_list(1, written, position, env, |_, number| self.keep(number));
        }
        let count = written.bytes.len();
        if count == 0 {
            return Ok(0);
        }
        if env.ignores_writes_at(*position) {
            *position = position.wrapping_add(count as i64);
            return Ok(count);
        }
        let mut left = &written.bytes[..count.min(PARSED_BYTES)];
        skip_blanks(&mut left);
        let (number, _) = take(&mut left, BLANK)?;
        self.keep(number)?;
        Ok(count)
    }
}

/// A byte with the format of an unsigned int (`proc_dou8vec_minmax`, Linux 5.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct U8(Uint);

impl U8 {
    /// Any byte.
    pub const fn new(value: u8) -> Self {
        Self(Uint::new(value as u32).between(0, u8::MAX as u32))
    }

    /// Within these bounds.
    #[must_use]
    pub const fn between(self, min: u8, max: u8) -> Self {
        Self(self.0.between(min as u32, max as u32))
    }

    /// The value.
    pub const fn value(self) -> u8 {
        self.0.value as u8
    }
}

impl Handler for U8 {
    fn read(&mut self, count: usize, position: &mut i64, env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        self.0.read(count, position, env)
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        self.0.write(written, position, env)
    }
}
