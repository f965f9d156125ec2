//! The tests on the running kernel. They run in a mount namespace with its own bpffs and `/run`, in cgroups of their
//! own.

mod attachments;
mod cgroups;
mod descendants;
mod fixtures;
mod guarded;
mod guards;
mod linked_objects;
mod links;
mod loads;
mod machines;
mod map_types;
mod replacements;
mod single_threaded;
mod spawns;
mod tracked;

use std::process::ExitCode;

use knobgate_testing::{Suite, Test};

fn main() -> ExitCode {
    if let Some(ended) = knobgate_testing::in_private_mount_namespace() {
        return ended;
    }
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [role, cgroup] if role == guards::HOLDER => guards::hold(cgroup.as_ref()),
        [role, cgroup] if role == descendants::STARTER => return descendants::start(cgroup.as_ref()),
        [role, cgroup] if role == descendants::THREADED => {
            return descendants::leave_with_threads(cgroup.as_ref());
        }
        [role, without_first] if role == guarded::THREADS => {
            return guarded::start_threads(&without_first.to_string_lossy());
        }
        [role, parent] if role == cgroups::CLEARER => return cgroups::clear_stale(parent.as_ref()),
        [role, parent] if role == cgroups::HOLDER => return cgroups::hold_scratch(parent.as_ref()),
        [role, pid] if role == cgroups::FIND => return cgroups::find(&pid.to_string_lossy()),
        [role, case, cgroup] if role == single_threaded::STARTER => {
            single_threaded::start(&case.to_string_lossy(), cgroup.as_ref())
        }
        _ => {}
    }
    let tests = [
        attachments::TESTS,
        cgroups::TESTS,
        guards::TESTS,
        links::TESTS,
        loads::TESTS,
        machines::TESTS,
        map_types::TESTS,
        single_threaded::TESTS,
        replacements::TESTS,
        spawns::TESTS,
    ];
    Suite::new(&tests.concat())
        .requiring(knobgate_testing::process_tracking, descendants::TESTS)
        .requiring(descendants::version_one_too, descendants::VERSION_ONE)
        .requiring(map_types::no_task_storage, map_types::TASK_STORAGE)
        .requiring(map_types::no_cgrp_storage, map_types::CGRP_STORAGE)
        .requiring(map_types::no_timers, map_types::TIMER)
        .requiring(map_types::no_bloom_filter, map_types::BLOOM_FILTER)
        .and(guarded::tests())
        .and(linked_objects::tests())
        .run()
}
