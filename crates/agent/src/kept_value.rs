//! A knob that is to keep its value: when something is said about it, and when it is written.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use knobgate::KeptKnob;
use knobgate_drift::is_same_value;

/// How often a value is written back in [`REPAIRS_WITHIN`]. Somebody else may write the knob as well, for as long as we do.
const REPAIRS_MAX: usize = 3;
/// See there.
const REPAIRS_WITHIN: Duration = Duration::from_secs(60);
/// How many writes are remembered, to find the one that the value comes from.
const WRITES_MAX: usize = 16;

/// Reads and writes knobs.
pub(crate) trait KnobAccess {
    /// The value, as the knob prints it.
    fn read(&self, knob: &KeptKnob) -> io::Result<Vec<u8>>;
    /// Writes its value back.
    fn write(&self, knob: &KeptKnob) -> io::Result<()>;
}

/// Something that happened to a knob that is to keep its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KnobFinding {
    /// It has another value.
    Changed {
        /// The value, without the line feed at its end.
        found: Vec<u8>,
        /// Who wrote it; `None` if no event tells of a write of this value.
        writer: Option<KnobWriter>,
    },
    /// It has its value again, and the agent did not write it.
    Restored {
        /// Who wrote it.
        writer: Option<KnobWriter>,
    },
    /// The agent has written its value back.
    Repaired,
    /// The agent cannot write it back, and tries that again when the knob has had its value.
    RepairFailed {
        /// Why.
        why: String,
    },
    /// The value was written back too often, so it is left as it is until somebody else has written the right one.
    GaveUp {
        /// How often it was written back in the last minute.
        repairs: usize,
    },
    /// It cannot be read.
    CannotRead {
        /// Why.
        why: String,
    },
}

/// Who wrote a knob.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnobWriter {
    /// The process id, in the initial pid namespace.
    pub pid: Option<u32>,
    /// The name of the task, which it chose itself.
    pub comm: Option<Vec<u8>>,
    /// The user, in the initial user namespace.
    pub uid: Option<u32>,
    /// The id of the cgroup.
    pub cgroup_id: u64,
    /// What was written.
    pub(crate) written: Vec<u8>,
}

/// A knob, and what is known of it.
#[derive(Debug)]
pub(crate) struct KeptValue {
    kept: KeptKnob,
    state: State,
    writes: VecDeque<KnobWriter>,
    repairs: VecDeque<Instant>,
    /// Nothing is written back until the knob has had its value.
    is_left: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Same,
    Differs(Vec<u8>),
    CannotRead,
}

impl KeptValue {
    /// A knob that has its value, as far as is known.
    pub(crate) fn new(kept: KeptKnob) -> Self {
        Self { kept, state: State::Same, writes: VecDeque::new(), repairs: VecDeque::new(), is_left: false }
    }

    pub(crate) fn kept(&self) -> &KeptKnob {
        &self.kept
    }

    /// Whether it had its value when it was last compared.
    pub(crate) fn has_its_value(&self) -> bool {
        self.state == State::Same
    }

    /// Somebody has written it, or is about to, from this position on.
    pub(crate) fn written(&mut self, position: usize, writer: KnobWriter) {
        // Text goes on at a position: what is before that stays, which the last one wrote, or is the value that it kept. Other knobs,
        // and all of them with kernel.sysctl_writes_strict=0, take it for the whole value (`_proc_do_string`, kernel/sysctl.c).
        let last = self.writes.back().map_or(self.kept.value.as_bytes(), |last| &last.written);
        let whole = last.get(..position).filter(|before| !before.is_empty());
        let whole = whole.map(|before| [before, &writer.written].concat());
        let whole = whole.map(|written| KnobWriter { written, ..writer.clone() });
        for writer in [Some(writer), whole].into_iter().flatten() {
            if self.writes.len() == WRITES_MAX {
                self.writes.pop_front();
            }
            self.writes.push_back(writer);
        }
    }

