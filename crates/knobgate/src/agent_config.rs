//! The configuration of the agent, and what an administrator says about policies that come from elsewhere.
//!
//! The hooks of container runtimes read the same file, so all of it is read here.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use knobgate_policy::selector::Selector;
use knobgate_policy::{KnobName, Mode, Source};
use serde::Deserialize;
use toml::Spanned;

use crate::container_error::ContainerError;
use crate::container_policies::{is_absent, read_limited};

/// The largest file, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// How often is checked what no event reports, unless the file says so.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The configuration of the agent: `agent.toml`.
#[derive(Debug)]
#[non_exhaustive]
pub struct AgentConfig {
    /// How often the agent checks what no event reports.
    pub check_interval: Duration,
    /// Whether it puts back an attachment that should be there and is not.
    pub repair: bool,
    /// Where metrics can be read over TCP, beside the agent's socket.
    pub metrics_listen: Option<SocketAddr>,
    /// How it logs.
    pub log_format: LogFormat,
    /// What it logs.
    pub log_level: LogLevel,
    /// The collector that gets its log in OTLP, too.
    pub log_otlp: Option<OtlpEndpoint>,
    /// The knobs that are to keep their value.
    pub knobs: Vec<KeptKnob>,
    bindings: Vec<Binding>,
}

/// How the agent logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// To the journal if that is where standard error goes, and as text otherwise.
    #[default]
    Auto,
    /// Lines of text on standard error.
    Text,
    /// A JSON object for each line on standard error.
    Json,
    /// Entries of the journal, with their fields.
    Journald,
}

/// What the agent logs: this, and what is more severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// What may need one.
    Warn,
    /// What happens to policies.
    #[default]
    Info,
    /// Each step.
    Debug,
}

/// A collector that takes logs in OTLP, over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    authority: String,
    path: String,
    line: usize,
}

impl OtlpEndpoint {
    /// The port of collectors.
    const PORT: &str = "4318";

    /// The endpoint `http://HOST[:PORT][/PATH]`, as in `OTEL_EXPORTER_OTLP_ENDPOINT`: logs go to the path `v1/logs` below it. `line` is
    /// the line of the file that says so. `None` if this is no such text.
    pub fn parse(url: &str, line: usize) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"@?#\"<>\\^`{|}".contains(&byte);
        // The colons of an address of IPv6 are in brackets.
        let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        let host = port.map_or(authority, |port| &authority[..authority.len() - port.len() - 1]);
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_host = match address {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains(['[', ']', ':']),
        };
        if !is_host || !rest.bytes().all(is_plain) {
            return None;
        }
        let is_port =
            |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
        if port.is_some_and(|port| !is_port(port)) {
            return None;
        }
        let authority =
            if port.is_some() { authority.to_owned() } else { format!("{authority}:{}", Self::PORT) };
        Some(Self { authority, path: format!("{}/v1/logs", base.trim_end_matches('/')), line })
    }

    /// The host and the port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path to which logs are sent.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The line of the file that says so.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// A knob that is to keep its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptKnob {
    /// The knob.
    pub name: KnobName,
    /// The value.
    pub value: String,
    /// Whether the agent writes the value back if it changes.
    pub repair: bool,
}

impl KeptKnob {
    /// A knob with its value.
    pub fn new(name: KnobName, value: impl Into<String>, repair: bool) -> Self {
        Self { name, value: value.into(), repair }
    }
}

