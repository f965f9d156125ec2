//! Vectors of unsigned long: `proc_doulongvec_minmax` in kernel/sysctl.c.

use super::number::{BLANK, Number, read_list, skip_blanks, take};
use super::{Handler, PARSED_BYTES, Surroundings, Written};
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
    fn read(
        &mut self,
        count: usize,
        position: &mut i64,
        _around: &Surroundings<'_>,
    ) -> Result<Vec<u8>, Errno> {
        let numbers = self.values.iter().map(|&magnitude| Number { negative: false, magnitude });
        Ok(read_list(numbers, count, position))
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        around: &Surroundings<'_>,
    ) -> Result<usize, Errno> {
        let count = written.bytes.len();
        if count == 0 || self.values.is_empty() {
            return Ok(0);
        }
        if around.ignores_writes_at(*position) {
            *position = position.wrapping_add(count as i64);
            return Ok(count);
        }
        let mut left = &written.bytes[..count.min(PARSED_BYTES)];
        let mut any = false;
        for value in &mut self.values {
            skip_blanks(&mut left);
            if left.is_empty() {
                break;
            }
            let (Number { negative, magnitude }, _) = take(&mut left, BLANK)?;
            if negative && around.profile.negative_ulongs_fail {
                return Err(Errno::EINVAL);
            }
            if !negative {
                if !(self.min..=self.max).contains(&magnitude) {
                    return Err(Errno::EINVAL);
                }
                *value = magnitude;
            }
            any = true;
        }
        skip_blanks(&mut left);
        if !any {
            return Err(Errno::EINVAL);
        }
        let returned = count - left.len();
        *position = position.wrapping_add(returned as i64);
        Ok(returned)
    }
}
