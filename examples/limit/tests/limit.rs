use knobgate_hook::prelude::*;

#[test]
fn a_large_backlog_is_denied() -> Result<(), Error> {
    let mut hook = Hook::default(); // as Linux 6.18
    let service = hook.create_cgroup(hook.root(), "web.service")?;
    let limit = hook.attach_object(service, include_bytes!("../limit.bpf.o"))?;
    let process = hook.spawn(service, Process::default())?;

    assert_eq!(hook.write_sysctl(process, "net.core.somaxconn", "70000")?, Denied(Errno::EPERM));
    assert_eq!(hook.write_sysctl(process, "net.core.somaxconn", "128")?, Written(3));
    assert_eq!(hook.read_sysctl(process, "net/core/somaxconn")?, Read("128\n".into()));
    assert_eq!(limit.variable::<u32>("denied")?, 1);
    Ok(())
}
