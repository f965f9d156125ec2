//! Lists of numbers and ranges: `proc_do_large_bitmap` in kernel/sysctl.c.

use super::number::{Number, Reply, skip_byte, take};
use super::{Handler, HandlerEnv, PARSED_BYTES, Written};
use crate::Errno;

/// What may follow the first number of a range, and the last one.
const AFTER_FIRST: &[u8] = b"-,\n";
const AFTER_LAST: &[u8] = b",\n\0";

/// A set of numbers, written as `1,3-5`. A write at position 0 replaces it; a write elsewhere adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    bits: Vec<bool>,
}

impl Bitmap {
    /// The empty set of numbers below `size`.
    pub fn new(size: usize) -> Self {
        Self { bits: vec![false; size] }
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: usize) -> bool {
        self.bits.get(number) == Some(&true)
    }

    /// The numbers in it, in order.
    pub fn numbers(&self) -> impl Iterator<Item = usize> {
        self.bits.iter().enumerate().filter_map(|(number, &set)| set.then_some(number))
    }

    /// Parses a list of numbers into `bits`, and returns how many bytes of `text` are left. `cut`: the written text was
    /// longer.
    fn parse(bits: &mut [bool], text: &[u8], cut: bool) -> Result<usize, Errno> {
        let mut left = text;
        let in_bounds = |Number { negative, magnitude }: Number| match usize::try_from(magnitude) {
            Ok(number) if number < bits.len() && !negative => Ok(number),
            _ => Err(Errno::EINVAL),
        };
        skip_byte(&mut left, b'\n');
        let mut ranges = Vec::new();
        while !left.is_empty() {
            let before = left.len();
            let (number, trailer) = take(&mut left, AFTER_FIRST)?;
            // The number may continue in the next write. Anything else fails, even at the end of the parsed bytes.
            if left.len() <= 1 && cut {
                left = &text[text.len() - before..];
                break;
            }
            let first = in_bounds(number)?;
            let mut last = first;
            left = left.get(1..).unwrap_or_default();
            if trailer == Some(b'-') {
                let (number, _) = take(&mut left, AFTER_LAST)?;
                if left.is_empty() && cut {
                    left = &text[text.len() - before..];
                    break;
                }
                last = in_bounds(number)?;
                if first > last {
                    return Err(Errno::EINVAL);
                }
                left = left.get(1..).unwrap_or_default();
            }
            ranges.push(first..=last);
            skip_byte(&mut left, b'\n');
        }
        for range in ranges {
            bits[range].fill(true);
        }
        Ok(left.len())
    }
}

impl Handler for Bitmap {
    fn read(&mut self, count: usize, position: &mut i64, _env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        if count == 0 || *position != 0 || self.bits.is_empty() {
            return Ok(Vec::new());
        }
        let mut reply = Reply::new(count);
        let mut start = 0;
        for range in self.bits.chunk_by(|one, next| one == next) {
            let (first, last) = (start, start + range.len() - 1);
            start += range.len();
            if !range[0] {
                continue;
            }
            if reply.is_full() {
                break;
            }
            if !reply.is_empty() {
                reply.byte(b',');
            }
            reply.number(Number { negative: false, magnitude: first as u64 });
            if first != last {
                reply.byte(b'-');
                reply.number(Number { negative: false, magnitude: last as u64 });
            }
        }
        reply.byte(b'\n');
        Ok(reply.finish(position))
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        _env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        let count = written.bytes.len();
        if count == 0 || self.bits.is_empty() {
            return Ok(0);
        }
        let parsed = &written.bytes[..count.min(PARSED_BYTES)];
        let unparsed = count - parsed.len();
        let mut bits = if *position == 0 { vec![false; self.bits.len()] } else { self.bits.clone() };
        let left = Self::parse(&mut bits, parsed, unparsed > 0)?;
        self.bits = bits;
        let returned = count - (left + unparsed);
        *position = position.wrapping_add(returned as i64);
        Ok(returned)
    }
}
