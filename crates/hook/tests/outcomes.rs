//! Tests as authors of programs write them: names of knobs, outcomes, objects, maps and variables.

use knobgate_bpf::{Assembler, Program, Reg, Size, write_object};
use knobgate_hook::Invocation;
use knobgate_hook::attach::{AttachMode, Options};
use knobgate_hook::prelude::*;

const WATCH: &[u8] = include_bytes!("../../../examples/objects/watch.bpf.o");
const SEVERAL: &[u8] = include_bytes!("../../../examples/objects/several.bpf.o");
const NAMES: &[u8] = include_bytes!("../../../examples/objects/names.bpf.o");
const KINDS: &[u8] = include_bytes!("../../../examples/objects/kinds.bpf.o");

/// Attaches a closure to the root.
fn attach(
    hook: &mut Hook,
    program: impl Fn(&mut Invocation<'_>) -> u64 + Send + Sync + 'static,
) -> Result<ProgramId, Error> {
    let program = hook.load(program);
    hook.attach(hook.root(), program, AttachMode::Multi, Options::default())?;
    Ok(program)
}

/// What a write of `value` to a knob comes to, if this program runs.
fn written(
    kernel: &str,
    program: impl Fn(&mut Invocation<'_>) -> u64 + Send + Sync + 'static,
    name: &str,
    value: &str,
) -> Result<Outcome, Error> {
    let mut hook = Hook::new(kernel.parse()?, Knobs::defaults());
    attach(&mut hook, program)?;
    let process = hook.spawn(hook.root(), Process::default())?;
    hook.write_sysctl(process, name, value)
}

#[test]
fn an_outcome_says_who_decided() -> Result<(), Error> {
    let with_retval = |retval| {
        move |access: &mut Invocation<'_>| {
            access.retval = retval;
            1
        }
    };
    let replace = |value: &'static [u8]| {
        move |access: &mut Invocation<'_>| {
            access.replace_new(value);
            1
        }
    };
    let swappiness = "vm.swappiness";
    assert_eq!(written("6.18", |_| 1, swappiness, "70\n")?, Written(3));
    assert_eq!(written("6.18", |_| 1, swappiness, "")?, Written(0));
    assert_eq!(written("6.18", |_| 0, swappiness, "70")?, Denied(Errno::EPERM));
    assert_eq!(written("6.18", with_retval(7), swappiness, "70")?, Returned(7));
    assert_eq!(written("6.18", with_retval(-4000), swappiness, "70")?, Returned(-4000));
    assert_eq!(written("6.18", replace(b"5"), swappiness, "70")?, Replaced("5".into()));
    // This kernel drops replacements, and this one has no return values.
    assert_eq!(written("6.8", replace(b"5"), swappiness, "70")?, Written(2));
    assert_eq!(written("5.15", with_retval(-22), swappiness, "70")?, Written(2));
    // The same errno, from a program, from the handler, and from the handler because of what a program has set.
    assert_eq!(written("6.18", with_retval(-22), swappiness, "70")?, Denied(Errno::EINVAL));
    assert_eq!(written("6.18", |_| 1, swappiness, "201")?, Failed(Errno::EINVAL));
    assert_eq!(written("6.18", replace(b"201"), swappiness, "70")?, Failed(Errno::EINVAL));
    // Before any program.
    assert_eq!(written("6.18", |_| 0, "kernel.ostype", "x")?, Failed(Errno::EACCES));
    Ok(())
}

#[test]
fn a_read_has_outcomes_too() -> Result<(), Error> {
    let mut hook = Hook::default();
    let process = hook.spawn(hook.root(), Process::default())?;
    assert_eq!(hook.read_sysctl(process, "vm.swappiness")?, Read("60\n".into()));
    assert_eq!(hook.read_sysctl(process, "net.ipv4.route.flush")?, Failed(Errno::EACCES));
    let denying = attach(&mut hook, |access| u64::from(access.write))?;
    assert_eq!(hook.read_sysctl(process, "vm.swappiness")?, Denied(Errno::EPERM));
    hook.detach(hook.root(), Some(denying), None)?;
    assert_eq!(hook.read_sysctl(process, "vm.swappiness")?, Read("60\n".into()));
    Ok(())
}

