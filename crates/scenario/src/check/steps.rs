//! The steps, with resolved references.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use knobgate_backend::ACCESS_MAX;
use knobgate_bpf::{Features, MapDef, MapKind};
use knobgate_hook::AttachMode;

use super::cgroups::{cgroup_path, find_cgroup};
use super::expectations::{self, Subject};
use super::setting::{can_list, knob_name, missing};
use crate::bytes::Bytes;
use crate::document::{
    AttachDocument, Document, FlagDocument, MapDocument, ModeDocument, ReadDocument, WriteDocument,
};
use crate::error::Findings;
use crate::id::Id;
use crate::knob::Knob;
use crate::path::Path;
use crate::scenario::{Actor, Attachment, File, Flags, MapRef, Program, Request, Scenario, Step};
use crate::step_document::{ActionDocument, StepDocument};

/// What steps can refer to, by name.
pub(super) struct Names<'a> {
    knobs: BTreeMap<String, usize>,
    programs: BTreeMap<&'a str, usize>,
    cgroups: &'a BTreeMap<String, usize>,
    processes: BTreeMap<&'a str, usize>,
    /// Under each name, all maps that have it.
    maps: BTreeMap<String, BTreeSet<MapRef>>,
    shapes: BTreeMap<MapRef, MapShape>,
    /// The names of maps that are a program's own.
    pub(super) own_maps: BTreeMap<MapRef, String>,
}

/// What a map is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapShape {
    pub(super) kind: MapKind,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
}

impl MapShape {
    pub(super) fn of(def: &MapDef) -> Self {
        let MapDef { kind, key_size, value_size, max_entries, .. } = *def;
        Self { kind, key_size, value_size, max_entries }
    }
}

impl<'a> Names<'a> {
    /// Of the scenario's own maps, `own` have no error. Those of objects come after them.
    pub(super) fn of(
        document: &'a Document,
        own: usize,
        programs: &[Program],
        cgroups: &'a BTreeMap<String, usize>,
    ) -> Self {
        let knobs = document.knobs.iter().filter_map(|knob| knob_name(&knob.name).ok());
        let mut maps: BTreeMap<String, BTreeSet<MapRef>> = BTreeMap::new();
        let mut shapes = BTreeMap::new();
        let mut own_maps = BTreeMap::new();
        for (index, program) in programs.iter().enumerate() {
            // The maps of a policy are the same for all kernels.
            let Ok(made) = program.make(&Features::ALL) else { continue };
            for (map, def) in made.program.maps.iter().enumerate() {
                let place = match &made.shared {
                    Some(shared) if shared[map] < own => continue,
                    Some(shared) => MapRef::Shared(shared[map] - own + document.maps.len()),
                    None => MapRef::Own { program: index, map },
                };
                let full_name = format!("{}/{}", program.name, def.name);
                if made.shared.is_none() {
                    own_maps.insert(place, full_name.clone());
                }
                shapes.insert(place, MapShape::of(def));
                for name in [def.name.clone(), full_name] {
                    maps.entry(name).or_default().insert(place);
                }
            }
        }
        for (index, map) in document.maps.iter().enumerate() {
            // The scenario's own come first.
            let place = MapRef::Shared(index);
            maps.insert(map.name.clone(), [place].into());
            let kind = MapKind::ALL.iter().copied().find(|kind| kind.name() == map.kind);
            let MapDocument { key_size, value_size, max_entries, .. } = *map;
            let shape = |kind| (place, MapShape { kind, key_size, value_size, max_entries });
            shapes.extend(kind.map(shape));
        }
        Self {
            knobs: knobs.enumerate().map(|(index, name)| (name, index)).collect(),
            programs: document.programs.keys().enumerate().map(|(index, name)| (&**name, index)).collect(),
            cgroups,
            processes: document.processes.keys().enumerate().map(|(index, name)| (&**name, index)).collect(),
            maps,
            shapes,
            own_maps,
        }
    }

    fn knob(&self, name: &str) -> Result<usize, String> {
        let path = knob_name(name)?;
        self.knobs.get(&path).copied().ok_or_else(|| missing("knob", name, self.knobs.keys()))
    }

    pub(super) fn program(&self, name: &str) -> Result<usize, String> {
        self.programs.get(name).copied().ok_or_else(|| missing("program", name, self.programs.keys()))
    }

    fn cgroup(&self, path: &str) -> Result<usize, String> {
        let path = cgroup_path(path)?;
        find_cgroup(self.cgroups, path)
    }

    fn process(&self, name: &str) -> Result<usize, String> {
        self.processes.get(name).copied().ok_or_else(|| missing("process", name, self.processes.keys()))
    }

    fn map(&self, name: &str) -> Result<MapRef, String> {
        let places = self.maps.get(name).ok_or_else(|| missing("map", name, self.maps.keys()))?;
        match places.first() {
            Some(place) if places.len() == 1 => match self.shapes.get(place).and_then(|map| not_listed(*map))
            {
                None => Ok(*place),
                Some(why) => Err(why),
            },
            _ => Err(format!("several programs have a map `{name}`: write PROGRAM/{name}")),
        }
    }
}

