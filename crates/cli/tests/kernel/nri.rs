//! `nri`: containers of a real containerd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use knobgate_cri_client::CallError;
use knobgate_cri_client::messages::ContainerState;
use knobgate_kernel::ProcessId;
use knobgate_testing::{Containerd, Pod, Reaped, Suite, Test, eventually, without_containerd};
use libtest_mimic::Failed;
use rustix::mount::{MountFlags, mount};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::privileges::bounding_set;
use crate::setting::{KNOBGATE, expect, stdout};

const TESTS: &[Test] = &[
    ("a_container_of_containerd_is_under_its_policies_from_its_first_instruction", judged),
    ("an_init_container_of_containerd_is_under_its_own_policy", after_another),
    ("a_container_of_containerd_does_not_start_where_a_policy_has_an_error", broken),
    ("a_container_of_containerd_without_its_hook_does_not_start", without_its_hook),
    ("without_hooks_a_container_of_containerd_gets_its_policies_when_it_starts", without_hooks),
    ("the_plugin_works_with_the_privileges_that_it_names_and_not_without", privileges),
    ("containerd_starts_containers_without_the_policies_that_are_off", off),
    ("a_container_of_containerd_with_too_many_labels_is_not_created", many_labels),
    ("containerd_starts_containers_of_a_namespace_that_fails_open", failing_open),
    ("containerd_starts_containers_under_no_policy_while_the_plugin_is_gone", killed),
    ("containerd_passes_over_a_plugin_that_hangs_until_it_is_back", hanging),
    ("containerd_and_commands_print_what_the_page_on_containerd_says", page),
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
        self.plugin_with("--bounding-set=+all", arguments)
    }

    /// The same, with this option of setpriv(1).
    fn plugin_with(&self, privileges: &str, arguments: &[&str]) -> Result<Plugin, Failed> {
        let registered = self.registrations();
        let log = self.files.path().join("plugin.log");
        let (policies, config) = (self.files.path().join("policies"), self.files.path().join("agent.toml"));
        let mut nri = plugin_command(privileges, &self.containerd, &policies, &config);
        nri.args(arguments).stderr(fs::File::create(&log)?);
        let plugin = Plugin { process: Reaped(nri.spawn()?), log };
        self.wait_for(registered + 1);
        Ok(plugin)
    }

    fn registrations(&self) -> usize {
        registrations(&self.containerd)
    }

    fn wait_for(&self, registrations: usize) {
        eventually("the plugin is registered", || self.registrations() == registrations);
    }

    fn pod(&self) -> Result<Pod, CallError> {
        self.containerd.pod("web", &[("tier", "front")])
    }
}

/// The command line of the plugin, with this option of setpriv(1).
pub(crate) fn plugin_command(
    privileges: &str,
    containerd: &Containerd,
    policies: &Path,
    config: &Path,
) -> Command {
    // Otherwise it would go on without end if the test is killed.
    let mut nri = Command::new("setpriv");
    nri.args(["--pdeathsig", "KILL", privileges, KNOBGATE, "nri", "--socket"]).arg(containerd.nri_socket());
    nri.arg("--policies").arg(policies).arg("--agent-config").arg(config);
    nri.stdin(Stdio::null()).stdout(Stdio::null());
    nri
}

