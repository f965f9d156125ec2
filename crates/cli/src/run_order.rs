//! Which programs run for the accesses of a cgroup, in their order, and what put each there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use knobgate_kernel::{AttachMode, Cgroup, LinkInfo, MachineAttachments, ObjectError, SurveyError};

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
    let mut orders = Vec::new();
    let mut ids = BTreeMap::new();
    for path in attachments.cgroups.keys() {
        // One that vanished meanwhile has nothing to show.
        if let Ok(cgroup) = Cgroup::open(path) {
            ids.insert(path.clone(), cgroup);
        }
    }
    for (path, cgroup) in &ids {
        let effective = match cgroup.effective() {
            Ok(effective) => effective,
            Err(ObjectError::NotPermitted { doing, needs, source }) => {
                return Err(ObjectError::NotPermitted { doing, needs, source }.into());
            }
            Err(_) => continue,
        };
        let mut attached = attached_from(path, &ids, attachments);
        let programs = effective
            .into_iter()
            .map(|program_id| match attached.iter().position(|one| one.program_id == program_id) {
                Some(place) => attached.remove(place),
                None => Running { program_id, on: None, by: None },
            })
            .collect();
        orders.push(RunOrder { cgroup: path.clone(), programs });
    }
    Ok(orders)
}

/// What is attached to a cgroup and those above, the nearest first, as it runs.
fn attached_from(
    path: &Path,
    cgroups: &BTreeMap<PathBuf, Cgroup>,
    attachments: &MachineAttachments,
) -> Vec<Running> {
    let mut found = Vec::new();
    for level in path.ancestors() {
        let (Some(cgroup), Some(attached)) = (cgroups.get(level), attachments.cgroups.get(level)) else {
            continue;
        };
        let mut links: Vec<LinkInfo> = attachments
            .links
            .iter()
            .map(|(_, info)| *info)
            .filter(|info| info.cgroup_id == Some(cgroup.id()))
            .collect();
        for &program_id in &attached.program_ids {
            let link = links.iter().position(|link| link.program_id == program_id);
            let by = match link {
                Some(place) => By::Link(links.remove(place).id),
                None => By::Mode(attached.mode.unwrap_or(AttachMode::Multi)),
            };
            found.push(Running { program_id, on: Some(level.to_owned()), by: Some(by) });
        }
    }
    found
}
