//! Programs of objects that depend on the kernel: CO-RE, kconfig, ksyms and kfuncs, and variables that are set.

use std::collections::HashMap;

use knobgate_bpf::{Object, ObjectVariable, StructLayouts, TargetKernel};
use knobgate_hook::Profile;
use knobgate_kernel::{
    Link, LoadOptions, LoadedProgram, RingBuffer, RunningKernel, ScratchCgroup, kernel_version, load,
};
use knobgate_testing::{Suite, scratch, shell};
use libtest_mimic::Failed;

macro_rules! object {
    ($name:literal) => {
        Object::read(include_bytes!(concat!("../../../../examples/objects/", $name, ".bpf.o"))).expect($name)
    };
}

pub(crate) fn tests() -> Suite {
    let of_functions = Suite::default().test("an_open_coded_iterator_counts", no_kfuncs, iterate).test(
        "a_variable_of_the_kernel_has_an_address",
        no_variables,
        typed_variable,
    );
    Suite::default()
        .test("relocations_have_the_layout_of_the_kernel", no_btf, layout)
        .test("what_the_kernel_lacks_is_named_where_it_is_reached", no_btf, missing)
        .test("a_monitor_reads_the_task", no_btf, monitor)
        .test("options_of_the_kernel_are_read", no_config, options)
        .test("weak_externs_are_null", no_btf, weak)
        .test("a_symbol_has_its_address", |_| None, symbol)
        .test("variables_are_set_before_they_are_constant", |_| None, settings)
        .and(of_functions)
}

fn no_btf(_: &Profile) -> Option<String> {
    RunningKernel::default().btf().err()
}

fn no_config(_: &Profile) -> Option<String> {
    RunningKernel::default().config("CONFIG_HZ").err()
}

/// The verifier looks addresses of variables up among the kernel's symbols (`check_pseudo_btf_id()` in kernel/bpf/verifier.c).
fn no_variables(profile: &Profile) -> Option<String> {
    let is_listed = || matches!(RunningKernel::default().symbol("runqueues"), Ok(Some(_)));
    let why =
        || (!is_listed()).then(|| "its symbols are those of functions only (CONFIG_KALLSYMS_ALL)".to_owned());
    no_btf(profile).or_else(why)
}

/// Kernels before 6.13 do not let programs of this type call any (`bpf_prog_type_to_kfunc_hook()` in kernel/bpf/btf.c).
fn no_kfuncs(profile: &Profile) -> Option<String> {
    no_btf(profile)
        .or_else(|| (profile.version < (6, 13)).then(|| format!("{profile} has no kfuncs for this hook")))
}

/// A program that is attached to a cgroup, and the variables of its object.
struct Attached {
    cgroup: ScratchCgroup,
    loaded: LoadedProgram,
    variables: Vec<ObjectVariable>,
    _link: Link,
}

impl Attached {
    fn new(object: &Object, name: &str) -> Result<Self, Failed> {
        let program = object.program_for(Some(name), &RunningKernel::default())?;
        let loaded = load(&program, &LoadOptions::default())?;
        let cgroup = scratch();
        let link = Link::create(&loaded.program, &cgroup)?;
        Ok(Self { cgroup, loaded, variables: object.variables().to_vec(), _link: link })
    }

