//! What filters see of a stream.

use knobgate_policy::filter::{
    EventType, Fields, IntegerField, OutcomeKind, TextField, ValueField, VerdictKind,
};
use knobgate_policy::{AccessKind, Errno, Mode};

use crate::event::{Event, EventOutcome, EventRule, EventVerdict};
use crate::stream::{StreamContent, StreamEvent, StreamItem};
use crate::workload::StreamWorkload;

impl StreamItem {
    /// The event, if it is one.
    pub fn event(&self) -> Option<&StreamEvent> {
        match &self.content {
            StreamContent::Event(event) => Some(event),
            StreamContent::Suppressed(_) | StreamContent::Lost(_) => None,
        }
    }

    fn access_event(&self) -> Option<&Event> {
        self.event().map(|event| &event.event)
    }

    /// The rule.
    pub fn rule(&self) -> Option<&EventRule> {
        match &self.content {
            StreamContent::Event(event) => Some(&event.event.rule),
            StreamContent::Suppressed(suppressed) => suppressed.rule.as_ref(),
            StreamContent::Lost(_) => None,
        }
    }

    /// The name of the policy.
    pub fn policy(&self) -> Option<&str> {
        match &self.content {
            StreamContent::Event(event) => Some(&event.event.policy),
            StreamContent::Suppressed(suppressed) => suppressed.policy.as_deref(),
            StreamContent::Lost(_) => None,
        }
    }

    /// The id of the cgroup.
    pub fn cgroup_id(&self) -> Option<u64> {
        match &self.content {
            StreamContent::Event(event) => Some(event.event.cgroup_id),
            StreamContent::Suppressed(suppressed) => suppressed.cgroup_id,
            StreamContent::Lost(_) => None,
        }
    }
}

impl Fields for StreamItem {
    fn event_type(&self) -> EventType {
        match &self.content {
            StreamContent::Event(_) => EventType::Event,
            StreamContent::Suppressed(_) => EventType::Suppressed,
            StreamContent::Lost(_) => EventType::Lost,
        }
    }

    fn knob(&self) -> Option<&[u8]> {
        // The start of a name is not the name.
        self.access_event()
            .map(|event| &event.knob)
            .filter(|knob| knob.cut_from.is_none())
            .map(|knob| &*knob.bytes)
    }

    fn access(&self) -> Option<AccessKind> {
        self.access_event().map(|event| event.kind)
    }

    fn verdict(&self) -> Option<VerdictKind> {
        self.access_event().map(|event| match event.verdict {
            EventVerdict::Allow => VerdictKind::Allow,
            EventVerdict::Deny(_) => VerdictKind::Deny,
            EventVerdict::Rewrite => VerdictKind::Rewrite,
        })
    }

    fn outcome(&self) -> Option<OutcomeKind> {
        match self.access_event()?.outcome() {
            EventOutcome::Allowed => Some(OutcomeKind::Allowed),
            EventOutcome::Denied(_) => Some(OutcomeKind::Denied),
            EventOutcome::Rewritten => Some(OutcomeKind::Rewritten),
            EventOutcome::WouldDeny(_) => Some(OutcomeKind::WouldDeny),
            EventOutcome::WouldRewrite => Some(OutcomeKind::WouldRewrite),
            EventOutcome::Unknown => None,
        }
    }

    fn errno(&self) -> Option<Errno> {
        match self.access_event()?.outcome() {
            EventOutcome::Denied(errno) | EventOutcome::WouldDeny(errno) => Errno::from_number(errno.into()),
            _ => None,
        }
    }

    fn mode(&self) -> Option<Mode> {
        self.access_event().map(|event| event.mode)
    }

    fn value(&self, field: ValueField) -> Option<&[u8]> {
        let event = self.access_event()?;
        let text = match field {
            ValueField::New => event.new.as_ref(),
            ValueField::Old => event.old.as_ref(),
            ValueField::Stored => match (event.outcome(), event.kind) {
                (EventOutcome::Rewritten, _) => event.stored.as_ref(),
                (EventOutcome::Denied(_) | EventOutcome::Unknown, _) | (_, AccessKind::Read) => None,
                (_, AccessKind::Write) => event.new.as_ref(),
            },
        };
        // The start of a value is not the value.
        text.filter(|text| text.cut_from.is_none()).map(|text| &*text.bytes)
    }

