//! The programs of attached policies, with their counters and their memory.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use knobgate::compiler::{RULE_HITS_MAP, RuleHits};
use knobgate::kernel::{Attachment, BpfObjectError, Bpffs, BpffsError, Map, PinDir, ProgramFd};
use knobgate::policy::{AccessKind, Action, FallbackAction, Mode, PolicyFile};
use knobgate::{AttachedPolicy, BpfMemory};

use super::ledger::{Ledger, RuleLabels};

/// How long a measurement of memory stands: it takes much longer than reading counters.
const MEASURED: Duration = Duration::from_secs(60);

/// What was found out about all attached policies.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    /// By id. `None` if it is not that of a policy.
    known: BTreeMap<u32, Option<Program>>,
    pub(crate) ledger: Ledger,
    /// How many cgroups have a program of a policy, by policy and by who put it there.
    pub(crate) cgroups: BTreeMap<(Arc<str>, &'static str), u64>,
}

/// A program of a policy.
#[derive(Debug)]
struct Program {
    policy: Arc<str>,
    rules: Vec<RuleLabels>,
    /// Open, so that the counters are still there when the program is not.
    hits: Map,
    memory: BpfMemory,
    measured: Instant,
}

impl Programs {
    /// Reads the counters of all attached policies. An attachment that cannot be read is left out.
    ///
    /// # Errors
    ///
    /// [`BpffsError`]: the attachments cannot be listed.
    pub(crate) fn look(&mut self) -> Result<(), BpffsError> {
        let now = Instant::now();
        let mut present = BTreeSet::new();
        self.cgroups.clear();
        if let Some(pins) = PinDir::open(&Bpffs::find()?)? {
            for name in pins.names()? {
                // It may have been detached in the meantime.
                let Ok(attachment) = pins.attachment(&name) else { continue };
                let _ = self.look_at(&attachment, &mut present, now);
            }
        }
        for (&id, program) in &self.known {
            if let Some(program) = program
                && let Ok(Some(value)) = program.hits.lookup(&0u32.to_ne_bytes())
            {
                self.ledger.add(id, &program.policy, &program.rules, RuleHits::in_value(&value), now);
            }
        }
        let ledger = &mut self.ledger;
        self.known.retain(|id, _| {
            let is_present = present.contains(id);
            if !is_present {
                ledger.program_is_gone(*id);
            }
            is_present
        });
        ledger.drop_old(now);
        Ok(())
    }

    fn look_at(
        &mut self,
        attachment: &Attachment,
        present: &mut BTreeSet<u32>,
        now: Instant,
    ) -> Result<(), BpffsError> {
        // Those that can be opened.
        let links: Vec<_> = attachment.each_link()?.into_iter().flatten().collect();
        let mut programs: BTreeSet<u32> = links.iter().map(|link| link.info.program_id).collect();
        if let Some(program) = attachment.program()? {
            programs.extend(program.info().map(|info| info.id));
        }
        let mut policy = None;
        for &id in &programs {
            present.insert(id);
            policy = self.policy(id, now).or(policy);
        }
        let Some(policy) = policy else { return Ok(()) };
        for link in links.iter().filter(|link| !link.is_dead()) {
            let source = link.origin.source.as_str();
            *self.cgroups.entry((Arc::clone(&policy), source)).or_default() += 1;
        }
        Ok(())
    }

    /// The names of the policies.
    pub(crate) fn policies(&self) -> BTreeSet<&str> {
        self.known.values().flatten().map(|program| &*program.policy).collect()
    }

    /// How many bytes of kernel memory each policy takes.
    pub(crate) fn memory(&self) -> BTreeMap<Arc<str>, u64> {
        let mut memory: BTreeMap<Arc<str>, BpfMemory> = BTreeMap::new();
        for program in self.known.values().flatten() {
            memory.entry(Arc::clone(&program.policy)).or_default().add(&program.memory);
        }
        memory.into_iter().map(|(policy, memory)| (policy, memory.bytes())).collect()
    }

    /// The policy of a program, which is found out if it is not known yet.
    fn policy(&mut self, id: u32, now: Instant) -> Option<Arc<str>> {
        let program = match self.known.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let program = ProgramFd::by_id(id).and_then(|program| Program::read(&program, now)).ok()?;
                vacant.insert(program)
            }
        };
        let program = program.as_mut()?;
        if now.saturating_duration_since(program.measured) >= MEASURED
            && let Ok(memory) = ProgramFd::by_id(id).and_then(|program| BpfMemory::of(&program))
        {
            (program.memory, program.measured) = (memory, now);
        }
        Some(Arc::clone(&program.policy))
    }
}

impl Program {
    fn read(program: &ProgramFd, now: Instant) -> Result<Option<Self>, BpfObjectError> {
        let Some(policy) = AttachedPolicy::read(program)? else { return Ok(None) };
        let maps = program.maps()?;
        let Some(hits) = maps.iter().find(|map| map.info().name == RULE_HITS_MAP) else { return Ok(None) };
        let name = policy.name().unwrap_or("?").into();
        let rules = match policy.file() {
            Some(file) => labels(file),
            None => (0..policy.rule_counters().len()).map(of_unknown_rule).collect(),
        };
        let memory = BpfMemory::of(program)?;
        Ok(Some(Self { policy: name, rules, hits: hits.read_only()?, memory, measured: now }))
    }
}

/// Those of the rules, of the default for reads, and of the default for writes.
fn labels(file: &PolicyFile) -> Vec<RuleLabels> {
    let audits = file.policy().mode() == Mode::Audit;
    let rules = file.policy().rules().iter().enumerate().map(|(index, rule)| {
        let place = file.rule_place(index).map(|place| (place.name.to_owned(), place.line));
        let verdict = match (rule.action(), audits) {
            (Action::Allow, _) => "allow",
            (Action::Deny(_), false) => "deny",
            (Action::Deny(_), true) => "would-deny",
            (Action::Set(_) | Action::Clamp(_) | Action::Ignore, false) => "rewrite",
            (Action::Set(_) | Action::Clamp(_) | Action::Ignore, true) => "would-rewrite",
        };
        RuleLabels {
            rule: place
                .map_or_else(|| format!("rule {}", index + 1), |(name, line)| of_line(file, &name, line))
                .into(),
            verdict,
            can_fail: rule.condition().is_some() || rule.action().rewrites(),
        }
    });
    let defaults = [AccessKind::Read, AccessKind::Write].map(|kind| RuleLabels {
        rule: format!("default {kind}").into(),
        verdict: match (&file.policy().defaults().of(kind).action, audits) {
            (FallbackAction::Allow, _) => "allow",
            (FallbackAction::Deny(_), false) => "deny",
            (FallbackAction::Deny(_), true) => "would-deny",
        },
        can_fail: false,
    });
    rules.chain(defaults).collect()
}

/// `line 7`, or `base.knob:7` in a file that the policy includes.
fn of_line(file: &PolicyFile, name: &str, line: usize) -> String {
    if name == file.source().name() { format!("line {line}") } else { format!("{name}:{line}") }
}

/// The labels of a rule of which this version of knobgate knows only the number.
fn of_unknown_rule(index: usize) -> RuleLabels {
    RuleLabels { rule: format!("rule {}", index + 1).into(), verdict: "unknown", can_fail: true }
}