#[test]
fn an_outcome_prints_as_it_is_written() {
    let outcomes = [Read("6\n".into()), Written(1), Replaced(vec![0xff]), Denied(Errno::EPERM), Returned(7)];
    let printed = r#"[Read("6\n"), Written(1), Replaced("\xff"), Denied(EPERM), Returned(7)]"#;
    assert_eq!(format!("{outcomes:?}"), printed);
}

#[test]
fn a_name_has_slashes_or_dots_as_in_sysctl() -> Result<(), Error> {
    let mut hook = Hook::default();
    let number = |value| Knob::new(handler::IntVec::new([value]));
    hook.knobs.add("net/ipv4/conf/eth0.100/rp_filter", number(1))?;
    hook.knobs.add("net/ipv4/conf/eth0/100/rp_filter", number(2))?;
    let process = hook.spawn(hook.root(), Process::default())?;
    let names = [
        ("net/ipv4/conf/eth0.100/rp_filter", "1\n"),
        ("net.ipv4.conf.eth0/100.rp_filter", "1\n"),
        ("net/ipv4/conf/eth0/100/rp_filter", "2\n"),
        ("net.ipv4.conf.eth0.100.rp_filter", "2\n"),
    ];
    for (name, value) in names {
        assert_eq!(hook.read_sysctl(process, name)?, Read(value.into()), "{name}");
    }
    Ok(())
}

#[test]
fn an_unknown_knob_is_an_error_that_shows_its_neighbours() -> Result<(), Error> {
    let mut hook = Hook::default();
    let process = hook.spawn(hook.root(), Process::default())?;
    let mut message = |name| format!("{:?}", hook.write_sysctl(process, name, "1").unwrap_err());
    assert_eq!(
        message("net.core.somaxcon"),
        "the hook has no knob net/core/somaxcon, only net/core/flow_limit_cpu_bitmap, net/core/rps_default_mask, \
         net/core/somaxconn; to add it: hook.knobs.add(\"net/core/somaxcon\", Knob::new(handler::IntVec::new([0])))?"
    );
    assert!(message("net.core").contains("no knob net/core, only net/core/flow_limit"));
    assert!(message("vm/x/y").contains("only vm/max_map_count, vm/swappiness;"));
    assert!(message("").contains("only kernel/core_pattern, "));
    assert!(message("fs.nr_open").contains(" and 14 more; to add it"));
    Ok(())
}

#[test]
fn a_process_has_ids_and_a_name() -> Result<(), Error> {
    let mut hook = Hook::default();
    attach(&mut hook, |access| {
        u64::from(access.task.comm == b"sixteen letters" && access.task.uid == 0 && access.task.gid == 7)
    })?;
    let root = hook.spawn(hook.root(), Process::default().gid(7).comm("sixteen letters!"))?;
    let nginx = hook.spawn(hook.root(), Process::default().comm("nginx"))?;
    let user = hook.spawn(hook.root(), Process::default().uid(1000))?;
    assert_eq!(hook.write_sysctl(root, "vm.swappiness", "1")?, Written(1));
    assert_eq!(hook.write_sysctl(nginx, "vm.swappiness", "1")?, Denied(Errno::EPERM));
    assert_eq!(hook.write_sysctl(user, "vm.swappiness", "1")?, Failed(Errno::EACCES));
    hook.end_process(user);
    let error = hook.write_sysctl(user, "vm.swappiness", "1").unwrap_err();
    assert_eq!(
        format!("{error:?}"),
        "an operation on cgroups or processes failed with ESRCH (No such process)"
    );
    Ok(())
}

#[test]
fn a_write_has_a_position() -> Result<(), Error> {
    let mut hook = Hook::default();
    attach(&mut hook, |access| u64::from(access.position != 3))?;
    let process = hook.spawn(hook.root(), Process::default())?;
    assert_eq!(hook.write_sysctl(process, "kernel.domainname", "example")?, Written(7));
    assert_eq!(hook.write_sysctl_at(process, "kernel.domainname", "X", 3)?, Denied(Errno::EPERM));
    assert_eq!(hook.write_sysctl_at(process, "kernel.domainname", "!", 7)?, Written(1));
    assert_eq!(hook.write_sysctl_at(process, "kernel.domainname", "!", -1)?, Failed(Errno::EINVAL));
    assert_eq!(hook.read_sysctl(process, "kernel.domainname")?, Read("example!\n".into()));
    Ok(())
}

