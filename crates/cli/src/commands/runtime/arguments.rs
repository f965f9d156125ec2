//! The arguments of an OCI runtime, as far as they say which container is started.
//!
//! runc and crun have the command line of the [OCI runtimes](https://github.com/opencontainers/runtime-tools/blob/master/docs/command-line-interface.md):
//! options, a subcommand, its options, and the id of the container.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The options before the subcommand that have a value: those of runc (main.go) and crun (src/crun.c).
const GLOBAL_VALUES: [&[u8]; 7] =
    [b"log", b"log-format", b"log-level", b"root", b"criu", b"rootless", b"cgroup-manager"];

/// The subcommands that start a container from a bundle.
const STARTING: [&[u8]; 3] = [b"create", b"run", b"restore"];

/// All others of runc and crun.
const OTHERS: [&[u8]; 18] = [
    b"checkpoint",
    b"delete",
    b"events",
    b"exec",
    b"features",
    b"help",
    b"init",
    b"kill",
    b"list",
    b"mounts",
    b"pause",
    b"ps",
    b"resume",
    b"spec",
    b"start",
    b"state",
    b"update",
    b"version",
];

/// The options of the starting subcommands that have a value, apart from the bundle and the configuration: those of runc
/// (create.go, run.go, restore.go) and crun (src/create.c, src/run.c, src/restore.c).
const START_VALUES: [&[u8]; 11] = [
    b"console-socket",
    b"pid-file",
    b"pidfd-socket",
    b"preserve-fds",
    b"image-path",
    b"work-path",
    b"parent-path",
    b"manage-cgroups-mode",
    b"lsm-profile",
    b"lsm-mount-context",
    b"empty-ns",
];

/// What a command line of a runtime asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments<'a> {
    /// Where the runtime logs.
    pub(super) log: Option<&'a OsStr>,
    /// How.
    pub(super) log_format: Option<&'a OsStr>,
    subcommand: Option<&'a OsStr>,
    /// What comes after the subcommand.
    rest: &'a [OsString],
}

/// A container that is started.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start<'a> {
    /// Its id.
    pub(super) id: &'a OsStr,
    /// The directory of its bundle.
    pub(super) bundle: &'a Path,
    /// Its configuration, relative to the bundle.
    pub(super) config: &'a Path,
}

impl<'a> Arguments<'a> {
    pub(super) fn parse(arguments: &'a [OsString]) -> Self {
        let mut parsed = Self { log: None, log_format: None, subcommand: None, rest: &[] };
        let mut at = 0;
        while let Some(argument) = arguments.get(at) {
            at += 1;
            let Some(Flag { name, value }) = Flag::parse(argument) else {
                (parsed.subcommand, parsed.rest) = (Some(argument.as_os_str()), &arguments[at..]);
                break;
            };
            let mut value = value;
            if value.is_none() && GLOBAL_VALUES.contains(&name) {
                value = arguments.get(at).map(OsString::as_os_str);
                at += 1;
            }
            match name {
                b"log" => parsed.log = value,
                b"log-format" => parsed.log_format = value,
                _ => {}
            }
        }
        parsed
    }

    /// The container that is started; `None` if the runtime does something else.
    ///
    /// # Errors
    /// It is not clear whether a container is started, or which one.
    pub(super) fn start(&self) -> Result<Option<Start<'a>>, String> {
        let Some(subcommand) = self.subcommand else { return Ok(None) };
        let is_in = |list: &[&[u8]], argument: &OsStr| list.contains(&argument.as_bytes());
        if !is_in(&STARTING, subcommand) {
            // The value of an option that is not known here would look like the subcommand.
            let hidden = self.rest.iter().find(|argument| is_in(&STARTING, argument));
            return match hidden {
                Some(hidden) if !is_in(&OTHERS, subcommand) => Err(format!(
                    "cannot tell whether the arguments of the runtime start a container: \"{}\" is no subcommand that knobgate \
                     knows, and \"{}\" comes after it",
                    subcommand.display(),
                    hidden.display()
                )),
                _ => Ok(None),
            };
        }
        let (mut bundle, mut config, mut id) = (OsStr::new("."), OsStr::new("config.json"), None);
        let (mut at, mut are_options) = (0, true);
        while let Some(argument) = self.rest.get(at) {
            at += 1;
            if are_options && argument == "--" {
                are_options = false;
                continue;
            }
            let Some(Flag { name, value }) = Flag::parse(argument).filter(|_| are_options) else {
                id = Some(argument.as_os_str());
                continue;
            };
            let place = match name {
                b"bundle" | b"b" => Some(&mut bundle),
                b"config" | b"f" => Some(&mut config),
                _ => None,
            };
            let has_value = place.is_some() || START_VALUES.contains(&name);
            let mut value = value;
            if value.is_none() && has_value {
                value = self.rest.get(at).map(OsString::as_os_str);
                at += 1;
            }
            if let (Some(place), Some(value)) = (place, value) {
                *place = value;
            }
        }
        // Without one, the runtime says how it is used.
        Ok(id.map(|id| Start { id, bundle: Path::new(bundle), config: Path::new(config) }))
    }
}