/// Why the entries of such a map cannot be listed, if that is so.
fn not_listed(MapShape { kind, max_entries: entries, .. }: MapShape) -> Option<String> {
    if !can_list(kind) {
        Some(format!("the entries of a map of type {} cannot be listed", kind.name()))
    } else if entries > Scenario::LISTED_MAX && matches!(kind, MapKind::Array | MapKind::PercpuArray) {
        let most = Scenario::LISTED_MAX;
        Some(format!(
            "this array has {entries} entries, and of one with more than {most} they cannot be listed"
        ))
    } else {
        None
    }
}

/// The steps, with their attachments and descriptors.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) steps: Vec<Step>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) files: Vec<File>,
    /// The attachments that have an id.
    attached: HashMap<Id, usize>,
    /// The descriptors that have an id.
    opened: HashMap<Id, usize>,
}

/// The steps; `knobs` are those of the scenario.
pub(super) fn check(
    steps: &[StepDocument],
    names: &Names<'_>,
    knobs: &[Knob],
    findings: &mut Findings,
) -> Checked {
    let mut checked = Checked::default();
    for (index, step) in steps.iter().enumerate() {
        let path = Path::of("steps").index(index);
        let StepDocument { action, expect } = step;
        let step = match action {
            ActionDocument::Load(program) => {
                let program = findings.ok(&path.key("load"), names.program(program));
                program.map(|program| Step::Load { program })
            }
            ActionDocument::Attach(attach) => checked
                .attachment(attach, names, &path.key("attach"), findings)
                .map(|attachment| Step::Attach { attachment }),
            ActionDocument::Update(update) => {
                let path = path.key("update");
                let program = findings.ok(&path.key("program"), names.program(&update.program));
                let link = findings.ok(&path.key("link"), checked.link(&update.link));
                link.zip(program).map(|(attachment, program)| Step::Update { attachment, program })
            }
            ActionDocument::Detach(id) => {
                let attachment = findings.ok(&path.key("detach"), checked.attached(id));
                attachment.map(|attachment| Step::Detach { attachment })
            }
            ActionDocument::Effective(cgroup) => {
                let cgroup = findings.ok(&path.key("effective"), names.cgroup(cgroup));
                cgroup.map(|cgroup| Step::Effective { cgroup })
            }
            ActionDocument::Read(read) => checked.read(read, names, &path.key("read"), findings),
            ActionDocument::Write(write) => checked.write(write, names, &path.key("write"), findings),
            ActionDocument::Map(map) => {
                findings.ok(&path.key("map"), names.map(map)).map(|map| Step::Map { map })
            }
            ActionDocument::Move(moved) => {
                let path = path.key("move");
                let process = findings.ok(&path.key("process"), names.process(&moved.process));
                let cgroup = findings.ok(&path.key("cgroup"), names.cgroup(&moved.cgroup));
                process.zip(cgroup).map(|(process, cgroup)| Step::Move { process, cgroup })
            }
        };
        let subject = Subject {
            action,
            knob: match step {
                Some(Step::Access { file, .. }) => knobs.get(checked.files[file].knob),
                _ => None,
            },
            map: match step {
                Some(Step::Map { map }) => names.shapes.get(&map).copied(),
                _ => None,
            },
        };
        expectations::check(expect, &subject, names, &path, findings);
        checked.steps.extend(step);
    }
    checked
}

/// An access, without its request.
struct Access<'a> {
    open: Option<&'a Id>,
    knob: Option<&'a str>,
    cgroup: Option<&'a str>,
    process: Option<&'a str>,
    pos: Option<u64>,
    writes: bool,
}

impl Checked {
    /// The attachment of this id.
    fn attached(&self, id: &Id) -> Result<usize, String> {
        let attached = self.attached.get(id).copied();
        attached.ok_or_else(|| format!("no step before this one attaches anything `\"as\": \"{id}\"`"))
    }

    fn link(&self, id: &Id) -> Result<usize, String> {
        let index = self.attached(id)?;
        match self.attachments[index].mode {
            None => Ok(index),
            Some(_) => Err(format!("`{id}` is attached without a link, and only links are updated")),
        }
    }

