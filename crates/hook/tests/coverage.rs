//! Which source lines have run.

use knobgate_hook::prelude::*;

fn hook_with(object: &[u8], program: &str) -> Result<(Hook, ProcessId), Error> {
    let mut hook = Hook::default();
    let loaded = hook.load_object(object)?;
    hook.attach_program(hook.root(), &loaded, program)?;
    let process = hook.spawn(hook.root(), Process::default())?;
    Ok((hook, process))
}

#[test]
fn a_tracefile_has_functions_and_lines() -> Result<(), Error> {
    let (mut hook, process) = hook_with(include_bytes!("../../../examples/limit/limit.bpf.o"), "limit")?;
    hook.read_sysctl(process, "net.core.somaxconn")?;
    hook.write_sysctl(process, "net.core.somaxconn", "128")?;
    let coverage = hook.coverage();
    assert_eq!(
        coverage.to_lcov(),
        "TN:\nSF:./../limit/limit.bpf.c\nFN:6,limit\nFNDA:2,limit\nFNF:1\nFNH:1\nDA:6,2\nDA:8,2\nDA:11,2\nDA:13,1\nDA:14,1\n\
         DA:17,1\nDA:18,1\nDA:20,0\nDA:22,2\nLF:9\nLH:8\nend_of_record\n"
    );
    assert_eq!(coverage.missed().collect::<Vec<_>>(), [("./../limit/limit.bpf.c", 20)]);
    assert_eq!(coverage.line("./../limit/limit.bpf.c", 9), None, "no instruction belongs to a declaration");
    Ok(())
}

#[test]
fn programs_that_are_called_count_too() -> Result<(), Error> {
    let (mut hook, process) =
        hook_with(include_bytes!("../../../examples/objects/several.bpf.o"), "hand_on")?;
    hook.write_sysctl(process, "kernel.domainname", "y")?;
    hook.write_sysctl(process, "kernel.domainname", "y")?;
    hook.read_sysctl(process, "kernel.domainname")?;
    let coverage = hook.coverage();
    let line = |line| coverage.line("./several.bpf.c", line);
    assert_eq!(line(24), Some(0), "another program, which is not attached");
    assert_eq!(line(30), Some(3));
    assert_eq!(line(32), Some(1), "a successful tail call does not return");
    assert_eq!(
        line(40),
        Some(2),
        "the program that is called, which is loaded twice: alone and into the array"
    );
    Ok(())
}

#[test]
fn counts_of_two_hooks_are_added_up() -> Result<(), Error> {
    let played = |object: &[u8], program: &str| -> Result<_, Error> {
        let (mut hook, process) = hook_with(object, program)?;
        hook.read_sysctl(process, "net.core.somaxconn")?;
        Ok(hook.coverage())
    };
    let limit = include_bytes!("../../../examples/limit/limit.bpf.o");
    let mut coverage = played(limit, "limit")?;
    coverage.merge(played(limit, "limit")?);
    coverage.merge(played(include_bytes!("../../../examples/objects/several.bpf.o"), "hand_on")?);
    assert_eq!(coverage.line("./../limit/limit.bpf.c", 6), Some(2));
    assert_eq!(coverage.line("./several.bpf.c", 30), Some(1));
    assert!(coverage.to_lcov().contains("FN:6,limit\nFNDA:2,limit\n"));
    Ok(())
}

#[test]
fn programs_without_lines_have_no_coverage() {
    let mut hook = Hook::default();
    hook.load(|_: &mut knobgate_hook::Invocation<'_>| 1);
    assert_eq!(hook.coverage().to_lcov(), "");
}
