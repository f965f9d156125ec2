//! The list of knobs that keep 64 bits, compared with what the kernel stores. Every knob of numbers is given its value plus or
//! minus 2^32: a handler of 32 bits rejects that, or stores the old value.

use std::fs;

use knobgate_policy::{Integer, KnobPattern};
use libtest_mimic::Failed;

use crate::stored::{Knob, knobs, spaced, width};

/// Set where all knobs of the machine may be written.
const WHOLE_MACHINE: &str = "KNOBGATE_WHOLE_MACHINE";

/// Compares the list with the knobs of these namespaces; with [`WHOLE_MACHINE`], with all.
///
/// # Errors
///
/// The knobs that differ.
pub(crate) fn list_of_widths() -> Result<(), Failed> {
    let own = if is_whole_machine() { everything() } else { knobs() };
    let mut wrong = Vec::new();
    let (mut wide, mut cut) = (0, 0);
    for knob in &own {
        let Some(before) = knob.read() else { continue };
        let mut more = before.clone();
        more[0] += if more[0] > i128::from(i64::MAX) { -(1 << 32) } else { 1 << 32 };
        let written = fs::write(&knob.path, format!("{}\n", spaced(&more))).is_ok();
        let after = knob.read();
        // Not all take everything again that they have given.
        let _ = fs::write(&knob.path, spaced(&before));
        let listed = width(knob).contains(Integer::new(more[0]).expect("of 65 bits at most"));
        match after {
            Some(after) if written && after[0] == more[0] => {
                wide += 1;
                if !listed {
                    wrong.push(format!("{} keeps 64 bits, and is not listed", knob.name));
                }
            }
            Some(after) if written => {
                cut += u32::from(after == before);
                if listed {
                    wrong.push(format!("{} is listed, and stored {after:?} for {more:?}", knob.name));
                }
            }
            _ => {}
        }
    }
    println!(
        "{} knobs: {wide} keep 64 bits, {cut} accept a number beyond 32 bits and keep the old one",
        own.len()
    );
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Whether all knobs of the machine may be written.
pub(crate) fn is_whole_machine() -> bool {
    std::env::var_os(WHOLE_MACHINE).is_some()
}

/// All knobs of numbers that there are, whoever owns them.
pub(crate) fn everything() -> Vec<Knob> {
    // As many pages as can be had.
    let trouble = KnobPattern::parse("vm.nr_{,overcommit_}hugepages{,_mempolicy}").expect("a pattern");
    let names = knobgate_kernel::knob_names().expect("there is a /proc/sys");
    let names = names.into_iter().filter(|name| !trouble.matches(name.as_bytes()));
    names.map(Knob::new).filter(|knob| knob.read().is_some()).collect()
}
