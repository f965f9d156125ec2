//! Processes that leave guarded cgroups, and knobs that are to keep their values.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use knobgate::kernel::{
    Cgroup, GuardedCgroups, GuardedDeparture, HowItLeft, LostEvents, Mover, TrackingError,
};
use knobgate::{KeptKnob, versions_of};

use super::{Engine, chain, escaped, plural};
use crate::kept_value::{KnobFinding, KnobWriter};
use crate::knob_watch::{KnobWatch, NotObserved};
use crate::notice::{Notice, NoticeField, NoticeKind};

/// How many processes that left are named at a time. The rest is counted.
const NAMED_MAX: usize = 20;

/// What the engine watches beside cgroups and files.
pub(super) struct Watches {
    guards: Result<GuardedCgroups, TrackingError>,
    lost: LostEvents,
    /// It was said that some cgroups cannot be guarded.
    guards_failed: bool,
    kept: Vec<KeptKnob>,
    knobs: Option<KnobWatch>,
}

impl Watches {
    pub(super) fn new() -> Self {
        Self {
            guards: GuardedCgroups::new(),
            lost: LostEvents::default(),
            guards_failed: false,
            kept: Vec::new(),
            knobs: None,
        }
    }

    /// What is readable when there is something to attend to.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        use std::os::fd::AsFd;

        let guards = self.guards.as_ref().ok().map(AsFd::as_fd);
        guards.into_iter().chain(self.knobs.as_ref().and_then(KnobWatch::fd))
    }

    /// When there is something to attend to though nothing is readable.
    pub(super) fn next(&self) -> Option<Instant> {
        self.knobs.as_ref().and_then(KnobWatch::next)
    }

    /// Guards a cgroup that got a policy. What fails is tried again by the check.
    pub(super) fn guard(&mut self, cgroup: &Cgroup) {
        if let Ok(guards) = &mut self.guards {
            let _ = guards.add(cgroup);
        }
    }

    /// A cgroup is gone.
    pub(super) fn forget(&mut self, cgroup: u64) {
        if let Ok(guards) = &mut self.guards {
            let _ = guards.remove(cgroup);
        }
    }
}

impl Engine {
    /// Begins to watch, and says what cannot be.
    pub(super) fn begin_watches(&mut self) {
        if let Err(error) = &self.watches.guards {
            let text = format!("processes that leave a guarded cgroup are not noticed: {}", chain(error));
            self.notice(Notice::new(NoticeKind::EventsLost, text));
        }
        self.watch_knobs();
        self.check_watches();
    }

    /// Attends to what is readable, or due.
    pub(super) fn attend_to_watches(&mut self) {
        self.report_departures();
        let mut findings = Vec::new();
        if let Some(knobs) = &mut self.watches.knobs {
            knobs.attend(Instant::now(), &mut |knob, finding| findings.push((knob.clone(), finding)));
        }
        findings.into_iter().for_each(|(knob, finding)| self.report_knob(&knob, finding));
    }

    /// The periodic check of all of it.
    pub(super) fn check_watches(&mut self) {
        self.sync_guards();
        self.find_lost_departures();
        let mut findings = Vec::new();
        if let Some(knobs) = &mut self.watches.knobs {
            knobs.check(Instant::now(), &mut |knob, finding| findings.push((knob.clone(), finding)));
        }
        findings.into_iter().for_each(|(knob, finding)| self.report_knob(&knob, finding));
    }

    /// Watches the knobs that the configuration names.
    pub(super) fn watch_knobs(&mut self) {
        if self.watches.knobs.is_some() && self.watches.kept == self.set.knobs {
            return;
        }
        self.watches.kept = self.set.knobs.clone();
        // Before the new one, so that there is one observer.
        self.watches.knobs = None;
        if self.set.knobs.is_empty() {
            return;
        }
        let unseen = match self.workloads.hierarchy().root() {
            Ok(root) => {
                let (watch, unseen) = KnobWatch::new(self.set.knobs.clone(), root);
                self.watches.knobs = Some(watch);
                unseen.as_ref().map(|error: &NotObserved| chain(error))
            }
            Err(error) => Some(chain(&error)),
        };
        if let Some(why) = unseen {
            let text = format!(
                "writes to the knobs of agent.toml cannot be seen, so their values are only compared every {} s: {why}",
                self.set.check_interval.as_secs()
            );
            self.notice(Notice::new(NoticeKind::EventsLost, text));
        }
        let mut findings = Vec::new();
        if let Some(knobs) = &mut self.watches.knobs {
            knobs.check(Instant::now(), &mut |knob, finding| findings.push((knob.clone(), finding)));
        }
        findings.into_iter().for_each(|(knob, finding)| self.report_knob(&knob, finding));
    }

