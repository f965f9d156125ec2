//! The fields of events.

use super::EventType;
use crate::selector::{Engine, SelectorField};
use crate::{AccessKind, Errno, Mode};

/// A field that a condition can look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// A value: a text, or numbers.
    Value(ValueField),
    Integer(IntegerField),
    Text(TextField),
    /// One of a few words.
    Word(WordField),
    /// The name of the knob.
    Knob,
    /// A name of a container or unit.
    Name(NameField),
    /// `label("KEY")`: one of the labels of a container.
    Label,
}

/// A field of a container or unit that is a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameField {
    Cgroup,
    Unit,
    Container,
    Pod,
    Namespace,
    Image,
}

/// A value of a knob, as a text or as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueField {
    /// `new`: what the caller writes.
    New,
    /// `old`: what the knob held before.
    Old,
    /// `stored`: what the knob is given, which is not `new` after a rewrite.
    Stored,
}

/// An integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IntegerField {
    /// `pos`: the file position, its low 32 bits.
    Pos,
    /// `uid`: the real user id of the task, in the initial user namespace.
    Uid,
    /// `gid`: the real group id of the task, in the initial user namespace.
    Gid,
    /// `pid`: the id of the process, in the initial pid namespace.
    Pid,
    /// `tid`: the id of the thread, in the initial pid namespace.
    Tid,
    /// `cgroup_id`: the id of the task's cgroup.
    CgroupId,
    /// `line`: the line of the rule or default in its policy.
    Line,
    /// `netns`: the inode number of the task's network namespace.
    Netns,
    /// `utsns`: that of its UTS namespace.
    Utsns,
    /// `ipcns`: that of its IPC namespace.
    Ipcns,
    /// `userns`: that of its user namespace.
    Userns,
    /// `pidns`: that of its pid namespace.
    Pidns,
    /// `mntns`: that of its mount namespace.
    Mntns,
}

/// A text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TextField {
    /// `comm`: the name of the task.
    Comm,
    /// `policy`: the name of the policy.
    Policy,
    /// `attachment`: the name of the attachment.
    Attachment,
    /// `cgroup`: the path of the task's cgroup.
    Cgroup,
    /// `container`: the name of the container, or its id if no name is known.
    Container,
    /// `pod`: the name of the pod.
    Pod,
    /// `namespace`: the namespace of the pod.
    Namespace,
    /// `image`: the image of the container.
    Image,
    /// `unit`: the systemd unit.
    Unit,
    /// `rule`: the text of the rule or default that decided.
    Rule,
}

impl NameField {
    /// The same in a selector.
    pub(crate) fn of_selector(self) -> SelectorField {
        match self {
            Self::Cgroup => SelectorField::Cgroup,
            Self::Unit => SelectorField::Unit,
            Self::Container => SelectorField::Container,
            Self::Pod => SelectorField::Pod,
            Self::Namespace => SelectorField::Namespace,
            Self::Image => SelectorField::Image,
        }
    }
}

/// A field that is one of a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WordField {
    Verdict,
    Outcome,
    Access,
    Errno,
    Mode,
    Type,
    Engine,
}

/// What a policy decided about an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerdictKind {
    /// `allow`
    Allow,
    /// `deny`
    Deny,
    /// `rewrite`
    Rewrite,
}

/// What became of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutcomeKind {
    /// `allowed`: it passed.
    Allowed,
    /// `denied`: the policy denied it, or a program that ran earlier.
    Denied,
    /// `rewritten`: it passed with another value.
    Rewritten,
    /// `would_deny`: it passed in audit mode, and would have been denied.
    WouldDeny,
    /// `would_rewrite`: it passed in audit mode, and would have been rewritten.
    WouldRewrite,
}

impl OutcomeKind {
    /// Whether there is an errno: that of a denial, or of one that there would have been.
    pub fn is_denial(self) -> bool {
        matches!(self, Self::Denied | Self::WouldDeny)
    }
}

/// A value of a [`WordField`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Verdict(VerdictKind),
    Outcome(OutcomeKind),
    Access(AccessKind),
    Errno(Errno),
    Mode(Mode),
    Type(EventType),
    Engine(Engine),
}

/// The engines by name.
static ENGINE_WORDS: &[(&str, Word)] = &{
    let mut words = [("", Word::Engine(Engine::Docker)); Engine::ALL.len()];
    let mut i = 0;
    while i < words.len() {
        words[i] = (Engine::ALL[i].name(), Word::Engine(Engine::ALL[i]));
        i += 1;
    }
    words
};

impl WordField {
    /// The words, with what they mean. Errnos have too many names to list.
    pub(crate) fn words(self) -> &'static [(&'static str, Word)] {
        match self {
            Self::Verdict => &[
                ("allow", Word::Verdict(VerdictKind::Allow)),
                ("deny", Word::Verdict(VerdictKind::Deny)),
                ("rewrite", Word::Verdict(VerdictKind::Rewrite)),
            ],
            Self::Outcome => &[
                ("allowed", Word::Outcome(OutcomeKind::Allowed)),
                ("denied", Word::Outcome(OutcomeKind::Denied)),
                ("rewritten", Word::Outcome(OutcomeKind::Rewritten)),
                ("would_deny", Word::Outcome(OutcomeKind::WouldDeny)),
                ("would_rewrite", Word::Outcome(OutcomeKind::WouldRewrite)),
            ],
            Self::Access => {
                &[("read", Word::Access(AccessKind::Read)), ("write", Word::Access(AccessKind::Write))]
            }
            Self::Mode => &[("enforce", Word::Mode(Mode::Enforce)), ("audit", Word::Mode(Mode::Audit))],
            Self::Type => &[
                ("event", Word::Type(EventType::Event)),
                ("suppressed", Word::Type(EventType::Suppressed)),
                ("lost", Word::Type(EventType::Lost)),
            ],
            Self::Engine => ENGINE_WORDS,
            Self::Errno => &[],
        }
    }

    /// The value that `word` means.
    pub(crate) fn word(self, word: &str) -> Option<Word> {
        match self {
            Self::Errno => Errno::from_name(word).map(Word::Errno),
            _ => self.words().iter().find(|(name, _)| *name == word).map(|(_, word)| *word),
        }
    }
}
