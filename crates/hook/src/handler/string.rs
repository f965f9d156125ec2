//! Strings: `proc_dostring` in kernel/sysctl.c.

use super::{Handler, HandlerEnv, WritesStrict, Written};
use crate::Errno;

/// A string of bytes in an array of fixed size, as `proc_dostring` reads and writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    value: Vec<u8>,
    maxlen: usize,
}

impl Text {
    /// `value`, in an array of `maxlen` bytes including the NUL. Longer values are truncated, also at a NUL.
    pub fn new(value: impl AsRef<[u8]>, maxlen: usize) -> Self {
        let room = maxlen.saturating_sub(1);
        let value = value.as_ref().iter().copied().take(room).take_while(|&byte| byte != 0).collect();
        Self { value, maxlen }
    }

    /// The string.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

impl Handler for Text {
    fn read(&mut self, count: usize, position: &mut i64, _env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        if count == 0 || self.maxlen == 0 {
            return Ok(Vec::new());
        }
        let Some(rest) = usize::try_from(*position).ok().and_then(|start| self.value.get(start..)) else {
            return Ok(Vec::new());
        };
        let mut bytes = rest[..rest.len().min(count)].to_vec();
        if bytes.len() < count {
            bytes.push(b'\n');
        }
        *position = position.wrapping_add(bytes.len() as i64);
        Ok(bytes)
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        let count = written.bytes.len();
        if count == 0 || self.maxlen == 0 {
            return Ok(0);
        }
        let start = if env.strict == WritesStrict::Strict {
            match usize::try_from(*position) {
                Ok(start) if start <= self.value.len() => start,
                // Beyond the end: the caller gets the full length as written.
                _ => return Ok(count),
            }
        } else {
            0
        };
        let fragment = written.bytes.iter().copied().take_while(|&byte| byte != 0 && byte != b'\n');
        let room = self.maxlen - 1 - start;
        self.value.truncate(start);
        self.value.extend(fragment.take(room));
        *position = position.wrapping_add(count as i64);
        Ok(count)
    }
}