/// An option, with its value after `=`.
struct Flag<'a> {
    name: &'a [u8],
    value: Option<&'a OsStr>,
}

impl<'a> Flag<'a> {
    /// `None` if this is no option. One dash is enough for runc.
    fn parse(argument: &'a OsStr) -> Option<Self> {
        let text = argument.as_bytes().strip_prefix(b"-").filter(|text| !text.is_empty())?;
        let text = text.strip_prefix(b"-").unwrap_or(text);
        Some(match text.iter().position(|&byte| byte == b'=') {
            Some(end) => Self { name: &text[..end], value: Some(OsStr::from_bytes(&text[end + 1..])) },
            None => Self { name: text, value: None },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_bundle_of_a_container_that_is_started_is_found() {
        for (line, id, bundle) in [
            // containerd's shim
            (
                "--root /r --log /l/log.json --log-format json --systemd-cgroup create --bundle /b --pid-file /b/init.pid web",
                "web",
                "/b",
            ),
            // conmon
            ("--log-format=json --log=/l create --bundle /b --pid-file /p --no-new-keyring web", "web", "/b"),
            ("create -b /b web", "web", "/b"),
            ("run --bundle=/b -d web", "web", "/b"),
            ("-root /create create -bundle=/b web", "web", "/b"),
            ("run web", "web", "."),
            ("run --pid-file -b --bundle /b web", "web", "/b"),
            ("create --bundle /a --bundle /b web", "web", "/b"),
            ("restore --image-path /i --bundle /b --work-path /w web", "web", "/b"),
            ("--cgroup-manager cgroupfs run -b /b run", "run", "/b"),
            ("--debug create --bundle /b --preserve-fds 3 web", "web", "/b"),
            ("create --pidfd-socket /s --bundle /b web", "web", "/b"),
            // Ids may begin with a dash.
            ("create --bundle /b -- -web", "-web", "/b"),
            ("create --bundle /b -- --bundle=/a", "--bundle=/a", "/b"),
        ] {
            let words = words(line);
            let start = Arguments::parse(&words).start().unwrap();
            let expected =
                Start { id: OsStr::new(id), bundle: Path::new(bundle), config: Path::new("config.json") };
            assert_eq!(start, Some(expected), "{line}");
        }
        let words = words("run --config=other.json -b /b web");
        assert_eq!(Arguments::parse(&words).start().unwrap().unwrap().config, Path::new("other.json"));
    }

    #[test]
    fn all_else_is_left_to_the_runtime() {
        for line in [
            "--version",
            "state web",
            "--root /r delete --force web",
            "exec web create",
            "kill run KILL",
            "list",
            "--log create state web",
            "help run",
            "create --help",
            "unknown web",
        ] {
            let words = words(line);
            assert_eq!(Arguments::parse(&words).start(), Ok(None), "{line}");
        }
        assert_eq!(Arguments::parse(&[]).start(), Ok(None));
    }

    #[test]
    fn an_option_that_may_hide_the_start_of_a_container_is_an_error() {
        let words = words("--new-option value create --bundle /b web");
        let error = Arguments::parse(&words).start().unwrap_err();
        assert!(error.contains("\"value\" is no subcommand") && error.contains("\"create\""), "{error}");
    }

    #[test]
    fn the_log_of_the_runtime_is_found() {
        let words = words("--log=/l --log-format json create -b /b web");
        let arguments = Arguments::parse(&words);
        assert_eq!((arguments.log, arguments.log_format), (Some(OsStr::new("/l")), Some(OsStr::new("json"))));
    }
}
