//! The directory of attachments: each is a directory `knobgate/NAME` on a bpffs.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, RenameFlags, Stat, fchmod, flock, fstat, mkdirat, open, openat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::attachment::{Attachment, DIRECTORY};
use crate::attachment_name::AttachmentName;
use crate::bpffs::{Bpffs, BpffsError, failed, untrusted_pin};
use crate::dir_lock::Patience;
use crate::map::Map;
use crate::new_attachment::staging;
use crate::pin_owner::BadOwnership;
use crate::sys::bpf;

/// Our directory on a bpffs.
const NAME: &str = "knobgate";
/// How long locks are waited for. Runtimes give hooks a minute and more.
const PATIENCE: Duration = Duration::from_secs(10);

/// The directory of attachments on a bpffs, `knobgate`, with mode 0700.
///
/// On most bpffs, every user can create a directory with this name first. So nothing in it is trusted unless root owns
/// it.
#[derive(Debug)]
pub struct PinDir {
    dir: OwnedFd,
    path: PathBuf,
    moved_away: Vec<MovedAway>,
    patience: Patience,
}

/// What another user had created instead of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MovedAway {
    /// The owner.
    pub owner: u32,
    /// Its new path.
    pub path: PathBuf,
}

/// What exists at the path of the directory.
enum Found {
    Nothing,
    Ours(OwnedFd, Stat),
    Foreign { owner: u32 },
}

impl PinDir {
    /// Opens it; `None` if it does not exist, so that there is no attachment.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Untrusted`], [`Io`](BpffsError::Io).
    pub fn open(bpffs: &Bpffs) -> Result<Option<Self>, BpffsError> {
        let path = bpffs.path().join(NAME);
        match find(&open_bpffs(bpffs)?, &path)? {
            Found::Nothing => Ok(None),
            Found::Foreign { owner } => Err(owned_by(path, owner)),
            Found::Ours(dir, stat) => match BadOwnership::of_directory(&stat) {
                Some(why) => {
                    let remedy = format!("restrict it: chmod 700 {}", path.display());
                    Err(BpffsError::Untrusted { path, why, remedy })
                }
                None => {
                    Ok(Some(Self { dir, path, moved_away: Vec::new(), patience: Patience::new(PATIENCE) }))
                }
            },
        }
    }

    /// Opens it, and creates it if necessary. What another user has created there is [moved away](Self::moved_away), to
    /// a name that says who owns it.
    ///
    /// # Errors
    ///
    /// [`BpffsError::NotRoot`], [`Untrusted`](BpffsError::Untrusted), [`Io`](BpffsError::Io).
    pub fn create(bpffs: &Bpffs) -> Result<Self, BpffsError> {
        // Somebody may keep creating something there.
        const TRIES: u32 = 100;
        let user = geteuid();
        if !user.is_root() {
            return Err(BpffsError::NotRoot { user: user.as_raw() });
        }
        let path = bpffs.path().join(NAME);
        let root = open_bpffs(bpffs)?;
        let (mut moved_away, mut last_owner) = (Vec::new(), 0);
        for _ in 0..TRIES {
            match find(&root, &path)? {
                Found::Ours(dir, _) => {
                    // Its mode may differ because of the umask or a chmod.
                    fchmod(&dir, Mode::RWXU).map_err(failed("change the mode of", &path))?;
                    return Ok(Self { dir, path, moved_away, patience: Patience::new(PATIENCE) });
                }
                Found::Nothing => match mkdirat(&root, NAME, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(failed("create", &path)(error)),
                },
                Found::Foreign { owner } => {
                    last_owner = owner;
                    moved_away.extend(move_away(&root, &path, owner)?);
                }
            }
        }
        Err(owned_by(path, last_owner))
    }

