//! The functions that a compiled program calls. Each is emitted once, and only if something calls it.
//!
//! Their loops are unrolled, so that all offsets are constants: before 5.12, programs can access their stack at a variable
//! offset only through helpers.

mod admit;
mod append_number;
mod fetch;
mod knob_netns;
pub(super) mod long_value;
mod pad;
mod report;
mod run_dfa;
mod search;
mod short_number;
mod stash;

use knobgate_bpf::Reg::{R3, R4};
use knobgate_bpf::{Assembler, Features, Label, Reg};
use knobgate_policy::limits::{NAME_MAX, SHORT_VALUE_MAX};
use knobgate_policy::{Value, Width};

use crate::events::{EventMap, EventOptions};
use crate::layout::TableFacts;
pub(super) use knob_netns::UNKNOWN as NETNS_UNKNOWN;
pub(crate) use long_value::map as long_values_map;
use long_value::{ReplaceLabels, RunLabels};

/// The functions that were called, and what that costs.
#[derive(Debug, Clone)]
pub(super) struct Subprograms {
    tables: TableFacts,
    features: Features,
    events: Option<EventFacts>,
    labels: [Option<Label>; Subprogram::ALL.len()],
    /// The number of instructions of each.
    lengths: [usize; Subprogram::ALL.len()],
    /// How many instructions the verifier processes in them: again for every call.
    steps: usize,
    pads_constants: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subprogram {
    FetchNew,
    FetchOld,
    Pad,
    AppendNumber,
    Search,
    RunDfa,
    MatchNew,
    MatchOld,
    Replace,
    TakeSlot,
    RunDfaLoop,
    CopyLoop,
    PadLoop,
    KnobNetns,
    Stash,
    Report,
}

impl Subprogram {
    /// In the order in which they are emitted: those that call others first.
    const ALL: [Self; 16] = [
        Self::FetchNew,
        Self::FetchOld,
        Self::Pad,
        Self::AppendNumber,
        Self::Search,
        Self::RunDfa,
        Self::MatchNew,
        Self::MatchOld,
        Self::Replace,
        Self::TakeSlot,
        Self::RunDfaLoop,
        Self::CopyLoop,
        Self::PadLoop,
        Self::KnobNetns,
        Self::Stash,
        Self::Report,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::FetchNew => "fetch_new",
            Self::FetchOld => "fetch_old",
            Self::Pad => "pad",
            Self::AppendNumber => "append_number",
            Self::Search => "search",
            Self::RunDfa => "run_dfa",
            Self::MatchNew => "match_new",
            Self::MatchOld => "match_old",
            Self::Replace => "replace",
            Self::TakeSlot => "take_slot",
            Self::RunDfaLoop => "run_dfa_loop",
            Self::CopyLoop => "copy_loop",
            Self::PadLoop => "pad_loop",
            Self::KnobNetns => "knob_netns",
            Self::Stash => "stash",
            Self::Report => "report",
        }
    }

    /// About how often the verifier follows it for one call. That depends on the states in which it gets there, so this is a
    /// guess. A test on the kernel checks that the estimate is within a factor of two of what the verifier counts.
    fn passes(self) -> usize {
        match self {
            Self::FetchNew | Self::FetchOld | Self::Search => 3,
            // With the code after it, which is followed for all that the buffers may hold.
            Self::Pad => 7,
            Self::AppendNumber => 4,
            Self::RunDfa | Self::KnobNetns => 1,
            Self::MatchNew | Self::MatchOld | Self::Replace => 2,
            Self::TakeSlot | Self::RunDfaLoop | Self::CopyLoop | Self::PadLoop => 3,
            Self::Stash => 4,
            Self::Report => 4,
        }
    }
}

/// What the code for events depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventFacts {
    pub(super) options: EventOptions,
    pub(super) features: Features,
    /// The index of the first map for events.
    pub(super) first_map: usize,
    /// How many rules the policy has.
    pub(super) rules: usize,
    /// The last index in the table of rules.
    pub(super) last_rule: u32,
    /// The greatest offset in the table at which a text can be.
    pub(super) last_text: u32,
    pub(super) policy_number: u32,
    /// How many bytes the name of the policy has.
    pub(super) policy_name: usize,
    /// The flags that all records have.
    pub(super) flags: u32,
}

impl EventFacts {
    fn map(&self, map: EventMap) -> usize {
        self.first_map + map as usize
    }
}

/// No place in the memory.
pub(super) const NO_PLACE: i32 = -1;

/// How much more often the verifier follows padding if a replacement is made of constants, which it tracks byte by byte.
const PASSES_OF_CONSTANTS: usize = 3;

impl Subprograms {
    /// No function is called yet.
    pub(super) fn new(features: &Features, tables: TableFacts, events: Option<EventFacts>) -> Self {
        let mut subprograms = Self {
            tables,
            features: *features,
            events,
            labels: Default::default(),
            lengths: Default::default(),
            steps: 0,
            pads_constants: false,
        };
        for subprogram in Subprogram::ALL {
            let mut asm = Assembler::new();
            let labels = Subprogram::ALL.map(|_| asm.new_label());
            subprograms.emit_one(&mut asm, subprogram, &labels);
            subprograms.lengths[subprogram as usize] = asm.position();
        }
        subprograms
    }

