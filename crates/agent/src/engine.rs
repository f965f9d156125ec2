//! What the agent does, one thing after the other.

mod check;
mod integrity;
mod journal;
mod link_table;
mod off;
mod placement;
mod policy_files;
mod reload;
mod retries;
mod status;
mod watches;

use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use knobgate::{
    AttachmentError, Attachments, Finding, Integrity, Off, OpenToOthers, PinWatch, PolicyLinks,
    WorkloadResolver, name_of_versions,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::agent::{AgentOptions, Request, Requests};
use crate::agent_error::{AgentError, with_causes};
use crate::cgroup_watch::{CgroupChange, CgroupWatch, Lacking};
use crate::file_watch::{FileWatch, is_finished};
use crate::notice::{Notice, NoticeKind};
use crate::reporter::Reporter;
use crate::status::ReloadStatus;
use journal::Journal;
use link_table::LinkTable;
use policy_files::{PolicyFiles, PolicySet};
use retries::Retries;
use watches::Watches;

/// How long files have to be left alone before they are read.
const SETTLING: Duration = Duration::from_millis(200);
/// How long they are waited for if they change all the time.
const SETTLING_MAX: Duration = Duration::from_secs(2);
/// The pause until it is said again that events of cgroups were lost.
const LOST_PAUSE: Duration = Duration::from_secs(60);
/// How long new cgroups are attended to before all else has its turn. Whoever may make cgroups can make them faster than this reads of
/// them.
const ATTENDED_WITHIN: Duration = Duration::from_millis(20);
/// How long whoever changes attachments is waited for. The agent has five seconds for each answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many cgroups are looked at before requests are answered, or what cannot wait is done.
const ATTEND_AFTER: usize = 16;

/// The engine of the agent.
pub(crate) struct Engine {
    journal: Journal,
    requests: Requests,
    files: PolicyFiles,
    set: Arc<PolicySet>,
    /// Reports changes of what is off.
    off_watch: FileWatch,
    /// It has reported one, which is not attended to yet.
    has_off_changed: bool,
    off: Off,
    cgroups: CgroupWatch,
    workloads: WorkloadResolver,
    links: PolicyLinks,
    table: LinkTable,
    watches: Watches,
    /// Reports that pins have gone.
    pin_watch: Option<PinWatch>,
    /// When links are looked at because of that, and when they were.
    links_at: Option<Instant>,
    links_checked: Option<Instant>,
    integrity: Integrity,
    /// Why links cannot be looked at, if that was so the last time.
    cannot_look: Option<String>,
    /// What is not as it was attached, and was reported.
    findings: BTreeSet<Finding>,
    /// What workloads are called that got a policy late.
    late: HashMap<u64, String>,
    /// The cgroups that were there before the agent.
    before: BTreeSet<u64>,
    /// Cgroups of which it cannot be told yet whether a policy applies.
    retries: Retries,
    /// Those of which that was tried often enough.
    undecided: BTreeSet<u64>,
    /// Those on which policies could not be put.
    failing: BTreeSet<u64>,
    /// Those at the last check, which were said.
    failed_before: BTreeSet<u64>,
    started_at: SystemTime,
    last_reload: ReloadStatus,
    /// What others than root can change of the files, which was said.
    open_to_others: Vec<OpenToOthers>,
    /// When the policies were seen to change, first and last.
    changed: Option<(Instant, Instant)>,
    /// When it was said that events were lost.
    lost_said: Option<Instant>,
    /// They could not be put in force, and not because of what they say: the check tries again.
    is_reload_due: bool,
    check_at: Instant,
    lacking: Option<Lacking>,
    is_reload_asked: bool,
    is_stop_asked: bool,
}

impl Engine {
    /// Reads everything, and puts the policies on the cgroups that are there.
    pub(crate) fn start(
        options: AgentOptions,
        reporter: Box<dyn Reporter>,
        requests: Requests,
    ) -> Result<Self, AgentError> {
        let inotify = |error: Errno| AgentError::Inotify { source: error.into() };
        let mut files = PolicyFiles::new(options).map_err(inotify)?;
        let set = Arc::new(files.read()?);
        let workloads = WorkloadResolver::new()?;
        let cgroups = CgroupWatch::new(workloads.hierarchy().path()).map_err(inotify)?;
        let now = Instant::now();
        let mut engine = Self {
            journal: Journal::new(reporter),
            requests,
            files,
            check_at: now + set.check_interval,
            set,
            off_watch: FileWatch::new(is_finished).map_err(inotify)?,
            has_off_changed: false,
            off: Off::default(),
            cgroups,
            workloads,
            links: PolicyLinks::new(attachments()?),
            table: LinkTable::default(),
            watches: Watches::new(),
            pin_watch: None,
            links_at: None,
            links_checked: None,
            integrity: Integrity::new(),
            cannot_look: None,
            findings: BTreeSet::new(),
            late: HashMap::new(),
            before: BTreeSet::new(),
            retries: Retries::default(),
            undecided: BTreeSet::new(),
            failing: BTreeSet::new(),
            failed_before: BTreeSet::new(),
            started_at: SystemTime::now(),
            last_reload: ReloadStatus { at: SystemTime::now(), error: None },
            open_to_others: Vec::new(),
            changed: None,
            lost_said: None,
            is_reload_due: false,
            lacking: None,
            is_reload_asked: false,
            is_stop_asked: false,
        };
        engine.adopt()?;
        Ok(engine)
    }

    fn adopt(&mut self) -> Result<(), AgentError> {
        let began = Instant::now();
        self.watch_off();
        self.watch_pins();
        let set = Arc::clone(&self.set);
        let limits = self.prepare(&set)??;
        // From here on, new ones are seen.
        self.cgroups.rescan(&mut |_| {})?;
        self.before = self.cgroups.ids().into_iter().collect();
        let settled = self.settle_all()?;
        self.remove_unused_versions();
        self.journal.reloaded(began.elapsed(), true);
        let text = format!(
            "{} {} in {}; watching {} {}: {settled}",
            self.set.policies.policies().len(),
            plural(self.set.policies.policies().len(), "policy", "policies"),
            escaped(&self.files.directory().display().to_string()),
            self.cgroups.len(),
            plural(self.cgroups.len(), "cgroup", "cgroups"),
        );
        self.notice(Notice::new(NoticeKind::Started, text));
        self.report_limits(&limits);
        self.report_outdated();
        self.report_unwatched_files();
        self.report_open_to_others();
        self.report_lacking();
        self.begin_watches();
        Ok(())
    }

    /// Works until it is asked to stop.
    pub(crate) fn run(&mut self) -> Result<(), AgentError> {
        while !self.is_stop_asked {
            self.wait()?;
            // Before a cgroup is forgotten from which a process has left.
            self.attend_to_watches();
            self.attend()?;
            self.retry();
            if self.off_watch.read().map_err(wait_failed)? || self.has_off_changed {
                self.off_changed()?;
            }
            if self.files.read_events().map_err(wait_failed)? {
                self.files_changed();
            }
            self.read_pin_events();
            let now = Instant::now();
            if self.links_at.is_some_and(|at| at <= now)
                && let Err(error) = self.check_links()
            {
                self.cannot_look(&error);
            }
            if std::mem::take(&mut self.is_reload_asked) || self.read_at().is_some_and(|at| at <= now) {
                self.changed = None;
                self.reload()?;
            }
            if self.check_at <= now {
                self.check()?;
                self.check_at = Instant::now() + self.set.check_interval;
            }
        }
        let text = "the agent ends; the policies stay in force";
        self.notice(Notice::new(NoticeKind::Stopped, text));
        Ok(())
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Result<(), AgentError> {
        if self.has_off_changed {
            return Ok(());
        }
        let next =
            [Some(self.check_at), self.retries.next(), self.read_at(), self.links_at, self.watches.next()]
                .into_iter()
                .flatten()
                .min();
        let pause = next.map(|at| at.saturating_duration_since(Instant::now()));
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut polled = vec![
            readable(self.requests.wake.as_fd()),
            readable(self.cgroups.as_fd()),
            readable(self.files.as_fd()),
            readable(self.off_watch.as_fd()),
        ];
        polled.extend(self.watches.fds().map(readable));
        polled.extend(self.pin_watch.as_ref().map(|watch| readable(watch.as_fd())));
        match poll(&mut polled, pause.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(wait_failed(error)),
        }
    }

    /// Does what cannot wait: answers, and puts policies on new cgroups, for a while. Whatever takes long calls this in between.
    fn attend(&mut self) -> Result<(), AgentError> {
        let began = Instant::now();
        loop {
            self.answer()?;
            let seen_at = Instant::now();
            let mut changes = Vec::new();
            let is_more = self.cgroups.read(&mut |change| changes.push(change)).map_err(wait_failed)?;
            self.cgroups_changed(changes, seen_at)?;
            self.report_lacking();
            if !is_more || began.elapsed() >= ATTENDED_WITHIN {
                return Ok(());
            }
        }
    }

    fn answer(&mut self) -> Result<(), AgentError> {
        self.requests.clear().map_err(|source| AgentError::Wait { source })?;
        while let Some(request) = self.requests.next() {
            match request {
                // Nobody waits any more if that fails.
                Request::Ping(answer) => drop(answer.send(())),
                Request::Status(answer) => drop(answer.send(self.status())),
                Request::Summary(answer) => drop(answer.send(self.summary())),
                Request::Reload => self.is_reload_asked = true,
                Request::Stop => self.is_stop_asked = true,
            }
        }
        Ok(())
    }

    fn cgroups_changed(
        &mut self,
        changes: impl IntoIterator<Item = CgroupChange>,
        seen_at: Instant,
    ) -> Result<(), AgentError> {
        for (count, change) in changes.into_iter().enumerate() {
            // A whole tree of cgroups can appear at once.
            if count % ATTEND_AFTER == ATTEND_AFTER - 1 {
                self.answer()?;
            }
            self.cgroup_changed(change, seen_at)?;
        }
        Ok(())
    }

    fn cgroup_changed(&mut self, change: CgroupChange, seen_at: Instant) -> Result<(), AgentError> {
        match change {
            CgroupChange::Appeared { id } => {
                if let Some(path) = self.cgroups.path(id) {
                    self.put(id, &path, Some(seen_at));
                }
            }
            CgroupChange::Removed { id } => self.forget(id),
            CgroupChange::EventsLost => {
                // It happens all the time while somebody makes cgroups all the time.
                if self.lost_said.is_none_or(|at| at.elapsed() >= LOST_PAUSE) {
                    self.lost_said = Some(Instant::now());
                    let text =
                        "the kernel had too many events, or no memory for them; looking at all cgroups again";
                    self.notice(Notice::new(NoticeKind::EventsLost, text));
                }
                self.rescan()?;
            }
        }
        Ok(())
    }

    /// Looks at the whole hierarchy, and puts policies on what is new.
    fn rescan(&mut self) -> Result<(), AgentError> {
        let mut changes = Vec::new();
        self.cgroups.rescan(&mut |change| changes.push(change))?;
        self.cgroups_changed(changes, Instant::now())
    }

    /// What is left of a cgroup that is gone.
    fn forget(&mut self, id: u64) {
        self.retries.forget(id);
        self.undecided.remove(&id);
        self.late.remove(&id);
        self.before.remove(&id);
        self.failing.remove(&id);
        self.watches.forget(id);
        let records = self.table.take(id);
        // If it is there and was lost from sight, its links are in force, whoever made them.
        if records.is_empty() || !self.workloads.hierarchy().was_removed(id).unwrap_or(false) {
            return;
        }
        for record in records {
            // What cannot be unpinned is left to the check.
            let _ = self.links.unpin_removed(&record.name, id, record.origin);
        }
    }

    /// Tries again where that is due, with some cgroups at a time.
    fn retry(&mut self) {
        let now = Instant::now();
        for _ in 0..ATTEND_AFTER {
            let Some(id) = self.retries.due(now) else { return };
            match self.cgroups.path(id) {
                Some(path) => self.put_undecided(id, &path),
                None => self.retries.forget(id),
            }
        }
    }

    /// Whether there is a policy whose attachments have this name before the hash.
    fn is_policy(&self, versions: &str) -> bool {
        self.set.policies.policies().iter().any(|policy| name_of_versions(policy.name()) == versions)
    }

    fn files_changed(&mut self) {
        let now = Instant::now();
        let first = self.changed.map_or(now, |(first, _)| first);
        self.changed = Some((first, now));
    }

    /// When the files that have changed are read.
    fn read_at(&self) -> Option<Instant> {
        self.changed.map(|(first, last)| (last + SETTLING).min(first + SETTLING_MAX))
    }

    fn notice(&mut self, notice: Notice) {
        self.journal.notice(notice);
    }

    /// Says why not all cgroups are watched, when that begins.
    fn report_lacking(&mut self) {
        let lacking = self.cgroups.lacking();
        if lacking == self.lacking {
            return;
        }
        self.lacking = lacking;
        let interval = self.set.check_interval.as_secs();
        let text = match lacking {
            None => return,
            Some(Lacking::Watches) => format!(
                "there can be no more inotify watches, so new cgroups are only looked for every {interval} s; raise the sysctl \
                 fs.inotify.max_user_watches"
            ),
            Some(Lacking::Other(error)) => format!(
                "some cgroups cannot be watched, so new ones below them are only looked for every {interval} s: {error}"
            ),
        };
        self.notice(Notice::new(NoticeKind::EventsLost, text));
    }
}

/// The attachments of this machine.
fn attachments() -> Result<Attachments, AttachmentError> {
    Ok(Attachments::create()?.with_patience(PATIENCE))
}

fn wait_failed(error: Errno) -> AgentError {
    AgentError::Wait { source: error.into() }
}

/// An error with its causes, in one line, escaped.
fn chain(error: &dyn std::error::Error) -> String {
    escaped(&with_causes(error))
}

fn escaped<T: AsRef<[u8]> + ?Sized>(text: &T) -> String {
    knobgate::event::terminal::escape(text).into_owned()
}

fn plural(count: usize, one: &'static str, several: &'static str) -> &'static str {
    if count == 1 { one } else { several }
}
