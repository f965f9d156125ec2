//! `nri`: containers of a real containerd.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use knobgate_cri_client::CallError;
use knobgate_kernel::ProcessId;
use knobgate_testing::{Containerd, Pod, Reaped, Suite, Test, eventually, without_containerd};
use libtest_mimic::Failed;
use rustix::mount::{MountFlags, mount};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::setting::{KNOBGATE, expect, stdout};

const TESTS: &[Test] = &[
    ("a_container_of_containerd_is_under_its_policies_from_its_first_instruction", judged),
    ("a_container_of_containerd_does_not_start_where_a_policy_has_an_error", broken),
    ("a_container_of_containerd_without_its_hook_does_not_start", without_its_hook),
    ("without_hooks_a_container_of_containerd_gets_its_policies_when_it_starts", without_hooks),
    ("a_container_of_containerd_with_too_many_labels_is_not_created", many_labels),
    ("containerd_starts_containers_of_a_namespace_that_fails_open", failing_open),
    ("containerd_starts_containers_under_no_policy_while_the_plugin_is_gone", killed),
    ("containerd_passes_over_a_plugin_that_hangs_until_it_is_back", hanging),
    ("the_plugin_comes_back_when_containerd_does", restarted),
];

/// Each has a bpffs of its own.
pub(crate) fn tests() -> Suite {
    Suite::new(TESTS).isolated(&["--mount", "--net", "--uts", "--ipc"]).with_engine(without_containerd)
}

const POLICY: &str = "policy t-nri\n\
    apply if namespace == \"test\" and label(\"tier\") == \"front\" and image starts with \"registry.example/\"\n\
    default write deny\n\
    allow write net.ipv4.ip_default_ttl if new <= 100\n";

/// Writes a value that the policy allows, and one that it denies.
const SCRIPT: &str = "knob=/proc/sys/net/ipv4/ip_default_ttl; \
    (echo 200 >$knob) 2>/dev/null && echo unjudged || echo denied; (echo 90 >$knob) && echo allowed; sleep 1000";

/// A directory of policies, and a containerd.
struct Setting {
    containerd: Containerd,
    files: TempDir,
}

impl Setting {
    fn new(policy: &str) -> Result<Self, Failed> {
        mount("bpf", "/sys/fs/bpf", "bpf", MountFlags::empty(), None)?;
        let files = tempfile::tempdir()?;
        fs::create_dir(files.path().join("policies"))?;
        fs::write(files.path().join("policies/t.knob"), policy)?;
        fs::write(files.path().join("agent.toml"), "")?;
        Ok(Self { containerd: Containerd::start()?, files })
    }

    /// Registers the plugin.
    fn plugin(&self, arguments: &[&str]) -> Result<Plugin, Failed> {
        let registered = self.registrations();
        let log = self.files.path().join("plugin.log");
        let mut nri = Command::new(KNOBGATE);
        nri.arg("nri").arg("--socket").arg(self.containerd.nri_socket());
        nri.arg("--policies").arg(self.files.path().join("policies"));
        nri.arg("--agent-config").arg(self.files.path().join("agent.toml")).args(arguments);
        nri.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let plugin = Plugin { process: Reaped(nri.spawn()?), log };
        self.wait_for(registered + 1);
        Ok(plugin)
    }

    /// How often containerd has registered a plugin.
    fn registrations(&self) -> usize {
        self.containerd.log().matches("connected and synchronized").count()
    }

    fn wait_for(&self, registrations: usize) {
        eventually("the plugin is registered", || self.registrations() == registrations);
    }

    fn pod(&self) -> Result<Pod<'_>, CallError> {
        self.containerd.pod("web", &[("tier", "front")])
    }
}

/// A running plugin, which is killed on drop.
struct Plugin {
    process: Reaped,
    log: PathBuf,
}

impl Plugin {
    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn send(&self, signal: Signal) -> Result<(), Failed> {
        Ok(ProcessId::of_child(&self.process.0).send(signal)?)
    }
}

/// What the script of a container has written, when it has written it.
fn result(pod: &Pod<'_>, name: &str) -> String {
    eventually("it has written", || pod.output(name).contains("allowed"));
    let output = pod.output(name);
    output.lines().filter_map(|line| line.rsplit(' ').next()).collect::<Vec<_>>().join(" ")
}

fn judged() -> Result<(), Failed> {
    let setting = Setting::new(POLICY)?;
    let plugin = setting.plugin(&[])?;
    let pod = setting.pod()?;
    let id = pod.start("nginx", SCRIPT)?;
    assert_eq!(result(&pod, "nginx"), "denied allowed");
    let config = setting.containerd.oci_config(&id)?;
    for part in
        [&format!("\"path\":\"{KNOBGATE}\",\"args\":[\"knobgate\",\"oci-hook\""), "\"--label=tier=front\""]
    {
        assert!(config.contains(part), "{config}");
    }
    let attached = stdout(&expect(0, ["list"]));
    assert!(attached.contains("t-nri@") && attached.contains(&id), "{attached}");
    let other = setting.containerd.pod("other", &[("tier", "back")])?;
    other.start("nginx", SCRIPT)?;
    assert_eq!(result(&other, "nginx"), "unjudged allowed");
    setting.containerd.cri().stop_container(&id, 0)?;
    setting.containerd.cri().remove_container(&id)?;
    let attached = stdout(&expect(0, ["list"]));
    assert!(attached.contains("t-nri@") && !attached.contains(&id), "{attached}");
    let said = plugin.said();
    assert!(said.starts_with("note: registered with containerd ") && said.lines().count() == 1, "{said}");
    Ok(())
}

