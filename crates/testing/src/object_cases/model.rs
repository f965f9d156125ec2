//! The cases on the hook in user space.

use knobgate_bpf::Object;
use knobgate_hook::attach::Options;
use knobgate_hook::handler::UlongVec;
use knobgate_hook::{AccessMode, Hook, Knob, Knobs, LoadOptions, LoadedProgram, Process, ProcessId, Profile};

use super::{Access, Case, difference, padded};

/// Runs a case on the model of a kernel, and returns the program with the final contents of its maps.
pub fn play_on_model(case: &Case, profile: &Profile) -> LoadedProgram {
    let name = case.program.unwrap_or(case.object);
    let object = Object::read(case.bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let program = object.program(case.program).unwrap_or_else(|error| panic!("{name}: {error}"));
    let program = LoadedProgram::load(&program, profile, &LoadOptions::default())
        .unwrap_or_else(|rejection| panic!("{name}: {rejection}"));
    for (map, key, value) in case.entries {
        let map = program.map(map).expect("the map");
        let (key, value) = (padded(key, map.def().key_size), padded(value, map.def().value_size));
        map.update(&key, &value, 0).expect("room for it");
    }
    let mut hook = Hook::new(*profile, Knobs::defaults_for(profile));
    let tcp_mem = Knob::new(UlongVec::new([22_938, 30_584, 45_876]));
    hook.knobs.add("net/ipv4/tcp_mem", tcp_mem).expect("it is not there yet");
    let cgroup = hook.create_cgroup(hook.root(), "test").expect("a cgroup");
    let id = hook.load(program.clone());
    hook.link(cgroup, id, Options::default()).expect("a link");
    let process = hook.spawn(cgroup, Process::default()).expect("a process");
    for (access, expected) in case.accesses {
        let (returned, data) = perform(&mut hook, process, *access);
        if let Some(difference) = difference(*expected, returned, &data) {
            panic!("{name}, {access:?}: {difference}");
        }
    }
    program
}

fn perform(hook: &mut Hook, process: ProcessId, access: Access) -> (i64, Vec<u8>) {
    let outcome = match access {
        Access::Read(knob) => hook.read_knob(process, knob),
        Access::Write(knob, bytes, position) => {
            let file = hook.open(process, knob, AccessMode::Write).expect("it can be opened");
            hook.pwrite(process, &file, bytes, position)
        }
    };
    let outcome = outcome.unwrap_or_else(|fault| panic!("{access:?}: {fault}"));
    (outcome.returned, outcome.data)
}