#[test]
fn programs_of_an_object_run_on_nested_cgroups_and_share_its_variables() -> Result<(), Error> {
    let mut hook = Hook::default();
    let slice = hook.create_cgroup(hook.root(), "web.slice")?;
    let service = hook.create_cgroup(slice, "web.service")?;
    let several = hook.load_object(SEVERAL)?;
    hook.attach_program(slice, &several, "hand_on")?;
    hook.attach_program(service, &several, "decide")?;

    let inside = hook.spawn(service, Process::default())?;
    let above = hook.spawn(slice, Process::default())?;
    assert_eq!(hook.write_sysctl(inside, "kernel.domainname", "abc")?, Written(3));
    // `decide`, then `hand_on`, which calls `decide`.
    assert_eq!(several.variable::<u32>("handed_on")?, 201);
    assert_eq!(hook.write_sysctl(above, "kernel.domainname", "xyz")?, Denied(Errno::EPERM));
    assert_eq!(several.variable::<u32>("handed_on")?, 302);
    Ok(())
}

#[test]
fn variables_and_maps_are_read_and_changed_by_name() -> Result<(), Error> {
    let mut hook = Hook::default();
    let cgroup = hook.create_cgroup(hook.root(), "g")?;
    let watch = hook.attach_object(cgroup, WATCH)?;
    let process = hook.spawn(cgroup, Process::default())?;
    let writes = watch.map("writes")?;
    hook.write_sysctl(process, "kernel.domainname", "one")?;
    assert_eq!(writes.get("kernel/domainname")?, Some(1_u64));
    assert_eq!(writes.get::<_, u64>("kernel/hostname")?, None);
    assert_eq!(watch.map("totals")?.get(1_u32)?, Some([[0_u64, 0], [0, 1]]));
    assert_eq!(watch.variable::<u64>("most")?, 2);
    writes.insert("kernel/domainname", 2_u64)?;
    assert_eq!(hook.write_sysctl(process, "kernel.domainname", "two")?, Denied(Errno::EPERM));

    let error = |error: Error| format!("{error:?}");
    assert_eq!(
        error(writes.get::<_, u32>("kernel/domainname").unwrap_err()),
        "a value of the map \"writes\" has 8 bytes, which cannot be used as the type u32"
    );
    assert_eq!(
        error(writes.insert(1_u32, 1_u64).unwrap_err()),
        "a key of the map \"writes\" has 64 bytes, which cannot be used as the type u32"
    );
    assert_eq!(
        error(watch.map("write").unwrap_err()),
        "no program of the object has a map \"write\"; they have .bss, .rodata, events, totals, writes"
    );
    assert_eq!(
        error(watch.set_variable("most", 3_u64).unwrap_err()),
        "cannot use the map \".rodata\": the map is frozen"
    );
    assert_eq!(
        error(watch.variable::<u64>("mist").unwrap_err()),
        "no program of the object has a variable \"mist\"; they have most, unread"
    );
    Ok(())
}

#[test]
fn a_variable_is_a_struct_a_text_or_static() -> Result<(), Error> {
    /// `struct found`
    #[derive(Debug, PartialEq)]
    struct Found {
        depth: u32,
        full_length: u32,
    }
    impl FromBytes for Found {
        fn from_bytes(bytes: &[u8]) -> Option<Self> {
            let [depth, _, full_length, _] = <[u32; 4]>::from_bytes(bytes)?;
            Some(Self { depth, full_length })
        }
    }

    let mut hook = Hook::default();
    let names = hook.attach_object(hook.root(), NAMES)?;
    let process = hook.spawn(hook.root(), Process::default())?;
    assert_eq!(hook.read_sysctl(process, "vm.swappiness")?, Read("60\n".into()));
    assert_eq!(names.variable::<Found>("last")?, Found { depth: 1, full_length: 13 });
    assert_eq!(names.variable::<i32>("accesses")?, 1);
    assert_eq!(names.variable::<String>("wanted")?, "tag");
    names.set_variable("wanted", "hostname")?;
    assert!(names.set_variable("wanted", "longer than 8").is_err());
    names.set_variable("wanted", "ost")?;
    assert_eq!(names.variable::<[u8; 8]>("wanted")?, *b"ost\0\0\0\0\0");
    Ok(())
}

