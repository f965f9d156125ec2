//! Where attachments are kept: a directory `knobgate/NAME` on a bpffs for each.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fstat, mkdirat, open, openat, renameat_with,
    statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::attachment::Attachment;
use crate::attachment_name::AttachmentName;
use crate::bpffs::{Bpffs, BpffsError, failed};
use crate::new_attachment::NewAttachment;
use crate::pin_owner::Distrust;

/// Our directory on a bpffs.
const OURS: &str = "knobgate";

/// How directories are opened.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory of our attachments on a bpffs, `knobgate`, for root alone (mode 0700).
///
/// On most bpffs every user can make a directory of this name before we do. So nothing in it is trusted unless root owns it.
#[derive(Debug)]
pub struct PinDir {
    pub(crate) dir: OwnedFd,
    path: PathBuf,
    moved_away: Vec<MovedAway>,
}

/// What somebody else had put where the directory belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MovedAway {
    /// Whose it is.
    pub owner: u32,
    /// Where it is now.
    pub path: PathBuf,
}

/// What is where the directory belongs.
enum Found {
    Nothing,
    Roots(OwnedFd, Stat),
    Foreign { owner: u32 },
}

impl PinDir {
    /// Opens it; `None` when there is none yet, and so no attachment.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Untrusted`], [`Io`](BpffsError::Io).
    pub fn open(bpffs: &Bpffs) -> Result<Option<Self>, BpffsError> {
        let path = bpffs.path().join(OURS);
        match find(&open_bpffs(bpffs)?, &path)? {
            Found::Nothing => Ok(None),
            Found::Foreign { owner } => Err(foreign(path, owner)),
            Found::Roots(dir, stat) => match Distrust::of_directory(&stat) {
                Some(why) => {
                    let remedy = format!("close it to others: chmod 700 {}", path.display());
                    Err(BpffsError::Untrusted { path, why, remedy })
                }
                None => Ok(Some(Self { dir, path, moved_away: Vec::new() })),
            },
        }
    }

    /// Opens it, and creates it first if need be. What somebody else than root has put there is
    /// [moved away](Self::moved_away), under a name that says whose it is.
    ///
    /// # Errors
    ///
    /// [`BpffsError::NotRoot`], [`Untrusted`](BpffsError::Untrusted), [`Io`](BpffsError::Io).
    pub fn create(bpffs: &Bpffs) -> Result<Self, BpffsError> {
        // Somebody may put something there again and again.
        const TRIES: u32 = 100;
        let user = geteuid();
        if !user.is_root() {
            return Err(BpffsError::NotRoot { user: user.as_raw() });
        }
        let path = bpffs.path().join(OURS);
        let root = open_bpffs(bpffs)?;
        let (mut moved_away, mut last_owner) = (Vec::new(), 0);
        for _ in 0..TRIES {
            match find(&root, &path)? {
                Found::Roots(dir, _) => {
                    // Whatever the umask or somebody made of it.
                    fchmod(&dir, Mode::RWXU).map_err(failed("change the mode of", &path))?;
                    return Ok(Self { dir, path, moved_away });
                }
                Found::Nothing => match mkdirat(&root, OURS, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(failed("create", &path)(error)),
                },
                Found::Foreign { owner } => {
                    last_owner = owner;
                    moved_away.extend(move_away(&root, &path, owner)?);
                }
            }
        }
        Err(foreign(path, last_owner))
    }

    /// What was in the way when this was [created](Self::create).
    pub fn moved_away(&self) -> &[MovedAway] {
        &self.moved_away
    }

