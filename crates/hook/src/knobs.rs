//! The knobs by name, in a tree like `/proc/sys`.

mod defaults;

use std::collections::BTreeMap;

use crate::{Credentials, Errno, Handler, KnobSet};

/// One knob: its mode, owner and handler.
#[derive(Debug)]
pub struct Knob {
    /// Permissions, as in `0o644`.
    pub mode: u16,
    /// The owner, to whom the owner's bits of the mode apply: root, or for the knobs of a namespace, its root.
    pub owner: u32,
    /// The group, to which the group's bits apply.
    pub group: u32,
    /// The set that programs find it in, whoever opens it; `None`: that of the [opener](KnobSet::of).
    pub set: Option<KnobSet>,
    /// What reads and writes it.
    pub handler: Box<dyn Handler>,
}

impl Knob {
    /// A knob that belongs to root, with mode 0644: everybody may read it and root may write it.
    pub fn new(handler: impl Handler + 'static) -> Self {
        Self { mode: 0o644, owner: 0, group: 0, set: None, handler: Box::new(handler) }
    }

    /// With this mode. It applies to root as well: nobody can write a knob with `0o444`, or read one with `0o200`.
    #[must_use]
    pub fn mode(self, mode: u16) -> Self {
        Self { mode, ..self }
    }

    /// With this owner.
    #[must_use]
    pub fn owned_by(self, owner: u32, group: u32) -> Self {
        Self { owner, group, ..self }
    }

    /// In this set, whoever opens it.
    #[must_use]
    pub fn in_set(self, set: KnobSet) -> Self {
        Self { set: Some(set), ..self }
    }

    /// Whether a process may read or write it (`sysctl_perm`, fs/proc/proc_sysctl.c). Capabilities do not matter.
    pub fn permits(&self, credentials: &Credentials, access: AccessMode) -> bool {
        let mode = if credentials.euid == self.owner {
            self.mode >> 6
        } else if credentials.egid == self.group || credentials.groups.contains(&self.group) {
            self.mode >> 3
        } else {
            self.mode
        };
        access.bits() & !mode == 0
    }
}

/// The access mode of an open file: open(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessMode {
    /// `O_RDONLY`, read(2)
    Read,
    /// `O_WRONLY`, write(2)
    Write,
    /// `O_RDWR`
    ReadWrite,
}

impl AccessMode {
    /// `MAY_READ` and `MAY_WRITE`.
    const fn bits(self) -> u16 {
        match self {
            Self::Read => 4,
            Self::Write => 2,
            Self::ReadWrite => 6,
        }
    }

    /// Whether this mode permits everything that `other` does.
    pub const fn includes(self, other: Self) -> bool {
        other.bits() & !self.bits() == 0
    }
}

/// All knobs.
#[derive(Debug, Default)]
pub struct Knobs {
    by_name: BTreeMap<String, Knob>,
}

/// Why a knob cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KnobError {
    /// The name is not a path below `/proc/sys`.
    #[error("{0:?} is not the name of a knob: write its path below /proc/sys, as in net/core/somaxconn")]
    Name(String),
    /// There is a knob or a directory of that name, or a knob where a directory would have to be.
    #[error("cannot add the knob {0}: it conflicts with {1}")]
    Taken(String, String),
}

impl Knobs {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `knob` under `name`: its path below `/proc/sys`, with slashes.
    ///
    /// # Errors
    ///
    /// [`KnobError`]: the name is invalid, or taken.
    pub fn add(&mut self, name: &str, knob: Knob) -> Result<(), KnobError> {
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(KnobError::Name(name.to_owned()));
        }
        let conflict = self.first_above(name).or_else(|| self.first_at(name));
        if let Some(other) = conflict {
            return Err(KnobError::Taken(name.to_owned(), other.to_owned()));
        }
        self.by_name.insert(name.to_owned(), knob);
        Ok(())
    }

    /// Removes a knob, as the kernel does with a device or a module: accesses to open files then fail with `ENOENT`.
    pub fn remove(&mut self, name: &str) -> Option<Knob> {
        self.by_name.remove(name)
    }

    /// The knob of this name.
    pub fn get(&self, name: &str) -> Option<&Knob> {
        self.by_name.get(name)
    }

    /// The knob of this name, mutable.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Knob> {
        self.by_name.get_mut(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The knob of this name, for open(2).
    pub(crate) fn lookup(&self, name: &str) -> Result<&Knob, Errno> {
        match self.by_name.get(name) {
            Some(knob) => Ok(knob),
            None if self.first_at(name).is_some() => Err(Errno::EISDIR),
            None if self.first_above(name).is_some() => Err(Errno::ENOTDIR),
            None => Err(Errno::ENOENT),
        }
    }

    /// The knob where `name` needs a directory.
    fn first_above<'n>(&self, name: &'n str) -> Option<&'n str> {
        let mut parents = name.match_indices('/').map(|(end, _)| &name[..end]);
        parents.find(|parent| self.by_name.contains_key(*parent))
    }

    /// The first knob at or below `name`.
    fn first_at(&self, name: &str) -> Option<&str> {
        let (found, _) = self.by_name.range(name.to_owned()..).find(|(other, _)| {
            let rest = other.strip_prefix(name);
            rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/'))
        })?;
        found.starts_with(name).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::Text;

    fn knob() -> Knob {
        Knob::new(Text::new("x", 8))
    }

    #[test]
    fn knobs_make_a_tree() {
        let mut knobs = Knobs::new();
        knobs.add("net/ipv4/a", knob()).unwrap();
        knobs.add("net/ipv4-x", knob()).unwrap();
        for taken in ["net", "net/ipv4", "net/ipv4/a", "net/ipv4/a/b", "net/ipv4-x"] {
            assert!(matches!(knobs.add(taken, knob()), Err(KnobError::Taken(..))), "{taken}");
        }
        for name in ["", "/", "a//b", "a/../b", "/kernel/x", "kernel/"] {
            assert!(matches!(knobs.add(name, knob()), Err(KnobError::Name(..))), "{name}");
        }
        assert_eq!(knobs.lookup("net/ipv4").err(), Some(Errno::EISDIR));
        assert_eq!(knobs.lookup("net/ipv").err(), Some(Errno::ENOENT));
        assert_eq!(knobs.lookup("net/ipv4/a/b").err(), Some(Errno::ENOTDIR));
        assert!(knobs.lookup("net/ipv4/a").is_ok());
    }

    #[test]
    fn the_mode_counts_for_root_as_for_everybody() {
        let root = Credentials::default();
        let group = Credentials { euid: 7, egid: 7, groups: vec![3, 0] };
        let other = Credentials { euid: 7, egid: 7, groups: vec![] };
        let cases = [
            (0o644, &root, AccessMode::ReadWrite, true),
            (0o444, &root, AccessMode::Write, false),
            (0o200, &root, AccessMode::Read, false),
            (0o200, &root, AccessMode::Write, true),
            (0o640, &group, AccessMode::Read, true),
            (0o640, &other, AccessMode::Read, false),
            (0o604, &group, AccessMode::Read, false),
            (0o604, &other, AccessMode::Read, true),
            (0o066, &root, AccessMode::Read, false),
        ];
        for (mode, credentials, wanted, expected) in cases {
            assert_eq!(
                knob().mode(mode).permits(credentials, wanted),
                expected,
                "{mode:o} {credentials:?} {wanted:?}"
            );
        }
    }
}