fn broken() -> Result<(), Failed> {
    let setting = Setting::new("policy t-nri\nallow write net.ipv4.ip_default_ttl if new <= \"9\"\n")?;
    let plugin = setting.plugin(&[])?;
    assert!(plugin.said().contains("no container starts until this is mended"), "{}", plugin.said());
    let error = setting.pod()?.start("nginx", SCRIPT).unwrap_err().to_string();
    assert!(error.contains("t.knob:2") && error.contains("texts have no order"), "{error}");
    // What is mended counts for the next one.
    fs::write(setting.files.path().join("policies/t.knob"), POLICY)?;
    let pod = setting.containerd.pod("later", &[("tier", "front")])?;
    pod.start("nginx", SCRIPT)?;
    assert_eq!(result(&pod, "nginx"), "denied allowed");
    Ok(())
}

fn without_its_hook() -> Result<(), Failed> {
    let setting = Setting::new(POLICY)?;
    let pod = setting.pod()?;
    let id = pod.create("nginx", SCRIPT, &[])?;
    let plugin = setting.plugin(&[])?;
    let error = setting.containerd.cri().start_container(&id).unwrap_err().to_string();
    assert!(error.contains("knobgate: the policy \"t-nri\" is not on it: its hook has not run"), "{error}");
    assert_eq!(pod.output("nginx"), "");
    assert!(
        plugin.said().contains("the container test/web/nginx does not start: the policy"),
        "{}",
        plugin.said()
    );
    // One that no policy applies to needs no hook.
    let other = setting.containerd.pod("other", &[])?;
    other.start("nginx", SCRIPT)?;
    assert_eq!(result(&other, "nginx"), "unjudged allowed");
    Ok(())
}

fn without_hooks() -> Result<(), Failed> {
    let setting = Setting::new(POLICY)?;
    let _plugin = setting.plugin(&["--without-hooks"])?;
    let pod = setting.pod()?;
    let id = pod.start("nginx", SCRIPT)?;
    assert_eq!(result(&pod, "nginx"), "denied allowed");
    let config = setting.containerd.oci_config(&id)?;
    assert!(!config.contains("oci-hook"), "{config}");
    Ok(())
}

fn many_labels() -> Result<(), Failed> {
    let setting = Setting::new(POLICY)?;
    let _plugin = setting.plugin(&[])?;
    // containerd allows each label 4 KiB.
    let (keys, long) =
        (Vec::from_iter((b'a'..=b'p').map(|key| char::from(key).to_string())), "x".repeat(4000));
    let mut labels = vec![("tier", "front")];
    labels.extend(keys.iter().map(|key| (key.as_str(), long.as_str())));
    let pod = setting.containerd.pod("web", &labels)?;
    pod.start("few", SCRIPT)?;
    assert_eq!(result(&pod, "few"), "denied allowed");
    let error = pod.create("many", SCRIPT, &[("more", &long)]).unwrap_err().to_string();
    assert!(error.contains("knobgate: it has more than 64 KiB of labels"), "{error}");
    Ok(())
}

fn failing_open() -> Result<(), Failed> {
    let setting = Setting::new("policy t-nri\nnonsense\n")?;
    let plugin = setting.plugin(&["--fail-open-namespace", "test"])?;
    let pod = setting.pod()?;
    pod.start("nginx", SCRIPT)?;
    assert_eq!(result(&pod, "nginx"), "unjudged allowed");
    assert!(
        plugin.said().contains("the container test/web/nginx starts without its policies: "),
        "{}",
        plugin.said()
    );
    Ok(())
}

fn killed() -> Result<(), Failed> {
    let setting = Setting::new(POLICY)?;
    let plugin = setting.plugin(&[])?;
    let pod = setting.pod()?;
    let before = pod.start("before", SCRIPT)?;
    drop(plugin);
    pod.start("during", SCRIPT)?;
    assert_eq!(result(&pod, "during"), "unjudged allowed");
    // One that has its policies keeps them.
    assert!(stdout(&expect(0, ["list"])).contains(&before));
    let plugin = setting.plugin(&[])?;
    assert!(
        plugin.said().contains("note: 2 containers that were there before are left"),
        "{}",
        plugin.said()
    );
    pod.start("after", SCRIPT)?;
    assert_eq!(result(&pod, "after"), "denied allowed");
    Ok(())
}

fn hanging() -> Result<(), Failed> {
    let setting = Setting::new(POLICY)?;
    let plugin = setting.plugin(&[])?;
    let pod = setting.pod()?;
    plugin.send(Signal::STOP)?;
    // It waits for two seconds.
    pod.start("during", SCRIPT)?;
    assert_eq!(result(&pod, "during"), "unjudged allowed");
    plugin.send(Signal::CONT)?;
    setting.wait_for(2);
    pod.start("after", SCRIPT)?;
    assert_eq!(result(&pod, "after"), "denied allowed");
    assert!(plugin.said().contains("trying again"), "{}", plugin.said());
    Ok(())
}

fn restarted() -> Result<(), Failed> {
    let mut setting = Setting::new(POLICY)?;
    let plugin = setting.plugin(&[])?;
    setting.pod()?.start("before", SCRIPT)?;
    setting.containerd.restart()?;
    setting.wait_for(2);
    let pod = setting.containerd.pod("later", &[("tier", "front")])?;
    pod.start("after", SCRIPT)?;
    assert_eq!(result(&pod, "after"), "denied allowed");
    assert!(plugin.said().contains("containers start without policies until then"), "{}", plugin.said());
    Ok(())
}
