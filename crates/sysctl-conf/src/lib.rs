//! Knobs in configuration files: as a policy, and checked against one.
//!
//! **In** comes the text of a file that sets knobs: sysctl.d(5), a Kubernetes manifest, a compose file, a Quadlet unit.
//! **Out** comes a policy that allows exactly what sysctl.d files set ([`import()`]); or the [`Setting`]s of any of these
//! files ([`read`]), and for each what a policy would decide about it ([`Linter`]); or what all of them set on a machine
//! ([`Assignments`]). The crate is pure: it reads no files, and asks no kernel.
//!
//! ```
//! use knobgate_sysctl_conf::{Conf, ConfFile, FileKind, Linter, Outcome, SetApart, import, read};
//!
//! let conf = Conf::parse(b"# Keep the cache\nvm.swappiness = 10\n");
//! let imported = import("web", &[ConfFile { name: "web.conf", conf: &conf }]).expect("no line is wrong");
//! assert!(imported.file.source().text().contains("# Keep the cache\nallow write vm.swappiness if new == 10\n"));
//!
//! let pod = "kind: Pod\nspec:\n  securityContext:\n    sysctls:\n    - {name: vm.swappiness, value: '60'}\n";
//! let pod = read(FileKind::Kubernetes, pod);
//! assert_eq!(pod.settings[0].line, 5);
//! let verdicts = Linter::new(imported.file.policy()).verdicts(&pod.settings[0], &SetApart::default());
//! assert_eq!(verdicts[0].outcome(), Outcome::Denied);
//! ```
//!
//! # Words
//!
//! * A *key* names a knob in sysctl.d's notation, or with a glob many knobs: [`Key`].
//! * A *setting* gives the knobs of a key a value. An *exclusion* (`-key` without a value) keeps globs away from a key.
//! * A [`KnobVerdict`] is what a policy decides about a setting, as far as the file alone says.
//!
//! # Where to look
//!
//! | for | see |
//! | --- | --- |
//! | the lines of a sysctl.d file | [`Conf`]; `key.rs` and `glob.rs` for keys |
//! | which files are read, in which order | [`reading_order`] |
//! | which of several settings counts | [`Assignments`] |
//! | settings to a policy | `import.rs`: `import/condition.rs` → `import/rules.rs` → `import/test_block.rs` |
//! | other files that have settings | [`read`]: `kubernetes.rs`, `compose.rs`, `quadlet.rs` |
//! | what a policy says about a setting | [`Linter`]: `lint/set_apart.rs`, `lint/example_names.rs` |
#![forbid(unsafe_code)]

mod assignments;
mod compose;
mod conf;
mod file_kind;
mod glob;
mod import;
mod key;
mod kubernetes;
mod lint;
mod quadlet;
mod reading_order;
mod setting;
mod yaml;

pub use assignments::{Assignment, Assignments, Expanded};
pub use conf::{Conf, ConfLine};
pub use file_kind::{FileKind, read};
pub use import::{ConfFile, ImportError, Imported, import};
pub use key::{Key, KeyError};
pub use lint::{KnobVerdict, Linter, Outcome, Possible, SetApart, Unknown};
pub use reading_order::{CONF_DIRECTORIES, DirectoryEntry, is_conf_name, reading_order};
pub use setting::{LineError, Setting, Settings};