    /// Compares its value, and writes it back if that is wanted.
    pub(crate) fn compare(
        &mut self,
        knobs: &dyn KnobAccess,
        now: Instant,
        report: &mut dyn FnMut(KnobFinding),
    ) {
        let running = match knobs.read(&self.kept) {
            Ok(running) => running,
            Err(error) => {
                if self.state != State::CannotRead {
                    report(KnobFinding::CannotRead { why: error.to_string() });
                }
                self.state = State::CannotRead;
                return;
            }
        };
        if self.is_kept(&running) {
            if let State::Differs(_) = self.state {
                report(KnobFinding::Restored { writer: self.writer(&running) });
            }
            self.settle();
            return;
        }
        let found = running.strip_suffix(b"\n").unwrap_or(&running).to_vec();
        let is_new = !matches!(&self.state, State::Differs(before) if *before == found);
        if is_new {
            report(KnobFinding::Changed { found: found.clone(), writer: self.writer(&running) });
        }
        self.state = State::Differs(found);
        if self.kept.repair && !self.is_left {
            self.repair(knobs, now, report);
        }
    }

    fn repair(&mut self, knobs: &dyn KnobAccess, now: Instant, report: &mut dyn FnMut(KnobFinding)) {
        while self.repairs.front().is_some_and(|&at| now.duration_since(at) >= REPAIRS_WITHIN) {
            self.repairs.pop_front();
        }
        if self.repairs.len() >= REPAIRS_MAX {
            self.is_left = true;
            report(KnobFinding::GaveUp { repairs: self.repairs.len() });
            return;
        }
        self.repairs.push_back(now);
        match knobs.write(&self.kept).and_then(|()| knobs.read(&self.kept)) {
            Ok(running) if self.is_kept(&running) => {
                report(KnobFinding::Repaired);
                self.settle();
            }
            Ok(running) => {
                self.is_left = true;
                let why = format!("it has {} after the write", running.trim_ascii_end().escape_ascii());
                report(KnobFinding::RepairFailed { why });
            }
            Err(error) => {
                self.is_left = true;
                report(KnobFinding::RepairFailed { why: error.to_string() });
            }
        }
    }

    fn settle(&mut self) {
        self.state = State::Same;
        self.is_left = false;
        self.writes.clear();
    }

    fn is_kept(&self, running: &[u8]) -> bool {
        is_same_value(&self.kept.name, self.kept.value.as_bytes(), running)
    }

