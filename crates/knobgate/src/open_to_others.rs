//! Whether others than root can change what policies are read from.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file or directory with which others than root can change policies: it is not root's, or may be written to by its group or by
/// everybody. In a sticky directory on the way, only root can replace what is root's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct OpenToOthers {
    /// Its path.
    pub path: PathBuf,
    /// Its owner.
    pub owner: u32,
    /// Its permissions.
    pub mode: u32,
}

impl OpenToOthers {
    /// Those among these files and directories, where symbolic links lead, and all directories on the way there. What is not there is
    /// none of them.
    pub fn among<'a>(files: impl IntoIterator<Item = &'a Path>) -> Vec<Self> {
        let (mut named, mut on_the_way) = (BTreeSet::new(), BTreeSet::new());
        for file in files {
            let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
            let target = fs::canonicalize(&whole).ok();
            for path in target.iter().chain([&whole]) {
                named.insert(path.clone());
                on_the_way.extend(path.ancestors().map(Path::to_owned));
            }
        }
        // A sticky bit does not keep others from adding policies to the directory of policies.
        on_the_way.into_iter().filter_map(|path| Self::examine(path, &named)).collect()
    }

    fn examine(path: PathBuf, named: &BTreeSet<PathBuf>) -> Option<Self> {
        const STICKY: u32 = 0o1000;
        const OTHERS_WRITE: u32 = 0o022;
        // What a symbolic link leads to is examined by its own path.
        let found = fs::symlink_metadata(&path).ok()?;
        let (owner, mode) = (found.uid(), found.mode() & 0o7777);
        let is_sticky = found.is_dir() && mode & STICKY != 0 && !named.contains(&path);
        let is_open = mode & OTHERS_WRITE != 0 && !is_sticky && !found.is_symlink();
        (owner != 0 || is_open).then_some(Self { path, owner, mode })
    }
}

impl fmt::Display for OpenToOthers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.owner {
            0 => write!(f, "{path} has mode {:o} (chmod go-w)", self.mode),
            owner => write!(f, "{path} belongs to user {owner} (chown root)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn everything_on_the_way_counts() {
        let directory = tempfile::tempdir().unwrap();
        // Files of other users are made as root alone.
        if directory.path().metadata().unwrap().uid() != 0 {
            return;
        }
        let at = |name: &str| directory.path().join(name);
        let mode =
            |name: &str, mode: u32| fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        for name in ["policies.d", "elsewhere", "sticky"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["policies.d/a.knob", "policies.d/b.knob", "elsewhere/c.part", "sticky/d.part"] {
            fs::write(at(name), "").unwrap();
            mode(name, 0o644);
        }
        symlink("../elsewhere/c.part", at("policies.d/c.part")).unwrap();
        let files =
            ["policies.d", "policies.d/a.knob", "policies.d/b.knob", "policies.d/c.part", "sticky/d.part"];
        let open = || {
            let files: Vec<PathBuf> = files.iter().chain(&["missing"]).map(|name| at(name)).collect();
            let found = OpenToOthers::among(files.iter().map(PathBuf::as_path)).into_iter();
            let name = |one: OpenToOthers| {
                let name = one.path.strip_prefix(directory.path()).expect("a file of this test").to_owned();
                (name.display().to_string(), one.owner, one.mode)
            };
            found.map(name).collect::<Vec<_>>()
        };
        mode("sticky", 0o1777);
        assert_eq!(open(), []);
        mode("policies.d/a.knob", 0o664);
        mode("elsewhere", 0o777);
        chown(at("policies.d/b.knob"), Some(65534), None).unwrap();
        let expected =
            [("elsewhere", 0, 0o777), ("policies.d/a.knob", 0, 0o664), ("policies.d/b.knob", 65534, 0o644)];
        assert_eq!(open(), expected.map(|(name, owner, mode)| (name.to_owned(), owner, mode)));
    }

    #[test]
    fn whoever_can_add_a_policy_changes_the_policies() {
        let directory = tempfile::tempdir().unwrap();
        if directory.path().metadata().unwrap().uid() != 0 {
            return;
        }
        let policies = directory.path().join("policies.d");
        fs::create_dir(&policies).unwrap();
        fs::set_permissions(&policies, Permissions::from_mode(0o1777)).unwrap();
        let found = OpenToOthers::among([&*policies]);
        assert_eq!(found, [OpenToOthers { path: policies, owner: 0, mode: 0o1777 }]);
    }

    #[test]
    fn it_is_said_what_to_do() {
        let one = |owner, mode| OpenToOthers { path: "/p/a.knob".into(), owner, mode };
        assert_eq!(one(0, 0o666).to_string(), "/p/a.knob has mode 666 (chmod go-w)");
        assert_eq!(one(7, 0o644).to_string(), "/p/a.knob belongs to user 7 (chown root)");
    }
}
