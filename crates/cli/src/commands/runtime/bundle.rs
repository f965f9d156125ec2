//! The configuration of a container in its bundle, and how it is changed.

use std::io;
use std::path::{Path, PathBuf};

use knobgate::OciBundle;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::json_object::JsonObject;
use crate::failure::Failure;
use crate::file_output;
use crate::hook_arguments::HookArguments;
use crate::limited;
use crate::printable::printable_path;

/// A `config.json`.
#[derive(Debug)]
pub(super) struct Bundle {
    path: PathBuf,
    text: String,
    config: JsonObject,
    linux: Option<Linux>,
}

/// What is looked at below `linux`.
#[derive(Debug, Default)]
struct Linux {
    all: JsonObject,
    read_only: Vec<String>,
    masked: Vec<String>,
    /// Where something is mounted.
    mounts: Vec<Mount>,
}

#[derive(Debug, Clone, Deserialize)]
struct Mount {
    destination: String,
    #[serde(default)]
    options: Option<Vec<String>>,
}

/// What is changed.
#[derive(Debug)]
pub(super) struct Changes {
    /// The hook that is added.
    pub(super) hook: Hook,
    /// Whether `/proc/sys` is no longer read-only. The hook then requires a policy for that.
    pub(super) writable_proc_sys: bool,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hook {
    pub(super) path: String,
    pub(super) args: Vec<String>,
}

/// What tells a hook of an earlier change from those of others.
#[derive(Debug, Deserialize)]
struct AnyHook {
    #[serde(default)]
    args: Option<Vec<String>>,
}

/// When the hook runs: before the container's first instruction, and after its end.
const STAGES: [&str; 2] = ["createRuntime", "poststop"];
const PROC_SYS: &str = "/proc/sys";

impl Hook {
    /// How its program is called. That tells it from hooks with the same program and other options that the administrator or a plugin
    /// of the engine has added, also when the program has another path since.
    pub(super) const NAME: &str = "knobgate runtime";
    /// Lets the container start only under a policy that denies writes by default. It marks a bundle whose `/proc/sys` was read-only.
    const REQUIRES_DEFAULT_DENY: &str = "--require-default-deny";

