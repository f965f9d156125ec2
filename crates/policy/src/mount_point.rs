//! Directories below `/proc/sys` that other file systems are mounted on. The files in them are not sysctls: reads and
//! writes do not reach the hook, so no program runs for them.

use std::collections::BTreeSet;

use crate::{KnobName, KnobPattern};
use knobgate_glob::{Piece, Scope};

/// All of them: what the kernel calls `register_sysctl_mount_point` for, and in older kernels the tables that have
/// `sysctl_mount_point` as their child.
const MOUNT_POINTS: [&str; 1] = ["fs/binfmt_misc"];

/// A name that is not a sysctl, because it is on another file system that is mounted below `/proc/sys`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is not a sysctl, and no policy applies to it: /proc/sys/{mount_point} is a separate file system"
)]
pub struct NotASysctl {
    /// The name or pattern.
    pub name: String,
    /// The mount point, relative to `/proc/sys`.
    pub mount_point: &'static str,
}

impl NotASysctl {
    /// How to keep a workload from writing there.
    pub fn help(&self) -> String {
        let name = self.mount_point.rsplit('/').next().unwrap_or_default();
        format!(
            "do not mount it where the workload sees it (in a container's own /proc it is not), or mount something over \
             it; and take CAP_SYS_ADMIN from the workload, which could mount {name} anywhere"
        )
    }
}

impl KnobName {
    /// Checks that it names a sysctl.
    ///
    /// ```
    /// use knobgate_policy::KnobName;
    ///
    /// assert!(KnobName::parse("fs.file-max")?.check_is_sysctl().is_ok());
    /// assert!(KnobName::parse("fs.binfmt_misc.register")?.check_is_sysctl().is_err());
    /// # Ok::<(), knobgate_policy::NotationError>(())
    /// ```
    ///
    /// # Errors
    /// It is below a mount point of another file system.
    pub fn check_is_sysctl(&self) -> Result<(), NotASysctl> {
        check(&[Piece::Literal(self.as_bytes().to_vec())], || self.to_string())
    }
}

impl KnobPattern {
    /// Checks that all alternatives can match sysctls. They may also match other names.
    ///
    /// # Errors
    /// An alternative matches only names below a mount point of another file system.
    pub fn check_is_sysctl(&self) -> Result<(), NotASysctl> {
        check(self.pieces(), || self.to_string())
    }
}

fn check(pieces: &[Piece], name: impl Fn() -> String) -> Result<(), NotASysctl> {
    match MOUNT_POINTS.into_iter().find(|mount_point| is_below(pieces, mount_point.as_bytes())) {
        Some(mount_point) => Err(NotASysctl { name: name(), mount_point }),
        None => Ok(()),
    }
}

/// Whether, for at least one choice of alternatives, all names that `pieces` match are `path` or below it.
fn is_below(pieces: &[Piece], path: &[u8]) -> bool {
    matched(pieces, &BTreeSet::from([0]), path).iter().any(|&matched| matched >= path.len())
}

/// How much of `path` `pieces` match, for each choice of alternatives that can match nothing else; `path.len() + 1` is
/// below it.
fn matched(pieces: &[Piece], from: &BTreeSet<usize>, path: &[u8]) -> BTreeSet<usize> {
    let below = path.len() + 1;
    let take = |matched: usize, byte: u8| match path.get(matched) {
        Some(&expected) => (byte == expected).then_some(matched + 1),
        None => (matched == below || byte == b'/').then_some(below),
    };
    pieces.iter().fold(from.clone(), |from, piece| match piece {
        Piece::Literal(bytes) => from
            .iter()
            .filter_map(|&matched| bytes.iter().try_fold(matched, |matched, &byte| take(matched, byte)))
            .collect(),
        Piece::Alternatives(branches) => {
            branches.iter().flat_map(|branch| matched(branch, &from, path)).collect()
        }
        Piece::Any | Piece::Class { .. } => {
            let mut taken = (0..=u8::MAX).filter(|&byte| piece.takes(byte, Scope::Component));
            match (taken.next(), taken.next()) {
                (Some(only), None) => from.iter().filter_map(|&matched| take(matched, only)).collect(),
                _ => from.into_iter().filter(|&matched| matched == below).collect(),
            }
        }
        Piece::Star | Piece::DoubleStar => from.into_iter().filter(|&matched| matched == below).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_only_matches_below_a_mount_point_is_not_a_sysctl() {
        for (pattern, is_sysctl) in [
            ("fs.binfmt_misc", false),
            ("fs.binfmt_misc.register", false),
            ("fs/binfmt_misc/qemu-arm", false),
            ("fs.binfmt_misc.*", false),
            ("fs.binfmt_misc.**", false),
            ("fs.binfmt_misc.{register,status}", false),
            ("fs.binfmt_mis[c].re*", false),
            ("{fs.binfmt_misc,kernel}.**", false),
            ("fs.{a,binfmt_misc.b}", false),
            ("fs.{a,binfmt_misc,c}.b", false),
            ("**", true),
            ("fs.**", true),
            ("fs.*.register", true),
            ("fs.binfmt_misc*", true),
            ("fs.binfmt_miscellanea.x", true),
            ("fs.binfmt_mis?.x", true),
            ("fs.binfmt_mis[cd].x", true),
            ("fs.binfmt", true),
            ("net.fs.binfmt_misc.x", true),
        ] {
            assert_eq!(
                KnobPattern::parse(pattern).unwrap().check_is_sysctl().is_ok(),
                is_sysctl,
                "{pattern}"
            );
        }
    }
}
