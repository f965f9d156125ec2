//! What this machine can do.

use knobgate::{Off, OffBy};
use knobgate_kernel::{
    AttachMode, BpfToken, Bpffs, BpffsError, Capabilities, Capability, Descendants, Hierarchy, Machine,
    MachineAttachments, PinDir, ProbeOutcome, Probes, host_netns, probe,
};

use super::finding::Finding;
use super::{agent, for_systemd, sandboxes};
use crate::off::describe;
use crate::output::chain;

pub(super) fn examine() -> Vec<Finding> {
    let machine = Machine::read();
    let mut findings = vec![
        Finding::ok("kernel", machine.kernel_release.clone()),
        privileges(machine.capabilities),
        hierarchy(),
        bpffs(),
    ];
    let probes = probe();
    findings.extend(probed(&probes));
    // Without the hook, this does not matter.
    findings.extend(probes.hook.is_yes().then(departures));
    findings.extend(attached());
    findings.extend(off());
    findings.extend(for_systemd::examine());
    findings.extend(settings(&machine));
    findings.extend(agent::examine());
    findings.extend(sandboxes::examine());
    findings
}

/// The policies that are off.
fn off() -> Vec<Finding> {
    let what = "off";
    let off = match Off::read() {
        Ok(off) => off,
        Err(error) => {
            return vec![Finding::less(
                what,
                chain(&error),
                "nothing puts a policy on a cgroup until that is known",
            )];
        }
    };
    let found = |by: &OffBy| {
        let found = describe(by);
        match by {
            OffBy::Name(..) => Finding::less(what, found, "nothing puts it on a cgroup"),
            _ => Finding::no(what, found, "nothing puts a policy on a cgroup"),
        }
    };
    off.reasons().iter().map(found).collect()
}

fn privileges(capabilities: Option<Capabilities>) -> Finding {
    let what = "privileges";
    let Some(capabilities) = capabilities else {
        return Finding::less(what, "unknown", "/proc/self/status cannot be read");
    };
    let held = Capability::FOR_BPF.into_iter().filter(|&one| capabilities.has(one));
    let held: Vec<String> = held.map(|capability| capability.to_string()).collect();
    let found = if held.is_empty() { "no capability that matters here".to_owned() } else { held.join(", ") };
    let token = BpfToken::of_this_process();
    if !capabilities.in_initial_user_namespace() && token.is_none() {
        return Finding::no(
            what,
            format!("{found}, but in a user namespace"),
            "capabilities count for BPF only in the initial user namespace: run outside this container, or with a BPF token, if \
             there is one for this user namespace (--bpf-token)",
        );
    }
    let lacks: Vec<String> = capabilities.lacks_for_loading().map(|one| one.to_string()).collect();
    if !lacks.is_empty() {
        return Finding::no(
            what,
            format!("{found}; it lacks {}", lacks.join(", ")),
            "to enforce a policy takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: run as root (check, fmt and explain need \
             nothing)",
        );
    }
    if let Some(token) = token {
        return Finding::less(
            what,
            format!("{found}, in a user namespace with a BPF token of {}", token.bpffs().display()),
            "policies can be verified, run, attached and detached, but not listed, shown, watched or replaced",
        );
    }
    if !capabilities.has(Capability::SysAdmin) {
        return Finding::less(
            what,
            format!("{found}; it lacks CAP_SYS_ADMIN"),
            "policies can be run, attached and detached, but not listed, shown, watched or replaced; `run` does not say at the \
             end what was denied",
        );
    }
    Finding::ok(what, found)
}

fn hierarchy() -> Finding {
    match Hierarchy::find() {
        Ok(hierarchy) => Finding::ok("cgroup v2", hierarchy.path().display().to_string()),
        Err(error) => Finding::no("cgroup v2", "none", error.to_string()),
    }
}

fn bpffs() -> Finding {
    match Bpffs::find() {
        Ok(bpffs) => {
            let found = bpffs.path().display().to_string();
            match PinDir::open(&bpffs) {
                Err(error @ BpffsError::Untrusted { .. }) => Finding::less("bpffs", found, error.to_string()),
                _ => Finding::ok("bpffs", found),
            }
        }
        Err(error) => Finding::less("bpffs", "none", format!("`run` works, `attach` does not: {error}")),
    }
}

