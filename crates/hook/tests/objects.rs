//! Programs of objects that depend on the kernel, and on variables that are set before they are loaded.

use knobgate_bpf::StructLayouts;
use knobgate_hook::prelude::*;
use knobgate_hook::task_btf::kernel_btf;
use knobgate_hook::{LoadOptions, LoadedProgram, Rejection};

macro_rules! object {
    ($name:literal) => {
        Object::read(include_bytes!(concat!("../../../examples/objects/", $name, ".bpf.o"))).expect($name)
    };
}

/// The object after a read and a write of a knob by a process to which its program is attached.
fn run(hook: &mut Hook, object: &Object, program: &str) -> Result<(LoadedObject, Outcome), Error> {
    let service = hook.create_cgroup(hook.root(), "web.service")?;
    let loaded = hook.load_programs(object)?;
    hook.attach_program(service, &loaded, program)?;
    let process = hook.spawn(service, Process::default())?;
    hook.read_sysctl(process, "kernel.domainname")?;
    let outcome = hook.write_sysctl(process, "kernel.domainname", "x")?;
    Ok((loaded, outcome))
}

#[test]
fn relocations_have_the_layout_of_the_model() -> Result<(), Error> {
    let profile: Profile = "6.12.94".parse()?;
    let mut hook = Hook::new(profile, Knobs::defaults());
    hook.kernel = hook
        .kernel
        .without("struct task_struct.no_such_member")
        .without("struct css_set.dfl_cgrp")
        .without("struct no_such_struct")
        .without("enum pid_type");
    let (layout, _) = run(&mut hook, &object!("layout"), "layout")?;
    let btf = kernel_btf(&profile);
    let layouts = StructLayouts::read(&btf).expect("BTF");
    let comm = u64::from(layouts.offset("task_struct.comm").expect("a member"));
    assert_eq!(layout.variable::<u64>("comm_offset")?, comm);
    assert_eq!(layout.variable::<u64>("fifth_offset")?, comm + 5);
    assert_eq!(layout.variable::<u32>("struct_size")?, layouts.size("task_struct").expect("a struct"));
    for (name, expected) in [
        ("tgid_size", 4_u32),
        ("pid_signed", 1),
        ("pid_exists", 1),
        ("missing_exists", 0),
        ("other_type_exists", 0),
        ("struct_exists", 1),
        ("missing_struct_exists", 0),
        ("missing_struct_size", 0),
        ("parents", 1),
        ("never", 0),
    ] {
        assert_eq!(layout.variable::<u32>(name)?, expected, "{name}");
    }
    Ok(())
}

#[test]
fn options_are_those_that_the_hook_was_given() -> Result<(), Error> {
    let mut hook = Hook::new("6.12.94".parse()?, Knobs::defaults());
    hook.kernel = hook
        .kernel
        .option("CONFIG_HZ", "250")
        .option("CONFIG_CGROUP_BPF", "y")
        .option("CONFIG_SYSCTL", "m")
        .option("CONFIG_BPF_SYSCALL", "y")
        .option("CONFIG_DEFAULT_HOSTNAME", "\"(none)\"")
        .without("no_such_symbol")
        .without("no_such_variable")
        .without("no_such_function");
    let object = object!("options");
    let (options, _) = run(&mut hook, &object, "options")?;
    let expected = [
        ("version", 0x60c5e),
        ("hz", 250),
        ("wrapper", 1),
        ("cookie", 1),
        ("sysctl", 2),
        ("bpf_syscall", 0x79),
    ];
    for (name, expected) in expected {
        assert_eq!(options.variable::<u32>(name)?, expected, "{name}");
    }
    assert_eq!(options.variable::<u32>("absent_and_7")?, 7);
    assert_eq!(options.variable::<String>("hostname")?.trim_end_matches('\0'), "(none)");

    let service = hook.create_cgroup(hook.root(), "other.service")?;
    let weak = hook.load_programs(&object)?;
    hook.attach_program(service, &weak, "weak")?;
    let process = hook.spawn(service, Process::default())?;
    hook.read_sysctl(process, "kernel.domainname")?;
    assert_eq!(weak.variable::<u64>("addresses_and_7")?, 7);
    Ok(())
}

