//! `knobgate attach`: put a policy on a cgroup, to stay.

use std::path::PathBuf;
use std::process::ExitCode;

use knobgate_bpf::MapKind;
use knobgate_kernel::{
    AttachmentName, BpffsError, Cgroup, Link, LinkError, LoadedProgram, Map, PinDir, ProgramFd,
};

use crate::attachments::{Lock, cannot, chosen_cgroup, create_pins, describe_cgroup, parse_name};
use crate::deciding_hook::DecidingHook;
use crate::failure::Failure;
use crate::into_kernel::verify_in_force;
use crate::output::Output;
use crate::what_runs::WhatRunsArgs;

/// Attach a policy, or a program of your own, to a cgroup; it stays until it is detached
///
/// The policy holds for the cgroup and all below it, at once for every process there, until `knobgate detach NAME`, or
/// until the cgroup is removed, or the machine is shut down. Nothing keeps running for that: the kernel has it all.
///
/// Attaching again under the same name to the same cgroup replaces the policy; every access is judged by the old one or
/// by the new one. If the policy cannot be enforced, nothing changes.
#[derive(Debug, clap::Args)]
pub(crate) struct Attach {
    #[command(flatten)]
    what: WhatRunsArgs,
    /// The cgroup: a path in the file system, or below the root of the hierarchy
    #[arg(long, value_name = "PATH", required_unless_present = "pid", conflicts_with = "pid")]
    cgroup: Option<PathBuf>,
    /// The cgroup that this process is in
    #[arg(long)]
    pid: Option<u32>,
    /// What the attachment is called; by default as the policy or the program is
    #[arg(long)]
    name: Option<String>,
}

