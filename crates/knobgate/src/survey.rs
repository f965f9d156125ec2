//! All attached programs of this machine, and which of them run for which cgroup.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use knobgate_kernel::{
    AttachMode, Attachment, AttachmentName, BpfObjectError, Bpffs, BpffsError, Cgroup, Link, LinkError,
    LinkOrigin, MachineAttachments, PinDir, SurveyError,
};

use crate::attachments::Attachments;
use crate::policy_version::versions_of;

/// The programs of all cgroups, ours and others'.
#[derive(Debug)]
#[non_exhaustive]
pub struct Survey {
    /// The cgroups that have programs of their own, by path.
    pub cgroups: Vec<RunOrder>,
    /// The attachments whose cgroups have all been removed.
    pub dead: BTreeSet<AttachmentName>,
    /// The attachments of policies for containers that are on no cgroup now.
    pub waiting: BTreeSet<AttachmentName>,
    /// The programs that are [pinned](Attachments::pin) for others to attach, and that are on no cgroup now.
    pub unused: BTreeSet<AttachmentName>,
    /// Why names of attachments may be missing.
    pub unread: Vec<BpffsError>,
}

/// The programs that run for the accesses of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunOrder {
    /// The cgroup's directory.
    pub cgroup: PathBuf,
    /// Its programs and those of the cgroups above, in the order in which they run.
    pub programs: Vec<EffectiveProgram>,
}

/// A program that runs for the accesses of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveProgram {
    /// Its id.
    pub program_id: u32,
    /// The cgroup that it is attached to, this one or one above; `None` if it is not visible here.
    pub attached_to: Option<PathBuf>,
    /// How it is attached; `None` if that is not visible here.
    pub attached_by: Option<AttachedBy>,
    /// If it is attached without a link, the attachment whose program is pinned, and is this one.
    pub pinned_as: Option<AttachmentName>,
}

/// How a program is attached to a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachedBy {
    /// A link.
    Link {
        /// Its id.
        id: u32,
        /// The attachment of the link.
        attachment: Option<AttachmentName>,
        /// Who made the link for it, and when.
        origin: Option<LinkOrigin>,
    },
    /// Without a link.
    Mode(AttachMode),
}

impl Survey {
    /// Takes the survey. Repeats it with the attachments locked if links changed in the meantime.
    ///
    /// # Errors
    ///
    /// Those of [`MachineAttachments::find`].
    pub fn take() -> Result<Self, SurveyError> {
        let before = Link::all().ok();
        let survey = Self::take_once()?;
        let unchanged = Link::all().ok() == before;
        if !unchanged
            && let Ok(Some(attachments)) = Attachments::open()
            && let Ok(_lock) = attachments.lock()
        {
            return Self::take_once();
        }
        Ok(survey)
    }

    /// The programs that run for the accesses of this cgroup. Without programs of its own, it has those of the nearest cgroup above
    /// that has some. `None` if no program runs.
    pub fn order_for(&self, cgroup: &Path) -> Option<RunOrder> {
        let above = self.cgroups.iter().filter(|order| cgroup.starts_with(&order.cgroup));
        let nearest = above.max_by_key(|order| order.cgroup.components().count())?;
        Some(RunOrder { cgroup: cgroup.to_owned(), programs: nearest.programs.clone() })
    }

    fn take_once() -> Result<Self, SurveyError> {
        let machine = MachineAttachments::find()?;
        let LinkNames { names, pinned, unread } = LinkNames::read();
        let alive: HashSet<&AttachmentName> = machine
            .links
            .iter()
            .filter(|link| link.cgroup_id.is_some())
            .filter_map(|link| Some(&names.get(&link.id)?.0))
            .collect();
        let is_dead = |name: &&AttachmentName| !alive.contains(name) && !pinned.contains_key(*name);
        let dead = names.values().map(|(name, _)| name).filter(is_dead).cloned().collect();
        let cgroups = run_orders(&machine, &names, &pinned)?;
        let used: HashSet<&AttachmentName> = cgroups
            .iter()
            .flat_map(|order| &order.programs)
            .filter_map(|one| one.pinned_as.as_ref())
            .collect();
        let on_none = pinned.keys().filter(|name| !alive.contains(name) && !used.contains(name)).cloned();
        let (waiting, unused) = on_none.partition(|name| versions_of(name).is_some());
        Ok(Self { cgroups, dead, waiting, unused, unread })
    }
}

/// The names of attachments by the ids of their links, and where these come from.
#[derive(Debug, Default)]
struct LinkNames {
    names: HashMap<u32, (AttachmentName, LinkOrigin)>,
    /// The attachments whose program is pinned, with its id.
    pinned: BTreeMap<AttachmentName, u32>,
    /// Why names may be missing.
    unread: Vec<BpffsError>,
}