fn probed(probes: &Probes) -> Vec<Finding> {
    let needed: [(&'static str, &ProbeOutcome, &str); 2] = [
        (
            "hook",
            &probes.hook,
            "no policy can be enforced: this needs Linux 5.2 with CONFIG_CGROUP_BPF, and privileges",
        ),
        (
            "links",
            &probes.links,
            "no policy can be enforced: this needs Linux 5.7, since without links any process could detach it",
        ),
    ];
    let knob_netns = match host_netns() {
        Err(error) if probes.knob_netns.is_yes() => ProbeOutcome::Unknown(error.to_string()),
        _ => probes.knob_netns.clone(),
    };
    let long_values = match &probes.bpf_loop {
        ProbeOutcome::Yes => &probes.atomic_fetch,
        other => other,
    };
    let useful: [(&'static str, &ProbeOutcome, &str); 16] = [
        (
            "rewriting",
            &probes.set_new_value,
            "rewritten values are dropped (a bug of Linux 5.18 and later): `clamp`, `set` and `ignore` deny with EPERM \
             where they would rewrite",
        ),
        (
            "errno of denials",
            &probes.set_retval,
            "every denial is EPERM, whatever errno the policy says (Linux 5.18)",
        ),
        ("comm", &probes.current_comm, "no policy can look at the task's name (Linux 6.1 and CAP_PERFMON)"),
        ("uid and gid", &probes.current_uid_gid, "no policy can look at the task's user and group"),
        ("ring buffers", &probes.ringbuf, "objects with a ring buffer do not load (Linux 5.8)"),
        ("events", &probes.events, "policies send no events: `watch`, `log` and `learn` show nothing"),
        (
            "pid",
            &probes.current_pid_tgid,
            "events do not have the process, and objects that look at it do not load (Linux 6.1)",
        ),
        (
            "namespaces",
            &probes.namespaces,
            "events do not have the namespaces of the task (this needs the kernel's BTF)",
        ),
        (
            "network namespace of knobs",
            &knob_netns,
            "no policy can look at `netns` (Linux 5.8 with BTF, and CAP_PERFMON)",
        ),
        (
            "last events",
            &probes.atomic_fetch,
            "the memory of a policy may lose the last event of a rule and a cgroup (Linux 5.12)",
        ),
        (
            "clamping lists",
            &probes.variable_stack,
            "a clamp of several numbers denies with EPERM where it would rewrite",
        ),
        ("large policies", &probes.long_jump, "the largest policies do not load (Linux 6.6)"),
        (
            "loops",
            &probes.bpf_loop,
            "policies with thousands of different conditions are rejected (Linux 5.17)",
        ),
        (
            "long values",
            long_values,
            "rules that look at a value of more than 135 bytes cannot be evaluated, and deny it (Linux 5.17; on arm64 5.18)",
        ),
        ("machine code", &probes.jit, "policies are interpreted, which is slow: net.core.bpf_jit_enable=1"),
        ("source lines", &probes.line_info, "the verifier's log does not show the lines of the policy"),
    ];
    let needed = needed.into_iter().map(|(what, outcome, without)| match outcome {
        ProbeOutcome::Yes => Finding::ok(what, "works"),
        outcome => Finding::no(what, outcome.to_string(), without),
    });
    // Without the hook, what it could do does not matter.
    let useful = useful.into_iter().filter(|_| probes.hook.is_yes());
    // A user namespace is not told whether there is machine code.
    let is_told = |outcome: &ProbeOutcome| {
        BpfToken::of_this_process().is_none() || !matches!(outcome, ProbeOutcome::Unknown(_))
    };
    let useful = useful.filter(|(what, outcome, _)| *what != "machine code" || is_told(outcome));
    let useful = useful.map(|(what, outcome, without)| match outcome {
        ProbeOutcome::Yes => Finding::ok(what, "works"),
        ProbeOutcome::Unknown(_) => Finding::less(
            what,
            outcome.to_string(),
            format!("policies are compiled as for a kernel where {without}"),
        ),
        outcome => Finding::less(what, outcome.to_string(), without),
    });
    needed.chain(useful).collect()
}

fn departures() -> Finding {
    let what = "departures";
    let root = Hierarchy::find().and_then(|hierarchy| hierarchy.root());
    let noticed = root
        .map_err(|error| error.to_string())
        .and_then(|root| Descendants::of(&root, false).map(drop).map_err(|error| error.to_string()));
    match noticed {
        Ok(()) => Finding::ok(what, "noticed"),
        Err(why) => Finding::less(
            what,
            "not noticed",
            format!(
                "`run` does not report processes that leave the policy, and --strict starts nothing: {why}"
            ),
        ),
    }
}

fn attached() -> Vec<Finding> {
    let what = "attached already";
    let attachments = match MachineAttachments::find() {
        Ok(attachments) => attachments,
        Err(error) => return vec![Finding::less(what, "unknown", error.to_string())],
    };
    let first = if attachments.is_empty() {
        Finding::ok(what, "nothing").so(
            "the first program makes every access to /proc/sys on this machine slower, in every cgroup: on Linux 6.18 by 40 to \
             70 %",
        )
    } else {
        let count: usize = attachments.cgroups.values().map(|attached| attached.program_ids.len()).sum();
        Finding::ok(what, format!("{count} on {} cgroups", attachments.cgroups.len()))
            .so("every access to /proc/sys on this machine already pays for the hook: knobgate list")
    };
    let conflicts = attachments.cgroups.iter().filter_map(|(path, attached)| {
        let mode = attached.mode.filter(|&mode| mode != AttachMode::Multi)?;
        Some(Finding::less(
            "conflict",
            format!("a program in {mode} mode on {}", path.display()),
            if mode == AttachMode::Single {
                "until that program is detached, which any process can do, no policy can be attached there or below"
            } else {
                "until that program is detached, which any process can do, no policy can be attached there; a policy \
                 below replaces it there"
            },
        ))
    });
    [first].into_iter().chain(conflicts).collect()
}

fn settings(machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match machine.unprivileged_bpf_disabled {
        Some(0) => Finding::less(
            "unprivileged BPF",
            "allowed",
            "this hook is not affected, but other ways into the kernel are open: kernel.unprivileged_bpf_disabled=1",
        ),
        Some(_) => Finding::ok("unprivileged BPF", "disabled"),
        None => Finding::ok("unprivileged BPF", "no such setting"),
    });
    if let Some(strict) = machine.sysctl_writes_strict.filter(|&strict| strict != 1) {
        findings.push(Finding::less(
            "partial writes",
            format!("kernel.sysctl_writes_strict={strict}"),
            "a write at any file position replaces the value; rules that look at the value deny such writes, others \
             do not see the difference",
        ));
    }
    if let Some(lockdown) = &machine.lockdown {
        findings.push(Finding::ok("lockdown", lockdown.clone()));
    }
    findings
}
