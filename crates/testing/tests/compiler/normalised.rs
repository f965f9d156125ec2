//! The list of knobs that store another number than was written, compared with what the kernel stores. Each number of each
//! knob is replaced by odd ones; afterwards the knob holds these, or what the list says.

use std::collections::BTreeSet;
use std::fs;

use knobgate_policy::{Integer, KnobPattern, Normalisation, known_normalisation};
use libtest_mimic::Failed;

use crate::stored::{Knob, own, spaced, width};
use crate::ways::{Way, write};
use crate::widths::{everything, is_whole_machine};

/// What is not written, although it could be, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("kernel.{modules,kexec_load}_disabled", "nobody can set it back"),
    ("kernel.unprivileged_bpf_disabled", "1 stays until the next boot"),
    ("kernel.yama.ptrace_scope", "3 stays until the next boot"),
    ("kernel.kexec_load_limit_{panic,reboot}", "it can only become less"),
    ("kernel.stack_tracer_enabled", "every function of the kernel is traced, which takes a guest a minute"),
    ("kernel.ns_last_pid", "every new process changes it"),
    ("kernel.{panic_on_warn,warn_limit}", "the next warning would end the machine"),
    ("vm.overcommit_{memory,ratio,kbytes}", "this process could get no more memory, to set it back"),
    ("vm.max_map_count", "the same"),
];

/// What holds what it held, whatever is written, where these tests run; and why.
const KEPT: &[(&str, &str)] = &[
    ("kernel.{,nmi_,soft_}watchdog", "there is no such watchdog"),
    ("kernel.tracepoint_printk", "the kernel was not started with tp_printk"),
];

fn patterns(table: &[(&str, &str)]) -> Vec<KnobPattern> {
    table.iter().map(|(pattern, _)| KnobPattern::parse(pattern).expect("a pattern")).collect()
}

/// Compares the list with the knobs of these namespaces, or with all of the machine.
///
/// # Errors
///
/// The knobs that hold neither what was written nor what the list says.
pub(crate) fn list_of_normalisations() -> Result<(), Failed> {
    let (left_out, kept) = (patterns(LEFT_OUT), patterns(KEPT));
    let mut knobs = if is_whole_machine() { everything() } else { own() };
    knobs.retain(|knob| !left_out.iter().any(|pattern| pattern.matches(knob.name.as_bytes())));
    let (mut wrong, mut others) = (Vec::new(), BTreeSet::new());
    let (mut writes, mut as_written, mut nothing) = (0, 0, 0);
    for knob in &knobs {
        let is_kept = kept.iter().any(|pattern| pattern.matches(knob.name.as_bytes()));
        let Some(held) = knob.read() else { continue };
        for written in odd(&held) {
            let Some(before) = knob.read() else { break };
            // By one write: what a handler leaves of it would be another one.
            let text = format!("{}\n", spaced(&written));
            let succeeded = write(&knob.path, text.as_bytes(), Way::Whole).is_ok();
            let after = knob.read();
            // Not all take everything again that they have given.
            let _ = fs::write(&knob.path, spaced(&before));
            let (true, Some(after)) = (succeeded, after) else { continue };
            writes += 1;
            // Some succeed with what no int holds, and store nothing.
            let is_no_int = written.iter().any(|&number| number > i32::MAX.into());
            if after == written {
                as_written += 1;
            } else if after == before && (is_kept || is_no_int) {
                nothing += 1;
            } else if has_room(knob, &written) && is_listed(knob, &before, &written, &after) {
                others.insert(&knob.name);
            } else if has_room(knob, &written) {
                let given = spaced(&written);
                wrong
                    .push(format!("{} held {before:?}, was given {given:?}, and holds {after:?}", knob.name));
            }
        }
    }
    println!(
        "{} knobs, {writes} writes succeeded: {as_written} stored as written, {nothing} ignored; listed, and stored as other \
         numbers: {}",
        knobs.len(),
        others.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    );
    if writes < 100 {
        wrong.push(format!("only {writes} writes succeeded"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// What is written to a knob that holds `held`: each number of it another one, and two the other way round.
fn odd(held: &[i128]) -> Vec<Vec<i128>> {
    const ODD: [i128; 4] = [0, -1, 1 << 31, -(1 << 31)];
    let mut others = Vec::new();
    for (element, number) in held.iter().enumerate() {
        // Of the last two, one is even.
        for other in ODD.into_iter().chain([number + 1, number + 2]) {
            let mut numbers = held.to_vec();
            numbers[element] = other;
            others.push(numbers);
        }
    }
    if let [first, second] = *held {
        others.extend([vec![second, first], vec![first.max(second) + 1, first.min(second)]]);
    }
    others.retain(|other| other != held);
    others
}

/// Whether the knob's width has room for each of these, so that a rule looks at them.
fn has_room(knob: &Knob, numbers: &[i128]) -> bool {
    let width = width(knob);
    numbers.iter().all(|&number| Integer::new(number).is_some_and(|number| width.contains(number)))
}

/// Whether the list says that a knob which held `before` holds `after` when `written` was written.
fn is_listed(knob: &Knob, before: &[i128], written: &[i128], after: &[i128]) -> bool {
    let literal = KnobPattern::parse(&knob.name).expect("a name is a pattern");
    let each = |is_as_listed: &dyn Fn(i128, i128, i128) -> bool| {
        let numbers = before.iter().zip(written).zip(after);
        before.len() == after.len()
            && numbers.into_iter().all(|((&before, &written), &after)| is_as_listed(before, written, after))
    };
    match known_normalisation(&literal) {
        None | Some(Normalisation::Text | Normalisation::WordSet) => false,
        Some(Normalisation::Milliseconds) => each(&|_, written, after| {
            written.signum() * after >= written.abs() && (after - written).abs() < 10
        }),
        Some(Normalisation::UserTicks) => each(&|_, written, after| (written - 1..=written).contains(&after)),
        Some(Normalisation::PowersOfTwo { least }) => each(&|_, written, after| {
            let stored = u64::try_from(written).map(|written| written.max(least.into()).next_power_of_two());
            stored.is_ok_and(|stored| after == stored.into())
        }),
        Some(Normalisation::Booleans) => each(&|_, written, after| after == i128::from(written != 0)),
        // What is read is no number either.
        Some(Normalisation::CpuMask) => true,
        Some(Normalisation::AtMost(_)) => each(&|_, written, after| (0..=written).contains(&after)),
        Some(Normalisation::Own(how)) => match literal.to_string().as_str() {
            "kernel.tainted" => each(&|before, written, after| {
                let added = after & !before;
                after & before == before && added & !written == 0
            }),
            "kernel.usermodehelper.bset" | "kernel.usermodehelper.inheritable" => {
                each(&|before, written, after| after == before & written)
            }
            "kernel.sched_rr_timeslice_ms" => {
                each(&|_, written, after| after == if written <= 0 { 100 } else { written })
            }
            "kernel.auto_msgmni"
            | "kernel.random.urandom_min_reseed_secs"
            | "kernel.random.write_wakeup_threshold" => after == before,
            "vm.lowmem_reserve_ratio" => each(&|_, written, after| after == written.max(0)),
            "net.netfilter.nf_conntrack_buckets" => {
                each(&|_, written, after| after == (written as u128).next_multiple_of(512) as i128)
            }
            "net.ipv4.ping_group_range" => written[0] > written[1] && after == [1, 0],
            name => panic!("no test for {name}, which has a rule of its own: {how}"),
        },
    }
}