    fn integer(&self, field: IntegerField) -> Option<u64> {
        let namespaces = || self.access_event()?.namespaces;
        let narrow = match field {
            IntegerField::CgroupId => return self.cgroup_id(),
            IntegerField::Line => self.rule()?.line,
            IntegerField::Pos => Some(self.access_event()?.position),
            IntegerField::Uid => self.access_event()?.uid,
            IntegerField::Gid => self.access_event()?.gid,
            IntegerField::Pid => self.access_event()?.pid,
            IntegerField::Tid => self.access_event()?.tid,
            IntegerField::Netns => namespaces()?.net,
            IntegerField::Utsns => namespaces()?.uts,
            IntegerField::Ipcns => namespaces()?.ipc,
            IntegerField::Userns => namespaces()?.user,
            IntegerField::Pidns => namespaces()?.pid,
            IntegerField::Mntns => namespaces()?.mnt,
            _ => None,
        };
        narrow.map(u64::from)
    }

    fn text(&self, field: TextField) -> Option<&[u8]> {
        // A workload that is known, but has no such name, has an empty one. So has a cgroup that is known, if its path shows no
        // workload.
        let of_workload = |name: fn(&StreamWorkload) -> Name<'_>| match &self.context.workload {
            Some(workload) => trusted(workload, name),
            None => self.context.cgroup_path.as_ref().map(|_| ""),
        };
        let text = match field {
            TextField::Comm => return self.access_event()?.comm.as_deref(),
            TextField::Cgroup => return self.context.cgroup_path.as_deref(),
            TextField::Rule => {
                let text = &self.rule()?.text;
                return text.cut_from.is_none().then_some(&*text.bytes);
            }
            TextField::Policy => self.policy(),
            TextField::Attachment => self.context.attachment.as_deref(),
            TextField::Container => of_workload(|workload| workload.container_or_id().into()),
            TextField::ContainerId => of_workload(|workload| workload.container_id.as_deref().into()),
            TextField::Pod => of_workload(|workload| workload.pod_or_id().into()),
            TextField::Namespace => of_workload(namespace),
            TextField::Image => of_workload(image),
            TextField::Unit => of_workload(|workload| workload.unit.as_deref().into()),
            _ => None,
        };
        text.map(str::as_bytes)
    }
}

/// A name of a container or unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name<'a> {
    /// There is none.
    None,
    /// There may be one.
    Unknown,
    Known(&'a str),
}

impl<'a> From<Option<&'a str>> for Name<'a> {
    fn from(name: Option<&'a str>) -> Self {
        name.map_or(Self::None, Self::Known)
    }
}

/// The name that nothing in the workload can choose. If only something inside of it has such a name, there is none to rely on:
/// the workload could have made that up.
fn trusted<'a>(workload: &'a StreamWorkload, name: fn(&'a StreamWorkload) -> Name<'a>) -> Option<&'a str> {
    match name(workload) {
        Name::Known(name) => Some(name),
        Name::None if workload.levels().all(|level| name(level) == Name::None) => Some(""),
        Name::None | Name::Unknown => None,
    }
}

/// Every pod of Kubernetes has a namespace.
fn namespace(workload: &StreamWorkload) -> Name<'_> {
    let has_one = workload.pod_or_id().is_some() && workload.engine.as_deref() != Some("podman");
    match &workload.namespace {
        Some(namespace) => Name::Known(namespace),
        None if has_one => Name::Unknown,
        None => Name::None,
    }
}

fn image(workload: &StreamWorkload) -> Name<'_> {
    match &workload.image {
        Some(image) => Name::Known(image),
        None if workload.container_or_id().is_some() => Name::Unknown,
        None => Name::None,
    }
}