impl LinkNames {
    fn read() -> Self {
        let mut link_names = Self::default();
        let read = match Bpffs::find().and_then(|bpffs| PinDir::open(&bpffs)) {
            Ok(Some(pins)) => link_names.read_all(&pins),
            // No attachment is pinned there.
            Ok(None) | Err(BpffsError::NotMounted) => Ok(()),
            Err(error) => Err(error),
        };
        link_names.unread.extend(read.err());
        link_names
    }

    fn read_all(&mut self, pins: &PinDir) -> Result<(), BpffsError> {
        for name in pins.names()? {
            let read = |attachment: Attachment| {
                let program = attachment.program()?.map(|program| program.info()).transpose();
                Ok((attachment.links()?, program.map_err(LinkError::from)?))
            };
            match pins.attachment(&name).and_then(read) {
                Ok((links, program)) => {
                    self.names.extend(links.iter().map(|link| (link.info.id, (name.clone(), link.origin))));
                    self.pinned.extend(program.map(|program| (name, program.id)));
                }
                // It was detached in the meantime.
                Err(BpffsError::NotFound { .. }) => {}
                Err(error) => self.unread.push(error),
            }
        }
        Ok(())
    }
}

fn run_orders(
    attachments: &MachineAttachments,
    names: &HashMap<u32, (AttachmentName, LinkOrigin)>,
    pinned: &BTreeMap<AttachmentName, u32>,
) -> Result<Vec<RunOrder>, SurveyError> {
    let pinned: HashMap<u32, &AttachmentName> =
        pinned.iter().map(|(name, program)| (*program, name)).collect();
    // For each cgroup, its links and their programs.
    let mut links: HashMap<u64, Vec<(u32, AttachedBy)>> = HashMap::new();
    for link in &attachments.links {
        if let Some(cgroup_id) = link.cgroup_id {
            let (attachment, origin) = names.get(&link.id).cloned().unzip();
            let by = AttachedBy::Link { id: link.id, attachment, origin };
            links.entry(cgroup_id).or_default().push((link.program_id, by));
        }
    }
    let mut effective = Vec::new();
    let mut ids = BTreeMap::new();
    for path in attachments.cgroups.keys() {
        // It was removed in the meantime.
        let Ok(cgroup) = Cgroup::open(path) else { continue };
        ids.insert(&**path, cgroup.id());
        match cgroup.effective() {
            Ok(programs) => effective.push((path, programs)),
            Err(BpfObjectError::NotPermitted { doing, needs, source }) => {
                return Err(BpfObjectError::NotPermitted { doing, needs, source }.into());
            }
            Err(_) => {}
        }
    }
    let order = |(path, programs): (&PathBuf, Vec<u32>)| {
        let mut attached = attached_from(path, &ids, &links, attachments, &pinned);
        let running = |program_id| match attached.iter().position(|one| one.program_id == program_id) {
            Some(place) => attached.remove(place),
            None => EffectiveProgram { program_id, attached_to: None, attached_by: None, pinned_as: None },
        };
        RunOrder { cgroup: path.clone(), programs: programs.into_iter().map(running).collect() }
    };
    Ok(effective.into_iter().map(order).collect())
}

/// The programs on a cgroup and those above, the nearest first, which is the order in which they run.
fn attached_from(
    path: &Path,
    ids: &BTreeMap<&Path, u64>,
    links: &HashMap<u64, Vec<(u32, AttachedBy)>>,
    attachments: &MachineAttachments,
    pinned: &HashMap<u32, &AttachmentName>,
) -> Vec<EffectiveProgram> {
    let mut found = Vec::new();
    for level in path.ancestors() {
        let (Some(id), Some(attached)) = (ids.get(level), attachments.cgroups.get(level)) else { continue };
        let mut links = links.get(id).cloned().unwrap_or_default();
        for &program_id in &attached.program_ids {
            let by = match links.iter().position(|(program, _)| *program == program_id) {
                Some(place) => links.remove(place).1,
                None => AttachedBy::Mode(attached.mode.unwrap_or(AttachMode::Multi)),
            };
            let pinned_as = match by {
                AttachedBy::Link { .. } => None,
                AttachedBy::Mode(_) => pinned.get(&program_id).map(|&name| name.clone()),
            };
            found.push(EffectiveProgram {
                program_id,
                attached_to: Some(level.to_owned()),
                attached_by: Some(by),
                pinned_as,
            });
        }
    }
    found
}
