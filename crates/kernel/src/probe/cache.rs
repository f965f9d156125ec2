//! What was probed since the machine booted, in `/run/knobgate/probes`.
//!
//! A few lines of text. The first three say what the rest is true for: the format, the boot, and the capabilities of the
//! process that probed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, Stat, fstat, mkdir, open, openat, renameat, unlinkat};
use rustix::process::geteuid;

use super::{Outcome, Probes};
use crate::capabilities::{Capabilities, Capability};
use crate::machine;

/// To be raised with every change to what is probed, and how.
const FORMAT: u32 = 3;
const DIRECTORY: &str = "/run/knobgate";
const FILE: &str = "probes";

/// What remembered outcomes must agree with to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// `None` when this process's place in the world cannot be read.
    pub(super) fn current() -> Option<Self> {
        let boot_id = machine::boot_id().ok()?;
        let capabilities = Capabilities::of_this_process().ok()?;
        Some(Self::new(&boot_id, capabilities))
    }

    fn new(boot_id: &str, capabilities: Capabilities) -> Self {
        let mut key = format!("format {FORMAT}\nboot {boot_id}\ncapabilities");
        for capability in Capability::ALL.into_iter().filter(|&one| capabilities.has(one)) {
            let _ = write!(key, " {capability}");
        }
        key.push('\n');
        Self(key)
    }
}

pub(super) fn read(key: &Key) -> Option<Probes> {
    let directory = open_directory()?;
    let file =
        openat(&directory, FILE, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    if !is_ours(&fstat(&file).ok()?) {
        return None;
    }
    let mut text = String::new();
    File::from(file).take(16 << 10).read_to_string(&mut text).ok()?;
    parse(key, &text)
}

pub(super) fn write(key: &Key, probes: &Probes) {
    let Some(text) = render(key, probes) else { return };
    if !geteuid().is_root() {
        return;
    }
    let _ = mkdir(DIRECTORY, Mode::RWXU);
    let Some(directory) = open_directory() else { return };
    let temporary = format!("{FILE}.{}", std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = openat(&directory, &*temporary, flags, Mode::RUSR | Mode::WUSR) else { return };
    let written = File::from(file).write_all(text.as_bytes());
    if written.is_err() || renameat(&directory, &*temporary, &directory, FILE).is_err() {
        let _ = unlinkat(&directory, &*temporary, AtFlags::empty());
    }
}

/// The directory, if it is ours alone.
fn open_directory() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = open(DIRECTORY, flags, Mode::empty()).ok()?;
    is_ours(&fstat(&directory).ok()?).then_some(directory)
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o077 == 0
}

/// `None` when something could not be found out, which is worth another try the next time.
fn render(key: &Key, probes: &Probes) -> Option<String> {
    let mut text = key.0.clone();
    for (name, outcome) in probes.iter() {
        if let Outcome::Unknown(_) = outcome {
            return None;
        }
        let _ = writeln!(text, "{name} {outcome}");
    }
    Some(text)
}

fn parse(key: &Key, text: &str) -> Option<Probes> {
    let mut lines = text.strip_prefix(&key.0)?.lines();
    Probes::from_names(|field| match lines.next()?.split_once(' ')? {
        (name, "yes") if name == field => Some(Outcome::Yes),
        (name, "no") if name == field => Some(Outcome::No),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(boot_id: &str) -> Key {
        Key(format!("format {FORMAT}\nboot {boot_id}\ncapabilities CAP_BPF\n"))
    }

    #[test]
    fn what_was_written_is_read() {
        let probes = Probes { set_new_value: Outcome::No, ..Probes::all(&Outcome::Yes) };
        let text = render(&key("a"), &probes).expect("all is known");
        assert_eq!(parse(&key("a"), &text), Some(probes));
    }

    #[test]
    fn what_is_not_for_here_and_now_is_not_taken() {
        let text = render(&key("a"), &Probes::all(&Outcome::Yes)).expect("all is known");
        let cases = [
            render(&key("b"), &Probes::all(&Outcome::Yes)).expect("all is known"),
            text.replacen(&format!("format {FORMAT}"), "format 0", 1),
            text.replacen("CAP_BPF", "", 1),
            text.replacen("jit yes", "jit maybe", 1),
            text.replacen("links yes\n", "", 1),
            text[..text.len() / 2].to_owned(),
            String::new(),
        ];
        for case in cases {
            assert_eq!(parse(&key("a"), &case), None, "{case}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_kept() {
        let probes = Probes { links: Outcome::Unknown("why".into()), ..Probes::all(&Outcome::Yes) };
        assert_eq!(render(&key("a"), &probes), None);
    }
}
