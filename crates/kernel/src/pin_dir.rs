//! Where attachments are kept: a directory `knobgate/NAME` on a bpffs for each.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, fstat, open, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::attachment::Attachment;
use crate::attachment_name::AttachmentName;
use crate::bpffs::{Bpffs, BpffsError, failed};
use crate::new_attachment::NewAttachment;

/// Our directory on a bpffs.
const OURS: &str = "knobgate";

/// How directories are opened.
pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory of our attachments on a bpffs, `knobgate`, for its owner alone (mode 0700).
#[derive(Debug)]
pub struct PinDir {
    pub(crate) dir: OwnedFd,
    path: PathBuf,
}

impl PinDir {
    /// Opens it; `None` when there is none yet, and so no attachment.
    ///
    /// # Errors
    ///
    /// [`BpffsError::ForeignOwner`], [`Io`](BpffsError::Io).
    pub fn open(bpffs: &Bpffs) -> Result<Option<Self>, BpffsError> {
        let path = bpffs.path().join(OURS);
        let dir = match open(&path, DIRECTORY, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let owner = fstat(&dir).map_err(failed("examine", &path))?.st_uid;
        if owner != geteuid().as_raw() && owner != 0 {
            return Err(BpffsError::ForeignOwner { path, owner });
        }
        Ok(Some(Self { dir, path }))
    }

    /// Opens it, and creates it first if need be.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn create(bpffs: &Bpffs) -> Result<Self, BpffsError> {
        let path = bpffs.path().join(OURS);
        loop {
            if let Some(found) = Self::open(bpffs)? {
                // Whatever the umask or somebody made of it.
                fchmod(&found.dir, Mode::RWXU).map_err(failed("change the mode of", &path))?;
                return Ok(found);
            }
            match rustix::fs::mkdir(&path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed("create", &path)(error)),
            }
        }
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
    /// [`BpffsError::NotFound`], [`Io`](BpffsError::Io).
    pub fn attachment(&self, name: &AttachmentName) -> Result<Attachment, BpffsError> {
        Attachment::open(self, name.as_str()).map_err(|error| match error {
            Errno::NOENT => BpffsError::NotFound { name: name.clone() },
            error => failed("open", &self.path.join(name.as_str()))(error),
        })
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
