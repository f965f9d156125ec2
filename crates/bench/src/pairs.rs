//! Accesses under several programs, timed in turns.
//!
//! The speed of a machine changes from one moment to the next by more than what is to be found out. So the programs
//! take turns in short rounds, each time in another order, and what counts is the ratio between two programs within
//! a round; of all rounds, the median.

use std::error::Error;
use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use knobgate_kernel::{Cgroup, Link, ProgramFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, pread, pwrite};

use crate::stage::Stage;
use crate::statistics::Spread;

/// Turns that each program takes.
const ROUNDS: usize = 601;

/// Accesses in a turn: some hundred microseconds, much shorter than what a scheduler's tick takes away.
const ACCESSES: u32 = 500;

/// Accesses before a turn that are not timed: caches and branch predictors are those of the other program.
const WARM_UP: u32 = 100;

/// What is done over and over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    /// The knob, with slashes.
    pub(crate) knob: &'static str,
    /// What is written; `None` to read.
    pub(crate) new: Option<&'static str>,
    /// Whether it fails with EPERM.
    pub(crate) is_denied: bool,
}

/// Where a program is attached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attached<'a> {
    /// No program, nowhere.
    Nowhere,
    /// To a cgroup that nobody is in.
    Elsewhere(&'a ProgramFd),
    /// To the cgroup of the process that makes the accesses.
    Here(&'a ProgramFd),
}

/// How long one access took, in all turns of a program.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    /// In the order of the rounds.
    rounds: Vec<Duration>,
}

impl Times {
    /// Nanoseconds that one access took.
    pub(crate) fn nanoseconds(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|time| time.as_secs_f64() * 1e9 / f64::from(ACCESSES)).collect())
    }

    /// How many times as long it took as in the same rounds under the program of `other`.
    pub(crate) fn ratio_to(&self, other: &Self) -> Spread {
        let pairs = self.rounds.iter().zip(&other.rounds);
        Spread::of(pairs.map(|(time, other)| time.as_secs_f64() / other.as_secs_f64()).collect())
    }
}

/// Times `access` under each of `programs`, in turns.
///
/// # Errors
///
/// The knob cannot be opened, a program cannot be attached, or an access fails.
pub(crate) fn take_turns(
    stage: &Stage,
    access: Access,
    programs: &[Attached<'_>],
) -> Result<Vec<Times>, Box<dyn Error>> {
    let path = format!("/proc/sys/{}", access.knob);
    let flags = if access.new.is_some() { OFlags::WRONLY } else { OFlags::RDONLY };
    let knob = open(&path, flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| format!("cannot open {path}: {error}"))?;
    let mut times = vec![Times { rounds: Vec::with_capacity(ROUNDS) }; programs.len()];
    for round in 0..ROUNDS {
        for turn in 0..programs.len() {
            // Forwards and backwards, so that none always follows the same one.
            let turn = if round % 2 == 0 { turn } else { programs.len() - 1 - turn };
            let program = (turn + round) % programs.len();
            let link = match programs[program] {
                Attached::Nowhere => None,
                Attached::Elsewhere(program) => Some(link(program, &stage.elsewhere)?),
                Attached::Here(program) => Some(link(program, &stage.here)?),
            };
            perform(&knob, access, WARM_UP)?;
            let begin = Instant::now();
            perform(&knob, access, ACCESSES)?;
            times[program].rounds.push(begin.elapsed());
            drop(link);
        }
    }
    Ok(times)
}

fn link(program: &ProgramFd, cgroup: &Cgroup) -> Result<Link, Box<dyn Error>> {
    Ok(Link::create(program, cgroup)?)
}

fn perform(knob: &OwnedFd, access: Access, times: u32) -> Result<(), Box<dyn Error>> {
    let mut buffer = [0; 64];
    for _ in 0..times {
        let length = match access.new {
            Some(new) => pwrite(knob, black_box(new.as_bytes()), 0),
            None => pread(knob, black_box(&mut buffer), 0),
        };
        match black_box(length) {
            Err(Errno::PERM) if access.is_denied => {}
            Ok(_) if !access.is_denied => {}
            other => return Err(format!("an access to {} ended with {other:?}", access.knob).into()),
        }
    }
    Ok(())
}
