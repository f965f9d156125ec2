//! Break-glass: which policies are off, so that nothing puts them in force.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use knobgate_kernel::{AttachmentName, Capabilities};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{geteuid, getuid};

use crate::policy_version::{name_of_versions, versions_of};

/// The name of the file for all policies, which no attachment has.
const ALL: &str = "@all";
/// How much of a file is read.
const FILE_MAX: u64 = 16 << 10;

/// Which policies are off: out of force, until they are on again, or the machine is restarted.
///
/// Each is a file in a directory. [`Attachments`](crate::Attachments) puts no program on a cgroup whose attachment is off.
///
/// ```no_run
/// use knobgate::Off;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let name = "web".parse()?;
/// Off::set(Some(&name), Some("the shop is down"))?;
/// assert!(Off::read()?.of(&name).is_some());
/// Off::unset(Some(&name))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Off {
    by_boot: bool,
    all: Option<OffNote>,
    named: BTreeMap<AttachmentName, OffNote>,
}

/// Who has put policies off. What its file does not say is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffNote {
    /// When.
    pub since: Option<SystemTime>,
    /// By which user: the one that logged in, where that is known.
    pub uid: Option<u32>,
    /// Why.
    pub reason: Option<String>,
}

/// Because of what a policy is off.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffBy {
    /// The machine was started with [`Off::BOOT_WORD`].
    Boot,
    /// All policies are off.
    All(OffNote),
    /// It is off itself: it, or all versions of its policy.
    Name(AttachmentName, OffNote),
}

/// Why it is not known which policies are off, or why that cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OffError {
    /// A file cannot be used.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// A verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Others than root could change the directory.
    #[error(
        "{} says which policies are off, but others than root can change it; give it to root: chown root {0} && chmod 700 {0}",
        path.display()
    )]
    Untrusted {
        /// The directory.
        path: PathBuf,
    },
    /// The reason is too long.
    #[error("the reason has {length} bytes, and {} is the most", Off::REASON_MAX)]
    LongReason {
        /// How many bytes it has.
        length: usize,
    },
}

impl Off {
    /// The directory of the files.
    pub const DIRECTORY: &str = "/run/knobgate/off";
    /// The word on the kernel's command line because of which all policies are off.
    pub const BOOT_WORD: &str = "knobgate=off";
    /// How many bytes a reason may have.
    pub const REASON_MAX: usize = 4096;

    /// Which policies are off now.
    ///
    /// Root of another user namespace, who loads programs with a BPF token, often sees a directory that is for root of the machine
    /// alone. What that one has put off are its own attachments, so it does not count here.
    ///
    /// # Errors
    ///
    /// [`OffError::Io`], [`Untrusted`](OffError::Untrusted).
    pub fn read() -> Result<Self, OffError> {
        let path = Path::new("/proc/cmdline");
        let boot = fs::read_to_string(path).map_err(io("read", path))?;
        let mut off = Self::read_from(Path::new(Self::DIRECTORY))?;
        off.by_boot = has_boot_word(&boot);
        Ok(off)
    }

    fn read_from(directory: &Path) -> Result<Self, OffError> {
        let mut off = Self::default();
        let entries = match fs::symlink_metadata(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(off),
            Err(error) if error.kind() == ErrorKind::PermissionDenied && in_other_user_namespace() => {
                return Ok(off);
            }
            found => {
                check(directory, &found.map_err(io("examine", directory))?)?;
                fs::read_dir(directory).map_err(io("list", directory))?
            }
        };
        for entry in entries {
            let entry = entry.map_err(io("list", directory))?;
            let name = entry.file_name();
            // Files that begin with a dot are not finished.
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            if name == ALL {
                off.all = read_note(&entry.path());
            } else if let Ok(known) = name.parse().or_else(|_| name_of_versions(name).parse())
                && let Some(note) = read_note(&entry.path())
            {
                off.named.insert(known, note);
            }
        }
        Ok(off)
    }

    /// Why all policies are off; `None` if they are not.
    pub fn all(&self) -> Option<OffBy> {
        if self.by_boot { Some(OffBy::Boot) } else { self.all.clone().map(OffBy::All) }
    }

    /// Why the attachment of this name is off; `None` if it is not. That of a version of a policy is if the policy is.
    pub fn of(&self, name: &AttachmentName) -> Option<OffBy> {
        let noted = || self.named.iter().find(|(off, _)| Self::covers(off, name));
        self.all().or_else(|| noted().map(|(off, note)| OffBy::Name(off.clone(), note.clone())))
    }