    /// Whether there is code for events.
    pub(super) fn sends_events(&self) -> bool {
        self.events.is_some()
    }

    /// About how many instructions the verifier processes in the functions that were called.
    pub(super) fn verifier_steps(&self) -> usize {
        let of_constants = PASSES_OF_CONSTANTS * self.lengths[Subprogram::Pad as usize];
        self.steps + if self.pads_constants { of_constants } else { 0 }
    }

    /// Records that replacements may be made of constants.
    pub(super) fn will_pad_constants(&mut self) {
        self.pads_constants = true;
    }

    /// Calls the function that runs a DFA: R1 the text, R2 its length (at most `most`), R3 the offset of the classes, R4 the
    /// start state. Returns the output in R0.
    pub(super) fn call_run_dfa(&mut self, asm: &mut Assembler, most: usize) {
        self.steps += self.lengths[Subprogram::RunDfa as usize] * most / NAME_MAX;
        self.call(asm, Subprogram::RunDfa);
    }

    /// Calls the function that fetches `value` and finds its shape and numbers: R1 the context, R2 the frame pointer of the
    /// main function, where it stores them. A new value with a number beyond `width` is text.
    pub(super) fn call_fetch(&mut self, asm: &mut Assembler, value: Value, width: Width) {
        if value == Value::New {
            let (low, high) = width.bounds();
            asm.load_imm64(R3, low.low_bits());
            asm.load_imm64(R4, high.low_bits());
        }
        self.steps += self.lengths[Subprogram::RunDfa as usize] * SHORT_VALUE_MAX / NAME_MAX;
        if self.features.long_values() {
            self.count_run_of_long_value();
        }
        self.call_whole(
            asm,
            match value {
                Value::New => Subprogram::FetchNew,
                Value::Old => Subprogram::FetchOld,
            },
        );
    }

    /// Calls the function that pads a replacement with newlines and a NUL: R1 its buffer of `VALUE_BYTES`, in which its text
    /// ends at the first newline or NUL; R2 the length to pad it to, at most `SHORT_VALUE_MAX`; R3 the NUL. Returns in R0 whether it
    /// fits.
    pub(super) fn call_pad(&mut self, asm: &mut Assembler) {
        self.call_whole(asm, Subprogram::Pad);
    }

    /// Calls the function that writes a number in decimal: R1 where to, on the main function's stack; R2 its low 64
    /// bits; R3 not 0 if it is negative. Returns in R0 how many bytes it took, at most 20.
    pub(super) fn call_append_number(&mut self, asm: &mut Assembler) {
        self.call_whole(asm, Subprogram::AppendNumber);
    }

    /// Calls the function that looks for a word among sorted words in the tables: R1 the word, R2 their offset, R3 their
    /// count, 2 to the power of it. Returns in R0 whether it is there.
    pub(super) fn call_search(&mut self, asm: &mut Assembler) {
        self.call_whole(asm, Subprogram::Search);
    }

    /// Calls the function that finds the network namespace that owns the knob: R1 the context. Returns in R0 one of the
    /// [`netns`](crate::ir::netns) numbers, or [`NETNS_UNKNOWN`].
    pub(super) fn call_knob_netns(&mut self, asm: &mut Assembler) {
        self.call_whole(asm, Subprogram::KnobNetns);
    }

    /// Calls the function that counts an event, and takes a place for it in which it describes the access: R1 the context, R2 the
    /// offset of the rule's counters, R3 as for [`call_report`](Self::call_report). Returns in R0 the place, or [`NO_PLACE`] if no
    /// event is sent.
    pub(super) fn call_stash(&mut self, asm: &mut Assembler) {
        self.call_whole(asm, Subprogram::Stash);
    }

    /// Calls the function that sends an event: R1 the context, R2 the offset of the rule's counters, R3 the verdict (16 bits), the
    /// errno (16 bits) and flags (32 bits), R4 the place that [stash](Self::call_stash) has returned,
    /// which has counted, or [`NO_PLACE`].
    pub(super) fn call_report(&mut self, asm: &mut Assembler) {
        self.call_whole(asm, Subprogram::Report);
    }

    /// Calls the function that runs a DFA over a long `value`: R1 the context, R3 and R4 as for
    /// [`call_run_dfa`](Self::call_run_dfa). Returns the output in R0, or [`long_value::NO_OUTPUT`].
    pub(super) fn call_match(&mut self, asm: &mut Assembler, value: Value) {
        self.count_run_of_long_value();
        self.call_whole(
            asm,
            match value {
                Value::New => Subprogram::MatchNew,
                Value::Old => Subprogram::MatchOld,
            },
        );
    }