    /// Whether this is the same directory.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn is_same_as(&self, other: &Self) -> Result<bool, BpffsError> {
        let of = |pins: &Self| fstat(&pins.dir).map_err(failed("examine", &pins.path));
        let (one, other) = (of(self)?, of(other)?);
        Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
    }

    /// What was moved away when this was [created](Self::create).
    pub fn moved_away(&self) -> &[MovedAway] {
        &self.moved_away
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all attachments, sorted.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn names(&self) -> Result<Vec<AttachmentName>, BpffsError> {
        let mut names: Vec<_> =
            self.entries()?.into_iter().filter_map(|name| name.parse::<AttachmentName>().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The attachment of this name.
    ///
    /// # Errors
    ///
    /// [`BpffsError::NotFound`], [`Untrusted`](BpffsError::Untrusted), [`Io`](BpffsError::Io).
    pub fn attachment(&self, name: &AttachmentName) -> Result<Attachment, BpffsError> {
        let attachment =
            Attachment::open(self.as_fd(), &self.path, name.as_str()).map_err(|error| match error {
                Errno::NOENT => BpffsError::NotFound { name: name.clone() },
                error => failed("open", &self.path.join(name.as_str()))(error),
            })?;
        let path = attachment.path();
        let stat = fstat(attachment.directory()).map_err(failed("examine", path))?;
        match BadOwnership::of_directory(&stat) {
            Some(why) => Err(untrusted_pin(path, why)),
            None => Ok(attachment),
        }
    }

    /// Whether an attachment that was opened is still there under its name. It may have been removed, and made again.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn is_current(&self, name: &AttachmentName, attachment: &Attachment) -> Result<bool, BpffsError> {
        let opened = fstat(attachment.directory()).map_err(failed("examine", attachment.path()))?;
        match statat(&self.dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok((found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed("examine", attachment.path())(error)),
        }
    }

    /// Unpins the attachment `name`. That detaches its program, unless a link is open or pinned elsewhere:
    /// [detach](crate::Link::detach) the links first to be sure.
    ///
    /// It loses its name first, so nobody sees a part of it if this is interrupted: [`remove_abandoned`](Self::remove_abandoned)
    /// removes the rest.
    ///
    /// # Errors
    ///
    /// [`BpffsError::NotFound`], [`Io`](BpffsError::Io).
    pub fn remove(&self, name: &AttachmentName) -> Result<(), BpffsError> {
        let attachment = self.attachment(name)?;
        let staging = loop {
            let staging = staging();
            match renameat_with(&self.dir, name.as_str(), &self.dir, &*staging, RenameFlags::NOREPLACE) {
                Ok(()) => break staging,
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                Err(error) => return Err(failed("remove", attachment.path())(error)),
            }
        };
        attachment.unpin_all()?;
        match unlinkat(&self.dir, &*staging, AtFlags::REMOVEDIR) {
            // Another process has taken it for abandoned.
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("remove", attachment.path())(error)),
        }
    }

    /// A second handle of the same directory.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`] if there are no descriptors left.
    pub fn try_clone(&self) -> Result<Self, BpffsError> {
        let dir = self.dir.try_clone().map_err(|error| BpffsError::Io {
            doing: "duplicate the descriptor of",
            path: self.path.clone(),
            error,
        })?;
        let patience = Patience::new(self.patience.limit());
        Ok(Self { dir, path: self.path.clone(), moved_away: Vec::new(), patience })
    }

    /// Waits for locks as long as this, and not ten seconds. When that was in vain, the next lock is only tried, until one is taken.
    #[must_use]
    pub fn with_patience(self, limit: Duration) -> Self {
        Self { patience: Patience::new(limit), ..self }
    }

    /// Locks it until the result is dropped, also by the end of the process.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Locked`], [`Io`](BpffsError::Io).
    pub fn lock_whole(&self) -> Result<OwnedFd, BpffsError> {
        let directory =
            openat(&self.dir, c".", DIRECTORY, Mode::empty()).map_err(failed("open", &self.path))?;
        self.patience.lock(&directory, &self.path)?;
        Ok(directory)
    }

    /// Locks the directory `name` in it until the result is dropped, also by the end of the process. It is made if necessary. No
    /// attachment can have its name if that begins with `_`.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Locked`], [`Io`](BpffsError::Io).
    pub fn lock(&self, name: &str) -> Result<OwnedFd, BpffsError> {
        let directory = self.lock_directory(name)?;
        self.patience.lock(&directory, &self.path.join(name))?;
        Ok(directory)
    }

    /// The same, unless another process has locked it, which is `None`.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn try_lock(&self, name: &str) -> Result<Option<OwnedFd>, BpffsError> {
        let directory = self.lock_directory(name)?;
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(directory)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed("lock", &self.path.join(name))(error)),
        }
    }

    fn lock_directory(&self, name: &str) -> Result<OwnedFd, BpffsError> {
        let path = self.path.join(name);
        match mkdirat(&self.dir, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed("create", &path)(error)),
        }
        rustix::fs::openat(&self.dir, name, DIRECTORY, Mode::empty()).map_err(failed("open", &path))
    }

    /// Removes the pin `name`, beside the attachments, if there is one.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn unpin(&self, name: &str) -> Result<(), BpffsError> {
        match unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("remove", &self.path.join(name))(error)),
        }
    }

    /// The map that is pinned as `name`, beside the attachments; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Untrusted`], [`Io`](BpffsError::Io).
    pub fn map(&self, name: &str) -> Result<Option<Map>, BpffsError> {
        let path = self.path.join(name);
        match statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("examine", &path)(error)),
            Ok(stat) => {
                if let Some(why) = BadOwnership::of_entry(&stat) {
                    return Err(untrusted_pin(&path, why));
                }
            }
        }
        let opened = c_path(&path).and_then(|path| bpf::obj_get(&path)).map_err(failed("open", &path))?;
        let map = Map::from_fd(opened).map_err(|_| failed("examine", &path)(Errno::INVAL))?;
        Ok(Some(map))
    }

    /// Pins a map as `name`, beside the attachments. Returns `false` if something is pinned there already.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn pin_map(&self, name: &str, map: &Map) -> Result<bool, BpffsError> {
        let path = self.path.join(name);
        match c_path(&path).and_then(|path| bpf::obj_pin(map.as_fd(), &path)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(failed("pin a map at", &path)(error)),
        }
    }

    /// The names of all directories in it, including those that are not attachments.
    pub(crate) fn entries(&self) -> Result<Vec<String>, BpffsError> {
        let failed = || failed("list", &self.path);
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                names.extend(name.to_str().map(str::to_owned));
            }
        }
        Ok(names)
    }
}

