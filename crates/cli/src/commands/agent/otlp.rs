//! The agent's log for a collector.

use std::path::Path;

use knobgate::OtlpEndpoint;

use super::log::Log;
use crate::failure::Failure;
use crate::printable::printable_path;

/// The same log, which a collector gets, too. `file` has said so.
///
/// # Errors
/// [`Failure::Bad`] if this knobgate was built without that, [`Failure::Machine`] if there can be no more threads.
#[cfg(not(feature = "otlp"))]
pub(super) fn with_collector(_: Log, endpoint: &OtlpEndpoint, file: &Path) -> Result<Log, Failure> {
    Err(Failure::bad("the agent does not start").because(format!(
        "{}:{}: this knobgate was built without OTLP; take the key out, or build knobgate with --features otlp",
        printable_path(file),
        endpoint.line()
    )))
}

#[cfg(feature = "otlp")]
pub(super) use with::with_collector;

#[cfg(feature = "otlp")]
mod with {
    use std::sync::Arc;
    use std::time::SystemTime;

    use knobgate_agent::{Collected, OtlpExporter, OtlpRecord, Severity};

    use super::super::entry::Entry;
    use super::*;
    use crate::printable::printable;

    /// The same log, which a collector gets, too. `file` has said so.
    ///
    /// # Errors
    /// [`Failure::Machine`] if there can be no more threads.
    pub(in super::super) fn with_collector(
        log: Log,
        endpoint: &OtlpEndpoint,
        file: &Path,
    ) -> Result<Log, Failure> {
        let (local, to) = (log.clone(), endpoint.to_string());
        let say = move |what| local.write(entry(&what, &to));
        let exporter = OtlpExporter::start(endpoint.clone(), Arc::clone(log.metrics()), say);
        let exporter = exporter.map_err(|error| {
            let place = printable_path(file);
            Failure::machine(format!("cannot send the log to a collector, as {place} says")).because(error)
        })?;
        Ok(log.with_collector(exporter))
    }

    /// What becomes of the entries.
    fn entry(what: &Collected, to: &str) -> Entry {
        let (severity, kind, text) = match what {
            Collected::Failing(why) => (
                Severity::Warning,
                &EXPORT_FAILED,
                format!("the collector at {to} does not take the log: {why}; it is sent again"),
            ),
            Collected::Rejected(why) => (
                Severity::Warning,
                &EXPORT_FAILED,
                format!("the collector at {to} rejects entries of the log, which are lost: {why}"),
            ),
            Collected::Again(lost) => (
                Severity::Info,
                &EXPORTED,
                format!("the collector at {to} takes the log again; {lost} entries of it were lost"),
            ),
        };
        let text = printable(&text).into_owned();
        Entry { at: SystemTime::now(), severity, kind: kind.0, message_id: kind.1, text, fields: Vec::new() }
    }

    impl From<&Entry> for OtlpRecord {
        fn from(entry: &Entry) -> Self {
            let mut record = Self::new(entry.at, entry.severity, entry.kind, entry.text.clone());
            let fields = entry.journal_fields().into_iter();
            record.attributes = fields.map(|(name, value)| (attribute(name), value.to_owned())).collect();
            record
        }
    }

    /// The attribute for a field of the journal: `knobgate.policy` for `KNOBGATE_POLICY`, `sysctl` for `SYSCTL`.
    fn attribute(field: &str) -> String {
        let name = field.strip_prefix("KNOBGATE_");
        name.map_or_else(|| field.to_lowercase(), |name| format!("knobgate.{}", name.to_lowercase()))
    }

    /// The kinds of these entries, with their ids in the journal.
    const EXPORT_FAILED: (&str, &str) = ("export-failed", "8c2fd6a3e1b94d0fa5b7c3d2907e4f16");
    const EXPORTED: (&str, &str) = ("exported", "d17e50c94ab24f3e8f6a2b9c05d8e731");

    #[cfg(test)]
    mod tests {
        use knobgate_agent::{Notice, NoticeField, NoticeKind};

        use super::*;

        #[test]
        fn a_record_has_the_fields_of_the_journal() {
            let notice = Notice::new(NoticeKind::KnobChanged, "it changed")
                .with(NoticeField::Policy, "web")
                .with(NoticeField::Knob, "vm.a")
                .with(NoticeField::NewValue, "2\n3");
            let record = OtlpRecord::from(&Entry::from(&notice));
            let attributes: Vec<_> =
                record.attributes.iter().map(|(key, value)| (&**key, &**value)).collect();
            let expected = [
                ("message_id", NoticeKind::KnobChanged.message_id()),
                ("knobgate.kind", "knob-changed"),
                ("knobgate.policy", "web"),
                ("sysctl", "vm.a"),
                ("newvalue", "2\\n3"),
            ];
            assert_eq!(attributes, expected);
            assert_eq!(
                (record.kind, record.severity, record.at),
                ("knob-changed", Severity::Warning, notice.at)
            );
        }

        #[test]
        fn the_page_and_the_catalogue_have_these_kinds() {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
            let file = |name: &str| std::fs::read_to_string(format!("{root}{name}")).unwrap();
            let (page, catalogue) = (file("docs/agent.md"), file("packaging/journald/knobgate.catalog"));
            for (kind, id) in [EXPORT_FAILED, EXPORTED] {
                assert!(page.contains(&format!("\n| `{kind}` | ")), "{kind} is not on the page");
                assert!(
                    catalogue.contains(&format!("\n-- {id}\nSubject: ")),
                    "{kind} is not in the catalogue"
                );
            }
        }
    }
}