    /// The same for a policy, by its name.
    pub fn of_policy(&self, name: &str) -> Option<OffBy> {
        let name = name_of_versions(name);
        let noted = || self.named.iter().find(|(off, _)| name_of_versions(off.as_str()) == name);
        self.all().or_else(|| noted().map(|(off, note)| OffBy::Name(off.clone(), note.clone())))
    }

    /// Whether this name itself is noted.
    pub fn is_noted(&self, name: &AttachmentName) -> bool {
        self.named.contains_key(name)
    }

    /// Whether an attachment is off if `off` is: it has that name, or is a version of the policy of that name.
    pub fn covers(off: &AttachmentName, name: &AttachmentName) -> bool {
        off == name || versions_of(name).is_some_and(|policy| policy == name_of_versions(off.as_str()))
    }

    /// Everything that is off, each with the reason: all policies first, then those that are off themselves, sorted.
    pub fn reasons(&self) -> Vec<OffBy> {
        let boot = self.by_boot.then_some(OffBy::Boot);
        let all = self.all.clone().map(OffBy::All);
        let named = self.named.iter().map(|(name, note)| OffBy::Name(name.clone(), note.clone()));
        boot.into_iter().chain(all).chain(named).collect()
    }

    /// Notes that an attachment, or all versions of a policy, or everything is off. What was off already keeps its note, unless
    /// there is a new reason. Returns whether it was not off.
    ///
    /// That takes nothing out of force: [`Attachments::take_off`](crate::Attachments::take_off) does.
    ///
    /// # Errors
    ///
    /// [`OffError`].
    pub fn set(name: Option<&AttachmentName>, reason: Option<&str>) -> Result<bool, OffError> {
        Self::set_in(Path::new(Self::DIRECTORY), name, reason)
    }

    fn set_in(
        directory: &Path,
        name: Option<&AttachmentName>,
        reason: Option<&str>,
    ) -> Result<bool, OffError> {
        if let Some(length) = reason.map(str::len).filter(|&length| length > Self::REASON_MAX) {
            return Err(OffError::LongReason { length });
        }
        let make = DirBuilder::new().mode(0o700).recursive(true).create(directory);
        make.map_err(io("create", directory))?;
        let before = Self::read_from(directory)?;
        let note = name.map_or(before.all.as_ref(), |name| before.named.get(name));
        if note.is_some() && reason.is_none() {
            return Ok(false);
        }
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let since = note.and_then(|note| note.since?.duration_since(SystemTime::UNIX_EPOCH).ok());
        let mut text = format!("since={}\nuid={}\n", since.unwrap_or(now).as_secs(), user());
        if let Some(reason) = reason {
            let lines: Vec<&str> = reason.split(['\n', '\r']).map(str::trim).collect();
            text.push_str(&format!("reason={}\n", lines.join(" ")));
        }
        let file_name = name.map_or(ALL, AttachmentName::as_str);
        let path = directory.join(file_name);
        // A process of another pid namespace, or one that was killed, may have used the same id.
        let temporary = directory.join(format!(".{file_name}.{}-{:x}", std::process::id(), now.as_nanos()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.and_then(|()| fs::rename(&temporary, &path)).map_err(|error| {
            let _ = fs::remove_file(&temporary);
            io("write", &path)(error)
        })?;
        Ok(note.is_none())
    }

    /// Takes back what [`set`](Self::set) has noted; without a name, everything. Returns what was off. That puts nothing in force.
    ///
    /// # Errors
    ///
    /// [`OffError`].
    pub fn unset(name: Option<&AttachmentName>) -> Result<Vec<OffBy>, OffError> {
        Self::unset_in(Path::new(Self::DIRECTORY), name)
    }

    fn unset_in(directory: &Path, name: Option<&AttachmentName>) -> Result<Vec<OffBy>, OffError> {
        let mut removed = Self::read_from(directory)?.reasons();
        if let Some(name) = name {
            removed.retain(|by| matches!(by, OffBy::Name(off, _) if off == name));
        }
        for by in &removed {
            let file_name = match by {
                OffBy::Name(name, _) => name.as_str(),
                _ => ALL,
            };
            remove_files(directory, file_name)?;
        }
        Ok(removed)
    }
}

impl OffBy {
    /// What is noted about it.
    pub fn note(&self) -> Option<&OffNote> {
        match self {
            Self::Boot => None,
            Self::All(note) | Self::Name(_, note) => Some(note),
        }
    }

    /// How it is on again: a command, or that the machine has to be started without a word.
    pub fn remedy(&self) -> String {
        match self {
            Self::Boot => format!("start the machine without {}", Off::BOOT_WORD),
            Self::All(_) => "knobgate on".to_owned(),
            Self::Name(name, _) => format!("knobgate on {name}"),
        }
    }
}

impl fmt::Display for OffBy {
    /// What is off, and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot => {
                write!(f, "all policies are off, because the machine was started with {}", Off::BOOT_WORD)
            }
            Self::All(note) => write!(f, "all policies are off{note}"),
            Self::Name(name, note) => write!(f, "\"{name}\" is off{note}"),
        }
    }
}

