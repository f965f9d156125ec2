//! Which files of the sysctl.d directories are read, and in which order.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// The directories, the one that counts most first. sysctl(8) reads them with `--system`; systemd has the same ones
/// (`CONF_PATHS`, src/basic/constants.h).
pub const CONF_DIRECTORIES: [&str; 5] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];

/// A file of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name.
    pub name: OsString,
    /// Whether it is a symbolic link to `/dev/null`.
    pub is_null: bool,
}

/// Whether a file of this name is one of a directory's: it ends in `.conf`, and is not hidden (`dirent_is_file_with_suffix`,
/// systemd's src/basic/dirent-util.c).
pub fn is_conf_name(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.ends_with(b".conf") && !bytes.starts_with(b".")
}

/// The files to read, each as an index into `directories` and its name. A later one overrides what an earlier one sets.
///
/// `directories` are those of [`CONF_DIRECTORIES`], the one that counts most first, each with its entries in any order.
/// Other files than [`is_conf_name`] says are left out. They are read in the order of their names, wherever they are. Of
/// files that have the same name, only that of the first directory counts, and none if that is a link to `/dev/null`
/// (`conf_files_list_strv`, systemd's src/basic/conf-files.c; `PreloadSystem`, procps-ng's src/sysctl.c). After all of
/// them, sysctl(8) reads `/etc/sysctl.conf`, and systemd-sysctl does not.
///
/// ```
/// use knobgate_sysctl_conf::{DirectoryEntry, reading_order};
///
/// let file = |name: &str| DirectoryEntry { name: name.into(), is_null: false };
/// let etc = [file("90-web.conf"), DirectoryEntry { name: "10-net.conf".into(), is_null: true }];
/// let usr_lib = [file("10-net.conf"), file("50-default.conf"), file("90-web.conf"), file("README")];
/// assert_eq!(reading_order(&[&etc, &usr_lib]), [(1, "50-default.conf".as_ref()), (0, "90-web.conf".as_ref())]);
/// ```
pub fn reading_order<'a>(directories: &[&'a [DirectoryEntry]]) -> Vec<(usize, &'a OsStr)> {
    let mut first = BTreeMap::new();
    for (index, entries) in directories.iter().enumerate() {
        for entry in entries.iter().filter(|entry| is_conf_name(&entry.name)) {
            first.entry(entry.name.as_os_str()).or_insert((index, entry.is_null));
        }
    }
    let read = first.into_iter().filter(|(_, (_, is_null))| !is_null);
    read.map(|(name, (index, _))| (index, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_once_and_names_decide_the_order() {
        let file = |name: &str| DirectoryEntry { name: name.into(), is_null: false };
        let null = |name: &str| DirectoryEntry { name: name.into(), is_null: true };
        for (directories, expected) in [
            (vec![], vec![]),
            (vec![vec![file("b.conf"), file("a.conf")]], vec![(0, "a.conf"), (0, "b.conf")]),
            (vec![vec![file("b.conf")], vec![file("a.conf")]], vec![(1, "a.conf"), (0, "b.conf")]),
            (vec![vec![file("a.conf")], vec![file("a.conf")]], vec![(0, "a.conf")]),
            (vec![vec![null("a.conf")], vec![file("a.conf")]], vec![]),
            // A link masks what comes after it, not what comes before.
            (vec![vec![file("a.conf")], vec![null("a.conf")]], vec![(0, "a.conf")]),
            (
                vec![vec![file("a.conf.bak"), file("conf"), file("9.conf"), file("10.conf")]],
                vec![(0, "10.conf"), (0, "9.conf")],
            ),
            (vec![vec![file(".conf"), file(".a.conf"), file("a..conf")]], vec![(0, "a..conf")]),
        ] {
            let slices: Vec<&[DirectoryEntry]> = directories.iter().map(Vec::as_slice).collect();
            let expected: Vec<(usize, &OsStr)> =
                expected.into_iter().map(|(index, name)| (index, name.as_ref())).collect();
            assert_eq!(reading_order(&slices), expected, "{directories:?}");
        }
    }
}