impl AsFd for PinDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn c_path(path: &Path) -> rustix::io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)
}

fn owned_by(path: PathBuf, owner: u32) -> BpffsError {
    let remedy = "`knobgate attach` moves it away".to_owned();
    BpffsError::Untrusted { path, why: BadOwnership::Owner(owner), remedy }
}

/// Opens the bpffs itself, if others cannot replace what root creates there.
fn open_bpffs(bpffs: &Bpffs) -> Result<OwnedFd, BpffsError> {
    let path = bpffs.path();
    let root = open(path, DIRECTORY, Mode::empty()).map_err(failed("open", path))?;
    let stat = fstat(&root).map_err(failed("examine", path))?;
    match BadOwnership::of_directory(&stat) {
        Some(why) => {
            let remedy = format!("give it to root: chown root {0} && chmod 700 {0}", path.display());
            Err(BpffsError::Untrusted { path: path.to_owned(), why, remedy })
        }
        None => Ok(root),
    }
}

fn find(root: &OwnedFd, path: &Path) -> Result<Found, BpffsError> {
    match openat(root, NAME, DIRECTORY, Mode::empty()) {
        Ok(dir) => {
            let stat = fstat(&dir).map_err(failed("examine", path))?;
            Ok(match stat.st_uid {
                0 => Found::Ours(dir, stat),
                owner => Found::Foreign { owner },
            })
        }
        Err(Errno::NOENT) => Ok(Found::Nothing),
        // Permission denied, or not a directory.
        Err(error) => match statat(root, NAME, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if stat.st_uid != 0 => Ok(Found::Foreign { owner: stat.st_uid }),
            Err(Errno::NOENT) => Ok(Found::Nothing),
            _ => Err(failed("open", path)(error)),
        },
    }
}

