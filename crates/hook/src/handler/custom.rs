//! Handlers other than the generic ones: closures, and handlers whose reads fail.

use std::fmt;

use super::{Handler, HandlerEnv, Written};
use crate::Errno;

/// One call of a handler.
#[derive(Debug)]
pub enum Call<'a> {
    /// Read at most this many bytes.
    Read {
        /// The bytes asked for.
        count: usize,
        /// The buffer for the reply.
        reply: &'a mut Vec<u8>,
    },
    /// Write this.
    Write(Written<'a>),
}

/// A handler that is a closure. It gets the call, the file position, which it advances, and the environment. It returns how
/// many bytes a write wrote, or an errno. After a read the length of the reply counts.
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

/// A handler whose reads fail, so that programs get no current value. Writes go to another handler. In the kernel,
/// `net/ipv6/conf/*/stable_secret` is like that while it is unset (`EIO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadFails<H> {
    /// The errno of reads.
    pub errno: Errno,
    /// The handler of writes.
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