    fn attachment(
        &mut self,
        attach: &AttachDocument,
        names: &Names<'_>,
        path: &Path,
        findings: &mut Findings,
    ) -> Option<usize> {
        let program = findings.ok(&path.key("program"), names.program(&attach.program));
        let cgroup = findings.ok(&path.key("cgroup"), names.cgroup(&attach.cgroup));
        let mut flags = Flags::default();
        for (index, flag) in attach.flags.iter().enumerate() {
            let set = match flag {
                FlagDocument::Preorder => &mut flags.preorder,
                FlagDocument::Before => &mut flags.before,
                FlagDocument::After => &mut flags.after,
                FlagDocument::Replace => &mut flags.replace,
            };
            if std::mem::replace(set, true) {
                findings.add(&path.key("flags").index(index), "this flag occurs twice");
            }
        }
        let relative_to = attach
            .relative_to
            .as_ref()
            .and_then(|id| findings.ok(&path.key("relative_to"), self.attached(id)));
        if flags.replace && attach.relative_to.is_none() {
            findings.add(&path.key("flags"), "`replace` needs `relative_to`: the attachment to replace");
        }
        if let Some(id) = &attach.name
            && self.attached(id).is_ok()
        {
            findings.add(&path.key("as"), format!("there is an attachment `{id}` already"));
        }
        let mode = match attach.mode {
            ModeDocument::Link => None,
            ModeDocument::Single => Some(AttachMode::Single),
            ModeDocument::Override => Some(AttachMode::Override),
            ModeDocument::Multi => Some(AttachMode::Multi),
        };
        if let Some(id) = &attach.name {
            self.attached.entry(id.clone()).or_insert(self.attachments.len());
        }
        // An attachment with errors is recorded as well, so that references to it are not reported.
        self.attachments.push(Attachment {
            id: attach.name.clone(),
            program: program.unwrap_or_default(),
            cgroup: cgroup.unwrap_or_default(),
            mode,
            flags,
            relative_to,
            attach_type: attach.attach_type,
        });
        Some(self.attachments.len() - 1)
    }

    fn read(
        &mut self,
        read: &ReadDocument,
        names: &Names<'_>,
        path: &Path,
        findings: &mut Findings,
    ) -> Option<Step> {
        let ReadDocument { open, knob, cgroup, process, pos, count } = read;
        let count = count.unwrap_or(ReadDocument::COUNT);
        if count > ACCESS_MAX as u64 {
            findings
                .add(&path.key("count"), format!("{count} bytes are too many: {ACCESS_MAX} are the most"));
        }
        let (open, knob) = (open.as_ref(), knob.as_deref());
        let (cgroup, process) = (cgroup.as_deref(), process.as_deref());
        let access = Access { open, knob, cgroup, process, pos: *pos, writes: false };
        self.access(&access, Request::Read(count as usize), names, path, findings)
    }

    fn write(
        &mut self,
        write: &WriteDocument,
        names: &Names<'_>,
        path: &Path,
        findings: &mut Findings,
    ) -> Option<Step> {
        let WriteDocument { open, knob, cgroup, process, pos, data: Bytes(data) } = write;
        if data.len() > ACCESS_MAX {
            let message = format!("{} bytes are too many: {ACCESS_MAX} are the most", data.len());
            findings.add(&path.key("data"), message);
        }
        let (open, knob) = (open.as_ref(), knob.as_deref());
        let (cgroup, process) = (cgroup.as_deref(), process.as_deref());
        let access = Access { open, knob, cgroup, process, pos: *pos, writes: true };
        self.access(&access, Request::Write(data.clone()), names, path, findings)
    }

    fn access(
        &mut self,
        access: &Access<'_>,
        request: Request,
        names: &Names<'_>,
        path: &Path,
        findings: &mut Findings,
    ) -> Option<Step> {
        let by = match (access.cgroup, access.process) {
            (Some(cgroup), None) => {
                findings.ok(&path.key("cgroup"), names.cgroup(cgroup)).map(Actor::InCgroup)
            }
            (None, Some(process)) => {
                findings.ok(&path.key("process"), names.process(process)).map(Actor::Process)
            }
            _ => {
                findings.add(path, "an access has either a `cgroup` or a `process`");
                None
            }
        };
        let position = access.pos.map(|pos| {
            i64::try_from(pos)
                .map_err(|_| format!("{pos} is not a file position: {} is the maximum", i64::MAX))
        });
        let position = position.and_then(|position| findings.ok(&path.key("pos"), position));
        let file = self.file(access, names, path, findings);
        Some(Step::Access { file: file?, by: by?, position, request })
    }

    /// The descriptor of an access, which is a new one unless an earlier access shares it.
    fn file(
        &mut self,
        access: &Access<'_>,
        names: &Names<'_>,
        path: &Path,
        findings: &mut Findings,
    ) -> Option<usize> {
        let knob = match access.knob {
            Some(name) => Some(findings.ok(&path.key("knob"), names.knob(name))?),
            None => None,
        };
        let shared = access.open.and_then(|id| self.opened.get(id).copied());
        let file = match (shared, knob) {
            (Some(file), None) => file,
            (Some(file), Some(knob)) if self.files[file].knob == knob => file,
            (Some(_), Some(_)) => {
                findings.add(&path.key("knob"), "the shared descriptor belongs to another knob");
                return None;
            }
            (None, Some(knob)) => {
                if let Some(id) = access.open {
                    self.opened.insert(id.clone(), self.files.len());
                }
                self.files.push(File { has_id: access.open.is_some(), knob, reads: false, writes: false });
                self.files.len() - 1
            }
            (None, None) => {
                findings.add(path, "the `knob` is missing: no access before this one has opened it");
                return None;
            }
        };
        let opened = &mut self.files[file];
        *(if access.writes { &mut opened.writes } else { &mut opened.reads }) = true;
        Some(file)
    }
}