    /// The numbers in `.bss` after a read of a knob.
    fn after_a_read(&self) -> Result<HashMap<String, u64>, Failed> {
        assert!(shell(&self.cgroup, "read line < /proc/sys/kernel/ostype").status()?.success());
        let value =
            self.loaded.map(".bss").ok_or("no .bss")?.lookup(&0u32.to_ne_bytes())?.ok_or("no value")?;
        let of_bss =
            self.variables.iter().filter(|variable| variable.section == ".bss" && variable.size <= 8);
        Ok(of_bss
            .map(|variable| {
                let bytes = value[variable.offset..][..variable.size].iter().rev();
                (variable.name.clone(), bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
            })
            .collect())
    }
}

fn layout() -> Result<(), Failed> {
    let results = Attached::new(&object!("layout"), "layout")?.after_a_read()?;
    let kernel = RunningKernel::default();
    let layouts = StructLayouts::read(kernel.btf()?)?;
    let comm = u64::from(layouts.offset("task_struct.comm")?);
    let size = u64::from(layouts.size("task_struct")?);
    let expected = [
        ("comm_offset", comm),
        ("fifth_offset", comm + 5),
        ("comm_size", 16),
        ("tgid_size", 4),
        ("pid_signed", 1),
        ("pid_exists", 1),
        ("missing_exists", 0),
        ("other_type_exists", 0),
        ("struct_exists", 1),
        ("missing_struct_exists", 0),
        ("struct_size", size),
        ("missing_struct_size", 0),
        ("parents", 1),
        ("value_exists", 1),
        ("missing_value_exists", 0),
        // PIDTYPE_PGID of include/linux/pid_types.h.
        ("value", 2),
        ("never", 0),
    ];
    for (name, expected) in expected {
        assert_eq!(results.get(name), Some(&expected), "{name}");
    }
    assert_eq!(results.len(), expected.len());
    Ok(())
}

fn missing() -> Result<(), Failed> {
    let kernel = RunningKernel::default();
    let object = object!("missing");
    let rejected = [
        (
            "member",
            format!(
                "CO-RE relocation of struct task_struct___other.no_such_member: {kernel} has no such field"
            ),
        ),
        (
            "whole_struct",
            format!("CO-RE relocation of struct no_such_struct.member: {kernel} has no such type"),
        ),
        ("value", format!("CO-RE relocation of enum no_such_enum::NO_SUCH_VALUE: {kernel} has no such type")),
        ("weak_function", format!("no_such_weak_function: {kernel} has no such function (kfunc)")),
    ];
    for (name, expected) in rejected {
        let program = object.program_for(Some(name), &kernel)?;
        let error = load(&program, &LoadOptions::default()).expect_err("a rejection");
        let log = error.log().ok_or_else(|| format!("{name}: {error}"))?;
        assert_eq!(log.reason(), expected, "{log}");
    }
    let refused = [
        ("variable", "the variable no_such_variable of the kernel (ksym)"),
        ("function", "no_such_function is a function of the kernel (kfunc)"),
    ];
    for (name, expected) in refused {
        let error = object.program_for(Some(name), &kernel).expect_err("an error").to_string();
        assert!(error.contains(expected) && error.contains("does not have it"), "{error}");
    }
    Ok(())
}

fn monitor() -> Result<(), Failed> {
    let mut object = object!("monitor");
    object.set("only_comm", "writer")?;
    let monitor = Attached::new(&object, "monitor")?;
    let mut events = RingBuffer::open(monitor.loaded.map("events").ok_or("no map")?)?;
    let script = "cd /proc/sys/kernel; echo -n other > domainname; echo -n writer > /proc/self/comm; echo -n after > domainname";
    assert!(shell(&monitor.cgroup, script).status()?.success());
    let records = events.drain();
    let [record] = &records[..] else { return Err(format!("{} records", records.len()).into()) };
    let number = |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().expect("four bytes"));
    let text = |at: usize, len: usize| {
        let text = record[at..at + len].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    };
    let [pid, parent, net, level] = [0, 4, 8, 12].map(number);
    assert!(pid > 0 && parent > 0 && pid != parent, "{pid} {parent}");
    let own = std::fs::read_link("/proc/self/ns/net")?;
    assert!(net > 0 && own.to_str() != Some(&format!("net:[{net}]")), "{net}");
    let root = knobgate_testing::root();
    let path = monitor.cgroup.path().strip_prefix(root.path())?;
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
    assert_eq!(level as usize, names.len(), "{}", path.display());
    assert_eq!(text(16, 16), "writer");
    assert!(names.last().is_some_and(|name| name.starts_with(&text(32, 32))), "{}", path.display());
    assert_eq!(text(64, 64), "kernel/domainname");
    assert_eq!((text(128, 32), text(160, 32)), ("other\n".to_owned(), "after".to_owned()));
    Ok(())
}

fn options() -> Result<(), Failed> {
    let results = Attached::new(&object!("options"), "options")?.after_a_read()?;
    let (major, minor, patch) = kernel_version();
    let version = u64::from(major) << 16 | u64::from(minor) << 8 | u64::from(patch.min(255));
    let hz = RunningKernel::default().config("CONFIG_HZ")?.ok_or("no CONFIG_HZ")?.parse()?;
    let cookies = u64::from(version >= 0x50f00);
    let expected = [
        ("version", version),
        ("hz", hz),
        ("wrapper", 1),
        ("cookie", cookies),
        ("cgroup_bpf", 1),
        ("sysctl", 1),
        ("bpf_syscall", u64::from(b'y')),
        ("absent_and_7", 7),
    ];
    for (name, expected) in expected {
        assert_eq!(results.get(name), Some(&expected), "{name}");
    }
    Ok(())
}

fn weak() -> Result<(), Failed> {
    let results = Attached::new(&object!("options"), "weak")?.after_a_read()?;
    assert_eq!(results.get("addresses_and_7"), Some(&7));
    Ok(())
}

fn symbol() -> Result<(), Failed> {
    let results = Attached::new(&object!("kfuncs"), "symbols")?.after_a_read()?;
    let expected = RunningKernel::default().symbol("schedule")?.ok_or("no schedule")?;
    assert_eq!(results.get("address"), Some(&expected.address));
    assert_eq!(expected.module, None);
    Ok(())
}

fn typed_variable() -> Result<(), Failed> {
    let results = Attached::new(&object!("kfuncs"), "variable")?.after_a_read()?;
    assert!(results.get("typed_address").is_some_and(|address| *address > 0), "{results:?}");
    Ok(())
}

fn iterate() -> Result<(), Failed> {
    let results = Attached::new(&object!("kfuncs"), "iterate")?.after_a_read()?;
    assert_eq!(results.get("sum"), Some(&45));
    Ok(())
}

fn settings() -> Result<(), Failed> {
    let mut object = object!("settings");
    for (name, value) in
        [("enabled", "true"), ("mode", "ENFORCE"), ("knob", "kernel/domainname"), ("low", "-7")]
    {
        object.set(name, value)?;
    }
    let settings = Attached::new(&object, "settings")?;
    let script =
        "if echo x > /proc/sys/kernel/domainname; then exit 1; fi; echo x > /proc/sys/kernel/hostname";
    assert!(shell(&settings.cgroup, script).status()?.success());
    let results = settings.after_a_read()?;
    // low + high + small + digit + 1 + 2 + 3 + 0 + 0 + 1 + 2, where digit is '0'.
    assert_eq!(results.get("sum"), Some(&(5 + 48 + 9 - 7)));
    Ok(())
}
