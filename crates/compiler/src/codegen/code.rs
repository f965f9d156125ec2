//! Code that is being emitted.

use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R8, R9, R10};
use knobgate_bpf::{AluOp, Assembler, Cond, Features, Label, Reg, Size, helper_ids as helper};
use knobgate_events::record;
use knobgate_policy::{AccessKind, Errno, Mode};

use super::subprograms::{NO_PLACE, Subprograms};
use super::verifier;
use crate::ir::Step;
use crate::layout::{frame, row};
use crate::program;
use crate::rule_hits::{self, Counted};
use crate::source::Place;

/// An assembler with what all code of a policy needs: how programs end, what they count, and what they call.
pub(super) struct Code<'a> {
    pub(super) asm: Assembler,
    pub(super) subprograms: Subprograms,
    pub(super) features: &'a Features,
    /// The errnos of denials that the kernel turns into EPERM, in the order of their first use.
    pub(super) lost_errnos: Vec<Errno>,
    mode: Mode,
    /// The greatest offset of a counter.
    last_counter: u32,
    /// Whether the program sends events.
    sends_events: bool,
    /// The ends of the program that send an event.
    reported_ends: Vec<(ReportedEnd, Label)>,
}

/// An end of the program that sends an event. The offset of the rule's counters is on the stack, at [`frame::REPORTED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ReportedEnd {
    exit: Exit,
    report: Report,
}

/// What an event says of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) verdict: ReportedVerdict,
    /// Whether the rule could not be evaluated.
    pub(super) eval_error: bool,
    /// Whether the access was [described](Code::stash) already.
    pub(super) is_stashed: bool,
}

/// A verdict as an event has it. In audit mode it is not enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportedVerdict {
    Allow,
    Deny(Errno),
    Rewrite,
}

/// Where the offset of the counters of a rule is.
#[derive(Debug, Clone, Copy)]
pub(super) enum CounterSource {
    /// It is this one.
    Constant(u32),
    /// It is in the row in R9.
    Row,
}

impl Report {
    /// That of a rule that was evaluated.
    pub(super) fn of(verdict: ReportedVerdict) -> Self {
        Self { verdict, eval_error: false, is_stashed: false }
    }

    /// The verdict (16 bits), the errno (16 bits), and flags (32 bits).
    fn word(self) -> u64 {
        let (verdict, errno) = match self.verdict {
            ReportedVerdict::Allow => (record::verdict::ALLOW, 0),
            ReportedVerdict::Deny(errno) => (record::verdict::DENY, errno.number()),
            ReportedVerdict::Rewrite => (record::verdict::REWRITE, 0),
        };
        let flags = if self.eval_error { record::flag::EVAL_ERROR } else { 0 };
        u64::from(verdict) | u64::from(errno) << 16 | u64::from(flags) << 32
    }
}

/// The outcome of an access, with which a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Allow,
    Deny(Errno),
}

/// A label that is made when something jumps to it.
#[derive(Debug, Default)]
pub(super) struct LazyLabel(Option<Label>);

impl LazyLabel {
    pub(super) fn get(&mut self, asm: &mut Assembler) -> Label {
        *self.0.get_or_insert_with(|| asm.new_label())
    }

    /// Binds it, if something jumps to it. Returns whether something does.
    pub(super) fn bind(self, asm: &mut Assembler) -> bool {
        self.0.map(|label| asm.bind(label)).is_some()
    }
}

impl<'a> Code<'a> {
    pub(super) fn new(features: &'a Features, mode: Mode, rules: usize, subprograms: Subprograms) -> Self {
        let sends_events = subprograms.sends_events();
        Self {
            asm: Assembler::new(),
            subprograms,
            features,
            lost_errnos: Vec::new(),
            mode,
            last_counter: rule_hits::offset(Step::Default(AccessKind::Write), rules),
            sends_events,
            reported_ends: Vec::new(),
        }
    }

    /// About how many instructions the verifier processes in the code so far, and in the functions that it calls.
    pub(super) fn verifier_steps(&self) -> usize {
        self.asm.position() + self.subprograms.verifier_steps()
    }

    /// Whether decisions are reported and not enforced.
    pub(super) fn audits(&self) -> bool {
        self.mode == Mode::Audit
    }

    /// Counts a decision, and ends the program with it. Sends an event if `reports`, and if the program sends any.
    pub(super) fn decide(&mut self, by: CounterSource, counted: Counted, exit: Exit, reports: bool) {
        match by {
            CounterSource::Constant(counter) => self.count(counter, counted),
            CounterSource::Row => self.count_by_row(counted),
        }
        let verdict = match exit {
            Exit::Allow => ReportedVerdict::Allow,
            Exit::Deny(errno) if self.features.set_retval => ReportedVerdict::Deny(errno),
            // The kernel turns it into this one.
            Exit::Deny(_) => ReportedVerdict::Deny(Errno::EPERM),
        };
        let report = Report { eval_error: counted == Counted::EvalError, ..Report::of(verdict) };
        self.end(by, exit, reports.then_some(report));
    }

