//! Which pins are trusted: those of root that nobody else can change.
//!
//! By default, a bpffs is mounted with mode 1777, so every user can create directories on it.

use std::fmt;

use rustix::fs::Stat;

/// Why something on a bpffs is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadOwnership {
    /// It belongs to this user, not to root.
    Owner(u32),
    /// Its mode lets other users replace what is in it.
    Writable,
}

impl BadOwnership {
    /// Why the entries of this directory are not trusted, if so. In a sticky directory, only its owner can replace an
    /// entry.
    pub(crate) fn of_directory(stat: &Stat) -> Option<Self> {
        const STICKY: u32 = 0o1000;
        const OTHERS_WRITE: u32 = 0o022;
        let is_open = stat.st_mode & OTHERS_WRITE != 0 && stat.st_mode & STICKY == 0;
        Self::of_entry(stat).or_else(|| is_open.then_some(Self::Writable))
    }

    /// Why an entry of a trusted directory is not trusted, if so.
    pub(crate) fn of_entry(stat: &Stat) -> Option<Self> {
        (stat.st_uid != 0).then_some(Self::Owner(stat.st_uid))
    }
}

impl fmt::Display for BadOwnership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(user) => write!(f, "belongs to user {user}"),
            Self::Writable => f.write_str("can be changed by other users"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::stat;

    use super::*;

    #[test]
    fn what_others_can_change_is_not_trusted() {
        let mut stat = stat("/").expect("a directory");
        let cases = [
            (0, 0o40700, None),
            (0, 0o40755, None),
            (0, 0o41777, None),
            (0, 0o40777, Some(BadOwnership::Writable)),
            (0, 0o40770, Some(BadOwnership::Writable)),
            (1000, 0o40700, Some(BadOwnership::Owner(1000))),
            (1000, 0o41777, Some(BadOwnership::Owner(1000))),
        ];
        for (owner, mode, expected) in cases {
            (stat.st_uid, stat.st_mode) = (owner, mode);
            assert_eq!(BadOwnership::of_directory(&stat), expected, "{owner} {mode:o}");
        }
    }
}