/// How often a containerd has registered a plugin.
pub(crate) fn registrations(containerd: &Containerd) -> usize {
    containerd.log().matches("connected and synchronized").count()
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
fn result(pod: &Pod, name: &str) -> String {
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

/// Policies for two containers of a pod, by their names.
const OF_INIT: &str = "policy t-init\napply if container == \"init\" and namespace == \"test\"\n\
    default write deny\nallow write net.ipv4.ip_default_ttl if new == 90\n";
const OF_NGINX: &str = "policy t-nginx\napply if container == \"nginx\" and namespace == \"test\"\n\
    default write deny\nallow write net.ipv4.ip_default_ttl if new == 110\n";

fn after_another() -> Result<(), Failed> {
    let setting = Setting::new(OF_INIT)?;
    fs::write(setting.files.path().join("policies/nginx.knob"), OF_NGINX)?;
    let _plugin = setting.plugin(&[])?;
    let pod = setting.pod()?;
    // The first write is what the other container may write.
    let write = |value: &str| {
        format!(
            "(echo {value} >/proc/sys/net/ipv4/ip_default_ttl) 2>/dev/null && echo {value} || echo denied;"
        )
    };
    let lines = |name: &str| {
        let output = pod.output(name);
        output.lines().filter_map(|line| line.rsplit(' ').next()).collect::<Vec<_>>().join(" ")
    };
    let init = pod.start("init", &(write("110") + &write("90")))?;
    eventually("it has ended", || {
        let status = setting.containerd.cri().container_status(&init);
        status.is_ok_and(|status| status.state() == ContainerState::Exited)
    });
    assert_eq!(lines("init"), "denied 90");
    let nginx = pod.start("nginx", &(write("90") + &write("110") + "sleep 1000"))?;
    eventually("it has written", || lines("nginx").contains("110"));
    assert_eq!(lines("nginx"), "denied 110");
    let attached = stdout(&expect(0, ["list"]));
    assert!(attached.contains(&nginx) && !attached.contains(&init), "{attached}");
    for (policy, name) in [("t-init", "init"), ("t-nginx", "nginx")] {
        let log = stdout(&expect(0, ["log", policy]));
        assert!(log.contains(&format!("  k8s/test/web/{name}: 1 event\n")), "{log}");
    }
    Ok(())
}

/// What the page has between lines with backticks, in their order: what is said after the first three, and the block.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.split_once('\n')).collect()
}

/// The text without what is another one each time: numbers, and the hashes of versions.
fn without_numbers(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        kept.push(if char.is_ascii_digit() { '#' } else { char });
        match char {
            '@' => while rest.next_if(char::is_ascii_hexdigit).is_some() {},
            '0'..='9' => while rest.next_if(char::is_ascii_digit).is_some() {},
            _ => {}
        }
    }
    kept
}

/// Checks that commands print what a block of the page says, with a container whose cgroup has this path and id.
fn check_commands(block: &str, cgroup: &str, id: &str) -> Result<(), Failed> {
    for part in block.split("# knobgate ").skip(1) {
        let (command, expected) = part.split_once('\n').ok_or("a command")?;
        let printed = stdout(&expect(0, command.split(' ')));
        let pods = cgroup.strip_suffix(id).ok_or("the path ends with the id")?;
        let printed = printed.replace(pods, "/sys/fs/cgroup/pods/").replace(id, "4f6b1e3a9c0d");
        // `list` has what other tests attach, too.
        let is_there = without_numbers(&printed).contains(&without_numbers(expected));
        assert!(is_there, "{command} prints\n{printed}");
    }
    Ok(())
}

fn page() -> Result<(), Failed> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/containerd.md"))?;
    let blocks = blocks(&page);
    let of = |kind: &str| -> Vec<&str> {
        blocks.iter().filter(|(said, _)| *said == kind).map(|(_, text)| *text).collect()
    };
    let ([policy], [registered, errors @ ..], [running, gone]) =
        (&of("knob,file=/etc/knobgate/policies.d/web.knob")[..], &of("text")[..], &of("console")[..])
    else {
        return Err("the page has one policy, what the plugin says, errors, and two transcripts".into());
    };
    let setting = Setting::new(policy)?;
    let plugin = setting.plugin(&[])?;
    assert_eq!(without_numbers(&plugin.said()), without_numbers(registered));
    let pod = setting.containerd.pod_in("prod", "web-7d4b9", &[("tier", "front")])?;
    let id = pod.start("nginx", SCRIPT)?;
    assert_eq!(result(&pod, "nginx"), "denied allowed");
    let cgroup = setting.containerd.cgroup_of(&id);
    let cgroup = cgroup.to_str().ok_or("a path")?;
    check_commands(running, cgroup, &id)?;
    setting.containerd.cri().stop_container(&id, 0)?;
    setting.containerd.cri().remove_container(&id)?;
    check_commands(gone, cgroup, &id)?;

    let file = setting.files.path().join("policies/t.knob");
    fs::write(&file, policy.replace("100", "\"100\""))?;
    let broken =
        setting.containerd.pod_in("prod", "broken", &[])?.start("nginx", SCRIPT).unwrap_err().to_string();
    let broken = broken.replace(file.to_str().ok_or("a path")?, "/etc/knobgate/policies.d/web.knob");
    fs::write(&file, policy)?;
    drop(plugin);
    let id =
        setting.containerd.pod_in("prod", "early", &[("tier", "front")])?.create("nginx", SCRIPT, &[])?;
    let _plugin = setting.plugin(&[])?;
    let early = setting.containerd.cri().start_container(&id).unwrap_err().to_string();
    assert_eq!(errors, [format!("{broken}\n"), format!("{early}\n")]);
    Ok(())
}

