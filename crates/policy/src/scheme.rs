//! What the conditions of rules, of filters and of selectors can look at. Their grammar is the same, and so is what it means.

mod field;

use crate::filter::{IntegerField, TextField, ValueField};

pub(crate) use field::{Field, NameField, Word, WordField};

/// The fields that conditions can look at, by name, and what to say about other names.
pub(crate) struct Scheme {
    pub(crate) fields: &'static [(&'static str, Field)],
    /// Other words for these fields.
    pub(crate) foreign: &'static [(&'static str, &'static str)],
    /// The other operands, for a help text.
    pub(crate) others: &'static str,
    /// Words that look like a field but mean something else.
    pub(crate) absent: &'static [&'static str],
    /// What there is instead of these.
    pub(crate) instead: &'static str,
    /// What a text with conditions is.
    pub(crate) text: &'static str,
    /// What to say about a knob's name where an operand is expected.
    pub(crate) knob: &'static str,
    /// A test of a text, for a help text.
    pub(crate) text_test: &'static str,
    /// What to do about a `;`, which separates nothing.
    pub(crate) semicolon: &'static str,
}

/// The conditions of rules.
pub(crate) static RULES: Scheme = Scheme {
    fields: &[
        ("new", Field::Value(ValueField::New)),
        ("old", Field::Value(ValueField::Old)),
        ("comm", Field::Text(TextField::Comm)),
        ("pos", Field::Integer(IntegerField::Pos)),
        ("uid", Field::Integer(IntegerField::Uid)),
        ("gid", Field::Integer(IntegerField::Gid)),
        ("netns", Field::Word(WordField::Netns)),
    ],
    foreign: &[
        ("value", "new"),
        ("val", "new"),
        ("this", "new"),
        ("current", "old"),
        ("cur", "old"),
        ("previous", "old"),
        ("user", "uid"),
        ("group", "gid"),
        ("offset", "pos"),
        ("position", "pos"),
        ("process", "comm"),
        ("command", "comm"),
        ("task", "comm"),
        ("net_ns", "netns"),
    ],
    others: "`new[0]`, `each(new)`, `count(new)` and literals",
    absent: &["pid", "ppid", "tid", "tgid", "euid", "egid", "suid", "sgid", "fsuid", "fsgid"],
    instead: "a condition can look at the task's `uid` and `gid`, which are the real ids, and at its `comm`",
    text: "file",
    knob: "a condition can look at the values `new` and `old` of the accessed knob, but not at other knobs",
    text_test: "comm == \"sysctl\"",
    semicolon: "a statement ends with its line, and a comment begins with `#`",
};

/// How a filter has several conditions.
pub(crate) const JOINED: &str = "conditions are joined with `and` or `or`";

/// Filters of events.
pub(crate) static FILTERS: Scheme = Scheme {
    fields: &[
        ("verdict", Field::Word(WordField::Verdict)),
        ("outcome", Field::Word(WordField::Outcome)),
        ("access", Field::Word(WordField::Access)),
        ("errno", Field::Word(WordField::Errno)),
        ("mode", Field::Word(WordField::Mode)),
        ("type", Field::Word(WordField::Type)),
        ("knob", Field::Knob),
        ("new", Field::Value(ValueField::New)),
        ("old", Field::Value(ValueField::Old)),
        ("stored", Field::Value(ValueField::Stored)),
        ("pos", Field::Integer(IntegerField::Pos)),
        ("uid", Field::Integer(IntegerField::Uid)),
        ("gid", Field::Integer(IntegerField::Gid)),
        ("pid", Field::Integer(IntegerField::Pid)),
        ("tid", Field::Integer(IntegerField::Tid)),
        ("cgroup_id", Field::Integer(IntegerField::CgroupId)),
        ("line", Field::Integer(IntegerField::Line)),
        ("netns", Field::Integer(IntegerField::Netns)),
        ("utsns", Field::Integer(IntegerField::Utsns)),
        ("ipcns", Field::Integer(IntegerField::Ipcns)),
        ("userns", Field::Integer(IntegerField::Userns)),
        ("pidns", Field::Integer(IntegerField::Pidns)),
        ("mntns", Field::Integer(IntegerField::Mntns)),
        ("comm", Field::Text(TextField::Comm)),
        ("policy", Field::Text(TextField::Policy)),
        ("attachment", Field::Text(TextField::Attachment)),
        ("cgroup", Field::Text(TextField::Cgroup)),
        ("container", Field::Text(TextField::Container)),
        ("container_id", Field::Text(TextField::ContainerId)),
        ("pod", Field::Text(TextField::Pod)),
        ("namespace", Field::Text(TextField::Namespace)),
        ("image", Field::Text(TextField::Image)),
        ("unit", Field::Text(TextField::Unit)),
        ("rule", Field::Text(TextField::Rule)),
    ],
    foreign: &[
        ("action", "verdict"),
        ("decision", "verdict"),
        ("result", "outcome"),
        ("operation", "access"),
        ("op", "access"),
        ("kind", "access"),
        ("error", "errno"),
        ("sysctl", "knob"),
        ("name", "knob"),
        ("value", "new"),
        ("val", "new"),
        ("current", "old"),
        ("previous", "old"),
        ("user", "uid"),
        ("group", "gid"),
        ("offset", "pos"),
        ("position", "pos"),
        ("process", "comm"),
        ("command", "comm"),
        ("task", "comm"),
        ("tgid", "pid"),
        ("cgid", "cgroup_id"),
        ("net_ns", "netns"),
        ("uts_ns", "utsns"),
        ("ipc_ns", "ipcns"),
        ("user_ns", "userns"),
        ("pid_ns", "pidns"),
        ("mnt_ns", "mntns"),
        ("service", "unit"),
    ],
    others: "`new[0]`, `each(new)`, `count(new)` and literals",
    absent: &["ppid", "euid", "egid", "suid", "sgid", "fsuid", "fsgid"],
    instead: "an event has the task's `pid` and `tid`, its `uid` and `gid`, which are the real ids, and its `comm`",
    text: "filter",
    knob: "the name of the knob is tested with `knob == kernel.panic` and `knob matches net.**`",
    text_test: "comm == \"sysctl\"",
    semicolon: JOINED,
};

