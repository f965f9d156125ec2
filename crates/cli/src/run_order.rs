//! Which programs run for the accesses of a cgroup, in their order, and what put each there.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use knobgate_kernel::{AttachMode, Cgroup, MachineAttachments, ObjectError, SurveyError};

/// One program that runs for the accesses of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    /// The program.
    pub(crate) program_id: u32,
    /// The cgroup that it is attached to, that cgroup or one above; `None` when that is out of sight.
    pub(crate) on: Option<PathBuf>,
    /// How it is attached; `None` when that is out of sight.
    pub(crate) by: Option<By>,
}

/// What holds a program on a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The link of this id.
    Link(u32),
    /// Nothing but the cgroup.
    Mode(AttachMode),
}

/// The programs of a cgroup, in the order in which they run.
#[derive(Debug)]
pub(crate) struct RunOrder {
    /// The cgroup's directory.
    pub(crate) cgroup: PathBuf,
    /// Its programs and those that it has from above.
    pub(crate) programs: Vec<Running>,
}

/// Every cgroup that has programs of its own, with all that run for it.
///
/// # Errors
/// Those of [`MachineAttachments::find`].
pub(crate) fn run_orders(attachments: &MachineAttachments) -> Result<Vec<RunOrder>, SurveyError> {
    // The links of each cgroup, as program and link.
    let mut links: HashMap<u64, Vec<(u32, u32)>> = HashMap::new();
    for link in &attachments.links {
        if let Some(cgroup_id) = link.cgroup_id {
            links.entry(cgroup_id).or_default().push((link.program_id, link.id));
        }
    }
    let mut effective = Vec::new();
    let mut ids = BTreeMap::new();
    for path in attachments.cgroups.keys() {
        // One that vanished meanwhile has nothing to show.
        let Ok(cgroup) = Cgroup::open(path) else { continue };
        ids.insert(&**path, cgroup.id());
        match cgroup.effective() {
            Ok(programs) => effective.push((path, programs)),
            Err(ObjectError::NotPermitted { doing, needs, source }) => {
                return Err(ObjectError::NotPermitted { doing, needs, source }.into());
            }
            Err(_) => {}
        }
    }
    let order = |(path, programs): (&PathBuf, Vec<u32>)| {
        let mut attached = attached_from(path, &ids, &links, attachments);
        let running = |program_id| match attached.iter().position(|one| one.program_id == program_id) {
            Some(place) => attached.remove(place),
            None => Running { program_id, on: None, by: None },
        };
        RunOrder { cgroup: path.clone(), programs: programs.into_iter().map(running).collect() }
    };
    Ok(effective.into_iter().map(order).collect())
}

/// What is attached to a cgroup and those above, the nearest first, as it runs.
fn attached_from(
    path: &Path,
    ids: &BTreeMap<&Path, u64>,
    links: &HashMap<u64, Vec<(u32, u32)>>,
    attachments: &MachineAttachments,
) -> Vec<Running> {
    let mut found = Vec::new();
    for level in path.ancestors() {
        let (Some(id), Some(attached)) = (ids.get(level), attachments.cgroups.get(level)) else { continue };
        let mut links = links.get(id).cloned().unwrap_or_default();
        for &program_id in &attached.program_ids {
            let by = match links.iter().position(|(program, _)| *program == program_id) {
                Some(place) => By::Link(links.remove(place).1),
                None => By::Mode(attached.mode.unwrap_or(AttachMode::Multi)),
            };
            found.push(Running { program_id, on: Some(level.to_owned()), by: Some(by) });
        }
    }
    found
}
