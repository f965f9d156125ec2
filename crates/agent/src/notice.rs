//! What the agent saw.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Something that the agent saw: what it did, or what somebody else did to its attachments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notice {
    /// When.
    #[serde(with = "crate::rfc_3339")]
    pub at: SystemTime,
    /// What.
    pub kind: NoticeKind,
    /// The same in words: one line, with everything that others chose escaped.
    pub text: String,
    /// The details, for programs.
    pub fields: Vec<(NoticeField, String)>,
}

/// What a [`Notice`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NoticeKind {
    /// The agent watches all cgroups, and has put policies on those that were there.
    Started,
    /// The agent ends. Policies stay in force.
    Stopped,
    /// A policy was put on a cgroup.
    Attached,
    /// A policy cannot be put on a cgroup to which it applies.
    AttachFailed,
    /// It cannot be told whether a policy applies to a cgroup.
    Undecided,
    /// The policies were read again.
    Reloaded,
    /// The policies were read again, and have errors. Nothing changed.
    ReloadRejected,
    /// Others than root can change the policies or the configuration.
    OpenToOthers,
    /// A program is stricter than its policy, because of what this kernel cannot do.
    Stricter,
    /// A link is gone, and its cgroup is not.
    LinkVanished,
    /// A link has a program that is not the one of its attachment.
    LinkReplaced,
    /// Somebody else's program of this type is on a guarded cgroup, or above it.
    ForeignProgram,
    /// A policy in force is not the one in the file.
    Outdated,
    /// A process has left a guarded cgroup.
    ProcessLeft,
    /// A knob does not have the value that the configuration names.
    KnobChanged,
    /// The agent has put back what was changed.
    Repaired,
    /// It cannot, or gave up.
    RepairFailed,
    /// Policies were taken out of force by `knobgate off`, or by the kernel's command line.
    Off,
    /// They are in force again.
    On,
    /// Events were lost. The agent has looked at everything again.
    EventsLost,
}

/// How much a [`Notice`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody has to do something.
    Error,
    /// Somebody may have to.
    Warning,
    /// A policy came into force, or went.
    Info,
    /// A step.
    Debug,
}

/// The name of a detail of a [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NoticeField {
    /// The policy.
    Policy,
    /// The attachment.
    Attachment,
    /// The cgroup, as `/proc/PID/cgroup` has it.
    Cgroup,
    /// Another cgroup: where a process went to, or the one above that has the program.
    OtherCgroup,
    /// What people call the workload in the cgroup.
    Workload,
    /// The id of a program.
    ProgramId,
    /// The name of a program.
    ProgramName,
    /// The knob.
    Knob,
    /// The value that it had, or should have.
    OldValue,
    /// The value that it has now.
    NewValue,
    /// The process.
    Pid,
    /// The name of the process, which it chose itself.
    Comm,
    /// The user of the process.
    Uid,
    /// The file.
    Path,
    /// How many.
    Count,
}

impl Notice {
    /// A notice of now, without details.
    pub fn new(kind: NoticeKind, text: impl Into<String>) -> Self {
        Self { at: SystemTime::now(), kind, text: text.into(), fields: Vec::new() }
    }

    /// The same with one more detail.
    #[must_use]
    pub fn with(mut self, field: NoticeField, value: impl fmt::Display) -> Self {
        self.fields.push((field, value.to_string()));
        self
    }

    /// A detail.
    pub fn field(&self, field: NoticeField) -> Option<&str> {
        self.fields.iter().find(|(other, _)| *other == field).map(|(_, value)| value.as_str())
    }
}

