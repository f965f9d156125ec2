//! Entries as an export request of OTLP.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::OtlpRecord;
use crate::notice::Severity;

/// The name of the service, and of what wrote the entries.
const SERVICE: &str = "knobgate";
const SCOPE: &str = "knobgate-agent";

/// An encoded request.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    entries: u64,
}

impl Batch {
    pub(super) fn of(entries: &[OtlpRecord]) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let version = env!("CARGO_PKG_VERSION");
        let about = [
            ("service.name", SERVICE),
            ("service.version", version),
            ("host.name", &host),
            ("os.type", "linux"),
        ];
        let scope_logs = ScopeLogs {
            scope: Some(InstrumentationScope {
                name: SCOPE.to_owned(),
                version: version.to_owned(),
                ..InstrumentationScope::default()
            }),
            log_records: entries.iter().map(record).collect(),
            ..ScopeLogs::default()
        };
        let resource = Resource {
            attributes: about.map(|(key, value)| attribute(key, value)).into(),
            ..Resource::default()
        };
        let logs = ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![scope_logs],
            ..ResourceLogs::default()
        };
        let request = ExportLogsServiceRequest { resource_logs: vec![logs] };
        Self { bytes: request.encode_to_vec(), entries: entries.len() as u64 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }
}

fn record(entry: &OtlpRecord) -> LogRecord {
    let number = match entry.severity {
        Severity::Error => SeverityNumber::Error,
        Severity::Warning => SeverityNumber::Warn,
        Severity::Info => SeverityNumber::Info,
        Severity::Debug => SeverityNumber::Debug,
    };
    LogRecord {
        time_unix_nano: nanoseconds(entry.at),
        observed_time_unix_nano: nanoseconds(SystemTime::now()),
        severity_number: number.into(),
        severity_text: entry.severity.name().to_owned(),
        event_name: entry.kind.to_owned(),
        body: Some(text(&entry.text)),
        attributes: entry.attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
        ..LogRecord::default()
    }
}

fn nanoseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(text(value)), ..KeyValue::default() }
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.to_owned())) }
}
