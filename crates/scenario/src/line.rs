//! The result of a step, as it is printed.

use serde::Serialize;

use crate::bytes::{Bytes, Hex};

/// One line of the output: the result of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Line {
    /// Which step, counted from 0.
    pub step: usize,
    /// Whether it succeeded.
    pub ok: bool,
    /// The name of the error, where there is one.
    pub errno: Option<String>,
    /// The details, by kind of step.
    #[serde(flatten)]
    pub details: Details,
}

/// The details of a step's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Details {
    /// Nothing.
    None {},
    /// A program was rejected.
    Rejected {
        /// Why, in the words of the kernel's verifier.
        log: String,
    },
    /// The model cannot tell what the kernel would do with the program, or what the program would do. On the model alone.
    NotModelled {
        /// What is not modelled.
        not_modelled: String,
    },
    /// What the kernel would do depends on what is not modelled, so the step was not played. On the model alone.
    Skipped {
        /// On what: a program, or an earlier step.
        skipped: String,
    },
    /// A program did something that the kernel's verifier would have rejected. On the model alone.
    Fault {
        /// What, and where.
        fault: String,
    },
    /// The kernel would crash. On the model alone, and the last line.
    Crash {
        /// Where, and why.
        crash: String,
    },
    /// The programs that run for a cgroup.
    Effective {
        /// Their names, in the order in which they run.
        programs: Vec<String>,
    },
    /// The result of a read or a write.
    Access {
        /// What the system call returns: a length, a negative errno, or any other number that a program has set.
        ret: i64,
        /// What was read; of a write, and of a read that failed, `None`.
        data: Option<Bytes>,
        /// The position of the descriptor afterwards; `None` where there is no descriptor.
        pos: Option<i64>,
        /// The value of the knob afterwards, as a process outside of all cgroups reads it; `None` where it cannot.
        value: Option<Bytes>,
    },
    /// The contents of a map.
    Entries {
        /// Keys with their values; what comes out of a queue, a stack or a ring buffer has no key.
        entries: Vec<(Hex, Hex)>,
    },
}

impl Line {
    /// The line as JSON.
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists: there is nothing that JSON cannot hold.
        serde_json::to_string(self).unwrap_or_default()
    }
}
