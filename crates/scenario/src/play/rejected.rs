//! Programs that the model has rejected.

use knobgate_backend::{RejectionLog, StepError};

/// Why a program is not loaded.
#[derive(Debug, Clone)]
pub(crate) enum Rejected {
    Rejected { errno: Option<i32>, log: RejectionLog },
    NotModelled(String),
}

impl Rejected {
    pub(super) fn of(error: &StepError) -> Option<Self> {
        match error {
            StepError::Rejected { errno, log } => Some(Self::Rejected { errno: *errno, log: log.clone() }),
            StepError::NotModelled(what) => Some(Self::NotModelled(what.clone())),
            _ => None,
        }
    }
}

impl From<Rejected> for StepError {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Rejected { errno, log } => Self::Rejected { errno, log },
            Rejected::NotModelled(what) => Self::NotModelled(what),
        }
    }
}
