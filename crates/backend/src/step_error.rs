//! Why a step has no result.

use std::error::Error;
use std::fmt;

use knobgate_hook::Errno;

/// The result of a step.
pub type StepResult<T> = Result<T, StepError>;

/// Why a step has no result.
#[derive(Debug)]
pub enum StepError {
    /// The system call failed.
    Errno(i32),
    /// The program is rejected.
    Rejected {
        /// The errno of the system call, if there was one.
        errno: Option<i32>,
        /// Why.
        log: RejectionLog,
    },
    /// The model cannot tell what the kernel would do with the program, or what the program would do on the kernel: this is not
    /// modelled. On the model alone.
    NotModelled(String),
    /// A program did something that the kernel's verifier would have rejected.
    Fault(String),
    /// The kernel would crash. On the model alone.
    Crash(String),
    /// The backend has failed, for this reason.
    Backend(Box<dyn Error + Send + Sync>),
}

/// Why a program is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionLog {
    /// The reason, in the same words on every backend.
    pub reason: String,
    /// The message of the backend. Of a long log of the verifier it has the end.
    pub full: String,
    /// How many lines of the verifier's log are left out.
    pub omitted: usize,
}

impl RejectionLog {
    pub(crate) fn new(reason: impl Into<String>, full: impl Into<String>) -> Self {
        Self { reason: reason.into(), full: full.into(), omitted: 0 }
    }
}

impl StepError {
    /// The name of the system call's errno, or the number if it has no name. `None` if no system call failed.
    pub fn errno_name(&self) -> Option<String> {
        let (Self::Errno(errno) | Self::Rejected { errno: Some(errno), .. }) = self else { return None };
        Some(named(*errno).map_or_else(|| errno.to_string(), |errno| errno.name().to_owned()))
    }
}

/// `None` if this number has no name, which a program can return.
fn named(errno: i32) -> Option<Errno> {
    u32::try_from(errno).ok().and_then(Errno::from_number)
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => match named(*errno) {
                Some(errno) => write!(f, "{errno}"),
                None => write!(f, "errno {errno}"),
            },
            Self::Rejected { log, .. } => f.write_str(&log.full),
            Self::NotModelled(what) => write!(f, "not modelled: {what}"),
            Self::Fault(message) => write!(f, "a program did what the verifier rejects: {message}"),
            Self::Crash(message) => write!(f, "the kernel would crash: {message}"),
            Self::Backend(_) => f.write_str("the backend has failed"),
        }
    }
}

impl Error for StepError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Backend(error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<Errno> for StepError {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno.number() as i32)
    }
}