/// What it says about a policy.
#[derive(Debug)]
pub(crate) struct Binding {
    path: PathBuf,
    line: usize,
    name: String,
    mode: Option<Mode>,
    /// Instead of those of the policy.
    apply_if: Option<Vec<Selector>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(default)]
    check_interval: Option<Spanned<String>>,
    #[serde(default)]
    repair: Option<bool>,
    #[serde(default)]
    metrics: MetricsTable,
    #[serde(default)]
    log: LogTable,
    #[serde(default)]
    policy: Vec<Table>,
    #[serde(default)]
    knob: Vec<KnobTable>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct MetricsTable {
    #[serde(default)]
    listen: Option<SocketAddr>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LogTable {
    #[serde(default)]
    format: LogFormat,
    #[serde(default)]
    level: LogLevel,
    #[serde(default)]
    otlp: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KnobTable {
    name: Spanned<String>,
    value: Spanned<String>,
    #[serde(default)]
    repair: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Table {
    name: Spanned<String>,
    #[serde(default)]
    apply_if: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    mode: Option<ModeName>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Audit,
    Enforce,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            check_interval: CHECK_INTERVAL,
            repair: true,
            metrics_listen: None,
            log_format: LogFormat::default(),
            log_level: LogLevel::default(),
            log_otlp: None,
            knobs: Vec::new(),
            bindings: Vec::new(),
        }
    }
}

impl AgentConfig {
    /// Where it is, unless another file is given.
    pub const PATH: &str = "/etc/knobgate/agent.toml";

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`ContainerError::Read`], [`TooLarge`](ContainerError::TooLarge), [`Line`](ContainerError::Line).
    pub fn read(path: &Path) -> Result<Self, ContainerError> {
        let bytes = read_limited(path, BYTES_MAX)?;
        let Ok(text) = str::from_utf8(&bytes) else {
            let what = "the file is not UTF-8 from here on".to_owned();
            let line = 1 + bytes.utf8_chunks().next().map_or(0, |chunk| chunk.valid().matches('\n').count());
            return Err(ContainerError::Line { path: path.to_owned(), line, what });
        };
        Self::parse(path, text)
    }

    /// Reads the file at this path, or without one that at [`PATH`](Self::PATH), if there is one.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_or_default(path: Option<&Path>) -> Result<Self, ContainerError> {
        if let Some(path) = path {
            return Self::read(path);
        }
        let path = Path::new(Self::PATH);
        match Self::read(path) {
            Err(ContainerError::Read { source, .. })
                if source.kind() == ErrorKind::NotFound && is_absent(path) =>
            {
                Ok(Self::default())
            }
            read => read,
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ContainerError> {
        let line =
            |at: Range<usize>| 1 + text.get(..at.start).map_or(0, |before| before.matches('\n').count());
        let wrong = |at: Range<usize>, what: String| ContainerError::Line {
            path: path.to_owned(),
            line: line(at),
            what,
        };
        let File { check_interval, repair, metrics, log, policy, knob } =
            toml::from_str(text).map_err(|error| {
                let what = error.message().lines().collect::<Vec<_>>().join(" ");
                wrong(error.span().unwrap_or_default(), what)
            })?;
        let mut bindings: Vec<Binding> = Vec::new();
        for Table { name, apply_if, mode } in policy {
            let span = name.span();
            if bindings.iter().any(|other| other.name == *name.get_ref()) {
                let what = format!("the policy \"{}\" is bound twice", name.get_ref().escape_debug());
                return Err(wrong(span, what));
            }
            let selector = |condition: Spanned<String>| {
                let span = condition.span();
                Selector::parse(Source::new("apply-if", condition.into_inner()))
                    .map_err(|error| wrong(span, error.to_string()))
            };
            let apply_if = apply_if.map(|all| all.into_iter().map(selector).collect::<Result<_, _>>());
            bindings.push(Binding {
                path: path.to_owned(),
                line: line(span),
                name: name.into_inner(),
                mode: mode.map(|mode| match mode {
                    ModeName::Audit => Mode::Audit,
                    ModeName::Enforce => Mode::Enforce,
                }),
                apply_if: apply_if.transpose()?,
            });
        }
        let default = Self::default();
        Ok(Self {
            check_interval: match check_interval {
                Some(text) => interval(text.get_ref()).ok_or_else(|| {
                    let what = "this is no interval between \"1s\" and \"1h\"; write a number and s, m or h";
                    wrong(text.span(), what.to_owned())
                })?,
                None => default.check_interval,
            },
            repair: repair.unwrap_or(default.repair),
            metrics_listen: metrics.listen,
            log_format: log.format,
            log_level: log.level,
            log_otlp: log
                .otlp
                .map(|url| endpoint(&url, line(url.span())).map_err(|what| wrong(url.span(), what)))
                .transpose()?,
            knobs: knobs(knob, wrong)?,
            bindings,
        })
    }

    /// What it says about each policy.
    pub(crate) fn into_bindings(self) -> Vec<Binding> {
        self.bindings
    }
}

/// The endpoint that the file names, or why it is none.
fn endpoint(url: &Spanned<String>, line: usize) -> Result<OtlpEndpoint, String> {
    let url = url.get_ref();
    OtlpEndpoint::parse(url, line).ok_or_else(|| {
        if url.starts_with("https://") {
            "OTLP goes over http:// here; for TLS, run a collector on this machine, which hands it on"
                .to_owned()
        } else {
            "this is no endpoint such as \"http://127.0.0.1:4318\"".to_owned()
        }
    })
}

/// An interval: a number and its unit.
fn interval(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(seconds)?;
    (1..=3600).contains(&seconds).then(|| Duration::from_secs(seconds))
}

fn knobs(
    tables: Vec<KnobTable>,
    wrong: impl Fn(Range<usize>, String) -> ContainerError,
) -> Result<Vec<KeptKnob>, ContainerError> {
    let mut knobs: Vec<KeptKnob> = Vec::new();
    for KnobTable { name, value, repair } in tables {
        let span = name.span();
        let name =
            name.get_ref().parse::<KnobName>().map_err(|error| wrong(span.clone(), error.to_string()))?;
        if knobs.iter().any(|other| other.name == name) {
            return Err(wrong(span, format!("the knob {name} is there twice")));
        }
        let is_line = |value: &str| !value.bytes().any(|byte| byte == 0 || byte == b'\n');
        if !is_line(value.get_ref()) {
            let what = "a value of a knob is one line".to_owned();
            return Err(wrong(value.span(), what));
        }
        knobs.push(KeptKnob { name, value: value.into_inner(), repair });
    }
    Ok(knobs)
}

impl Binding {
    /// The name of the policy.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The mode, and to which containers it applies, as far as it says so.
    pub(crate) fn into_parts(self) -> (Option<Mode>, Option<Vec<Selector>>) {
        (self.mode, self.apply_if)
    }

    /// The error that there is no such policy.
    pub(crate) fn without_policy<'a>(
        &self,
        directory: &Path,
        policies: impl Iterator<Item = &'a str>,
    ) -> ContainerError {
        let there: Vec<_> = policies.collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        let what = format!(
            "there is no policy \"{}\" in {} (there is: {there})",
            self.name.escape_debug(),
            directory.display()
        );
        ContainerError::Line { path: self.path.clone(), line: self.line, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AgentConfig, ContainerError> {
        AgentConfig::parse(Path::new("agent.toml"), text)
    }

    #[test]
    fn what_the_file_says_is_read() {
        let config = parse(
            "check-interval = \"2m\"\nrepair = false\n[metrics]\nlisten = \"[::1]:9477\"\n[log]\nformat = \"json\"\n\
             level = \"warn\"\n[[knob]]\nname = \"kernel/core_pattern\"\nvalue = \"core\"\nrepair = true\n",
        );
        let config = config.unwrap();
        assert_eq!(config.check_interval, Duration::from_secs(120));
        assert!(!config.repair);
        assert_eq!(config.metrics_listen, "[::1]:9477".parse().ok());
        assert_eq!((config.log_format, config.log_level), (LogFormat::Json, LogLevel::Warn));
        assert_eq!(config.log_otlp, None);
        let knob =
            KeptKnob { name: "kernel.core_pattern".parse().unwrap(), value: "core".to_owned(), repair: true };
        assert_eq!(config.knobs, [knob]);
    }

    #[test]
    fn an_empty_file_says_what_no_file_says() {
        let (config, default) = (parse("").unwrap(), AgentConfig::default());
        assert_eq!(format!("{config:?}"), format!("{default:?}"));
    }

    #[test]
    fn an_endpoint_for_otlp_has_a_port_and_a_path() {
        for (url, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/logs"),
            ("http://collector", "http://collector:4318/v1/logs"),
            ("http://[::1]", "http://[::1]:4318/v1/logs"),
            ("http://[::1]:80/otlp/", "http://[::1]:80/otlp/v1/logs"),
        ] {
            let config = parse(&format!("[log]\notlp = \"{url}\"\n")).unwrap();
            let endpoint = config.log_otlp.unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.line()), (expected, 2));
        }
        for (url, expected) in [
            ("https://collector", "agent.toml:2: OTLP goes over http:// here"),
            ("http://", "agent.toml:2: this is no endpoint"),
            ("http://:4318", "agent.toml:2: this is no endpoint"),
            ("http://a:99999", "agent.toml:2: this is no endpoint"),
            ("http://a:+80", "agent.toml:2: this is no endpoint"),
            ("http://a:", "agent.toml:2: this is no endpoint"),
            ("http://a:b:80", "agent.toml:2: this is no endpoint"),
            ("http://::1", "agent.toml:2: this is no endpoint"),
            ("http://[::1", "agent.toml:2: this is no endpoint"),
            ("http://[a]:80", "agent.toml:2: this is no endpoint"),
            ("http://user@a", "agent.toml:2: this is no endpoint"),
            ("http://a/\\r\\nX: y", "agent.toml:2: this is no endpoint"),
            ("127.0.0.1:4318", "agent.toml:2: this is no endpoint"),
        ] {
            let error = parse(&format!("[log]\notlp = \"{url}\"\n")).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{url:?}: {error}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            ("\ncheck-interval = \"0s\"", "agent.toml:2: this is no interval between \"1s\" and \"1h\""),
            ("check-interval = \"+1s\"", "agent.toml:1: this is no interval"),
            ("check-interval = \"s\"", "agent.toml:1: this is no interval"),
            ("check-interval = \"é\"", "agent.toml:1: this is no interval"),
            ("check-interval = \"61m\"", "agent.toml:1: this is no interval"),
            ("[log]\nlevel = \"trace\"", "agent.toml:2: unknown variant `trace`"),
            ("[metrics]\nlisten = \"localhost\"", "agent.toml:2: invalid socket address"),
            ("\n[[knob]]\nname = \"a..b\"\nvalue = \"1\"", "agent.toml:3: "),
            ("[[knob]]\nname = \"vm.a\"\nvalue = \"1\\n\"", "agent.toml:3: a value of a knob is one line"),
            (
                "[[knob]]\nname = \"vm.a\"\nvalue = \"1\"\n[[knob]]\nname = \"vm/a\"\nvalue = \"2\"",
                "agent.toml:5: the knob vm.a is there twice",
            ),
            ("unknown = 1", "agent.toml:1: unknown field `unknown`"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