    /// Guards the cgroups with links, and no others.
    fn sync_guards(&mut self) {
        let with_links = self.table.cgroups();
        let wanted: BTreeSet<u64> = with_links.filter(|&id| self.cgroups.contains(id)).collect();
        let Ok(guards) = &mut self.watches.guards else { return };
        let guarded: BTreeSet<u64> = guards.ids().collect();
        for &id in guarded.difference(&wanted) {
            let _ = guards.remove(id);
        }
        let mut failed = None;
        for &id in wanted.difference(&guarded) {
            let Some(cgroup) = self.cgroups.path(id).and_then(|path| Cgroup::open(path).ok()) else {
                continue;
            };
            if let Err(error) = guards.add(&cgroup)
                && cgroup.id() == id
                && cgroup.kind().is_ok()
            {
                failed.get_or_insert_with(|| chain(&error));
            }
        }
        if let Some(why) = failed.filter(|_| !self.watches.guards_failed) {
            let text = format!("processes that leave some of the guarded cgroups are not noticed: {why}");
            self.watches.guards_failed = true;
            self.notice(Notice::new(NoticeKind::EventsLost, text));
        }
    }

    fn report_departures(&mut self) {
        let Ok(guards) = &mut self.watches.guards else { return };
        let departures = guards.take();
        self.report_all(departures);
    }

    /// Looks for processes whose departure found no room.
    fn find_lost_departures(&mut self) {
        self.report_departures();
        let Ok(guards) = &mut self.watches.guards else { return };
        let Ok(lost) = guards.lost() else { return };
        if lost == self.watches.lost {
            return;
        }
        let before = std::mem::replace(&mut self.watches.lost, lost);
        let rescanned = guards.rescan();
        let count = lost.dropped - before.dropped + lost.skipped - before.skipped;
        let text = format!(
            "{count} {} about processes of guarded cgroups may be missing; looked where these processes are",
            plural(usize::try_from(count).unwrap_or(usize::MAX), "event", "events")
        );
        self.notice(Notice::new(NoticeKind::EventsLost, text).with(NoticeField::Count, count));
        match rescanned {
            Ok(departures) => self.report_all(departures),
            Err(error) => {
                let text =
                    format!("cannot look where the processes of guarded cgroups are: {}", chain(&error));
                self.notice(Notice::new(NoticeKind::EventsLost, text));
            }
        }
    }

    fn report_all(&mut self, departures: Vec<GuardedDeparture>) {
        let unguarded: Vec<_> =
            departures.into_iter().filter(|departure| !self.is_covered(departure)).collect();
        for departure in unguarded.iter().take(NAMED_MAX) {
            self.report_departure(departure);
        }
        if let Some(more @ 1..) = unguarded.len().checked_sub(NAMED_MAX) {
            let text = format!("{more} more processes have left guarded cgroups");
            self.notice(Notice::new(NoticeKind::ProcessLeft, text).with(NoticeField::Count, more));
        }
    }

    /// Whether the same policies are on the new cgroup or above it.
    fn is_covered(&self, departure: &GuardedDeparture) -> bool {
        let Some(to) = departure.to else { return false };
        let records = self.table.on(departure.guarded);
        // What was attached by hand is no version of a policy.
        let mut left = records.iter().filter_map(|record| versions_of(&record.name));
        !records.is_empty()
            && left.all(|versions| {
                let mut levels = self.cgroups.at_and_above(to);
                levels.any(|id| self.table.on(id).iter().any(|record| record.is_of(versions)))
            })
    }

