//! From an access of one kind to the first step of its decision.

use std::collections::BTreeSet;
use std::rc::Rc;

use foldhash::{HashMap, HashMapExt};
use knobgate_bpf::Reg::{R0, R1, R2, R3, R4, R6, R7, R10};
use knobgate_bpf::{Cond, Label, Size, helper_ids as helper};
use knobgate_policy::limits::NAME_MAX;

use crate::blocks::Blocks;
use crate::chain::StepId;
use crate::frame::{LAST_COMPONENT, NAME, NAME_BYTES, ONLY, TOO_LONG};
use crate::lookup::{Found, Lookup, Lookups, Target};
use crate::lower::Lowering;
use crate::plan::{ByName, Elsewhere, Others, Plan};
use crate::table::Placed;
use crate::tables::Tables;

/// `BPF_F_SYSCTL_BASE_NAME` in include/uapi/linux/bpf.h: the last component alone.
const BASE_NAME: i32 = 1;

/// A [`Plan`] with its tables in place.
#[derive(Debug)]
pub(crate) enum Matcher<'a> {
    AnyName(StepId),
    ByName(NameMatcher<'a>),
}

/// Finds the step by the name.
#[derive(Debug)]
pub(crate) struct NameMatcher<'a> {
    plan: &'a ByName,
    literals: Option<Rc<Lookup>>,
    last_components: Option<Rc<Lookup>>,
    /// Whether the last component may tell in which slot of `literals` the name is, if it is there.
    knows_slots: bool,
    automaton: Option<Placed>,
}

impl<'a> Matcher<'a> {
    /// Places the tables of `plan`.
    pub(crate) fn place(
        plan: &'a Plan,
        blocks: &Blocks,
        lookups: &mut Lookups<'a>,
        tables: &mut Tables,
    ) -> Self {
        let plan = match plan {
            Plan::AnyName(step) => return Self::AnyName(*step),
            Plan::ByName(plan) => plan,
        };
        let automaton = match &plan.others {
            Others::Automaton(table) => {
                Some(tables.place(&table.with_outputs(|step| blocks.of(StepId(step as usize)).row)))
            }
            Others::Alike(_) | Others::Prefixes(..) => None,
        };
        let target = |step| Target { step, only: 0 };
        let names: Vec<_> = plan.literals.iter().map(|(name, step)| (&name[..], target(*step))).collect();
        let literals = lookups.place(names, blocks, tables);
        let mut slots: HashMap<&[u8], Option<u32>> = HashMap::new();
        for (name, _) in &plan.literals {
            let last = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
            let slot = || literals.as_ref().and_then(|literals| literals.slot_of(name));
            slots.entry(last).and_modify(|slot| *slot = None).or_insert_with(slot);
        }
        let slot = |last: &[u8]| slots.get(last).copied().flatten().unwrap_or(0);
        let last_components: Vec<_> = plan
            .last_components
            .iter()
            .map(|(last, step)| (&last[..], Target { step: *step, only: slot(last) }))
            .collect();
        let knows_slots =
            plan.elsewhere.is_known() && last_components.iter().any(|(_, target)| target.only != 0);
        Self::ByName(NameMatcher {
            plan,
            literals,
            last_components: lookups.place(last_components, blocks, tables),
            knows_slots,
            automaton,
        })
    }

    /// Emits what goes to the first step.
    pub(crate) fn emit(&self, lowering: &mut Lowering<'_>) {
        match self {
            Self::AnyName(step) => lowering.begin(*step),
            Self::ByName(matcher) => matcher.emit(lowering),
        }
    }
}