impl fmt::Display for OffNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

fn io(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> OffError {
    move |source| OffError::Io { doing, path: path.to_owned(), source }
}

fn in_other_user_namespace() -> bool {
    Capabilities::of_this_process().is_ok_and(|capabilities| !capabilities.in_initial_user_namespace())
}

/// Fails if it is no directory, or if others than root, or this user, can change it.
fn check(directory: &Path, found: &fs::Metadata) -> Result<(), OffError> {
    if !found.is_dir() {
        return Err(io("list", directory)(Errno::NOTDIR.into()));
    }
    let is_ours = found.uid() == 0 || found.uid() == geteuid().as_raw();
    if is_ours && found.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(OffError::Untrusted { path: directory.to_owned() })
    }
}

/// What a file says. An empty or damaged one counts, too: it may be all that somebody could make. `None` if it is gone.
fn read_note(path: &Path) -> Option<OffNote> {
    let mut text = Vec::new();
    // Whatever it is: a FIFO would wait for its writer, and a link may lead nowhere.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    if let Err(error) = opened.and_then(|file| file.take(FILE_MAX).read_to_end(&mut text))
        && error.kind() == ErrorKind::NotFound
    {
        return None;
    }
    let mut note = OffNote::default();
    for (key, value) in String::from_utf8_lossy(&text).lines().filter_map(|line| line.split_once('=')) {
        match key {
            "since" => {
                let since = value.parse().ok().map(Duration::from_secs);
                note.since = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
            }
            "uid" => note.uid = value.parse().ok(),
            "reason" => note.reason = Some(value.to_owned()).filter(|reason| !reason.is_empty()),
            _ => {}
        }
    }
    Some(note)
}

