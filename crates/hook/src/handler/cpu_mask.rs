//! Sets of CPUs as `net/core/flow_limit_cpu_bitmap` and `rps_default_mask` have them: `cpumask_parse` and `bitmap_parse` in
//! lib/bitmap-str.c, `dump_cpumask` in net/core/sysctl_net_core.c.

use super::{Handler, Surroundings, Written};
use crate::Errno;

const DIGIT_BITS: usize = 4;
const CHUNK_BITS: usize = 32;

/// A set of CPUs, written in hexadecimal with commas between 32 bits each: `3`, `1,00000000`.
///
/// What is written is taken for a C string, up to a newline, wherever it was written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuMask {
    bits: Vec<bool>,
    in_place: bool,
}

impl CpuMask {
    /// No CPU of a machine that has `cpus`.
    pub fn new(cpus: usize) -> Self {
        Self { bits: vec![false; cpus], in_place: false }
    }

    /// What was read before a write fails stays, as it does in `net/core/rps_default_mask`.
    #[must_use]
    pub fn written_in_place(self) -> Self {
        Self { in_place: true, ..self }
    }

    /// Whether `cpu` is in it.
    pub fn contains(&self, cpu: usize) -> bool {
        self.bits.get(cpu) == Some(&true)
    }

    /// `%*pb`: as many digits as all CPUs have.
    fn text(&self) -> String {
        let mut text = String::new();
        for digit in (0..self.bits.len().div_ceil(DIGIT_BITS)).rev() {
            let set = |bit: usize| u32::from(self.contains(digit * DIGIT_BITS + bit)) << bit;
            text.push(char::from_digit((0..DIGIT_BITS).map(set).sum(), 16).unwrap_or('0'));
            if digit > 0 && (digit * DIGIT_BITS).is_multiple_of(CHUNK_BITS) {
                text.push(',');
            }
        }
        text
    }

    /// `bitmap_parse`, which goes from the end to the start.
    fn parse(&mut self, text: &[u8]) -> Result<(), Errno> {
        let mut left = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let chunks = self.bits.len().div_ceil(CHUNK_BITS);
        for chunk in 0..=chunks {
            let end = left.iter().rposition(|byte| !separates(*byte)).map_or(0, |last| last + 1);
            left = &left[..end];
            if left.is_empty() {
                self.bits.iter_mut().skip(chunk * CHUNK_BITS).for_each(|bit| *bit = false);
                return Ok(());
            }
            if chunk == chunks {
                return Err(Errno::EOVERFLOW);
            }
            let value = take_chunk(&mut left)?;
            let places = self.bits.iter_mut().skip(chunk * CHUNK_BITS).take(CHUNK_BITS);
            let count = places.len();
            for (bit, place) in places.enumerate() {
                *place = value >> bit & 1 == 1;
            }
            // Some bits of the last chunk are no CPU's.
            if u64::from(value) >> count != 0 {
                return Err(Errno::EOVERFLOW);
            }
        }
        Ok(())
    }
}

fn separates(byte: u8) -> bool {
    matches!(byte, 9..=13 | b' ' | 0xa0 | b',')
}

/// `bitmap_get_x32_reverse`: takes at most eight digits off the end of `text`.
fn take_chunk(text: &mut &[u8]) -> Result<u32, Errno> {
    let mut value = 0;
    for shift in (0..CHUNK_BITS).step_by(DIGIT_BITS) {
        let Some((&last, before)) = text.split_last().filter(|(last, _)| !separates(**last)) else {
            return Ok(value);
        };
        value |= char::from(last).to_digit(16).ok_or(Errno::EINVAL)? << shift;
        *text = before;
    }
    // One more digit is too many; of what is none, nothing is said, and it is passed over.
    if let Some((&last, before)) = text.split_last().filter(|(last, _)| !separates(**last)) {
        if last.is_ascii_hexdigit() {
            return Err(Errno::EOVERFLOW);
        }
        *text = before;
    }
    Ok(value)
}

impl Handler for CpuMask {
    fn read(
        &mut self,
        count: usize,
        position: &mut i64,
        _around: &Surroundings<'_>,
    ) -> Result<Vec<u8>, Errno> {
        if count == 0 || *position != 0 {
            return Ok(Vec::new());
        }
        let mut bytes = self.text().into_bytes();
        // One byte is for a NUL that is not shown.
        bytes.truncate(count - 1);
        if bytes.is_empty() {
            return Ok(bytes);
        }
        bytes.push(b'\n');
        *position = position.wrapping_add(bytes.len() as i64);
        Ok(bytes)
    }

    fn write(
        &mut self,
        written: Written<'_>,
        _position: &mut i64,
        _around: &Surroundings<'_>,
    ) -> Result<usize, Errno> {
        let before = self.bits.clone();
        if let Err(errno) = self.parse(&written.c_string()) {
            if !self.in_place {
                self.bits = before;
            }
            return Err(errno);
        }
        Ok(written.bytes.len())
    }
}
