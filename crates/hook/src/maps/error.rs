//! Why a map refuses.

use crate::Errno;

/// What went wrong with a map; each is one errno of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// `ENOENT`: there is no such entry, or the queue is empty.
    #[error("there is no such entry")]
    NoEntry,
    /// `E2BIG`: the map is full, or the index is beyond its end.
    #[error("the map has no room for it")]
    TooBig,
    /// `ENOMEM`: the map is larger than this model goes, which is a GiB.
    #[error("the map is larger than a GiB")]
    NoMemory,
    /// `ENOMEM`: with this, maps would take more than the [memory](crate::maps::MapMemory) that they have together.
    #[error("the maps take more than {} MiB together", most >> 20)]
    Together {
        /// How many bytes they have.
        most: u64,
    },
    /// `EAGAIN`: the ring buffer is full.
    #[error("the ring buffer has no room for the record")]
    Again,
    /// `EEXIST`: the entry is there already, and the flags say that it must not be.
    #[error("the entry exists already")]
    Exists,
    /// `EINVAL`: the flags, the key or the operation are not for this kind of map.
    #[error("this kind of map does not take that operation, key or flag")]
    Invalid,
    /// `ENOSPC`: the trie is full.
    #[error("the trie is full")]
    NoSpace,
    /// `EPERM`: the map is frozen.
    #[error("the map is frozen")]
    Frozen,
}

impl MapError {
    /// The errno.
    pub const fn errno(self) -> Errno {
        match self {
            Self::Frozen => Errno::EPERM,
            Self::NoEntry => Errno::ENOENT,
            Self::TooBig => Errno::E2BIG,
            Self::Again => Errno::EAGAIN,
            Self::NoMemory | Self::Together { .. } => Errno::ENOMEM,
            Self::Exists => Errno::EEXIST,
            Self::Invalid => Errno::EINVAL,
            Self::NoSpace => Errno::ENOSPC,
        }
    }
}

/// `BPF_ANY`: create the entry or replace it.
pub const ANY: u64 = 0;
/// `BPF_NOEXIST`: create the entry.
pub const NOEXIST: u64 = 1;
/// `BPF_EXIST`: replace the entry.
pub const EXIST: u64 = 2;

/// Whether an update with `flags` may go on for an entry that does or does not exist.
pub(super) fn check_flags(flags: u64, exists: bool) -> Result<(), MapError> {
    match flags {
        ANY => Ok(()),
        NOEXIST if exists => Err(MapError::Exists),
        EXIST if !exists => Err(MapError::NoEntry),
        NOEXIST | EXIST => Ok(()),
        _ => Err(MapError::Invalid),
    }
}
