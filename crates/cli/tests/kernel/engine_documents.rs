//! The commands in docs/docker.md, docs/podman.md, docs/lxc.md and docs/nspawn.md print what these pages show.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use knobgate_testing::{
    Docker, ENGINE_NAMESPACES, IMAGE, Podman, Suite, Test, fresh_machine, without_docker, without_lxc,
    without_nspawn, without_podman, write_image_root,
};
use libtest_mimic::Failed;

use crate::engines::{Parent, printed};
use crate::setting::KNOBGATE;
use crate::watching::sends_events;

/// The tests, each on a machine of its own.
pub(crate) fn with_engines() -> Suite {
    let docker = Suite::default().requiring(sends_events, &[DOCKER]).with_engine(without_docker);
    let lxc = Suite::default().requiring(sends_events, &[LXC]).with_engine(without_lxc);
    let nspawn = Suite::default().requiring(sends_events, &[NSPAWN]).with_engine(without_nspawn);
    let podman = Suite::new(&[PODMAN]).with_engine(without_podman);
    docker.and(podman).and(lxc).and(nspawn).isolated(ENGINE_NAMESPACES)
}

const DOCKER: Test = ("docker_the_page_shows_what_the_commands_print", docker);
const PODMAN: Test = ("podman_the_page_shows_what_the_commands_print", podman);
const LXC: Test = ("lxc_the_page_shows_what_the_commands_print", lxc);
const NSPAWN: Test = ("nspawn_the_page_shows_what_the_commands_print", nspawn);

/// A part of a page.
enum Block {
    File { path: String, text: String },
    Console(Vec<Shown>),
}

/// A command, and the lines that it prints.
struct Shown {
    command: String,
    lines: Vec<String>,
}

/// The files and commands of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else { continue };
        let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if let Some((_, path)) = kind.split_once(",file=") {
            blocks.push(Block::File { path: path.to_owned(), text: inside.join("\n") + "\n" });
        } else if kind == "console" {
            let mut shown: Vec<Shown> = Vec::new();
            for line in inside {
                match (line.strip_prefix("# "), shown.last_mut()) {
                    (Some(command), _) => {
                        shown.push(Shown { command: command.to_owned(), lines: Vec::new() });
                    }
                    (None, Some(last)) => last.lines.push(line.to_owned()),
                    (None, None) => panic!("not after a command: {line}"),
                }
            }
            blocks.push(Block::Console(shown));
        }
    }
    blocks
}

