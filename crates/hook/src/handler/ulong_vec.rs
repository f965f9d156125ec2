//! Vectors of unsigned long: `proc_doulongvec_minmax` in kernel/sysctl.c.

use super::number::{Number, read_list, write_list};
use super::{Handler, HandlerEnv, Written};
use crate::Errno;

/// A vector of unsigned long, of 64 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UlongVec {
    values: Vec<u64>,
    min: u64,
    max: u64,
}

impl UlongVec {
    /// A vector without bounds.
    pub fn new(values: impl Into<Vec<u64>>) -> Self {
        Self { values: values.into(), min: 0, max: u64::MAX }
    }

    /// Each element is within these bounds.
    #[must_use]
    pub fn between(self, min: u64, max: u64) -> Self {
        Self { min, max, ..self }
    }

    /// The elements.
    pub fn values(&self) -> &[u64] {
        &self.values
    }
}

/// `__do_proc_doulongvec_minmax`.
impl Handler for UlongVec {
    fn read(&mut self, count: usize, position: &mut i64, _env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        let numbers = self.values.iter().map(|&magnitude| Number { negative: false, magnitude });
        Ok(read_list(numbers, count, position))
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        let fails = env.profile.negative_ulongs_fail;
        write_list(self.values.len(), written, position, env, |index, Number { negative, magnitude }| {
            if negative {
                return if fails { Err(Errno::EINVAL) } else { Ok(()) };
            }
            if !(self.min..=self.max).contains(&magnitude) {
                return Err(Errno::EINVAL);
            }
            self.values[index] = magnitude;
            Ok(())
        })
    }
}
