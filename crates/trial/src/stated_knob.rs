//! The knob of an access: it holds what the access says, and keeps what it is given.

use std::sync::{Arc, Mutex, PoisonError};

use knobgate_hook::handler::Surroundings;
use knobgate_hook::handler::Written;
use knobgate_hook::{Errno, Handler};

/// What a knob was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(Arc<Mutex<Option<Vec<u8>>>>);

impl Given {
    /// Takes it, if there is something.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A handler of any value at all: whatever is stated can be read, at every position, and whatever is written is taken.
#[derive(Debug)]
pub(crate) struct Stated {
    /// What it holds; `None` fails reads with `EIO`.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) given: Given,
}

impl Handler for Stated {
    fn read(&mut self, count: usize, _: &mut i64, _: &Surroundings<'_>) -> Result<Vec<u8>, Errno> {
        let value = self.value.as_deref().ok_or(Errno::EIO)?;
        Ok(value[..value.len().min(count)].to_vec())
    }

    fn write(&mut self, written: Written<'_>, _: &mut i64, _: &Surroundings<'_>) -> Result<usize, Errno> {
        *self.given.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(written.bytes.to_vec());
        Ok(written.bytes.len())
    }
}