    /// Whether a hook was added by an earlier change.
    fn is_earlier(other: &AnyHook) -> bool {
        let args = other.args.as_deref().unwrap_or_default();
        matches!(args, [name, command, ..] if name == Self::NAME && command == HookArguments::COMMAND)
    }
}

impl Bundle {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Failure::Bad`].
    pub(super) fn read(directory: &Path, config: &Path) -> Result<Self, Failure> {
        let path = directory.join(config);
        let text = read_limited(&path).map_err(|error| cannot_read(&path).because(error))?;
        let parsed = parse(&text).map_err(|error| cannot_read(&path).because(error))?;
        let (config, linux) = parsed;
        Ok(Self { path, text, config, linux })
    }

    /// What keeps files below `/proc/sys` read-only or hidden, apart from what [`change`](Self::change) removes.
    pub(super) fn read_only_below_proc_sys(&self) -> Vec<String> {
        let Some(linux) = &self.linux else { return Vec::new() };
        let is_below = |path: &String| Path::new(path).starts_with(PROC_SYS);
        let read_only = linux.read_only.iter().filter(|path| is_below(path) && *path != PROC_SYS);
        let masked = linux.masked.iter().filter(|path| is_below(path));
        let is_read_only = |mount: &&Mount| {
            is_below(&mount.destination) && mount.options.iter().flatten().any(|option| option == "ro")
        };
        let mounts = linux.mounts.iter().filter(is_read_only);
        read_only
            .map(|path| format!("the read-only path {path}"))
            .chain(masked.map(|path| format!("the masked path {path}")))
            .chain(mounts.map(|mount| format!("the read-only mount of {}", mount.destination)))
            .collect()
    }

    /// Changes the file, in one step. It stays as it is if there is nothing to change.
    ///
    /// # Errors
    /// [`Failure::Bad`] if it has what no runtime accepts; [`Failure::Machine`].
    pub(super) fn change(mut self, changes: &Changes) -> Result<(), Failure> {
        let changed = self.changed(changes).map_err(|error| cannot_read(&self.path).because(error))?;
        if changed == self.text {
            return Ok(());
        }
        let cannot = |error| {
            Failure::machine(format!("cannot add the hook to {}", printable_path(&self.path))).because(error)
        };
        file_output::replace(&self.path, |file| file.write_all(changed.as_bytes())).map_err(cannot)
    }

    fn changed(&mut self, changes: &Changes) -> serde_json::Result<String> {
        let before = serde_json::to_string(&self.config)?;
        let mut hooks: JsonObject = self.config.get("hooks")?.unwrap_or_default();
        let mut was_made_writable = false;
        let mut stages = Vec::new();
        for stage in STAGES {
            let mut others = Vec::new();
            for hook in hooks.get::<Vec<Box<RawValue>>>(stage)?.unwrap_or_default() {
                let any: AnyHook = serde_json::from_str(hook.get())?;
                if Hook::is_earlier(&any) {
                    let mut args = any.args.iter().flatten();
                    was_made_writable |= args.any(|arg| arg == Hook::REQUIRES_DEFAULT_DENY);
                } else {
                    others.push(hook);
                }
            }
            stages.push((stage, others));
        }

        let mut hook = changes.hook.clone();
        if let Some(linux) = &mut self.linux {
            let is_read_only = linux.read_only.iter().any(|path| path == PROC_SYS);
            if changes.writable_proc_sys && (is_read_only || was_made_writable) {
                hook.args.push(Hook::REQUIRES_DEFAULT_DENY.to_owned());
            }
            let is_changed =
                if changes.writable_proc_sys { is_read_only } else { was_made_writable && !is_read_only };
            if is_changed {
                if is_read_only {
                    linux.read_only.retain(|path| path != PROC_SYS);
                } else {
                    // No policy makes it writable any more.
                    linux.read_only.push(PROC_SYS.to_owned());
                }
                linux.all.set("readonlyPaths", &linux.read_only)?;
                self.config.set("linux", &linux.all)?;
            }
        }
        for (stage, mut all) in stages {
            all.push(serde_json::value::to_raw_value(&hook)?);
            hooks.set(stage, &all)?;
        }
        self.config.set("hooks", &hooks)?;
        let after = serde_json::to_string(&self.config)?;
        // Blanks between members are no reason to write it again.
        Ok(if after == before { self.text.clone() } else { after })
    }
}

fn parse(text: &str) -> serde_json::Result<(JsonObject, Option<Linux>)> {
    let config: JsonObject = serde_json::from_str(text)?;
    let Some(all) = config.get::<JsonObject>("linux")? else { return Ok((config, None)) };
    let linux = Linux {
        read_only: all.get("readonlyPaths")?.unwrap_or_default(),
        masked: all.get("maskedPaths")?.unwrap_or_default(),
        mounts: config.get("mounts")?.unwrap_or_default(),
        all,
    };
    Ok((config, Some(linux)))
}

fn read_limited(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for a writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let bytes = limited::read_file(path, OciBundle::CONFIG_BYTES_MAX as usize)?;
    if bytes.len() as u64 > OciBundle::CONFIG_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {} MiB", OciBundle::CONFIG_BYTES_MAX >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

fn cannot_read(path: &Path) -> Failure {
    Failure::bad(format!("cannot use the configuration of the container, {}", printable_path(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(options: &[&str], writable_proc_sys: bool) -> Changes {
        let args =
            [Hook::NAME, HookArguments::COMMAND].iter().chain(options).map(|&text| text.to_owned()).collect();
        Changes { hook: Hook { path: "/k".to_owned(), args }, writable_proc_sys }
    }

    fn changed(text: &str, changes: &Changes) -> String {
        let (config, linux) = parse(text).unwrap();
        let mut bundle = Bundle { path: "config.json".into(), text: text.to_owned(), config, linux };
        bundle.changed(changes).unwrap()
    }

    const HOOKS: &str = r#""hooks":{"createRuntime":[{"path":"/k","args":["knobgate runtime","oci-hook"]}],"poststop":[{"path":"/k","args":["knobgate runtime","oci-hook"]}]}"#;

    #[test]
    fn hooks_are_added_and_all_else_stays_as_it_is_written() {
        let plain = changes(&[], false);
        for (before, after) in [
            ("{}", format!("{{{HOOKS}}}")),
            (r#"{"hooks":null}"#, format!("{{{HOOKS}}}")),
            (r#"{"hooks":{"createRuntime":null}}"#, format!("{{{HOOKS}}}")),
            (
                r#"{ "z": 1.50, "a": {"x":  18446744073709551616, "b":"\u00e4\/"}, "z2":[] }"#,
                format!(r#"{{"z":1.50,"a":{{"x":  18446744073709551616, "b":"\u00e4\/"}},"z2":[],{HOOKS}}}"#),
            ),
        ] {
            assert_eq!(changed(before, &plain), after, "{before}");
            assert_eq!(changed(&after, &plain), after, "a second time");
        }
    }

    /// The administrator's file of hooks and `knobgate nri` add hooks with the same program, and other policies or labels.
    #[test]
    fn hooks_of_knobgate_that_others_have_added_stay() {
        let before = r#"{"hooks":{"createRuntime":[{"path":"/k","args":["knobgate","oci-hook","--policies","/base"]}]}}"#;
        let after = changed(before, &changes(&[], false));
        let both = r#""createRuntime":[{"path":"/k","args":["knobgate","oci-hook","--policies","/base"]},{"path":"/k","args":["knobgate runtime","oci-hook"]}]"#;
        assert!(after.contains(both), "{after}");
        assert_eq!(changed(&after, &changes(&[], false)), after, "a second time");
    }

    #[test]
    fn an_earlier_hook_is_replaced_also_if_knobgate_was_elsewhere() {
        let before = HOOKS.replace("/k", "/old/k");
        assert_eq!(changed(&format!("{{{before}}}"), &changes(&[], false)), format!("{{{HOOKS}}}"));
    }

    #[test]
    fn hooks_of_others_stay_and_an_earlier_one_of_ours_is_replaced() {
        let before = r#"{"hooks":{"prestart":[{"path":"/p"}],"createRuntime":[{"path":"/k","args":["knobgate runtime","oci-hook"]},{"path":"/nvidia","timeout":5}]}}"#;
        let after = changed(before, &changes(&["--policies", "/d"], false));
        assert!(after.starts_with(r#"{"hooks":{"prestart":[{"path":"/p"}],"createRuntime":[{"path":"/nvidia","timeout":5},{"path":"/k","args":["knobgate runtime","oci-hook","--policies","/d"]}],"poststop":[{"#), "{after}");
        assert_eq!(after.matches("oci-hook").count(), 2, "{after}");
    }

    #[test]
    fn only_proc_sys_itself_is_made_writable() {
        let before = r#"{"linux":{"a":1,"readonlyPaths":["/proc/bus","/proc/sys","/proc/sys/fs"],"maskedPaths":["/proc/kcore","/proc/sys/kernel"]},"mounts":[{"destination":"/proc/sys/net","options":["bind","ro"]},{"destination":"/proc"}]}"#;
        let after = changed(before, &changes(&[], true));
        assert_eq!(after.matches("--require-default-deny").count(), 2, "{after}");
        assert_eq!(changed(&after, &changes(&[], true)), after, "a second time");
        let restored = changed(&after, &changes(&[], false));
        assert!(
            restored.contains(r#""readonlyPaths":["/proc/bus","/proc/sys/fs","/proc/sys"]"#),
            "{restored}"
        );
        assert!(!restored.contains("--require-default-deny"), "{restored}");
        // A container that may write there anyway may do so without a policy.
        let writable = r#"{"linux":{"readonlyPaths":["/proc/bus"]}}"#;
        assert!(!changed(writable, &changes(&[], true)).contains("--require-default-deny"));
        assert!(after.starts_with(r#"{"linux":{"a":1,"readonlyPaths":["/proc/bus","/proc/sys/fs"],"maskedPaths":["/proc/kcore","/proc/sys/kernel"]},"mounts""#), "{after}");
        assert!(changed(before, &changes(&[], false)).contains(r#""/proc/bus","/proc/sys","/proc/sys/fs""#));
        let (config, linux) = parse(before).unwrap();
        let bundle = Bundle { path: PathBuf::new(), text: before.to_owned(), config, linux };
        assert_eq!(
            bundle.read_only_below_proc_sys(),
            [
                "the read-only path /proc/sys/fs",
                "the masked path /proc/sys/kernel",
                "the read-only mount of /proc/sys/net"
            ]
        );
    }

    #[test]
    fn what_no_runtime_accepts_is_an_error() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"hooks":{},"hooks":{}}"#,
            r#"{"linux":3}"#,
            r#"{"linux":{"readonlyPaths":[1]}}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in [r#"{"hooks":3}"#, r#"{"hooks":{"createRuntime":{}}}"#, r#"{"hooks":{"poststop":[1]}}"#] {
            let (config, linux) = parse(text).unwrap();
            let mut bundle = Bundle { path: PathBuf::new(), text: text.to_owned(), config, linux };
            assert!(bundle.changed(&changes(&[], false)).is_err(), "{text}");
        }
    }
}
