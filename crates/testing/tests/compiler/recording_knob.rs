//! What a program makes of an access on the model, whatever the knob's own handler would make of it.

use std::sync::{Arc, Mutex, MutexGuard};

use knobgate_backend::SyscallResult;
use knobgate_hook::handler::{Handler, HandlerEnv, Written};
use knobgate_policy::{Access, Errno, Verdict};

/// A knob of the model that can be given any value, and records the next write.
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordingKnob(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    value: Vec<u8>,
    /// What was written, and the memory after it.
    written: Option<(Vec<u8>, Vec<u8>)>,
}

impl RecordingKnob {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().expect("nothing panics with it")
    }

    /// Gives it this value, and forgets what was written.
    pub(crate) fn set(&self, value: &[u8]) {
        *self.record() = Record { value: value.to_vec(), written: None };
    }

    /// What a program decided about an access that had this result.
    ///
    /// # Errors
    ///
    /// The result shows no verdict.
    pub(crate) fn verdict(&self, access: &Access, result: &SyscallResult) -> Result<Verdict, String> {
        let Record { value, written } = &*self.record();
        let (denied, length) = (result.returned < 0, result.returned as usize);
        match (written, &access.new) {
            (None, _) if denied && result.data.is_empty() => {
                let errno = Errno::from_number(result.returned.unsigned_abs() as u32);
                errno.map(Verdict::Deny).ok_or_else(|| format!("errno {}", result.returned))
            }
            (None, None) if length == value.len() && result.data == *value => Ok(Verdict::Allow),
            (Some((bytes, after)), Some(new)) if length == bytes.len() => match after[..] {
                [0] if bytes == new => Ok(Verdict::Allow),
                // The rest of the buffer, of which a replacement may leave nothing.
                [0, ..] | [] => Ok(Verdict::Rewrite(bytes.clone())),
                _ => Err(format!("{bytes:?} is followed by {:?}", after.first())),
            },
            _ => Err(format!("{result:?}, and {written:?} was written")),
        }
    }
}

impl Handler for RecordingKnob {
    fn read(&mut self, count: usize, _: &mut i64, _: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        let value = &self.record().value;
        Ok(value[..value.len().min(count)].to_vec())
    }

    fn write(&mut self, written: Written<'_>, _: &mut i64, _: &HandlerEnv<'_>) -> Result<usize, Errno> {
        self.record().written = Some((written.bytes.to_vec(), written.after.to_vec()));
        Ok(written.bytes.len())
    }
}
