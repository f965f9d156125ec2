//! The commands that enforce policies, on the running kernel.
//!
//! The tests write only in their own network, UTS and IPC namespaces, and attach no program to the root of the hierarchy.

mod agent;
mod agent_clock;
mod agent_containerd;
mod agent_docker;
mod agent_faults;
mod agent_kills;
mod agent_machine;
mod agent_memory;
mod agent_plugin_kills;
mod agent_podman;
mod agent_reloads;
mod agent_root;
mod agent_service;
mod agent_upgrades;
mod agent_watches;
mod attachments;
mod bpf_tokens;
mod configuration_files;
mod containers;
mod departures;
mod drifting;
mod engine_changes;
mod engine_documents;
mod engines;
mod examples;
mod hook_machine;
mod hostile;
mod in_place;
mod lacking;
mod learning;
mod machine;
mod many;
mod mounted;
mod no_process;
mod nri;
mod objects;
mod oci_hook_refusals;
mod oci_hooks;
mod off;
mod pinned_programs;
mod pins;
mod privileges;
mod readers;
mod reviewing;
mod runs;
mod runtimes;
mod security_modules;
mod setting;
mod signals;
mod simulations;
mod sources;
mod threaded;
mod threats;
mod top;
mod verdicts;
mod watching;
mod ways_out;
mod writers;

use std::process::ExitCode;

use knobgate_testing::Suite;
use setting::{callbacks, dropped_rewrites, rewriting, rewriting_lists};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [role, arguments @ ..] = arguments.as_slice()
        && let Some(ended) = [
            agent_faults::play,
            bpf_tokens::play,
            departures::play,
            lacking::play,
            no_process::play,
            threaded::play,
            threats::play,
            ways_out::play,
            writers::play,
        ]
        .into_iter()
        .find_map(|play| play(role, arguments))
    {
        return ended;
    }
    if let Some(ended) = knobgate_testing::in_private_mount_namespace() {
        return ended;
    }
    let tests = [
        attachments::TESTS,
        departures::ANYWHERE,
        examples::TESTS,
        hostile::TESTS,
        in_place::TESTS,
        lacking::TESTS,
        machine::TESTS,
        many::TESTS,
        no_process::TESTS,
        objects::TESTS,
        pinned_programs::TESTS,
        pins::TESTS,
        runs::TESTS,
        signals::TESTS,
        simulations::TESTS,
        threaded::TESTS,
        &threats::tests(),
        verdicts::TESTS,
        ways_out::TESTS,
    ];
    let suite = Suite::new(&tests.concat())
        .requiring(knobgate_testing::process_tracking, departures::TESTS)
        .requiring(rewriting, &[runs::REWRITING, writers::TESTS].concat())
        .requiring(rewriting_lists, runs::REWRITING_LISTS)
        .requiring(lacking::locked_memory, lacking::LOCKED)
        .requiring(
            learning::threads_of_events,
            &[learning::TESTS, drifting::TESTS, reviewing::TESTS].concat(),
        )
        .requiring(callbacks, objects::CALLBACKS)
        .requiring(objects::btf, objects::RELOCATED)
        .requiring(machine::tokens, &[machine::TOKENS, bpf_tokens::TESTS].concat())
        .requiring(mounted::binfmt_misc, mounted::TESTS)
        .requiring(watching::sends_events, &[hostile::EVENTS, watching::TESTS].concat())
        .requiring(watching::tells_outcomes, watching::OBSERVED)
        .requiring(readers::whole_machine, readers::ON_THE_ROOT)
        .requiring(dropped_rewrites, runs::DROPPED_REWRITES)
        .and(agent_service::with_their_own_agent())
        .and(readers::with_their_own_bpffs())
        .and(agent::with_agents())
        .and(agent_clock::on_the_whole_machine())
        .and(agent_containerd::with_containerd())
        .and(agent_docker::with_docker())
        .and(agent_faults::with_agents())
        .and(agent_kills::with_agents())
        .and(agent_memory::with_agents())
        .and(agent_plugin_kills::with_containerd())
        .and(agent_podman::with_podman())
        .and(agent_reloads::with_agents())
        .and(agent_root::on_the_whole_machine())
        .and(agent_upgrades::with_agents())
        .and(agent_watches::with_agents())
        .and(configuration_files::with_tools())
        .and(containers::with_runc())
        .and(engine_changes::with_engines())
        .and(engine_documents::with_engines())
        .and(engines::with_engines())
        .and(runtimes::with_engines())
        .and(oci_hooks::with_their_own_bpffs())
        .and(oci_hook_refusals::with_their_own_bpffs())
        .and(privileges::tests())
        .and(off::with_their_own_bpffs())
        .and(sources::with_their_own_bpffs())
        .and(nri::tests())
        .and(security_modules::tests())
        .and(Suite::default().requiring(watching::sends_events, top::TESTS).using("tmux"));
    let suite = drifting::with_systemd(writers::with_others_programs(suite));
    no_process::with_limit(threats::with_tests(suite)).mostly_waiting().run()
}