fn broken() -> Result<(), Failed> {
    let setting = Setting::new("policy t-nri\nallow write net.ipv4.ip_default_ttl if new <= \"9\"\n")?;
    let plugin = setting.plugin(&[])?;
    assert!(plugin.said().contains("no container starts until this is fixed"), "{}", plugin.said());
    let error = setting.pod()?.start("nginx", SCRIPT).unwrap_err().to_string();
    assert!(error.contains("t.knob:2") && error.contains("texts have no order"), "{error}");
    // What is fixed counts for the next one.
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
    assert!(
        error.contains("knobgate: the policy \"t-nri\" is not on it: either it was created while"),
        "{error}"
    );
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
    let attached = stdout(&expect(0, ["list"]));
    assert!(attached.contains(" by the NRI plugin, loaded "), "{attached}");
    Ok(())
}

fn privileges() -> Result<(), Failed> {
    let setting = Setting::new(POLICY)?;
    let pod = setting.pod()?;
    for (name, arguments) in [("hooks", &[][..]), ("no-hooks", &["--without-hooks"])] {
        let _plugin = setting.plugin_with(&bounding_set("nri", None), arguments)?;
        pod.start(name, SCRIPT)?;
        assert_eq!(result(&pod, name), "denied allowed");
    }
    let plugin = setting.plugin_with(&bounding_set("nri", Some("CAP_SYS_ADMIN")), &["--without-hooks"])?;
    let error = pod.start("denied", SCRIPT).expect_err("the plugin cannot put the policy on it").to_string();
    assert!(error.contains("CAP_SYS_ADMIN"), "{error}; {}", plugin.said());
    Ok(())
}

fn off() -> Result<(), Failed> {
    fs::create_dir_all("/run/knobgate")?;
    mount("tmpfs", "/run/knobgate", "tmpfs", MountFlags::empty(), Some(c"mode=700"))?;
    let setting = Setting::new(POLICY)?;
    let pod = setting.pod()?;
    let mut numbers = 0..;
    for (arguments, name) in [(&[][..], "with-hooks"), (&["--without-hooks"], "without-hooks")] {
        let plugin = setting.plugin(arguments)?;
        // Without its policy having been on a container, it is not known in this directory.
        for off in [&["on"][..], &["off"], &["on"], &["off", "t-nri"], &["on", "t-nri"]] {
            expect(0, off);
            let container = format!("{name}-{}", numbers.next().ok_or("a number")?);
            pod.start(&container, SCRIPT)?;
            let judged = if off[0] == "on" { "denied allowed" } else { "unjudged allowed" };
            assert_eq!(result(&pod, &container), judged, "{off:?}: {}", plugin.said());
        }
        for why in ["all policies are off", "\"t-nri\" is off"] {
            let said = format!("starts without a policy: {why}");
            assert!(plugin.said().contains(&said), "{}", plugin.said());
        }
    }
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
    let created = pod.create("created", SCRIPT, &[])?;
    drop(plugin);
    // One that was created has its hooks.
    setting.containerd.cri().start_container(&created)?;
    assert_eq!(result(&pod, "created"), "denied allowed");
    pod.start("during", SCRIPT)?;
    assert_eq!(result(&pod, "during"), "unjudged allowed");
    // One that has its policies keeps them.
    assert!(stdout(&expect(0, ["list"])).contains(&before));
    let plugin = setting.plugin(&[])?;
    assert!(
        plugin.said().contains("note: there before, and left as they are: 3 containers"),
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
    let setting = Setting::new(POLICY)?;
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