/// Removes the files that mean this name: somebody may have made one that has the policy's name.
fn remove_files(directory: &Path, name: &str) -> Result<(), OffError> {
    for entry in fs::read_dir(directory).map_err(io("list", directory))? {
        let entry = entry.map_err(io("list", directory))?;
        let found = entry.file_name();
        let Some(found) = found.to_str() else { continue };
        let is_it =
            found == name || found.parse::<AttachmentName>().is_err() && name_of_versions(found) == name;
        if is_it && !found.starts_with('.') && (found != ALL || name == ALL) {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(io("remove", &entry.path())(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The user that logged in, whatever it has become since; or else that of this process.
fn user() -> u32 {
    let login = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    login.filter(|&uid| uid != u32::MAX).unwrap_or_else(|| getuid().as_raw())
}

fn has_boot_word(command_line: &str) -> bool {
    command_line.split_whitespace().any(|word| word == Off::BOOT_WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> AttachmentName {
        name.parse().unwrap()
    }

    /// A directory, which is not there yet.
    fn directory() -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run/off");
        (parent, path)
    }

    #[test]
    fn what_is_off_is_a_file_with_who_and_why() {
        let (_parent, directory) = directory();
        assert_eq!(Off::read_from(&directory).unwrap(), Off::default());
        assert!(Off::set_in(&directory, Some(&name("web")), Some("the shop\nis down ")).unwrap());
        let off = Off::read_from(&directory).unwrap();
        let by = off.of(&name("web")).unwrap();
        assert_eq!(by.to_string(), "\"web\" is off (the shop is down)");
        let note = by.note().unwrap();
        assert!(note.since.unwrap() <= SystemTime::now() && note.uid.is_some());
        for (other, is_off) in [("web@0123456789ab", true), ("web@1", false), ("we", false), ("webs", false)]
        {
            assert_eq!(off.of(&name(other)).is_some(), is_off, "{other}");
        }
        assert_eq!(off.all(), None);
        assert!(off.of_policy("web").is_some() && off.of_policy("we").is_none());
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_policy_with_a_long_name_is_off_with_its_versions() {
        let (_parent, directory) = directory();
        let long = "x".repeat(AttachmentName::MAX);
        Off::set_in(&directory, Some(&name(&long)), None).unwrap();
        let off = Off::read_from(&directory).unwrap();
        let version = name(&format!("{}@0123456789ab", name_of_versions(&long)));
        assert!(
            off.of(&version).is_some() && off.of_policy(&long).is_some() && off.of(&name(&long)).is_some()
        );
    }

    #[test]
    fn a_second_time_changes_nothing_but_the_reason() {
        let (_parent, directory) = directory();
        let set = |reason| Off::set_in(&directory, None, reason).unwrap();
        assert!(set(Some("one")));
        assert!(!set(None));
        let all = || Off::read_from(&directory).unwrap().all().unwrap();
        assert_eq!(all().to_string(), "all policies are off (one)");
        assert!(!set(Some("two")));
        assert_eq!(all().to_string(), "all policies are off (two)");
        let long = "x".repeat(Off::REASON_MAX + 1);
        assert!(matches!(
            Off::set_in(&directory, None, Some(&long)),
            Err(OffError::LongReason { length: 4097 })
        ));
    }

    #[test]
    fn all_are_on_again_without_a_name() {
        let (_parent, directory) = directory();
        for off in [None, Some(name("a")), Some(name("b"))] {
            Off::set_in(&directory, off.as_ref(), None).unwrap();
        }
        let unset = |off: Option<&AttachmentName>| Off::unset_in(&directory, off).unwrap().len();
        assert_eq!((unset(Some(&name("a"))), unset(Some(&name("a"))), unset(Some(&name("c")))), (1, 0, 0));
        assert_eq!((unset(None), unset(None)), (2, 0));
        assert_eq!(Off::read_from(&directory).unwrap(), Off::default());
    }

    #[test]
    fn a_file_that_somebody_made_counts() {
        let (_parent, directory) = directory();
        Off::set_in(&directory, Some(&name("x")), None).unwrap();
        for file in ["a.b", "@all", "web"] {
            fs::write(directory.join(file), b"since=\xff\n=\nuid=-1\n").unwrap();
        }
        fs::write(directory.join(".web2.1-1"), "").unwrap();
        let off = Off::read_from(&directory).unwrap();
        assert_eq!(off.all(), Some(OffBy::All(OffNote::default())));
        assert_eq!(off.reasons().len(), 4);
        assert_eq!(Off::unset_in(&directory, Some(&name("a_b"))).unwrap().len(), 1);
        assert_eq!(Off::unset_in(&directory, None).unwrap().len(), 3);
        assert_eq!(Off::read_from(&directory).unwrap(), Off::default());
    }

    #[test]
    fn whatever_has_the_name_of_a_policy_counts_and_nothing_is_waited_for() {
        let (_parent, directory) = directory();
        Off::set_in(&directory, Some(&name("x")), None).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, directory.join("fifo"), rustix::fs::Mode::RUSR).unwrap();
        std::os::unix::fs::symlink("/nowhere", directory.join("link")).unwrap();
        fs::create_dir(directory.join("directory")).unwrap();
        let off = Off::read_from(&directory).unwrap();
        for known in ["fifo", "link", "directory"] {
            assert!(off.of(&name(known)).is_some(), "{known}");
        }
        assert_eq!(Off::unset_in(&directory, Some(&name("fifo"))).unwrap().len(), 1);
        assert_eq!(Off::unset_in(&directory, Some(&name("link"))).unwrap().len(), 1);
    }

    #[test]
    fn nobody_else_may_say_what_is_off() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_parent, directory) = directory();
        Off::set_in(&directory, None, None).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Off::read_from(&directory), Err(OffError::Untrusted { .. })));
        // Nor what is no directory, wherever it leads.
        let link = directory.with_file_name("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        for path in [&*link, Path::new("/dev/null")] {
            let Err(OffError::Io { doing: "list", source, .. }) = Off::read_from(path) else {
                panic!("{path:?}")
            };
            assert_eq!(source.kind(), ErrorKind::NotADirectory);
        }
    }

    #[test]
    fn a_word_on_the_command_line_counts_as_all() {
        for (line, expected) in [
            ("quiet knobgate=off\n", true),
            ("knobgate=off", true),
            ("knobgate=offline root=/dev/vda", false),
            ("xknobgate=off", false),
            ("", false),
        ] {
            assert_eq!(has_boot_word(line), expected, "{line:?}");
        }
        let off = Off { by_boot: true, ..Off::default() };
        assert_eq!(off.of(&name("web")), Some(OffBy::Boot));
    }
}