#[test]
fn an_option_has_to_fit_its_type() {
    let cases = [
        (
            "CONFIG_HZ",
            "70000",
            "the option CONFIG_HZ (kconfig): it is 70000, which does not fit an integer of 2 bytes",
        ),
        ("CONFIG_HZ", "y", "it is y, which does not fit an integer"),
        ("CONFIG_CGROUP_BPF", "m", "it is m, which does not fit a bool"),
        ("CONFIG_SYSCTL", "5", "it is 5, which does not fit an enum libbpf_tristate"),
        ("CONFIG_BPF_SYSCALL", "\"text\"", "which does not fit anything but an array of char"),
        ("CONFIG_DEFAULT_HOSTNAME", "y", "which does not fit an array of char"),
        ("CONFIG_NO_SUCH_OPTION", "99999999999", "which does not fit an integer of 4 bytes"),
    ];
    for (option, value, expected) in cases {
        let mut kernel = ModelKernel::new(Profile::default());
        for (option, value) in [
            ("CONFIG_HZ", "250"),
            ("CONFIG_CGROUP_BPF", "y"),
            ("CONFIG_SYSCTL", "y"),
            ("CONFIG_BPF_SYSCALL", "y"),
            ("CONFIG_DEFAULT_HOSTNAME", "\"\""),
            (option, value),
        ] {
            kernel = kernel.option(option, value);
        }
        let error =
            object!("options").program_for(Some("options"), &kernel).expect_err("an error").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_the_model_lacks_is_named_where_it_is_reached() {
    let kernel = ModelKernel::new(Profile::default());
    let rejected = |object: &Object, name: &str, kernel: &ModelKernel| {
        let program = object.program_for(Some(name), kernel).expect(name);
        LoadedProgram::load(&program, &Profile::default(), &LoadOptions::default()).expect_err(name)
    };
    let rejection = |object: &Object, name: &str| rejected(object, name, &kernel);
    let missing = object!("missing");
    let model = "the hook in user space (as Linux 6.18)";
    let cases = [
        (
            &missing,
            "member",
            "CO-RE relocation of struct task_struct___other.no_such_member",
            "struct task_struct.no_such_member",
            "field",
        ),
        (
            &missing,
            "whole_struct",
            "CO-RE relocation of struct no_such_struct.member",
            "struct no_such_struct",
            "type",
        ),
        (
            &missing,
            "value",
            "CO-RE relocation of enum no_such_enum::NO_SUCH_VALUE",
            "enum no_such_enum::NO_SUCH_VALUE",
            "type",
        ),
    ];
    for (object, name, relocation, declared, what) in cases {
        let unknown = rejection(object, name);
        assert!(matches!(unknown, Rejection::NotModelledDependency { .. }), "{unknown:?}");
        let subject = relocation.trim_start_matches("CO-RE relocation of ");
        assert!(unknown.to_string().ends_with(&format!("{subject} is not modelled")), "{unknown}");

        let absent = rejected(object, name, &kernel.clone().without(declared));
        assert!(matches!(absent, Rejection::Unresolved { .. }), "{absent:?}");
        assert!(
            absent.to_string().ends_with(&format!("{relocation}: {model} has no such {what}")),
            "{absent}"
        );
    }
    // What asks whether something exists gets no answer either.
    for (object, name, what) in [
        (&object!("layout"), "layout", "struct "),
        (&object!("options"), "weak", "no_such"),
        (&missing, "weak_function", "no_such_weak_function"),
    ] {
        let unknown = rejection(object, name);
        assert!(matches!(unknown, Rejection::NotModelledDependency { .. }), "{unknown:?}");
        assert!(unknown.to_string().contains(what), "{unknown}");
    }
    let absent = rejected(&missing, "weak_function", &kernel.clone().without("no_such_weak_function"));
    assert!(absent.to_string().ends_with("has no such function (kfunc)"), "{absent}");
    let kfuncs = object!("kfuncs");
    for (object, name, expected) in [
        (&missing, "member", "struct task_struct___other.no_such_member"),
        (&missing, "whole_struct", "struct no_such_struct.member"),
        (&missing, "weak_function", "kernel function no_such_weak_function"),
        (&missing, "function", "kernel function no_such_function"),
        (&missing, "variable", "the variable no_such_variable (ksym)"),
        (
            &missing,
            "option",
            r#"the option CONFIG_NO_SUCH_OPTION (kconfig), which has no value as in "kconfig": {"CONFIG_NO_SUCH_OPTION": "y"}"#,
        ),
        (&kfuncs, "iterate", "kernel function bpf_iter_num_new"),
        (&kfuncs, "symbols", "the variable schedule (ksym)"),
    ] {
        let rejection = rejection(object, name);
        assert!(matches!(rejection, Rejection::NotModelledDependency { .. }), "{rejection:?}");
        assert_eq!(rejection.not_modelled().as_deref(), Some(expected));
        assert!(rejection.to_string().ends_with(&format!("{expected} is not modelled")), "{rejection}");
    }
}

#[test]
fn variables_of_all_types_are_set() -> Result<(), Error> {
    let mut object = object!("settings");
    let values = [
        ("enabled", "1"),
        ("mode", "ENFORCE"),
        ("knob", "kernel/domainname"),
        ("digit", "'a'"),
        ("small", "-0x10"),
        ("low", "-9223372036854775808"),
        ("high", "18446744073709551615"),
        ("prefix", "hex:01000002"),
        ("list", "4, 5"),
        ("pair", "hex:0a00000014000000"),
        ("fraction", "hex:0000803f"),
    ];
    for (name, value) in values {
        object.set(name, value)?;
    }
    let (settings, outcome) = run(&mut Hook::default(), &object, "settings")?;
    assert_eq!(outcome, Denied(Errno::EPERM));
    let sum =
        (i64::MIN as u64).wrapping_add(u64::MAX).wrapping_add(97 + 4 + 5 + 1 + 2 + 10 + 20).wrapping_sub(16);
    assert_eq!(settings.variable::<u64>("sum")?, sum);
    assert_eq!(settings.variable::<String>("knob")?.trim_end_matches('\0'), "kernel/domainname");

    object.set("mode", "0")?;
    assert_eq!(run(&mut Hook::default(), &object, "settings")?.1, Written(1));
    Ok(())
}

#[test]
fn values_that_do_not_fit_are_rejected() {
    let cases = [
        ("enabled", "yes", "(_Bool, 1 bytes) cannot be set to \"yes\": it is true or false"),
        (
            "mode",
            "OTHER",
            "(enum mode, 4 bytes) cannot be set to \"OTHER\": it is one of OBSERVE, ENFORCE, NEGATIVE",
        ),
        ("mode", "4294967296", "or a number that fits"),
        (
            "knob",
            "a name that is longer than 31 bytes",
            "there is room for 31 bytes and a NUL, and it has 35",
        ),
        ("digit", "128", "it is a number from -2^7 to 2^7-1"),
        ("digit", "'ab'", "it is a number"),
        ("small", "", "it is a number from -2^15 to 2^15-1"),
        ("small", "--1", "it is a number"),
        (
            "high",
            "-1",
            "(unsigned long long, 8 bytes) cannot be set to \"-1\": it is a number from 0 to 2^64-1",
        ),
        ("high", "18446744073709551616", "it is a number from 0 to 2^64-1"),
        ("prefix", "hex:0102", "these are 2 bytes"),
        ("prefix", "hex:0102030", "two digits for each byte"),
        ("prefix", "1,2,3,4,5", "it has 4 elements, and these are 5"),
        ("list", "1,x", "\"x\": it is a number from 0 to 2^32-1"),
        ("pair", "1", "write its 8 bytes as hex:00ff…"),
        ("fraction", "1.5", "(float, 4 bytes) cannot be set to \"1.5\": write its 4 bytes as hex:00ff…"),
    ];
    for (name, value, expected) in cases {
        let error = object!("settings").set(name, value).expect_err(value).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = object!("settings").set("enable", "1").expect_err("no such variable").to_string();
    assert!(
        error.starts_with("the object has no variable \"enable\", did you mean \"enabled\"?; it has "),
        "{error}"
    );
    let error = object!("settings").set("_license", "MIT").expect_err("no such variable").to_string();
    assert!(error.starts_with("the object has no variable \"_license\"; it has "), "{error}");
}

#[test]
fn a_monitor_reads_the_task() -> Result<(), Error> {
    let mut object = object!("monitor");
    object.set("only_comm", "sysctl")?;
    let mut hook = Hook::default();
    let slice = hook.create_cgroup(hook.root(), "web.slice")?;
    let service = hook.create_cgroup(slice, "web.service")?;
    let monitor = hook.load_programs(&object)?;
    hook.attach_program(slice, &monitor, "monitor")?;
    let writer = hook.spawn(service, Process::default().comm("sysctl"))?;
    let other = hook.spawn(service, Process::default().comm("other"))?;
    hook.write_sysctl(other, "kernel.domainname", "first")?;
    hook.write_sysctl(writer, "kernel.domainname", "second")?;
    hook.read_sysctl(writer, "kernel.domainname")?;

    let records = monitor.map("events")?.drain_records();
    let [record] = &records[..] else { panic!("{} records", records.len()) };
    let number = |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().expect("four bytes"));
    let text = |at: usize, len: usize| {
        let text = record[at..at + len].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    };
    assert!(number(0) > 0 && number(8) > 0);
    assert_eq!(number(12), 2, "the level of the cgroup");
    let texts = [text(16, 16), text(32, 32), text(64, 64), text(128, 32), text(160, 32)];
    assert_eq!(texts, ["sysctl", "web.service", "kernel/domainname", "first\n", "second"]);
    assert_eq!(monitor.variable::<u32>("reported")?, 1);
    Ok(())
}