/// Renames what is at the path of our directory, without opening, following or removing anything in it. Taking it over
/// is not an option: its owner may have it open, and hold a lock forever. `None` if nothing of another user is left
/// there.
fn move_away(root: &OwnedFd, path: &Path, owner: u32) -> Result<Option<MovedAway>, BpffsError> {
    // An unpredictable name, so that nobody can create it first.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    let away = format!("{NAME}-of-user-{owner}-{now:x}");
    match renameat_with(root, NAME, root, &*away, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::NOENT | Errno::EXIST) => return Ok(None),
        Err(error) => return Err(failed("move away", path)(error)),
    }
    let moved = path.with_file_name(&away);
    let stat = statat(root, &*away, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("examine", &moved))?;
    if stat.st_uid == 0 {
        // Another knobgate was faster: this is its new directory.
        renameat_with(root, &*away, root, NAME, RenameFlags::NOREPLACE)
            .map_err(failed("move back", &moved))?;
        return Ok(None);
    }
    Ok(Some(MovedAway { owner: stat.st_uid, path: moved }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown};

    use super::*;

    /// Runs `test` in a new directory, instead of on a bpffs.
    fn in_directory(name: &str, test: impl FnOnce(&Path, &OwnedFd)) {
        struct Removed(PathBuf);
        impl Drop for Removed {
            fn drop(&mut self) {
                let _ = fs::remove_dir_all(&self.0);
            }
        }
        // The directories must belong to root.
        if !geteuid().is_root() {
            return;
        }
        let name = format!("knobgate-test-{name}-{}", std::process::id());
        let removed = Removed(std::env::temp_dir().join(name));
        fs::create_dir(&removed.0).unwrap();
        let root = open(&removed.0, DIRECTORY, Mode::empty()).unwrap();
        test(&removed.0, &root);
    }

    fn names(directory: &Path) -> Vec<String> {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn another_knobgates_new_directory_is_moved_back() {
        in_directory("moved-back", |directory, root| {
            let path = directory.join(NAME);
            // After the other user's directory was seen and before the rename, another knobgate has moved it away,
            // created its own, and begun an attachment.
            fs::create_dir(&path).unwrap();
            fs::create_dir(path.join("+1-0")).unwrap();
            let before = fs::metadata(&path).unwrap().ino();
            assert_eq!(move_away(root, &path, 65534).unwrap(), None);
            assert_eq!(names(directory), [NAME]);
            assert_eq!(fs::metadata(&path).unwrap().ino(), before);
            assert!(path.join("+1-0").is_dir());
        });
    }

    #[test]
    fn a_directory_that_another_knobgate_moved_away_is_skipped() {
        in_directory("moved-already", |directory, root| {
            assert_eq!(move_away(root, &directory.join(NAME), 65534).unwrap(), None);
            assert!(names(directory).is_empty());
        });
    }

    #[test]
    fn another_users_directory_is_named_after_its_owner() {
        in_directory("moved-away", |directory, root| {
            let path = directory.join(NAME);
            fs::create_dir(&path).unwrap();
            // It belonged to a different user when it was seen.
            chown(&path, Some(65533), None).unwrap();
            let moved = move_away(root, &path, 65534).unwrap().unwrap();
            assert_eq!(moved.owner, 65533);
            assert!(moved.path.is_dir() && !path.exists());
        });
    }
}
