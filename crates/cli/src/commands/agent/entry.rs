//! One entry of the agent's log.

use std::time::SystemTime;

use knobgate_agent::{Notice, Severity};
use serde_json::{Map, Value};

use crate::journal::Priority;
use crate::json;
use crate::printable::printable;
use crate::timestamp;

/// The prefix of the journal's fields that nobody else has.
const OWN: &str = "KNOBGATE_";

/// One entry of the agent's log. Its texts are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: SystemTime,
    pub(super) severity: Severity,
    /// What it is about.
    pub(super) kind: &'static str,
    /// The id of its kind in the journal and its catalogue.
    pub(super) message_id: &'static str,
    pub(super) text: String,
    /// By the names of the journal's fields. Those that systemd-networkd has for knobs that others change are called the same.
    pub(super) fields: Vec<(&'static str, String)>,
}

impl Entry {
    /// The same with one more field.
    pub(super) fn with(mut self, field: &'static str, value: Option<impl AsRef<[u8]>>) -> Self {
        self.fields.extend(value.map(|value| (field, printable(&value).into_owned())));
        self
    }

    /// A line of text: when, how severe, what about, and what happened.
    pub(super) fn text_line(&self) -> String {
        let time = timestamp::rfc_3339(self.at);
        format!("{time} {} {}: {}", self.severity.name(), self.kind, self.text)
    }

    /// A JSON object on a line.
    pub(super) fn json_line(&self) -> String {
        let mut object = Map::new();
        let own = [
            ("time", timestamp::rfc_3339(self.at)),
            ("level", self.severity.name().to_owned()),
            ("kind", self.kind.to_owned()),
            ("message_id", self.message_id.to_owned()),
            ("message", self.text.clone()),
        ];
        let fields = self.fields.iter().map(|(name, value)| (short(name), value.clone()));
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        object.extend(own.chain(fields).map(|(name, value)| (name, Value::String(value))));
        json::line(&object)
    }

    /// Its fields in the journal, without the message.
    pub(super) fn journal_fields(&self) -> Vec<(&str, &str)> {
        let own = [("MESSAGE_ID", self.message_id), ("KNOBGATE_KIND", self.kind)];
        own.into_iter().chain(self.fields.iter().map(|(name, value)| (*name, &**value))).collect()
    }

    /// Its urgency in the journal.
    pub(super) fn priority(&self) -> Priority {
        match self.severity {
            Severity::Error => Priority::Error,
            Severity::Warning => Priority::Warning,
            Severity::Info => Priority::Info,
            Severity::Debug => Priority::Debug,
        }
    }
}

/// The name of a field in JSON.
fn short(field: &str) -> String {
    field.strip_prefix(OWN).unwrap_or(field).to_lowercase()
}

impl From<&Notice> for Entry {
    fn from(notice: &Notice) -> Self {
        let fields = notice.fields.iter();
        let fields = fields.map(|(field, value)| (field.journal_name(), printable(value).into_owned()));
        Self {
            at: notice.at,
            severity: notice.kind.severity(),
            kind: notice.kind.name(),
            message_id: notice.kind.message_id(),
            text: printable(&notice.text).into_owned(),
            fields: fields.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use knobgate_agent::{NoticeField, NoticeKind};

    use super::*;

    fn entry() -> Entry {
        let mut notice = Notice::new(NoticeKind::KnobChanged, "a knob\n\u{1b}[31m changed")
            .with(NoticeField::Policy, "web")
            .with(NoticeField::Knob, "net.core.somaxconn")
            .with(NoticeField::OldValue, "1")
            .with(NoticeField::NewValue, "2\n3")
            .with(NoticeField::Pid, 7)
            .with(NoticeField::Comm, "a\u{1b}b");
        notice.at = SystemTime::UNIX_EPOCH + Duration::from_millis(1500);
        Entry::from(&notice)
    }

    #[test]
    fn a_line_of_text_is_one_line() {
        let expected = "1970-01-01T00:00:01.500000Z warning knob-changed: a knob\\n\\x1b[31m changed";
        assert_eq!(entry().text_line(), expected);
    }

    #[test]
    fn json_has_all_fields_under_short_names() {
        let expected = r#"{"kind":"knob-changed","level":"warning","message":"a knob\\n\\x1b[31m changed","message_id":"ae9565ae5f9343ea820f50444a504813","newvalue":"2\\n3","object_comm":"a\\x1bb","object_pid":"7","oldvalue":"1","policy":"web","sysctl":"net.core.somaxconn","time":"1970-01-01T00:00:01.500000Z"}"#;
        assert_eq!(entry().json_line(), expected);
    }

    #[test]
    fn the_journal_has_the_fields_of_networkd() {
        let entry = entry();
        let expected = [
            ("MESSAGE_ID", "ae9565ae5f9343ea820f50444a504813"),
            ("KNOBGATE_KIND", "knob-changed"),
            ("KNOBGATE_POLICY", "web"),
            ("SYSCTL", "net.core.somaxconn"),
            ("OLDVALUE", "1"),
            ("NEWVALUE", "2\\n3"),
            ("OBJECT_PID", "7"),
            ("OBJECT_COMM", "a\\x1bb"),
        ];
        assert_eq!(entry.journal_fields(), expected);
    }
}