#[test]
fn a_per_cpu_map_has_one_value_under_a_key() -> Result<(), Error> {
    let mut hook = Hook::default();
    let kinds = hook.attach_object(hook.root(), KINDS)?;
    let process = hook.spawn(hook.root(), Process::default())?;
    hook.read_sysctl(process, "vm.swappiness")?;
    let by_kind = kinds.map("by_kind")?;
    assert_eq!(by_kind.get(0_u32)?, Some(1_u64));
    by_kind.insert(0_u32, 41_u64)?;
    hook.read_sysctl(process, "vm.swappiness")?;
    assert_eq!(by_kind.get(0_u32)?, Some(42_u64));
    Ok(())
}

#[test]
fn an_object_that_cannot_be_used_says_why() {
    let mut hook = Hook::default();
    let root = hook.root();
    let message = |error: Error| format!("{error:?}");
    let not_an_object = message(hook.attach_object(root, b"int limit(void);").unwrap_err());
    assert!(not_an_object.starts_with("this is not an object file with BPF programs: "), "{not_an_object}");
    assert_eq!(
        message(hook.attach_object(root, SEVERAL).unwrap_err()),
        "the object has several programs, one of which has to be named: decide, read_only, hand_on"
    );
    let several = hook.load_object(SEVERAL).unwrap();
    assert_eq!(
        message(hook.attach_program(root, &several, "readonly").unwrap_err()),
        "the object has no program \"readonly\"; it has decide, hand_on, read_only"
    );
    hook.attach_program(root, &several, "decide").unwrap();
    assert_eq!(
        message(hook.attach_program(root, &several, "decide").unwrap_err()),
        "cannot attach the program \"decide\": EINVAL (Invalid argument)"
    );
}

#[test]
fn what_the_verifier_would_reject_is_an_error_with_its_place() -> Result<(), Error> {
    let mut old = Hook::new("5.10".parse()?, Knobs::defaults());
    let error = old.attach_object(old.root(), NAMES).unwrap_err();
    assert_eq!(
        format!("{error:?}"),
        "Linux 5.10 rejects the program \"names\" at ./names.bpf.c:56, \
         `if (length < 0 || bpf_loop(64, count_slash, full, 0) < 0)`: instruction 43: unrecognized bpf_ld_imm64 insn"
    );

    // An index into the stack without a bound.
    let mut asm = Assembler::new();
    asm.set_line(3, 1, "return value[ctx->file_pos];");
    asm.load(Size::U32, Reg::R2, Reg::R1, 4);
    asm.mov(Reg::R3, Reg::R10);
    asm.alu(knobgate_bpf::AluOp::Add, Reg::R3, Reg::R2);
    asm.load(Size::U8, Reg::R0, Reg::R3, 0);
    asm.mov(Reg::R0, 1);
    asm.exit();
    let mut program = Program::from(asm.finish(true).expect("it assembles"));
    program.name = "peek".to_owned();
    program.lines.file = "peek.bpf.c".to_owned();
    let object = write_object(&program).expect("it can be written");

    let mut hook = Hook::default();
    let error = hook.attach_object(hook.root(), &object).unwrap_err();
    assert_eq!(
        format!("{error:?}"),
        "Linux 6.18 rejects the program \"peek\" at peek.bpf.c:3, `return value[ctx->file_pos];`: \
         instruction 3: invalid unbounded variable-offset read from stack R3"
    );

    // What is added to an address, which the model does not have.
    let mut asm = Assembler::new();
    asm.set_line(4, 1, "return (long)ctx / 2 > 0;");
    asm.mov(Reg::R2, Reg::R10);
    asm.alu(knobgate_bpf::AluOp::Sub, Reg::R2, Reg::R1);
    asm.mov(Reg::R0, 1);
    asm.exit();
    let mut program = Program::from(asm.finish(true).expect("it assembles"));
    program.name = "address".to_owned();
    program.lines.file = "address.bpf.c".to_owned();
    let object = write_object(&program).expect("it can be written");
    hook.attach_object(hook.root(), &object)?;
    let process = hook.spawn(hook.root(), Process::default())?;
    let error = hook.write_sysctl_at(process, "kernel.domainname", "x", 8).unwrap_err();
    assert_eq!(
        format!("{error:?}"),
        "a program was stopped at address.bpf.c:4, `return (long)ctx / 2 > 0;`: address, instruction 1: \
         r2 -= r1: the result depends on an address: the operands are the stack and the context"
    );
    assert!(matches!(error, Error::Stopped { line: Some(_), .. }));
    Ok(())
}
