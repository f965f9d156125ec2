//! Compiled programs against [`evaluate`](knobgate_policy::evaluate()) on the running kernel and on the model of its hook:
//! random policies, random accesses to real knobs, and no difference in verdict, errno, return value, stored value or
//! counters. And what the compiler knows of kernels against what they do.

mod agreement;
mod events;
mod knobs;
mod large;
mod long_values;
mod normalised;
mod owners;
mod recording_knob;
mod reserved_ports;
mod similar;
mod sizes;
mod stored;
mod supported;
mod ways;
mod widths;

use std::process::ExitCode;

use knobgate_hook::Profile;
use knobgate_kernel::probe_cached;
use knobgate_testing::{PRIVATE_KNOBS, Suite, Test, TestNamespaces};

/// These write knobs of their own namespaces.
const ISOLATED: &[Test] = &[
    ("the_kernel_and_the_model_decide_as_evaluate_does", agreement::random_policies),
    ("what_is_stored_satisfies_the_rule", stored::stored_values),
    ("a_set_of_numbers_is_stored_as_it_was_judged", reserved_ports::reserved_ports),
];

/// Programs send these.
const EVENTS: &[Test] = &[("each_event_says_what_evaluate_decides", events::random_policies)];

/// Interpreted conditions take a loop.
const LARGE: &[Test] =
    &[("policies_that_are_too_much_inlined_are_decided_as_evaluate_does", agreement::large_policies)];

/// These write all knobs that a user namespace can own, or all of the machine.
const LISTS: &[Test] = &[
    ("what_is_stored_in_64_bits_is_listed", widths::list_of_widths),
    ("what_is_stored_as_another_number_is_listed", normalised::list_of_normalisations),
];

/// Programs can loop over a value.
const LONG: &[Test] =
    &[("accesses_with_long_values_are_decided_at_the_same_time", long_values::accesses_at_the_same_time)];

/// Programs can find out who owns a knob.
const OWNERS: &[Test] = &[(
    "a_descriptor_is_judged_by_the_network_namespace_of_its_knob",
    owners::descriptors_of_another_namespace,
)];
const OWNERS_ON_HOST: &[Test] =
    &[("the_knobs_of_the_host_are_told_from_those_of_a_network_of_its_own", owners::descriptors_of_the_host)];

const SIZES: &[Test] = &[
    (
        "a_hundred_rules_with_globs_and_conditions_load_as_the_oldest_kernels_want_them",
        sizes::a_hundred_globs,
    ),
    ("a_thousand_rules_with_conditions_load", sizes::a_thousand_conditions),
    ("ten_thousand_rules_are_no_more_work_for_the_verifier_than_a_thousand", sizes::ten_thousand_rules),
    ("the_verifiers_work_is_estimated_within_a_factor_of_two", sizes::estimates),
    ("the_verifier_knows_the_lines_of_the_policy", sizes::lines),
];

fn no_events(_: &Profile) -> Option<String> {
    let lacks = probe_cached().event_features().is_none();
    lacks.then(|| "programs cannot send events".to_owned())
}

fn no_owners(_: &Profile) -> Option<String> {
    let lacks = probe_cached().features().knob_owner.is_none();
    lacks.then(|| "programs cannot find out which network namespace owns a knob".to_owned())
}

fn no_long_values(_: &Profile) -> Option<String> {
    let lacks = !probe_cached().features().long_values();
    lacks.then(|| "programs cannot loop over a value".to_owned())
}

fn no_loop(profile: &Profile) -> Option<String> {
    let lacks = !profile.features().bpf_loop;
    lacks.then(|| "programs have no bpf_loop, which interpreted conditions need".to_owned())
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(stored::WRITER) {
        return stored::run_writer();
    }
    if std::env::args().nth(1).as_deref() == Some(long_values::PROCESS) {
        return long_values::run_process();
    }
    let owners: TestNamespaces = if widths::is_whole_machine() {
        &[]
    } else {
        &["--user", "--map-root-user", "--net", "--uts", "--ipc"]
    };
    knobgate_testing::in_private_mount_namespace().unwrap_or_else(|| {
        let isolated = Suite::new(ISOLATED)
            .requiring(no_loop, LARGE)
            .requiring(no_long_values, LONG)
            .isolated(PRIVATE_KNOBS);
        let events = Suite::default().requiring(no_events, EVENTS).isolated(PRIVATE_KNOBS);
        let of_netns = Suite::default().requiring(no_owners, OWNERS).isolated(PRIVATE_KNOBS);
        let of_netns = of_netns.and(Suite::default().requiring(no_owners, OWNERS_ON_HOST));
        let lists = Suite::new(LISTS).isolated(owners);
        isolated.and(events).and(of_netns).and(lists).and(Suite::new(SIZES)).run()
    })
}