/// Whether a line is the one that is shown, in which `…` stands for anything.
fn is_shown(line: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// Gives this mount namespace a layer of its own over a directory.
fn overlay(directory: &str) -> Result<(), Failed> {
    let layer = format!("/run/layer{}", directory.replace('/', "-"));
    let (upper, work) = (format!("{layer}/upper"), format!("{layer}/work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let options = format!("lowerdir={directory},upperdir={upper},workdir={work}");
    let status =
        Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options, directory]).status()?;
    if status.success() { Ok(()) } else { Err(format!("mount: {status}").into()) }
}

/// A machine on which knobgate is installed, and what is written to it goes with the test.
pub(crate) fn machine() -> Result<(), Failed> {
    fresh_machine()?;
    for directory in ["/etc", "/usr/bin", "/usr/share"] {
        overlay(directory)?;
    }
    let status = Command::new("cp").args([KNOBGATE, "/usr/bin/knobgate"]).status()?;
    if status.success() { Ok(()) } else { Err(format!("cp: {status}").into()) }
}

/// Writes the files of a page and runs its commands, in their order. Where the page has the cgroup `usual` for containers, the test has
/// `parent`.
fn run_page(
    blocks: &[Block],
    usual: &str,
    parent: &Path,
    environment: &[(&str, String)],
) -> Result<(), Failed> {
    let parent = parent.display().to_string();
    let parent = parent.trim_start_matches('/');
    let (usual_argument, argument) = (format!("--cgroup {usual} "), format!("--cgroup {parent} "));
    let mut wrong = String::new();
    for block in blocks {
        let shown = match block {
            Block::File { path, text } => {
                fs::create_dir_all(Path::new(path).parent().ok_or("a directory")?)?;
                fs::write(path, text)?;
                if text.starts_with("#!") {
                    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
                }
                continue;
            }
            Block::Console(shown) => shown,
        };
        for Shown { command, lines } in shown {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("exec 2>&1; {}", command.replace(&usual_argument, &argument))]);
            shell.envs(environment.iter().map(|(name, value)| (name, value)));
            let printed = printed(&mut shell)?.replace(parent, usual);
            // Docker's client may or may not say that it no longer waits for a container that did not start.
            let is_of_command = |line: &&str| !line.ends_with("context canceled\"");
            let printed = printed.lines().filter(is_of_command).collect::<Vec<_>>().join("\n") + "\n";
            let printed = printed.trim_start_matches('\n');
            let are_equal = printed.lines().count() == lines.len()
                && printed.lines().zip(lines).all(|(line, shown)| is_shown(line, shown));
            if !are_equal {
                wrong.push_str(&format!("# {command}\n{printed}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("other than shown:\n{wrong}").into()) }
}

/// What a page says is in this file.
fn file<'a>(blocks: &'a [Block], wanted: &str) -> Result<&'a str, Failed> {
    let text = blocks.iter().find_map(|block| match block {
        Block::File { path, text } if path == wanted => Some(text.as_str()),
        _ => None,
    });
    text.ok_or_else(|| format!("the page has no {wanted}").into())
}

fn docker() -> Result<(), Failed> {
    machine()?;
    let blocks = blocks(include_str!("../../../../docs/docker.md"));
    let parent = Parent::create()?;
    let mut settings: serde_json::Value = serde_json::from_str(file(&blocks, "/etc/docker/daemon.json")?)?;
    settings["cgroup-parent"] = parent.name.to_str().into();
    let docker = Docker::start(&settings.to_string())?;
    printed(&mut docker.command(["tag", IMAGE, "busybox"]))?;
    // Otherwise Docker warns in this network namespace.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    run_page(&blocks, "docker", &parent.name, &[("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())])
}

fn podman() -> Result<(), Failed> {
    machine()?;
    let blocks = blocks(include_str!("../../../../docs/podman.md"));
    let parent = Parent::create()?;
    let podman = Podman::start("runc")?;
    printed(&mut podman.command(["tag", IMAGE, "busybox"]))?;
    // Podman as the page calls it, with what a test needs.
    let options = Podman::RUN_OPTIONS.join(" ");
    let script = format!(
        "runtime=runc\nif [ \"$1\" = --runtime ]; then runtime=$2; shift 2; fi\nverb=$1; shift\n\
         if [ \"$verb\" = run ]; then set -- --cgroup-parent {} {options} \"$@\"; fi\n\
         exec /usr/bin/podman --cgroup-manager=cgroupfs --events-backend=none --runtime \"$runtime\" \"$verb\" \"$@\"\n",
        parent.name.display()
    );
    let path = wrapper("podman", &script)?;
    run_page(&blocks, "machine.slice", &parent.name, &[("PATH", path)])
}

/// Writes a script that a page's commands run instead of a program, and returns the `PATH` with which they do.
fn wrapper(program: &str, script: &str) -> Result<String, Failed> {
    let path = Path::new("/run/wrapper").join(program);
    fs::create_dir_all("/run/wrapper")?;
    fs::write(&path, format!("#!/bin/sh\n{script}"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok("/run/wrapper:/usr/sbin:/usr/bin:/sbin:/bin".to_owned())
}

/// Writes a root file system for a container, with the directories that engines mount on.
fn write_container_root(root: &str) -> Result<(), Failed> {
    write_image_root(Path::new(root))?;
    for directory in ["dev", "etc", "proc", "run", "sys", "tmp", "usr"] {
        fs::create_dir_all(Path::new(root).join(directory))?;
    }
    Ok(())
}

fn lxc() -> Result<(), Failed> {
    machine()?;
    let parent = Parent::create()?;
    let name = parent.name.to_str().ok_or("a name")?.trim_start_matches('/');
    let page = include_str!("../../../../docs/lxc.md");
    // From the start, and not only from the section that says so.
    let setting = format!("lxc.cgroup.dir = {name}\n");
    let blocks = blocks(&page.replace("lxc.cgroup.dir = lxc\n", &setting));
    // The page is about a machine without AppArmor.
    fs::create_dir_all("/usr/share/lxc/config/common.conf.d")?;
    let settings = format!("lxc.apparmor.profile = unconfined\n{setting}");
    fs::write("/usr/share/lxc/config/common.conf.d/test.conf", settings)?;
    write_container_root("/var/lib/lxc/web/rootfs")?;
    fs::create_dir_all("/var/lib/lxc/safe")?;
    run_page(&blocks, "lxc", &parent.name, &[])
}

fn nspawn() -> Result<(), Failed> {
    machine()?;
    let blocks = blocks(include_str!("../../../../docs/nspawn.md"));
    let parent = Parent::create()?;
    write_container_root("/var/lib/machines/web")?;
    let name = parent.name.to_str().ok_or("a name")?.trim_start_matches('/');
    let script = format!(
        "if [ \"$1\" = run ]; then shift; set -- run --cgroup {name} \"$@\"; fi\nexec /usr/bin/knobgate \"$@\"\n"
    );
    let path = wrapper("knobgate", &script)?;
    // What is in the container does not show which hierarchies of cgroups it can use.
    let hierarchies = ("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1".to_owned());
    run_page(&blocks, "machine.slice", &parent.name, &[("PATH", path), hierarchies])
}
