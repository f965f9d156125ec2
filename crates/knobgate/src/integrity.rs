//! Whether everything is as knobgate has attached it.
//!
//! Who may load programs and open pins can also detach a link, replace its program, remove its pin, or attach programs of
//! their own. No event reports any of that but the last link of a pin, so this looks.

mod look;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use knobgate_compiler::{EVENT_STATE_MAP, POLICY_TEXT_MAP};
use knobgate_kernel::{
    AttachMode, AttachmentName, BpfObjectError, BpffsError, Cgroup, CgroupError, Hierarchy, Link, LinkError,
    LinkOrigin, PinnedLink, ProgramFd, SurveyError, UnopenedLink,
};
use rustix::io::Errno;

use crate::attached_policy::is_called;
use crate::attachment_error::AttachmentError;
use crate::attachments::Attachments;
use crate::object_origin::OBJECT_FILE_MAP;
use look::{Examined, Guarding, Links, Look, Unopened, finding, survey_failed, with_causes};

/// Looks for what is not as knobgate has attached it, again and again.
#[derive(Debug, Default)]
pub struct Integrity {
    /// The pins of the last pass.
    pins: HashMap<(Arc<AttachmentName>, u64), LinkOrigin>,
    /// The programs that were there in the last pass. An id is not used again before the next boot.
    programs: HashMap<u32, Arc<ForeignProgram>>,
    ours: HashSet<u32>,
    /// How foreign programs are attached, by cgroup and program. To find out takes a look at all links of the machine.
    foreign: HashMap<(u64, u32), Option<u32>>,
    findings: Vec<Finding>,
}

/// Something that is not as knobgate has attached it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Finding {
    /// The id of the guarded cgroup: one with a link of an attachment; 0 if it is about an attachment as a whole.
    pub cgroup_id: u64,
    /// Its directory; `None` if it is not visible here.
    pub cgroup: Option<PathBuf>,
    /// The attachments: for a foreign program all that are on the cgroup, otherwise one.
    pub attachments: Vec<Arc<AttachmentName>>,
    /// What it is.
    pub kind: FindingKind,
}

/// What is not as knobgate has attached it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FindingKind {
    /// The link was detached through its descriptor. It is pinned still, and holds nothing.
    Detached {
        /// The id of the link.
        link_id: u32,
    },
    /// The link holds another program than that of its attachment.
    Replaced {
        /// The id of the link.
        link_id: u32,
        /// The program that it holds.
        program: Arc<ForeignProgram>,
    },
    /// The pin of the link was there in the last pass. This is reported once.
    PinVanished {
        /// From where the link came.
        origin: LinkOrigin,
    },
    /// The pin of the link, or the whole attachment, cannot be opened or is not trusted: whether the policy is in force is not known.
    NotExamined {
        /// Why.
        why: String,
    },
    /// The link is on the cgroup, and its program does not run for that.
    NotEffective {
        /// The id of the link.
        link_id: u32,
        /// The id of its program.
        program_id: u32,
    },
    /// A program that knobgate did not load runs for the cgroup, too. It can deny what the policy allows, and change values.
    Foreign {
        /// The program.
        program: Arc<ForeignProgram>,
        /// Where it is attached: the directory of the cgroup or of one above it.
        attached_to: PathBuf,
        /// How it is attached.
        by: ForeignBy,
    },
}

/// A program of this hook that knobgate did not load for the attachment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ForeignProgram {
    /// Its id.
    pub id: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// The user who loaded it.
    pub loaded_by: u32,
}

/// How a foreign program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForeignBy {
    /// By the link with this id.
    Link(u32),
    /// Without a link.
    Mode(AttachMode),
}

impl Integrity {
    /// Before the first pass, so that nothing can have vanished.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at all pinned links, and at the cgroups on which they are. What is found stays in the result of each pass until it
    /// is put right. What was not found before is looked at again while nobody can change an attachment, so that a change by
    /// another knobgate is not taken for somebody else's.
    ///
    /// # Errors
    ///
    /// [`AttachmentError`]; [`Survey`](AttachmentError::Survey) if cgroups or programs cannot be read.
    pub fn pass(&mut self, attachments: &Attachments) -> Result<&[Finding], AttachmentError> {
        self.pass_with(attachments, &mut || {})
    }