impl NameMatcher<'_> {
    fn emit(&self, lowering: &mut Lowering<'_>) {
        let too_long = lowering.asm.new_label();
        if let Elsewhere::Known(step) = self.plan.elsewhere {
            self.emit_last_component(lowering, step);
        }
        self.emit_name(lowering, too_long);
        lowering.asm.bind(too_long);
        match self.plan.elsewhere {
            Elsewhere::Known(_) => {
                lowering.asm.load(Size::U32, R0, R10, TOO_LONG);
                lowering.begin_by_row(&steps(&self.plan.last_components));
            }
            Elsewhere::TooLong(step) => self.emit_too_long(lowering, step),
        }
    }

    /// Leaves for `elsewhere` if the last component of the name tells that no rule matches it; else leaves at `TOO_LONG`
    /// where to go if the name is too long.
    fn emit_last_component(&self, lowering: &mut Lowering<'_>, elsewhere: StepId) {
        let (known, leave) = (lowering.asm.new_label(), lowering.asm.new_label());
        self.fetch_last_component(lowering, leave);
        if let Some(lookup) = &self.last_components {
            lookup.emit(lowering, LAST_COMPONENT, leave, |lowering, found| {
                match found {
                    Found::Known(target) => {
                        let row = lowering.blocks.of(target.step).row;
                        lowering.asm.store_imm(Size::U32, R10, TOO_LONG, row as i32);
                        if self.knows_slots {
                            lowering.asm.store_imm(Size::U32, R10, ONLY, target.only as i32);
                        }
                    }
                    Found::InSlot => {
                        lowering.asm.store(Size::U32, R10, TOO_LONG, R0);
                        if self.knows_slots {
                            lookup.emit_only(lowering, R1);
                            lowering.asm.store(Size::U32, R10, ONLY, R1);
                        }
                    }
                }
                lowering.asm.jump(known);
            });
        }
        lowering.asm.bind(leave);
        lowering.begin(elsewhere);
        lowering.asm.bind(known);
    }

    /// Goes where a name goes that is too long, and `otherwise` if its last component does not tell.
    fn emit_too_long(&self, lowering: &mut Lowering<'_>, otherwise: StepId) {
        if let Some(lookup) = &self.last_components {
            let unknown = lowering.asm.new_label();
            self.fetch_last_component(lowering, unknown);
            let candidates = steps(&self.plan.last_components);
            lookup.emit(lowering, LAST_COMPONENT, unknown, |lowering, found| match found {
                Found::Known(target) => lowering.begin(target.step),
                Found::InSlot => lowering.begin_by_row(&candidates),
            });
            lowering.asm.bind(unknown);
        }
        lowering.begin(otherwise);
    }

    /// Fetches the last component, and goes to `longer` if it is longer than all that rules spell out.
    fn fetch_last_component(&self, lowering: &mut Lowering<'_>, longer: Label) {
        // The kernel copies no more than that.
        let looked_at = self.last_components.as_ref().map_or(8, |lookup| lookup.bytes());
        fetch(lowering, LAST_COMPONENT, looked_at, looked_at, BASE_NAME);
        // A negative errno is a large number.
        lowering.asm.jump_if(Cond::Ge, R0, i32::from(looked_at), longer);
    }

    /// Fetches the name and finds its step, or goes to `too_long`.
    fn emit_name(&self, lowering: &mut Lowering<'_>, too_long: Label) {
        let looked_at = self.literals.as_ref().map_or(0, |lookup| lookup.bytes());
        fetch(lowering, NAME, NAME_BYTES, looked_at, 0);
        lowering.asm.jump_if(Cond::Gt, R0, NAME_MAX as i32, too_long);

        let by_row = lowering.asm.new_label();
        let mut found_by_row = BTreeSet::new();
        if self.automaton.is_some() {
            lowering.asm.mov(R7, R0);
        }
        if let Some(literals) = &self.literals {
            let not_spelled_out = lowering.asm.new_label();
            lowering.asm.jump_if(Cond::Ge, R0, i32::from(looked_at), not_spelled_out);
            if self.knows_slots {
                literals.emit_knowing_slot(lowering, NAME, ONLY, not_spelled_out);
                found_by_row.extend(steps(&self.plan.literals));
                lowering.asm.jump(by_row);
            } else {
                literals.emit(lowering, NAME, not_spelled_out, |lowering, found| match found {
                    Found::Known(target) => lowering.begin(target.step),
                    Found::InSlot => {
                        found_by_row.extend(steps(&self.plan.literals));
                        lowering.asm.jump(by_row);
                    }
                });
            }
            lowering.asm.bind(not_spelled_out);
        }
        match (&self.plan.others, self.automaton) {
            (Others::Alike(step), _) => lowering.begin(*step),
            (Others::Prefixes(prefixes, otherwise), _) => {
                for (prefix, step) in prefixes {
                    let other = lowering.asm.new_label();
                    emit_prefix(lowering, prefix, other);
                    lowering.begin(*step);
                    lowering.asm.bind(other);
                }
                lowering.begin(*otherwise);
            }
            (Others::Automaton(_), table) => {
                let Placed { classes, start } = table.expect("placed with the plan");
                lowering.address(R1, NAME);
                lowering.asm.mov(R2, R7);
                lowering.asm.mov(R3, classes as i32);
                lowering.asm.mov(R4, start as i32);
                lowering.routines.call_run_table(&mut lowering.asm, NAME_MAX);
                found_by_row.extend(self.plan.others.steps());
                lowering.asm.jump(by_row);
            }
        }
        if !found_by_row.is_empty() {
            lowering.asm.bind(by_row);
            lowering.begin_by_row(&found_by_row);
        }
    }
}

/// Fetches the name, or what `flags` say of it, to the stack at `at`. As many bytes as are `looked_at` are zero behind it.
fn fetch(lowering: &mut Lowering<'_>, at: i16, bytes: i16, looked_at: i16, flags: i32) {
    // Behind the name and up to 7 zeros the helper leaves the buffer as it is.
    let zeroed = if lowering.features.uninit_stack { looked_at } else { bytes };
    for offset in (0..zeroed).step_by(8) {
        lowering.asm.store_imm(Size::U64, R10, at + offset, 0);
    }
    lowering.asm.mov(R1, R6);
    lowering.address(R2, at);
    lowering.asm.mov(R3, i32::from(bytes));
    lowering.asm.mov(R4, flags);
    lowering.asm.call_helper(helper::SYSCTL_GET_NAME);
}

/// Jumps to `other` unless the name begins with `prefix`. A name that is shorter differs where it ends.
fn emit_prefix(lowering: &mut Lowering<'_>, prefix: &[u8], other: Label) {
    let mut rest = prefix;
    let mut at = NAME;
    for size in [Size::U64, Size::U32, Size::U16, Size::U8] {
        while let Some((word, behind)) = rest.split_at_checked(size.bytes() as usize) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            lowering.asm.load(size, R1, R10, at);
            lowering.asm.load_imm64(R2, u64::from_le_bytes(bytes));
            lowering.asm.jump_if(Cond::Ne, R1, R2, other);
            rest = behind;
            at += size.bytes() as i16;
        }
    }
}

fn steps(names: &[(Vec<u8>, StepId)]) -> BTreeSet<StepId> {
    names.iter().map(|(_, step)| *step).collect()
}
