//! The functions that a compiled program calls. Each is emitted once, and only if something calls it.
//!
//! Their loops are unrolled, so that all offsets are constants: before 5.12, programs can access their stack at a variable
//! offset only through helpers.

mod admit;
mod append_number;
mod fetch;
mod knob_netns;
mod pad;
mod report;
mod run_dfa;
mod search;
mod short_number;
mod stash;

use knobgate_bpf::Reg::{R3, R4};
use knobgate_bpf::{Assembler, Features, Label};
use knobgate_policy::limits::{NAME_MAX, VALUE_MAX};
use knobgate_policy::{Value, Width};

use crate::events::{EventMap, EventOptions};
use crate::layout::TableFacts;
pub(super) use knob_netns::UNKNOWN as NETNS_UNKNOWN;

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
    KnobNetns,
    Stash,
    Report,
}

impl Subprogram {
    /// In the order in which they are emitted: those that call others first.
    const ALL: [Self; 9] = [
        Self::FetchNew,
        Self::FetchOld,
        Self::Pad,
        Self::AppendNumber,
        Self::Search,
        Self::RunDfa,
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
            let run_dfa = asm.new_label();
            subprograms.emit_one(&mut asm, subprogram, run_dfa);
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
        self.steps += self.lengths[Subprogram::RunDfa as usize] * VALUE_MAX / NAME_MAX;
        self.call_whole(
            asm,
            match value {
                Value::New => Subprogram::FetchNew,
                Value::Old => Subprogram::FetchOld,
            },
        );
    }

    /// Calls the function that pads a replacement with newlines and a NUL: R1 its buffer of `VALUE_BYTES`, in which its text
    /// ends at the first newline or NUL; R2 the length to pad it to, at most `VALUE_MAX`; R3 the NUL. Returns in R0 whether it
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

    /// Emits the functions that were called.
    pub(super) fn emit(self, asm: &mut Assembler) {
        let is_called = |one: Subprogram| self.labels[one as usize].is_some();
        let fetches = is_called(Subprogram::FetchNew) || is_called(Subprogram::FetchOld);
        let run_dfa = self.labels[Subprogram::RunDfa as usize].unwrap_or_else(|| asm.new_label());
        for subprogram in Subprogram::ALL {
            let label = match self.labels[subprogram as usize] {
                None if subprogram == Subprogram::RunDfa && fetches => Some(run_dfa),
                label => label,
            };
            if let Some(label) = label {
                asm.begin_function(subprogram.name());
                asm.bind(label);
                self.emit_one(asm, subprogram, run_dfa);
            }
        }
    }

    fn call_whole(&mut self, asm: &mut Assembler, subprogram: Subprogram) {
        self.steps += self.lengths[subprogram as usize] * subprogram.passes();
        self.call(asm, subprogram);
    }

    fn call(&mut self, asm: &mut Assembler, subprogram: Subprogram) {
        let label = *self.labels[subprogram as usize].get_or_insert_with(|| asm.new_label());
        asm.call(label);
    }

    fn emit_one(&self, asm: &mut Assembler, subprogram: Subprogram, run_dfa: Label) {
        match subprogram {
            Subprogram::FetchNew => self.emit_fetch(asm, Value::New, run_dfa),
            Subprogram::FetchOld => self.emit_fetch(asm, Value::Old, run_dfa),
            Subprogram::Pad => pad::emit(asm),
            Subprogram::AppendNumber => append_number::emit(asm),
            Subprogram::Search => search::emit(asm, &self.tables),
            Subprogram::RunDfa => run_dfa::emit(asm, &self.tables),
            Subprogram::KnobNetns => {
                self.features.knob_owner.iter().for_each(|owner| knob_netns::emit(asm, owner));
            }
            Subprogram::Stash => self.events.iter().for_each(|facts| stash::emit(asm, facts)),
            Subprogram::Report => self.events.iter().for_each(|facts| report::emit(asm, facts)),
        }
    }

    /// Emits nothing where the tables have no DFA for shapes: nothing is fetched then.
    fn emit_fetch(&self, asm: &mut Assembler, value: Value, run_dfa: Label) {
        if let Some(shape) = self.tables.shape {
            fetch::emit(asm, value, &self.features, shape, run_dfa);
        }
    }
}