    /// The same; `between` is called often, so that the caller can do what cannot wait. It may change attachments, which it cannot when
    /// the pass has the lock, and so it is not called then.
    ///
    /// # Errors
    ///
    /// As [`pass`](Self::pass).
    pub fn pass_with(
        &mut self,
        attachments: &Attachments,
        between: &mut dyn FnMut(),
    ) -> Result<&[Finding], AttachmentError> {
        let before = self.pins.clone();
        let mut findings = self.look(attachments, between)?;
        let known: HashSet<&Finding> = self.findings.iter().collect();
        if findings.iter().any(|finding| !known.contains(finding)) {
            let _lock = attachments.lock()?;
            self.pins = before;
            findings = self.look(attachments, &mut || {})?;
        }
        self.findings = findings;
        Ok(&self.findings)
    }

    /// A pin that is taken away on purpose has not vanished.
    pub fn forget(&mut self, name: &AttachmentName, cgroup_id: u64) {
        self.pins.retain(|(other, id), _| *id != cgroup_id || **other != *name);
    }

    fn look(
        &mut self,
        attachments: &Attachments,
        between: &mut dyn FnMut(),
    ) -> Result<Vec<Finding>, AttachmentError> {
        let hierarchy = Hierarchy::find().map_err(survey_failed)?;
        let mut look = Look {
            hierarchy: &hierarchy,
            findings: Vec::new(),
            pins: HashMap::new(),
            guarded: BTreeMap::new(),
        };
        let mut ours: HashSet<u32> = HashSet::new();
        let mut unopened = Unopened::default();
        for name in attachments.names()? {
            between();
            let name = Arc::new(name);
            let examined = match attachments.pins.attachment(&name).and_then(Examined::of) {
                // It was detached in the meantime.
                Err(BpffsError::NotFound { .. }) => continue,
                // Somebody has tampered with its directory, which must not hide what happened to others.
                Err(error) => {
                    let known = self.pins.iter().filter(|((other, _), _)| *other == name);
                    look.pins.extend(known.map(|(pin, origin)| (pin.clone(), *origin)));
                    let kind = FindingKind::NotExamined { why: with_causes(&error) };
                    look.findings.push(Finding { cgroup_id: 0, cgroup: None, attachments: vec![name], kind });
                    continue;
                }
                Ok(examined) => examined,
            };
            let expected = self.expected(&examined.programs)?;
            ours.extend(&expected);
            match examined.links {
                Links::Named(links) => {
                    for (cgroup_id, origin) in links {
                        look.pins.insert((Arc::clone(&name), cgroup_id), origin);
                        unopened.by_cgroup.entry(cgroup_id).or_default().push(unopened.attachments.len());
                    }
                    unopened.attachments.push((name, examined.attachment, expected));
                }
                Links::Opened(links) => {
                    for link in links {
                        self.look_at_link(&mut look, &name, &expected, link)?;
                    }
                }
            }
        }
        self.look_at_unopened(&mut look, &unopened, &mut ours, between)?;
        let Look { mut findings, pins, guarded, .. } = look;
        for ((name, cgroup_id), origin) in self.pins.iter().filter(|(pin, _)| !pins.contains_key(*pin)) {
            if !hierarchy.was_removed(*cgroup_id).map_err(survey_failed)? {
                let kind = FindingKind::PinVanished { origin: *origin };
                findings.push(finding(&hierarchy, *cgroup_id, name, kind)?);
            }
        }
        self.look_at_cgroups(&hierarchy, &guarded, &ours, &mut findings, between)?;
        // Only now: what has vanished is found once, and a pass that fails finds nothing.
        self.pins = pins;
        findings.sort();
        Ok(findings)
    }

    /// Looks at the links that are not opened, by what is attached to their cgroups: with all of these programs there, and none of others, the
    /// links are as they were. Otherwise they are opened. So a pass over thousands of links takes a few system calls for each.
    fn look_at_unopened(
        &mut self,
        look: &mut Look<'_>,
        unopened: &Unopened,
        ours: &mut HashSet<u32>,
        between: &mut dyn FnMut(),
    ) -> Result<(), AttachmentError> {
        /// How many cgroups are looked at before the caller has its turn.
        const AT_ONCE: usize = 16;
        let programs = look.hierarchy.programs().map_err(survey_failed)?;
        for (count, (&cgroup_id, places)) in unopened.by_cgroup.iter().enumerate() {
            if count % AT_ONCE == 0 {
                between();
            }
            let attachments = || places.iter().map(|&place| &unopened.attachments[place]);
            if !look.guarded.contains_key(&cgroup_id)
                && let Some((attached, effective)) = programs.of(cgroup_id)
                && attachments().all(|(_, _, expected)| {
                    expected.iter().any(|id| attached.contains(id) && effective.contains(id))
                })
                && self.are_ours(&effective)?
            {
                ours.extend(effective);
                continue;
            }
            for (name, attachment, expected) in attachments() {
                match attachment.links_on(cgroup_id) {
                    Ok(links) => {
                        for link in links {
                            self.look_at_link(look, name, expected, Ok(link))?;
                        }
                    }
                    Err(error) => look.not_examined(name, cgroup_id, &error)?,
                }
            }
        }
        Ok(())
    }

