//! The knob of an access: it holds the value that the access states, and records what is written to it.

use std::sync::{Arc, Mutex, PoisonError};

use knobgate_hook::handler::{HandlerEnv, Written};
use knobgate_hook::{Errno, Handler};

/// The last value that was written to a knob.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded(Arc<Mutex<Option<Vec<u8>>>>);

impl Recorded {
    /// Takes the value out, if there is one.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A handler without restrictions: any value can be read or written, at any position.
#[derive(Debug)]
pub(crate) struct FakeKnob {
    /// The value; with `None`, reads fail with `EIO`.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) recorded: Recorded,
}

impl Handler for FakeKnob {
    fn read(&mut self, count: usize, _: &mut i64, _: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        let value = self.value.as_deref().ok_or(Errno::EIO)?;
        Ok(value[..value.len().min(count)].to_vec())
    }

    fn write(&mut self, written: Written<'_>, _: &mut i64, _: &HandlerEnv<'_>) -> Result<usize, Errno> {
        *self.recorded.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(written.bytes.to_vec());
        Ok(written.bytes.len())
    }
}