impl Attach {
    pub(crate) fn run(self, output: &Output) -> Result<ExitCode, Failure> {
        let what = self.what.read(output)?;
        let name = match &self.name {
            Some(name) => parse_name(name)?,
            None => parse_name(what.name())
                .map_err(|failure| Failure::usage("give a name with --name").because(failure))?,
        };
        let cgroup = chosen_cgroup(self.cgroup.as_deref(), self.pid)?;
        if is_root(&cgroup) {
            let place = cgroup.path().display();
            if let Some(pid) = self.pid {
                return Err(Failure::usage(format!(
                    "process {pid} is in {place}, the root of all cgroups, where a policy would hold for every process \
                     of this machine; if that is meant, say --cgroup {place}"
                )));
            }
            output.warning(format!(
                "{place} is the root of all cgroups: the policy holds for every process of this machine"
            ));
        }
        let pins = create_pins()?;
        let loaded = what.load(output)?;

        let _lock = Lock::take(&pins)?;
        let done = put_in_force(&pins, &name, &loaded, &cgroup)?;
        let place = cgroup.path().display();
        let done = match done {
            Done::Attached => format!("{name}: attached {what} to {place}"),
            Done::Replaced(old) => format!("{name}: replaced program {old} on {place} by {what}"),
            Done::Renewed => {
                format!("{name}: attached {what} to {place}, for the cgroup that it was on is gone")
            }
        };
        output.line(format_args!("{done}; decided by {}", DecidingHook::of_this_machine()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether it is the root of all cgroups, which alone has no `cgroup.type`.
fn is_root(cgroup: &Cgroup) -> bool {
    !cgroup.path().join("cgroup.type").exists() && cgroup.path().join("cgroup.procs").exists()
}

/// What became of it.
enum Done {
    /// There was nothing of this name.
    Attached,
    /// It took the place of the program of this id.
    Replaced(u32),
    /// What was there had lost its cgroup.
    Renewed,
}

fn put_in_force(
    pins: &PinDir,
    name: &AttachmentName,
    loaded: &LoadedProgram,
    cgroup: &Cgroup,
) -> Result<Done, Failure> {
    // Others than knobgate can be at it as well, whom the lock does not keep off.
    const TRIES: u32 = 10;
    let mut renewed = false;
    for _ in 0..TRIES {
        let step = match pins.link(name) {
            Ok(link) => replace(pins, &link, name, loaded, cgroup)?,
            Err(BpffsError::NotFound { .. }) => attach(pins, name, loaded, cgroup)?,
            Err(error) => return Err(cannot("open", name).because(error)),
        };
        match step {
            Step::Done(Done::Attached) if renewed => return Ok(Done::Renewed),
            Step::Done(done) => return Ok(done),
            Step::Again => {}
            Step::Dead => {
                renewed = true;
                match pins.remove(name) {
                    Ok(()) | Err(BpffsError::NotFound { .. }) => {}
                    Err(error) => return Err(cannot("renew", name).because(error)),
                }
            }
        }
    }
    Err(cannot("replace", name).because("somebody else keeps changing it"))
}

enum Step {
    Done(Done),
    /// Somebody else was faster.
    Again,
    /// What is there holds nothing any longer.
    Dead,
}

fn attach(
    pins: &PinDir,
    name: &AttachmentName,
    loaded: &LoadedProgram,
    cgroup: &Cgroup,
) -> Result<Step, Failure> {
    let failed = |error: BpffsError| cannot("make", name).because(error);
    let link = Link::create(&loaded.program, cgroup).map_err(|error| failed(error.into()))?;
    // Dropped without having been pinned, the link takes the program off again.
    verify_in_force(loaded, cgroup)?;
    match pins.pin(name, &link) {
        Ok(()) => {
            if let Err(error) = pins.hold_maps(name, emptied_unless_held(loaded)) {
                let _ = pins.remove(name);
                return Err(failed(error));
            }
            Ok(Step::Done(Done::Attached))
        }
        // It is there and is no attachment: a detaching was cut short.
        Err(BpffsError::Exists { .. }) if pins.link(name).is_err() => Ok(Step::Dead),
        Err(BpffsError::Exists { .. }) => Ok(Step::Again),
        Err(error) => Err(failed(error)),
    }
}

/// The ids of the program arrays that a program holds.
fn program_arrays(program: &ProgramFd) -> Vec<u32> {
    let maps = program.maps().unwrap_or_default();
    let ids = maps.iter().map(Map::info).filter(|info| info.kind == MapKind::ProgArray.number());
    ids.map(|info| info.id).collect()
}

/// The program arrays of a program that is loaded: the kernel empties them when no process has them open.
fn emptied_unless_held(loaded: &LoadedProgram) -> impl Iterator<Item = &Map> {
    let maps = loaded.maps.iter().map(|(_, map)| map);
    maps.filter(|map| map.info().kind == MapKind::ProgArray.number())
}

fn replace(
    pins: &PinDir,
    link: &Link,
    name: &AttachmentName,
    loaded: &LoadedProgram,
    cgroup: &Cgroup,
) -> Result<Step, Failure> {
    let failed = |error: LinkError| cannot("replace", name).because(error);
    match link.info().map_err(failed)?.cgroup_id {
        None => return Ok(Step::Dead),
        Some(id) if id != cgroup.id() => {
            return Err(Failure::usage(format!(
                "there is an attachment \"{name}\" on another cgroup, {}; choose another name with --name, or detach it \
                 first: knobgate detach {name}",
                describe_cgroup(id)
            )));
        }
        Some(_) => {}
    }
    let old = link.program().map_err(failed)?;
    let old_id = old.info().map_err(|error| failed(error.into()))?.id;
    let no_maps = |error: BpffsError| cannot("replace", name).because(error);
    let held: Vec<u32> = emptied_unless_held(loaded).map(|map| map.info().id).collect();
    let of_old = program_arrays(&old);
    pins.hold_maps(name, emptied_unless_held(loaded)).map_err(no_maps)?;
    let updated = link.update(&old, &loaded.program);
    pins.release_maps_but(name, if updated.is_ok() { &held } else { &of_old }).map_err(no_maps)?;
    match updated {
        Ok(()) => {}
        Err(LinkError::ProgramChanged { .. }) => return Ok(Step::Again),
        Err(LinkError::Detached { .. }) => return Ok(Step::Dead),
        Err(error) => return Err(failed(error)),
    }
    verify_in_force(loaded, cgroup)?;
    Ok(Step::Done(Done::Replaced(old_id)))
}