    fn report_departure(&mut self, departure: &GuardedDeparture) {
        let GuardedDeparture { process, thread, name, to, how, .. } = departure;
        let (from, to) = (self.path_of(departure.guarded), to.map(|id| self.path_of(id)));
        let what = thread.map_or_else(
            || format!("process {}", process.id()),
            |thread| format!("thread {thread} of process {}", process.id()),
        );
        let by = |mover: &Mover| {
            let id = mover.process.map(|process| format!("process {} ", process.id())).unwrap_or_default();
            format!("{id}({}, user {})", escaped(&mover.name), mover.uid)
        };
        let how = match how {
            HowItLeft::Moved(mover) if mover.process == Some(*process) => "it moved itself".to_owned(),
            HowItLeft::Moved(mover) => format!("{} moved it", by(mover)),
            HowItLeft::Started(parent) => format!("{} started it there", by(parent)),
            _ => "it is not known how".to_owned(),
        };
        let text = format!(
            "{what} ({}) has left the guarded cgroup {} for {}: {how}",
            escaped(name),
            escaped(&from),
            to.as_deref().map_or_else(|| "another one".to_owned(), escaped)
        );
        let mut notice = Notice::new(NoticeKind::ProcessLeft, text)
            .with(NoticeField::Cgroup, &from)
            .with(NoticeField::Pid, process.id())
            .with(NoticeField::Comm, String::from_utf8_lossy(name));
        if let Some(to) = to {
            notice = notice.with(NoticeField::OtherCgroup, to);
        }
        if let HowItLeft::Moved(mover) | HowItLeft::Started(mover) = &departure.how {
            notice = notice.with(NoticeField::Uid, mover.uid);
        }
        self.notice(notice);
    }

    fn report_knob(&mut self, knob: &KeptKnob, finding: KnobFinding) {
        let name = knob.name.to_string();
        let value = || escaped(&knob.value);
        let by = |writer: &Option<KnobWriter>| match writer {
            Some(writer) => {
                let pid = writer.pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
                let comm = writer.comm.as_deref().map(escaped);
                let uid = writer.uid.map(|uid| format!("user {uid}"));
                // Before Linux 5.11, programs know neither the process nor its name.
                let known: Vec<_> = comm.into_iter().chain(uid).collect();
                let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
                format!("{pid}{known} in {} wrote it", escaped(&self.path_of(writer.cgroup_id)))
            }
            None => "no event tells who wrote it".to_owned(),
        };
        let (kind, text) = match &finding {
            KnobFinding::Changed { found, writer } => (
                NoticeKind::KnobChanged,
                format!("{name} is {} and not {}: {}", escaped(found), value(), by(writer)),
            ),
            KnobFinding::Restored { writer } => {
                (NoticeKind::Repaired, format!("{name} is {} again: {}", value(), by(writer)))
            }
            KnobFinding::Repaired => (NoticeKind::Repaired, format!("wrote {} to {name} again", value())),
            KnobFinding::RepairFailed { why } => (
                NoticeKind::RepairFailed,
                format!("cannot write {} to {name} again: {}", value(), escaped(why)),
            ),
            KnobFinding::GaveUp { repairs } => (
                NoticeKind::RepairFailed,
                format!(
                    "wrote {} to {name} {repairs} times within a minute, and somebody else writes it as well; leaving it alone \
                     until it has this value again",
                    value()
                ),
            ),
            KnobFinding::CannotRead { why } => {
                (NoticeKind::KnobChanged, format!("cannot read {name}: {}", escaped(why)))
            }
        };
        let mut notice =
            Notice::new(kind, text).with(NoticeField::Knob, &name).with(NoticeField::OldValue, &knob.value);
        if let KnobFinding::Changed { found, writer } = &finding {
            notice = notice.with(NoticeField::NewValue, String::from_utf8_lossy(found));
            if let Some(writer) = writer {
                notice =
                    with_writer(notice, writer).with(NoticeField::Cgroup, self.path_of(writer.cgroup_id));
            }
        }
        self.notice(notice);
    }

    /// The directory of a cgroup, as it is.
    fn path_of(&self, id: u64) -> String {
        let known = self.cgroups.path(id);
        let found = known.or_else(|| self.workloads.hierarchy().path_by_handle(id).ok().flatten());
        found.map_or_else(|| format!("cgroup {id}"), |path| shown(&path))
    }
}

fn shown(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}

fn with_writer(mut notice: Notice, writer: &KnobWriter) -> Notice {
    if let Some(pid) = writer.pid {
        notice = notice.with(NoticeField::Pid, pid);
    }
    if let Some(comm) = &writer.comm {
        notice = notice.with(NoticeField::Comm, String::from_utf8_lossy(comm));
    }
    match writer.uid {
        Some(uid) => notice.with(NoticeField::Uid, uid),
        None => notice,
    }
}
