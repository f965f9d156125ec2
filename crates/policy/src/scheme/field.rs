//! The fields that conditions can look at.

use crate::filter::{EventType, IntegerField, OutcomeKind, TextField, ValueField, VerdictKind};
use crate::selector::{Engine, SelectorField};
use crate::{AccessKind, Errno, KnobNetns, Mode};

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
    /// The network namespace that owns the knob. Only in rules.
    Netns,
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
    Netns(KnobNetns),
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
            // Another namespace has no name of its own.
            Self::Netns => &[("host", Word::Netns(KnobNetns::Host))],
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
