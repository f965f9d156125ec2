//! Compiled programs and the verifiers of older kernels.

use std::ops::Range;

use knobgate_bpf::{Callee, Features, Operation, Program, Reg, Size, helper_ids};
use knobgate_compiler::{CompileError, compile, compile_inlining};
use knobgate_hook::{LoadOptions, LoadedProgram, Profile};
use knobgate_policy::{CheckOptions, PolicyFile, Source, parse};

/// Rules with each action and with conditions of each kind.
const RULES: [&str; 14] = [
    "set write vm.* to \"1\" if uid == 7 and pos == 0",
    "allow write vm.* if old >= 13",
    "deny write vm.* if new <= old",
    "clamp write vm.* to 1..9 if new[1] < old[2] or count(old) == 2",
    "allow write vm.* if new matches \"a*b\" or old contains \"c\"",
    "clamp write vm.e to [1..5, 7.., ..9] if new == \"a\"",
    "deny(EROFS) write vm.a",
    "set write vm.b to \"10\"",
    "ignore write vm.c",
    "clamp write vm.d to 1..5",
    "clamp write vm.e to [1..5, 7.., ..9]",
    "allow read write vm.x",
    "allow write vm.f if ranges(new) in 1..7",
    concat!(
        "set write vm.f to \"",
        "0123456789012345678901234567890123456789012345678901234567890123456789",
        "0123456789012345678901234567890123456789012345678901234567890123456789\"",
    ),
];

fn policy(rules: &[&str]) -> PolicyFile {
    let text = format!("policy p\n{}\n", rules.join("\n"));
    parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy")
}

/// All kernels, and one with loops on which nothing can be read from the stack that was not stored there, such as Linux 6.2.
fn profiles() -> impl Iterator<Item = Profile> {
    let strict = Profile::ALL.into_iter().find(|profile| profile.name == "6.1.170").map(|mut profile| {
        profile.uninit_above_stored = false;
        profile
    });
    Profile::ALL.into_iter().chain(Some(strict.expect("the kernel")))
}

#[test]
fn the_modelled_verifier_of_each_kernel_accepts_programs_compiled_for_it() {
    let policies = RULES.iter().map(|rule| policy(&[rule])).chain([policy(&RULES)]);
    for file in policies {
        for profile in profiles() {
            // For kernels that drop rewrites, rewrites are compiled to denials. Test that their verifiers accept
            // rewrites too.
            let features = Features { set_new_value: true, ..profile.features() };
            let partly = [0, 1, 3].map(|inlined| compile_inlining(&file, &features, inlined));
            let partly = partly.into_iter().filter(|_| features.bpf_loop);
            for compiled in partly.chain([compile(&file, &features)]) {
                let program = compiled.expect("a program").into_parts().0;
                let loaded = LoadedProgram::load(&program, &profile, &LoadOptions::default());
                assert_eq!(loaded.err(), None, "{profile}: {}", file.source().text());
            }
        }
    }
}

/// Rules that look at the network namespace of the knob, with other operands and alone.
const NETNS_RULES: [&str; 5] = [
    "deny(EROFS) write net.core.* if netns == host",
    "clamp write net.core.* to 1..9 if uid == 7 and netns != host or new <= old",
    "allow write net.** if not (netns != host or gid == 1)",
    "allow read net.** if old == 1 or netns == host",
    // Much work for a verifier that tells numbers on the stack from other bytes.
    "clamp write net.**.a, net.** to [31..16383, 22682..33565, 15.., -6989283095199662890..1125904657286889488, \
     3887850884210010309..6700138067195257792, 10..524289, 1..5746810232841230518] if netns == host",
];

#[test]
fn the_network_namespace_of_a_knob_is_found_on_kernels_that_let_programs_read_their_memory() {
    let policies = NETNS_RULES.iter().map(|rule| policy(&[rule])).chain([policy(&NETNS_RULES)]);
    for file in policies {
        for profile in profiles() {
            let features = profile.features();
            let can_read = profile.has_helper(helper_ids::PROBE_READ_KERNEL);
            let partly = [0, 1, 3].map(|inlined| compile_inlining(&file, &features, inlined));
            let partly = partly.into_iter().filter(|_| features.bpf_loop);
            for compiled in partly.chain([compile(&file, &features)]) {
                let program = match compiled {
                    Err(CompileError::NotOnThisKernel { rule: 0, operand: "netns" }) if !can_read => continue,
                    compiled => compiled.expect("a program").into_parts().0,
                };
                assert!(can_read, "{profile}");
                let loaded = LoadedProgram::load(&program, &profile, &LoadOptions::default());
                assert_eq!(loaded.err(), None, "{profile}: {}", file.source().text());
                if !profile.uninit_stack {
                    assert_eq!(unstored_reads(&program), Vec::<String>::new(), "{profile}");
                }
            }
            // Without the offsets of a kernel there is no program, whatever else it can do.
            let unknown = compile(&file, &Features { knob_owner: None, ..features });
            assert!(
                matches!(unknown, Err(CompileError::NotOnThisKernel { operand: "netns", .. })),
                "{profile}"
            );
        }
    }
}