    /// The last one who wrote this value. Other writes were denied, rejected by the knob, or of another namespace.
    fn writer(&self, running: &[u8]) -> Option<KnobWriter> {
        let wrote = |write: &&KnobWriter| is_same_value(&self.kept.name, &write.written, running);
        self.writes.iter().rev().find(wrote).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A knob with this value. What is written is `stored` instead, if that is there.
    struct Fake {
        value: RefCell<String>,
        stored: Option<&'static str>,
        is_read_only: bool,
    }

    impl KnobAccess for Fake {
        fn read(&self, _: &KeptKnob) -> io::Result<Vec<u8>> {
            Ok(format!("{}\n", self.value.borrow()).into_bytes())
        }

        fn write(&self, knob: &KeptKnob) -> io::Result<()> {
            if self.is_read_only {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            *self.value.borrow_mut() = self.stored.unwrap_or(&knob.value).to_owned();
            Ok(())
        }
    }

    fn fake() -> Fake {
        Fake { value: RefCell::new("1024".to_owned()), stored: None, is_read_only: false }
    }

    fn kept(repair: bool) -> KeptValue {
        KeptValue::new(KeptKnob::new("kernel.pid_max".parse().unwrap(), "0x400", repair))
    }

    fn compare(value: &mut KeptValue, knobs: &Fake, now: Instant) -> Vec<KnobFinding> {
        let mut findings = Vec::new();
        value.compare(knobs, now, &mut |finding| findings.push(finding));
        findings
    }

    fn changed(found: &str, writer: Option<KnobWriter>) -> KnobFinding {
        KnobFinding::Changed { found: found.as_bytes().to_vec(), writer }
    }

    #[test]
    fn a_change_is_said_once_and_so_is_its_end() {
        let (mut value, knobs, now) = (kept(false), fake(), Instant::now());
        assert_eq!(compare(&mut value, &knobs, now), []);
        *knobs.value.borrow_mut() = "2048".to_owned();
        assert_eq!(compare(&mut value, &knobs, now), [changed("2048", None)]);
        assert_eq!(compare(&mut value, &knobs, now), []);
        assert!(!value.has_its_value());
        *knobs.value.borrow_mut() = "1024".to_owned();
        assert_eq!(compare(&mut value, &knobs, now), [KnobFinding::Restored { writer: None }]);
        assert_eq!(compare(&mut value, &knobs, now), []);
    }

    fn writer(pid: u32, written: &str) -> KnobWriter {
        KnobWriter {
            pid: Some(pid),
            comm: None,
            uid: Some(0),
            cgroup_id: 1,
            written: written.as_bytes().to_vec(),
        }
    }

    #[test]
    fn the_writer_is_the_last_one_of_the_value() {
        let (mut value, knobs) = (kept(false), fake());
        for (pid, written) in [(1, "2048\n"), (2, "0x800"), (3, "no number")] {
            value.written(0, writer(pid, written));
        }
        *knobs.value.borrow_mut() = "2048".to_owned();
        let expected = changed("2048", Some(writer(2, "0x800")));
        assert_eq!(compare(&mut value, &knobs, Instant::now()), [expected]);
        // Nobody is known to have written this.
        *knobs.value.borrow_mut() = "4096".to_owned();
        assert_eq!(compare(&mut value, &knobs, Instant::now()), [changed("4096", None)]);
    }

    #[test]
    fn the_writer_of_a_part_is_that_of_the_whole_value() {
        let kept = KeptKnob::new("kernel.core_pattern".parse().unwrap(), "core", false);
        for (writes, expected) in [
            (&[(0, 1, "|/bin/"), (6, 2, "x\n")][..], ("|/bin/x", Some(writer(2, "|/bin/x\n")))),
            // Of the value that it had.
            (&[(4, 1, ".%p")], ("core.%p", Some(writer(1, "core.%p")))),
            // Of a knob that takes no parts.
            (&[(0, 1, "x"), (1, 2, "y\n")], ("y", Some(writer(2, "y\n")))),
            // There is nothing before that.
            (&[(5, 1, "x")], ("corex", None)),
        ] {
            let (mut value, knobs) = (KeptValue::new(kept.clone()), fake());
            for &(position, pid, written) in writes {
                value.written(position, writer(pid, written));
            }
            *knobs.value.borrow_mut() = expected.0.to_owned();
            let expected = changed(expected.0, expected.1);
            assert_eq!(compare(&mut value, &knobs, Instant::now()), [expected]);
        }
    }

    #[test]
    fn a_value_is_written_back_a_few_times_in_a_minute() {
        let (mut value, knobs, begin) = (kept(true), fake(), Instant::now());
        let change = || *knobs.value.borrow_mut() = "2048".to_owned();
        for seconds in 0..3 {
            change();
            let found = compare(&mut value, &knobs, begin + Duration::from_secs(seconds));
            assert_eq!(found, [changed("2048", None), KnobFinding::Repaired], "{seconds}");
        }
        change();
        let found = compare(&mut value, &knobs, begin + Duration::from_secs(3));
        assert_eq!(found, [changed("2048", None), KnobFinding::GaveUp { repairs: 3 }]);
        // Also when the minute is over.
        let later = begin + Duration::from_secs(200);
        assert_eq!(compare(&mut value, &knobs, later), []);
        *knobs.value.borrow_mut() = "1024".to_owned();
        assert_eq!(compare(&mut value, &knobs, later), [KnobFinding::Restored { writer: None }]);
        change();
        assert_eq!(compare(&mut value, &knobs, later), [changed("2048", None), KnobFinding::Repaired]);
    }

    #[test]
    fn what_cannot_be_written_back_is_said_once() {
        let read_only = Fake { is_read_only: true, ..fake() };
        let other = Fake { stored: Some("512"), ..fake() };
        for (knobs, why) in [(read_only, "permission denied"), (other, "it has 512 after the write")] {
            let mut value = kept(true);
            *knobs.value.borrow_mut() = "2048".to_owned();
            let found = compare(&mut value, &knobs, Instant::now());
            let failed = KnobFinding::RepairFailed { why: why.to_owned() };
            assert_eq!(found, [changed("2048", None), failed]);
            let found = compare(&mut value, &knobs, Instant::now());
            assert!(!found.iter().any(|finding| matches!(finding, KnobFinding::RepairFailed { .. })));
        }
    }
}