impl Severity {
    /// All of them, the most severe first.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warning, Self::Info, Self::Debug];

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl NoticeField {
    /// Its name as a field of the journal. systemd-networkd, which reports who changes its knobs, calls them the same.
    pub fn journal_name(self) -> &'static str {
        match self {
            Self::Policy => "KNOBGATE_POLICY",
            Self::Attachment => "KNOBGATE_ATTACHMENT",
            Self::Cgroup => "KNOBGATE_CGROUP",
            Self::OtherCgroup => "KNOBGATE_OTHER_CGROUP",
            Self::Workload => "KNOBGATE_WORKLOAD",
            Self::ProgramId => "KNOBGATE_PROGRAM_ID",
            Self::ProgramName => "KNOBGATE_PROGRAM_NAME",
            Self::Knob => "SYSCTL",
            Self::OldValue => "OLDVALUE",
            Self::NewValue => "NEWVALUE",
            Self::Pid => "OBJECT_PID",
            Self::Comm => "OBJECT_COMM",
            Self::Uid => "OBJECT_UID",
            Self::Path => "KNOBGATE_PATH",
            Self::Count => "KNOBGATE_COUNT",
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Started,
        Self::Stopped,
        Self::Attached,
        Self::AttachFailed,
        Self::OpenToOthers,
        Self::Stricter,
        Self::Undecided,
        Self::Reloaded,
        Self::ReloadRejected,
        Self::LinkVanished,
        Self::LinkReplaced,
        Self::ForeignProgram,
        Self::Outdated,
        Self::ProcessLeft,
        Self::KnobChanged,
        Self::Repaired,
        Self::RepairFailed,
        Self::Off,
        Self::On,
        Self::EventsLost,
    ];

    /// How much it matters.
    pub fn severity(self) -> Severity {
        match self {
            Self::AttachFailed | Self::LinkVanished | Self::LinkReplaced | Self::RepairFailed => {
                Severity::Error
            }
            Self::ReloadRejected
            | Self::OpenToOthers
            | Self::Undecided
            | Self::Stricter
            | Self::ForeignProgram
            | Self::Outdated
            | Self::ProcessLeft
            | Self::KnobChanged
            | Self::Off
            | Self::EventsLost => Severity::Warning,
            Self::Started | Self::Stopped | Self::Reloaded | Self::Repaired | Self::On => Severity::Info,
            Self::Attached => Severity::Debug,
        }
    }

    /// The id of such notices in the journal, which is always the same, and that of their entry in the catalogue
    /// (packaging/journald/knobgate.catalog).
    pub fn message_id(self) -> &'static str {
        match self {
            Self::Started => "d454651382ac412fab945660d6826cac",
            Self::Stopped => "365c2d6f3c93459f903db2f08530a79b",
            Self::Attached => "68d46519ddca4bc3b813de351b47d897",
            Self::AttachFailed => "49299e676304428d9e5e833cd242859a",
            Self::OpenToOthers => "4ddd3745bb204bd3ac09881f0c030739",
            Self::Stricter => "946f22f9d64240af890479341b43b0ab",
            Self::Undecided => "cda86b41418e4f5ea22a763c9a0df91a",
            Self::Reloaded => "b5f53b06bf684166a385ef77a8730c65",
            Self::ReloadRejected => "648fe4dc999c4256919587740aa46bff",
            Self::LinkVanished => "7fe21c70700b4cbba6226fa498a4bee4",
            Self::LinkReplaced => "ca92ab6a40d54f9f885f6500be29773d",
            Self::ForeignProgram => "3ab947e0d6544354a30adf8dd05c3083",
            Self::Outdated => "9990fd5a771948b293602a383ba9bb6a",
            Self::ProcessLeft => "f16d24c9a467403abf820f41fcf1f942",
            Self::KnobChanged => "ae9565ae5f9343ea820f50444a504813",
            Self::Repaired => "7e0c73a6d08a4c7bac863ce864d2e306",
            Self::RepairFailed => "db9c4de524f545ae9d756aa29ccc67ae",
            Self::Off => "175a9fcc303b4130ae85695cdd3762ac",
            Self::On => "c0bf5f7ad4624b30808940f674dbbd23",
            Self::EventsLost => "1f0c35d7bf3441b3a7950cb78768b688",
        }
    }

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Attached => "attached",
            Self::AttachFailed => "attach-failed",
            Self::Undecided => "undecided",
            Self::Reloaded => "reloaded",
            Self::ReloadRejected => "reload-rejected",
            Self::OpenToOthers => "open-to-others",
            Self::Stricter => "stricter",
            Self::LinkVanished => "link-vanished",
            Self::LinkReplaced => "link-replaced",
            Self::ForeignProgram => "foreign-program",
            Self::Outdated => "outdated",
            Self::ProcessLeft => "process-left",
            Self::KnobChanged => "knob-changed",
            Self::Repaired => "repaired",
            Self::RepairFailed => "repair-failed",
            Self::Off => "off",
            Self::On => "on",
            Self::EventsLost => "events-lost",
        }
    }
}