    fn are_ours(&mut self, programs: &[u32]) -> Result<bool, AttachmentError> {
        for &id in programs {
            if !self.is_ours(id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Looks at a link of an attachment, which may have these programs. What is as it was is looked at with its cgroup.
    fn look_at_link(
        &mut self,
        look: &mut Look<'_>,
        name: &Arc<AttachmentName>,
        expected: &HashSet<u32>,
        link: Result<PinnedLink, UnopenedLink>,
    ) -> Result<(), AttachmentError> {
        let link = match link {
            Ok(link) => link,
            Err(UnopenedLink { cgroup_id, origin, error, .. }) => {
                look.pins.insert((Arc::clone(name), cgroup_id), origin);
                return look.not_examined(name, cgroup_id, &error);
            }
        };
        look.pins.insert((Arc::clone(name), link.cgroup_id), link.origin);
        if link.is_dead() {
            let was_removed = look.hierarchy.was_removed(link.cgroup_id).map_err(survey_failed)?;
            if !was_removed {
                look.found(name, link.cgroup_id, FindingKind::Detached { link_id: link.info.id })?;
            }
            return Ok(());
        }
        if !expected.contains(&link.info.program_id)
            && let Some(program) = self.program(link.info.program_id)?
        {
            let kind = FindingKind::Replaced { link_id: link.info.id, program };
            look.found(name, link.cgroup_id, kind)?;
        }
        let name = Arc::clone(name);
        look.guarded.entry(link.cgroup_id).or_default().push(Guarding { name, link });
        Ok(())
    }

    /// The programs that the links of an attachment may have. A link that has another one than the rest may be what an
    /// interrupted replace has left, so all of knobgate's count.
    fn expected(&mut self, programs: &BTreeSet<u32>) -> Result<HashSet<u32>, AttachmentError> {
        let mut expected = HashSet::new();
        for &id in programs {
            if self.is_ours(id)? {
                expected.insert(id);
            }
        }
        Ok(expected)
    }

    fn look_at_cgroups(
        &mut self,
        hierarchy: &Hierarchy,
        guarded: &BTreeMap<u64, Vec<Guarding>>,
        ours: &HashSet<u32>,
        findings: &mut Vec<Finding>,
        between: &mut dyn FnMut(),
    ) -> Result<(), AttachmentError> {
        // For each directory: its id, its mode, and the programs that are not ours.
        let mut levels: HashMap<PathBuf, Level> = HashMap::new();
        let mut programs = HashSet::new();
        let mut foreign = HashMap::new();
        let mut links: Option<HashMap<(u64, u32), u32>> = None;
        for (&id, guarding) in guarded {
            between();
            let Some(path) = hierarchy.path_by_handle(id).map_err(survey_failed)? else { continue };
            let Some(cgroup) = unless_removed(Cgroup::open(&path))? else { continue };
            let Some(effective) = unless_removed(cgroup.effective())? else { continue };
            let attachments = || guarding.iter().map(|one| Arc::clone(&one.name));
            for Guarding { name, link } in guarding {
                programs.insert(link.info.program_id);
                if !effective.contains(&link.info.program_id) {
                    let (link_id, program_id) = (link.info.id, link.info.program_id);
                    let kind = FindingKind::NotEffective { link_id, program_id };
                    findings.push(finding(hierarchy, id, name, kind)?);
                }
            }
            let above = path.ancestors().take_while(|level| level.starts_with(hierarchy.path()));
            for level in above {
                if !levels.contains_key(level) {
                    levels.insert(level.to_owned(), self.level(level, ours)?);
                }
                let Level { cgroup_id, mode, others } = &levels[level];
                // Those of links that were replaced are reported already.
                let replaced = |program: u32| {
                    let mut held = guarded.get(cgroup_id).into_iter().flatten();
                    held.any(|one| one.link.info.program_id == program)
                };
                for program in others.iter().filter(|program| !replaced(program.id)) {
                    programs.insert(program.id);
                    let place = (*cgroup_id, program.id);
                    let link = match (foreign.get(&place), self.foreign.get(&place)) {
                        (Some(known), _) | (None, Some(known)) => *known,
                        (None, None) => {
                            if links.is_none() {
                                links = Some(links_by_place().map_err(survey_failed)?);
                            }
                            links.as_ref().and_then(|links| links.get(&place)).copied()
                        }
                    };
                    foreign.insert(place, link);
                    findings.push(Finding {
                        cgroup_id: id,
                        cgroup: Some(path.clone()),
                        attachments: attachments().collect(),
                        kind: FindingKind::Foreign {
                            program: Arc::clone(program),
                            attached_to: level.to_owned(),
                            by: link.map_or(ForeignBy::Mode(*mode), ForeignBy::Link),
                        },
                    });
                }
            }
        }
        self.foreign = foreign;
        self.programs.retain(|id, _| programs.contains(id));
        self.ours.retain(|id| ours.contains(id) || programs.contains(id));
        Ok(())
    }

    fn level(&mut self, path: &Path, ours: &HashSet<u32>) -> Result<Level, AttachmentError> {
        let mut level = Level { cgroup_id: 0, mode: AttachMode::Multi, others: Vec::new() };
        let Some(cgroup) = unless_removed(Cgroup::open(path))? else { return Ok(level) };
        let Some(attached) = unless_removed(cgroup.attached())? else { return Ok(level) };
        level.cgroup_id = cgroup.id();
        level.mode = attached.mode.unwrap_or(AttachMode::Multi);
        for id in attached.program_ids {
            if !ours.contains(&id) && !self.is_ours(id)? {
                level.others.extend(self.program(id)?);
            }
        }
        Ok(level)
    }

    /// Whether knobgate has loaded a program: for an attachment, a command, or to observe.
    fn is_ours(&mut self, id: u32) -> Result<bool, AttachmentError> {
        if self.ours.contains(&id) {
            return Ok(true);
        }
        if self.programs.contains_key(&id) {
            return Ok(false);
        }
        let maps = match ProgramFd::by_id(id).and_then(|program| program.maps()) {
            // It is gone by now.
            Err(BpfObjectError::NoSuchId { .. }) => return Ok(true),
            maps => maps?,
        };
        let is_known = maps.iter().any(|map| {
            let name = &*map.info().name;
            is_called(name, POLICY_TEXT_MAP) || is_called(name, EVENT_STATE_MAP) || name == OBJECT_FILE_MAP
        });
        if is_known {
            self.ours.insert(id);
        }
        Ok(is_known)
    }

    /// `None` if it is gone by now.
    fn program(&mut self, id: u32) -> Result<Option<Arc<ForeignProgram>>, AttachmentError> {
        if let Some(program) = self.programs.get(&id) {
            return Ok(Some(Arc::clone(program)));
        }
        let info = match ProgramFd::by_id(id).and_then(|program| program.info()) {
            Err(BpfObjectError::NoSuchId { .. }) => return Ok(None),
            info => info?,
        };
        let program = Arc::new(ForeignProgram { id, name: info.name, loaded_by: info.created_by_uid });
        self.programs.insert(id, Arc::clone(&program));
        Ok(Some(program))
    }
}

/// The programs of a cgroup itself.
struct Level {
    cgroup_id: u64,
    mode: AttachMode,
    /// Those that knobgate did not load.
    others: Vec<Arc<ForeignProgram>>,
}

/// The ids of all links of this hook, by cgroup and program.
fn links_by_place() -> Result<HashMap<(u64, u32), u32>, LinkError> {
    let links = Link::all()?.into_iter();
    Ok(links.filter_map(|link| Some(((link.cgroup_id?, link.program_id), link.id))).collect())
}

/// `None` if the cgroup was removed.
fn unless_removed<T>(result: Result<T, impl Into<SurveyError>>) -> Result<Option<T>, AttachmentError> {
    let is_gone =
        |error: &std::io::Error| matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NODEV));
    match result.map_err(Into::into) {
        Ok(found) => Ok(Some(found)),
        Err(SurveyError::Cgroup(CgroupError::NotFound { .. })) => Ok(None),
        Err(SurveyError::Cgroup(CgroupError::Io { error, .. })) if is_gone(&error) => Ok(None),
        Err(SurveyError::Object(BpfObjectError::Failed { error, .. })) if is_gone(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
