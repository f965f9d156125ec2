//! Handlers for everything that the generic ones are not: closures, and what cannot be read.

use std::fmt;

use super::{Handler, HandlerEnv, Written};
use crate::Errno;

/// One call of a handler.
#[derive(Debug)]
pub enum Call<'a> {
    /// Read at most so many bytes.
    Read {
        /// The bytes asked for.
        count: usize,
        /// Where what is read goes.
        reply: &'a mut Vec<u8>,
    },
    /// Write this.
    Write(Written<'a>),
}

/// A handler that is a closure. It is given the call, the file position, which it moves, and what surrounds it; it
/// returns how many bytes a write wrote (of a read the reply counts), or an errno.
pub struct Custom<F>(
    /// The closure.
    pub F,
);

impl<F> fmt::Debug for Custom<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custom(…)")
    }
}

impl<F> Handler for Custom<F>
where
    F: FnMut(Call<'_>, &mut i64, &HandlerEnv<'_>) -> Result<usize, Errno> + Send + Sync,
{
    fn read(&mut self, count: usize, position: &mut i64, env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        let mut reply = Vec::new();
        (self.0)(Call::Read { count, reply: &mut reply }, position, env)?;
        reply.truncate(count);
        Ok(reply)
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        (self.0)(Call::Write(written), position, env)
    }
}

/// A handler whose reads fail, so that programs get no current value; writes go to another one. The kernel has it in
/// `net/ipv6/conf/*/stable_secret`, for as long as it is unset (`EIO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFails<H> {
    /// What reads fail with.
    pub errno: Errno,
    /// What is written to.
    pub writes: H,
}

impl<H: Handler> Handler for ReadFails<H> {
    fn read(&mut self, _count: usize, _position: &mut i64, _env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        Err(self.errno)
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        self.writes.write(written, position, env)
    }
}