    /// Calls the function that makes a replacement for a long value, or of one: as [`long_value::emit_replace`] says.
    pub(super) fn call_replace(&mut self, asm: &mut Assembler) {
        for called in [Subprogram::TakeSlot, Subprogram::CopyLoop, Subprogram::PadLoop] {
            self.steps += self.lengths[called as usize] * called.passes();
        }
        self.call_whole(asm, Subprogram::Replace);
    }

    /// Emits code that runs a DFA over a long value, as [`long_value::emit_run_dfa`] does. The state is the only thing on the stack of
    /// its function.
    pub(super) fn emit_run_of_long_value(
        &mut self,
        asm: &mut Assembler,
        of: (Value, Reg),
        unavailable: Label,
    ) {
        self.count_run_of_long_value();
        let labels = RunLabels {
            take_slot: self.label(asm, Subprogram::TakeSlot),
            run_dfa_loop: self.label(asm, Subprogram::RunDfaLoop),
        };
        long_value::emit_run_dfa(asm, of, long_value::STATE, &self.tables, labels, unavailable);
    }

    fn count_run_of_long_value(&mut self) {
        for called in [Subprogram::TakeSlot, Subprogram::RunDfaLoop] {
            self.steps += self.lengths[called as usize] * called.passes();
        }
    }

    /// Emits the functions that were called, and those that they call.
    pub(super) fn emit(self, asm: &mut Assembler) {
        let mut is_called = Subprogram::ALL.map(|one| self.labels[one as usize].is_some());
        let fetches = is_called[Subprogram::FetchNew as usize] || is_called[Subprogram::FetchOld as usize];
        let replaces = is_called[Subprogram::Replace as usize];
        is_called[Subprogram::RunDfa as usize] |= fetches;
        let long_values = self.features.long_values();
        is_called[Subprogram::TakeSlot as usize] |= fetches && long_values;
        is_called[Subprogram::RunDfaLoop as usize] |= fetches && long_values;
        is_called[Subprogram::CopyLoop as usize] |= replaces;
        is_called[Subprogram::PadLoop as usize] |= replaces;
        let labels = self.labels.map(|label| label.unwrap_or_else(|| asm.new_label()));
        for subprogram in Subprogram::ALL.into_iter().filter(|&one| is_called[one as usize]) {
            asm.begin_function(subprogram.name());
            asm.bind(labels[subprogram as usize]);
            self.emit_one(asm, subprogram, &labels);
        }
    }

    fn call_whole(&mut self, asm: &mut Assembler, subprogram: Subprogram) {
        self.steps += self.lengths[subprogram as usize] * subprogram.passes();
        self.call(asm, subprogram);
    }

    fn call(&mut self, asm: &mut Assembler, subprogram: Subprogram) {
        let label = self.label(asm, subprogram);
        asm.call(label);
    }

    fn label(&mut self, asm: &mut Assembler, subprogram: Subprogram) -> Label {
        *self.labels[subprogram as usize].get_or_insert_with(|| asm.new_label())
    }

    /// Emits one function. It calls others by these labels.
    fn emit_one(&self, asm: &mut Assembler, subprogram: Subprogram, labels: &SubprogramLabels) {
        let of = |subprogram: Subprogram| labels[subprogram as usize];
        let take_slot = of(Subprogram::TakeSlot);
        let run = RunLabels { take_slot, run_dfa_loop: of(Subprogram::RunDfaLoop) };
        let fetch = |asm: &mut Assembler, value| {
            fetch::emit(asm, value, &self.features, &self.tables, (of(Subprogram::RunDfa), run));
        };
        match subprogram {
            Subprogram::FetchNew => fetch(asm, Value::New),
            Subprogram::FetchOld => fetch(asm, Value::Old),
            Subprogram::Pad => pad::emit(asm),
            Subprogram::AppendNumber => append_number::emit(asm),
            Subprogram::Search => search::emit(asm, &self.tables),
            Subprogram::RunDfa => run_dfa::emit(asm, &self.tables),
            Subprogram::MatchNew => long_value::emit_match(asm, Value::New, &self.tables, run),
            Subprogram::MatchOld => long_value::emit_match(asm, Value::Old, &self.tables, run),
            Subprogram::Replace => {
                let (copy_loop, pad_loop) = (of(Subprogram::CopyLoop), of(Subprogram::PadLoop));
                long_value::emit_replace(asm, ReplaceLabels { take_slot, copy_loop, pad_loop });
            }
            Subprogram::TakeSlot => long_value::emit_take_slot(asm),
            Subprogram::RunDfaLoop => long_value::emit_run_dfa_loop(asm, &self.tables),
            Subprogram::CopyLoop => long_value::emit_copy_loop(asm, &self.tables),
            Subprogram::PadLoop => long_value::emit_pad_loop(asm),
            Subprogram::KnobNetns => {
                self.features.knob_owner.iter().for_each(|owner| knob_netns::emit(asm, owner));
            }
            Subprogram::Stash => self.events.iter().for_each(|facts| stash::emit(asm, facts)),
            Subprogram::Report => self.events.iter().for_each(|facts| report::emit(asm, facts)),
        }
    }
}

/// Where each function is.
type SubprogramLabels = [Label; Subprogram::ALL.len()];