    /// Ends the program, which has counted. Sends an event if there is something to report, and if the program sends any.
    pub(super) fn end(&mut self, by: CounterSource, exit: Exit, report: Option<Report>) {
        let Some(report) = report.filter(|_| self.sends_events) else { return self.exit(exit) };
        self.load_counter(R1, by);
        self.asm.store(Size::U32, R10, frame::REPORTED, R1);
        let end = ReportedEnd { exit, report };
        let known = self.reported_ends.iter().find(|(other, _)| *other == end).map(|(_, label)| *label);
        let label = known.unwrap_or_else(|| {
            let label = self.asm.new_label();
            self.reported_ends.push((end, label));
            label
        });
        self.asm.jump(label);
    }

    /// Emits the ends that send an event. They are shared, because the verifier follows the function that they call for every call.
    pub(super) fn emit_reported_ends(&mut self) {
        for (ReportedEnd { exit, report }, label) in std::mem::take(&mut self.reported_ends) {
            self.asm.bind(label);
            let unsent = self.asm.new_label();
            if report.is_stashed {
                self.asm.jump32_if(Cond::Eq, R8, NO_PLACE, unsent);
                self.asm.mov(R4, R8);
            } else {
                self.asm.mov32(R4, NO_PLACE);
            }
            self.asm.mov(R1, R6);
            self.asm.load(Size::U32, R2, R10, frame::REPORTED);
            self.asm.load_imm64(R3, report.word());
            self.subprograms.call_report(&mut self.asm);
            self.asm.bind(unsent);
            self.exit(exit);
        }
    }

    /// Counts the event of a rewrite, and keeps the written value for it, for the step whose row is in R9. The place is in R8.
    pub(super) fn stash(&mut self) {
        self.asm.mov(R1, R6);
        self.load_counter(R2, CounterSource::Row);
        self.asm.mov(R3, 0);
        self.subprograms.call_stash(&mut self.asm);
        self.asm.mov(R8, R0);
    }

    /// Whether the program sends events.
    pub(super) fn sends_events(&self) -> bool {
        self.sends_events
    }

    fn load_counter(&mut self, into: Reg, by: CounterSource) {
        match by {
            CounterSource::Constant(counter) => self.asm.mov(into, counter as i32),
            CounterSource::Row => self.asm.load(Size::U32, into, R9, row::COUNTERS),
        }
    }

    /// Ends the program. In audit mode everything passes.
    fn exit(&mut self, exit: Exit) {
        match exit {
            Exit::Deny(errno) if !self.audits() => {
                if errno != Errno::EPERM && self.features.set_retval {
                    self.asm.mov(R1, -(errno.number() as i32));
                    self.asm.call_helper(helper::SET_RETVAL);
                } else if errno != Errno::EPERM && !self.lost_errnos.contains(&errno) {
                    self.lost_errnos.push(errno);
                }
                self.asm.mov(R0, 0);
            }
            _ => self.asm.mov(R0, 1),
        }
        self.asm.exit();
    }

    /// Counts at `counter`, the offset of the counters of a step.
    fn count(&mut self, counter: u32, counted: Counted) {
        self.asm.load_map_value(R1, program::RULE_HITS, counter + counted.offset() as u32);
        self.asm.mov(R2, 1);
        self.asm.atomic_add(Size::U64, R1, 0, R2);
    }

    /// Counts for the step whose row is in R9.
    pub(super) fn count_by_row(&mut self, counted: Counted) {
        let uncounted = self.asm.new_label();
        self.asm.load(Size::U32, R1, R9, row::COUNTERS);
        verifier::prove_counter_offset(&mut self.asm, R1, self.last_counter as i32, uncounted);
        self.asm.load_map_value(R2, program::RULE_HITS, 0);
        self.asm.alu(AluOp::Add, R2, R1);
        self.asm.mov(R1, 1);
        self.asm.atomic_add(Size::U64, R2, counted.offset(), R1);
        self.asm.bind(uncounted);
    }

    /// Makes `register` the address of a place on the stack.
    pub(super) fn address(&mut self, register: Reg, offset: i16) {
        self.asm.mov(register, R10);
        self.asm.alu(AluOp::Add, register, i32::from(offset));
    }

    /// Makes `into` the address in the tables of the offset in R0. Something was placed there.
    pub(super) fn table_at_offset(&mut self, into: Reg, mask: u32) {
        verifier::prove_inside_tables(&mut self.asm, R0, mask);
        self.asm.load_map_value(into, program::TABLES, 0);
        self.asm.alu(AluOp::Add, into, R0);
    }

    /// Goes to the target whose number is in R1. Targets are in ascending order.
    pub(super) fn switch(&mut self, targets: &[(u32, Label)]) {
        if let [(_, only)] = targets {
            return self.asm.jump(*only);
        }
        let (low, high) = targets.split_at(targets.len() / 2);
        let upper = self.asm.new_label();
        self.asm.jump_if(Cond::Ge, R1, high[0].0 as i32, upper);
        self.switch(low);
        self.asm.bind(upper);
        self.switch(high);
    }

    /// Attributes the code from here on to this place in the policy.
    pub(super) fn set_line(&mut self, place: Place<'_>) {
        self.asm.set_line(place.line as u32, place.column as u32, place.text);
    }
}