/// Two rules do the same, but only one of them is followed by a rule that looks at values.
const SHARED: [&str; 4] = [
    "allow write vm.a if uid == 1",
    "allow write vm.b if uid == 2",
    "allow write vm.a if new <= old",
    "allow write vm.b if pos == 0",
];

/// The verifier also follows paths that no access takes, such as one that reads the numbers of a value that is text or
/// was not fetched. On kernels that reject reads of uninitialised stack, every such path has to store first.
#[test]
fn fetched_values_are_stored_on_every_path_before_they_are_read() {
    let each = RULES.iter().map(|rule| policy(&[rule]));
    for file in each.chain([policy(&RULES), policy(&SHARED)]) {
        for kernel in ["5.10", "5.15", "6.1.170"] {
            let profile: Profile = kernel.parse().expect("a profile");
            assert!(!profile.uninit_stack);
            let program = compile(&file, &profile.features()).expect("a program").into_parts().0;
            let unstored = unstored_reads(&program);
            assert_eq!(unstored, Vec::<String>::new(), "{kernel}: {}", file.source().text());
        }
    }
}

/// The place of a value's shape and numbers on the main function's stack.
const NUMBERS: Range<i16> = -176..-32;

/// Which bytes of [`NUMBERS`] are stored, by their offset.
type Stored = [bool; NUMBERS.end.abs_diff(NUMBERS.start) as usize];

/// The instructions of the main function that read bytes of [`NUMBERS`] which are not stored on every path, whatever
/// the conditions of jumps are.
fn unstored_reads(program: &Program) -> Vec<String> {
    let mut unstored = Vec::new();
    let code = function(program, 0);
    let mut states: Vec<Option<Stored>> = vec![None; code.end];
    states[0] = Some([false; NUMBERS.end.abs_diff(NUMBERS.start) as usize]);
    for (insn, operation) in operations(program, code) {
        // All jumps are forward, so every predecessor has been seen.
        let mut stored = states[insn].expect("a predecessor");
        let next = insn + operation.slots();
        let target = |off: i32| (insn as i64 + 1 + i64::from(off)) as usize;
        let mut targets = vec![next];
        match operation {
            Operation::Load { size, base: Reg::R10, off, .. }
                if places(off, size).into_iter().any(|place| !stored[place]) =>
            {
                unstored.push(format!("{insn}: {operation}"));
            }
            Operation::Store { size, base: Reg::R10, off, .. } => {
                places(off, size).into_iter().for_each(|place| stored[place] = true);
            }
            Operation::Call { callee: Callee::Function(off) } => {
                let called = stored_before_jumps(program, target(off));
                called.into_iter().for_each(|place| stored[place] = true);
            }
            Operation::Jump { off, .. } => targets = vec![target(off)],
            Operation::JumpIf { off, .. } => targets.push(target(off.into())),
            Operation::Exit => targets.clear(),
            _ => {}
        }
        for target in targets {
            let there = states[target].get_or_insert(stored);
            there.iter_mut().zip(stored).for_each(|(there, stored)| *there &= stored);
        }
    }
    unstored
}

/// What the function at `start` stores before its first jump or call. It has the main function's frame pointer in r7.
fn stored_before_jumps(program: &Program, start: usize) -> Vec<usize> {
    operations(program, function(program, start))
        .map(|(_, operation)| operation)
        .take_while(|operation| {
            !matches!(operation, Operation::JumpIf { .. } | Operation::Jump { .. } | Operation::Call { .. })
        })
        .flat_map(|operation| match operation {
            Operation::Store { size, base: Reg::R7, off, .. } => places(off, size),
            _ => Vec::new(),
        })
        .collect()
}

/// The bytes of [`NUMBERS`] that a load or store covers, by their offset.
fn places(off: i16, size: Size) -> Vec<usize> {
    let bytes = off..off + size.bytes() as i16;
    bytes.filter(|byte| NUMBERS.contains(byte)).map(|byte| (byte - NUMBERS.start) as usize).collect()
}

/// The instructions of the function that starts at `start`.
fn function(program: &Program, start: usize) -> Range<usize> {
    let later = program.functions.iter().map(|function| function.start).filter(|later| *later > start);
    start..later.min().unwrap_or(program.insns.len())
}

fn operations(program: &Program, code: Range<usize>) -> impl Iterator<Item = (usize, Operation)> {
    let mut insn = code.start;
    std::iter::from_fn(move || {
        let at = insn;
        let operation =
            (at < code.end).then(|| Operation::at(&program.insns, at).expect("an instruction"))?;
        insn += operation.slots();
        Some((at, operation))
    })
}
