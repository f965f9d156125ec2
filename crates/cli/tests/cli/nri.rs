//! `knobgate nri` without a runtime. The tests on the kernel have one.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn systemd_is_told_that_the_plugin_waits_for_a_runtime() {
    let files = tempfile::tempdir().unwrap();
    fs::create_dir(files.path().join("policies.d")).unwrap();
    let systemd = UnixDatagram::bind(files.path().join("notify")).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut nri = Command::new(env!("CARGO_BIN_EXE_knobgate"));
    nri.args(["nri", "--socket"])
        .arg(files.path().join("no.sock"))
        .arg("--policies")
        .arg(files.path().join("policies.d"));
    nri.env("NOTIFY_SOCKET", files.path().join("notify")).stdin(Stdio::null()).stderr(Stdio::null());
    let mut nri = nri.spawn().unwrap();
    let mut buffer = [0; 4096];
    let received = systemd.recv(&mut buffer);
    nri.kill().unwrap();
    nri.wait().unwrap();
    let said = String::from_utf8_lossy(&buffer[..received.unwrap()]).into_owned();
    assert!(said.starts_with("READY=1\nSTATUS=") && said.contains("no.sock"), "{said}");
    assert!(said.contains("trying again, and containers start without policies until then"), "{said}");
}