    /// Where it is.
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
        let attachment = Attachment::open(self, name.as_str()).map_err(|error| match error {
            Errno::NOENT => BpffsError::NotFound { name: name.clone() },
            error => failed("open", &self.path.join(name.as_str()))(error),
        })?;
        let path = attachment.path();
        let stat = fstat(attachment.directory()).map_err(failed("examine", path))?;
        match Distrust::of_directory(&stat) {
            Some(why) => Err(untrusted_pin(path, why)),
            None => Ok(attachment),
        }
    }

    /// Begins an attachment, which nobody sees under a name before it is [published](NewAttachment::publish).
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn begin(&self) -> Result<NewAttachment<'_>, BpffsError> {
        NewAttachment::create(self)
    }

    /// Gives up the pins of the attachment `name`. Its program is detached with that, unless somebody has a link open or
    /// pinned elsewhere: [detach](crate::Link::detach) them first to be sure.
    ///
    /// # Errors
    ///
    /// [`BpffsError::NotFound`], [`Io`](BpffsError::Io).
    pub fn remove(&self, name: &AttachmentName) -> Result<(), BpffsError> {
        let attachment = self.attachment(name)?;
        attachment.unpin_all()?;
        unlinkat(&self.dir, name.as_str(), AtFlags::REMOVEDIR).map_err(failed("remove", attachment.path()))
    }

    /// Takes off what attachments hold that were [begun](Self::begin) by processes that ended before they could publish
    /// them.
    ///
    /// # Errors
    ///
    /// [`BpffsError::Io`].
    pub fn remove_abandoned(&self) -> Result<(), BpffsError> {
        for name in self.entries()? {
            drop(NewAttachment::abandoned(self, &name)?);
        }
        Ok(())
    }

    /// The names of the directories in it, also of those that are no attachments.
    fn entries(&self) -> Result<Vec<String>, BpffsError> {
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

/// That a pin, or a directory of pins, is not trusted.
pub(crate) fn untrusted_pin(path: &Path, why: Distrust) -> BpffsError {
    let remedy = format!("remove it: rm -r {}", path.display());
    BpffsError::Untrusted { path: path.to_owned(), why, remedy }
}

fn foreign(path: PathBuf, owner: u32) -> BpffsError {
    let remedy = "`knobgate attach` moves it away".to_owned();
    BpffsError::Untrusted { path, why: Distrust::Owner(owner), remedy }
}

/// The bpffs itself, if what root puts there stays there.
fn open_bpffs(bpffs: &Bpffs) -> Result<OwnedFd, BpffsError> {
    let path = bpffs.path();
    let root = open(path, DIRECTORY, Mode::empty()).map_err(failed("open", path))?;
    let stat = fstat(&root).map_err(failed("examine", path))?;
    match Distrust::of_directory(&stat) {
        Some(why) => {
            let remedy = format!("give it to root: chown root {0} && chmod 700 {0}", path.display());
            Err(BpffsError::Untrusted { path: path.to_owned(), why, remedy })
        }
        None => Ok(root),
    }
}

fn find(root: &OwnedFd, path: &Path) -> Result<Found, BpffsError> {
    match openat(root, OURS, DIRECTORY, Mode::empty()) {
        Ok(dir) => {
            let stat = fstat(&dir).map_err(failed("examine", path))?;
            Ok(match stat.st_uid {
                0 => Found::Roots(dir, stat),
                owner => Found::Foreign { owner },
            })
        }
        Err(Errno::NOENT) => Ok(Found::Nothing),
        // Closed to this user, or no directory.
        Err(error) => match statat(root, OURS, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if stat.st_uid != 0 => Ok(Found::Foreign { owner: stat.st_uid }),
            Err(Errno::NOENT) => Ok(Found::Nothing),
            _ => Err(failed("open", path)(error)),
        },
    }
}

/// Renames what is where our directory belongs, whatever it is: nothing in it is opened, followed or removed. To keep
/// using it would not do: its owner may have it open, and hold a lock on it for ever. `None` if there was nothing of
/// somebody else's any longer.
fn move_away(root: &OwnedFd, path: &Path, owner: u32) -> Result<Option<MovedAway>, BpffsError> {
    // A name that nobody can take in advance.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    let away = format!("{OURS}-of-user-{owner}-{now:x}");
    match renameat_with(root, OURS, root, &*away, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::NOENT | Errno::EXIST) => return Ok(None),
        Err(error) => return Err(failed("move away", path)(error)),
    }
    let moved = path.with_file_name(&away);
    let stat = statat(root, &*away, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("examine", &moved))?;
    if stat.st_uid == 0 {
        // Another knobgate was faster, and this is its new directory.
        renameat_with(root, &*away, root, OURS, RenameFlags::NOREPLACE)
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

    /// Runs `test` in a directory of its own, which takes the place of the bpffs.
    fn in_directory(name: &str, test: impl FnOnce(&Path, &OwnedFd)) {
        struct Removed(PathBuf);
        impl Drop for Removed {
            fn drop(&mut self) {
                let _ = fs::remove_dir_all(&self.0);
            }
        }
        // Root's directories are what it is about.
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
            let path = directory.join(OURS);
            // Between the look at somebody's directory and the renaming, another knobgate has moved that away, made its own,
            // and begun an attachment.
            fs::create_dir(&path).unwrap();
            fs::create_dir(path.join("+1-0")).unwrap();
            let before = fs::metadata(&path).unwrap().ino();
            assert_eq!(move_away(root, &path, 65534).unwrap(), None);
            assert_eq!(names(directory), [OURS]);
            assert_eq!(fs::metadata(&path).unwrap().ino(), before);
            assert!(path.join("+1-0").is_dir());
        });
    }

    #[test]
    fn what_another_knobgate_has_moved_away_already_is_passed_over() {
        in_directory("moved-already", |directory, root| {
            assert_eq!(move_away(root, &directory.join(OURS), 65534).unwrap(), None);
            assert!(names(directory).is_empty());
        });
    }

    #[test]
    fn somebodys_directory_is_called_after_whose_it_is() {
        in_directory("moved-away", |directory, root| {
            let path = directory.join(OURS);
            fs::create_dir(&path).unwrap();
            // It was another user's when it was looked at.
            chown(&path, Some(65533), None).unwrap();
            let moved = move_away(root, &path, 65534).unwrap().unwrap();
            assert_eq!(moved.owner, 65533);
            assert!(moved.path.is_dir() && !path.exists());
        });
    }
}