/// Selectors of containers and units.
pub(crate) static SELECTORS: Scheme = Scheme {
    fields: &[
        ("engine", Field::Word(WordField::Engine)),
        ("cgroup", Field::Name(NameField::Cgroup)),
        ("unit", Field::Name(NameField::Unit)),
        ("container", Field::Name(NameField::Container)),
        ("pod", Field::Name(NameField::Pod)),
        ("namespace", Field::Name(NameField::Namespace)),
        ("image", Field::Name(NameField::Image)),
        ("label", Field::Label),
    ],
    foreign: &[
        ("runtime", "engine"),
        ("path", "cgroup"),
        ("slice", "cgroup"),
        ("service", "unit"),
        ("name", "container"),
        ("ns", "namespace"),
        ("labels", "label"),
        ("annotation", "label"),
    ],
    others: "`label(\"KEY\")` and texts",
    absent: &["new", "old", "comm", "uid", "gid", "pid", "user"],
    instead: "a selector chooses containers and units before they run: put this into the `if` of a rule",
    text: "selector",
    knob: "a selector chooses containers and units, and knobs are named by the rules",
    text_test: "namespace == \"prod\"",
    semicolon: JOINED,
};

impl Scheme {
    /// The field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<Field> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, field)| *field)
    }

    /// Whether an operand begins with this word.
    pub(crate) fn is_operand(&self, word: &str) -> bool {
        self.operand_words().any(|operand| operand == word)
    }

    /// The words that operands begin with.
    pub(crate) fn operand_words(&self) -> impl Iterator<Item = &'static str> {
        let has_values = self.fields.iter().any(|(_, field)| matches!(field, Field::Value(_)));
        self.fields
            .iter()
            .map(|(name, _)| *name)
            .chain(["count", "each", "ranges"].into_iter().filter(move |_| has_values))
    }

    /// What `word` of another language is called here.
    pub(crate) fn foreign(&self, word: &str) -> Option<&'static str> {
        self.foreign.iter().find(|(foreign, _)| *foreign == word).map(|(_, ours)| *ours)
    }

    /// The names of the fields that `wanted` chooses.
    pub(crate) fn names(&self, wanted: impl Fn(Field) -> bool) -> impl Iterator<Item = &'static str> {
        self.fields.iter().filter(move |(_, field)| wanted(*field)).map(|(name, _)| *name)
    }

    /// All operands, for a help text.
    pub(crate) fn operands(&self) -> String {
        let whole = self.fields.iter().filter(|(_, field)| *field != Field::Label);
        let names: Vec<String> = whole.map(|(name, _)| format!("`{name}`")).collect();
        format!("operands are {}, {}", names.join(", "), self.others)
    }
}

/// `` `a`, `b` or `c` ``, with `word` before the last.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, word: &str) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match (names.pop(), names.is_empty()) {
        (Some(last), false) => format!("{} {word} {last}", names.join(", ")),
        (last, _) => last.unwrap_or_default(),
    }
}
