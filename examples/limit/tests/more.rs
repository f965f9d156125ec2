use knobgate_hook::prelude::*;

const LIMIT: &[u8] = include_bytes!("../limit.bpf.o");

#[test]
fn two_programs_judge_a_write_in_a_nested_cgroup() -> Result<(), Error> {
    // Another kernel, with one more knob.
    let mut hook = Hook::new("6.1.192".parse()?, Knobs::defaults());
    let rp_filter = handler::IntVec::new([1]).between(0, 2);
    hook.knobs.add("net/ipv4/conf/eth0.100/rp_filter", Knob::new(rp_filter))?;

    let slice = hook.create_cgroup(hook.root(), "web.slice")?;
    let service = hook.create_cgroup(slice, "web.service")?;
    let outer = hook.attach_object(slice, LIMIT)?;
    let inner = hook.load_object(LIMIT)?;
    hook.attach_program(service, &inner, "limit")?;
    let root = hook.spawn(service, Process::default().comm("sysctl"))?;
    let user = hook.spawn(service, Process::default().uid(1000))?;

    // Both programs run, whatever the first one returns.
    outer.set_variable("denied", 41_u32)?;
    assert_eq!(hook.write_sysctl(root, "net.core.somaxconn", "junk")?, Denied(Errno::EPERM));
    assert_eq!(outer.variable::<u32>("denied")?, 42);
    assert_eq!(inner.map(".bss")?.get(0_u32)?, Some(1_u32)); // maps have names, too

    // An object that is attached to two cgroups has its maps and variables once.
    let batch = hook.create_cgroup(hook.root(), "batch.service")?;
    hook.attach_program(batch, &outer, "limit")?;
    let job = hook.spawn(batch, Process::default())?;
    assert_eq!(hook.write_sysctl(job, "net.core.somaxconn", "70000")?, Denied(Errno::EPERM));
    assert_eq!(outer.variable::<u32>("denied")?, 43);

    // Not the program, but the mode of the knob, its handler, and the file position.
    let rp_filter = "net.ipv4.conf.eth0/100.rp_filter";
    assert_eq!(hook.write_sysctl(user, rp_filter, "0")?, Failed(Errno::EACCES));
    assert_eq!(hook.write_sysctl(root, rp_filter, "3")?, Failed(Errno::EINVAL));
    assert_eq!(hook.write_sysctl_at(root, rp_filter, "0", 1)?, Written(1));
    assert_eq!(hook.read_sysctl(user, rp_filter)?, Read("1\n".into()));
    Ok(())
}
