//! Vectors of int: `proc_dointvec`, its variants with bounds and with times, and `proc_dobool` in kernel/sysctl.c.

use super::number::{read_list, write_list};
use super::{Handler, HandlerEnv, Unit, Written};
use crate::Errno;

/// A vector of int.
///
/// A write changes as many elements as it has numbers. Elements that were changed before an error stay changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntVec {
    values: Vec<i32>,
    min: i32,
    max: i32,
    unit: Unit,
}

impl IntVec {
    /// A vector without bounds (`proc_dointvec`).
    pub fn new(values: impl Into<Vec<i32>>) -> Self {
        Self { values: values.into(), min: i32::MIN, max: i32::MAX, unit: Unit::One }
    }

    /// Bounds for each element, in the unit in which the kernel stores it (`proc_dointvec_minmax`).
    #[must_use]
    pub fn between(self, min: i32, max: i32) -> Self {
        Self { min, max, ..self }
    }

    /// The elements are times in this unit, stored in jiffies (`proc_dointvec_jiffies`, …).
    #[must_use]
    pub fn in_unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// The elements, as the kernel stores them.
    pub fn values(&self) -> &[i32] {
        &self.values
    }

    /// The elements, for changes that the kernel makes itself.
    pub fn values_mut(&mut self) -> &mut [i32] {
        &mut self.values
    }
}

/// `__do_proc_dointvec`.
impl Handler for IntVec {
    fn read(&mut self, count: usize, position: &mut i64, _env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        Ok(read_list(self.values.iter().map(|&kept| self.unit.shown(kept)), count, position))
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        write_list(self.values.len(), written, position, env, |index, number| {
            let kept = self.unit.to_kept(number, env.profile)?;
            if !(self.min..=self.max).contains(&kept) {
                return Err(Errno::EINVAL);
            }
            self.values[index] = kept;
            Ok(())
        })
    }
}

/// A bool that is read and written as an int: every number but 0 makes it 1 (`proc_dobool`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bool {
    /// The value.
    pub value: bool,
}

impl Bool {
    fn as_int(self) -> IntVec {
        IntVec::new([i32::from(self.value)])
    }
}

impl Handler for Bool {
    fn read(&mut self, count: usize, position: &mut i64, env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        self.as_int().read(count, position, env)
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        let mut int = self.as_int();
        let returned = int.write(written, position, env)?;
        self.value = int.values() != [0];
        Ok(returned)
    }
}
