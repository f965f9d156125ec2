//! Errors of map operations.

use knobgate_bpf::{InvalidLock, MapKind, map_flag_names, uapi};

use crate::Errno;

/// Why a map operation failed. Each variant has one errno of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// `ENOENT`: there is no such entry, or the queue is empty.
    #[error("there is no such entry")]
    NoEntry,
    /// `E2BIG`: the map is full, or the index is beyond its end.
    #[error("the map has no room for it")]
    TooBig,
    /// `ENOMEM`: the map is larger than a GiB, the maximum of this model.
    #[error("the map is larger than a GiB")]
    NoMemory,
    /// `ENOMEM`: the maps would take more [memory](crate::maps::MapMemory) than they have together.
    #[error("the maps take more than {} MiB together", most >> 20)]
    Together {
        /// How many bytes they have together.
        most: u64,
    },
    /// `EAGAIN`: the ring buffer is full.
    #[error("the ring buffer has no room for the record")]
    Again,
    /// `EEXIST`: the entry exists, and the flags say that it must not.
    #[error("the entry exists already")]
    Exists,
    /// `EINVAL`: the flags, the key or the operation are invalid for this kind of map.
    #[error("the operation, key or flag is invalid for this kind of map")]
    Invalid,
    /// `ENOSPC`: the trie is full.
    #[error("the trie is full")]
    NoSpace,
    /// `EPERM`: the map is frozen.
    #[error("the map is frozen")]
    Frozen,
    /// `EINVAL`: maps of this type cannot have these sizes.
    #[error(
        "a map of type {} cannot have a key_size of {key_size}, a value_size of {value_size} and max_entries of {max_entries}",
        kind.name()
    )]
    Sizes {
        /// The type.
        kind: MapKind,
        /// Bytes in a key.
        key_size: u32,
        /// Bytes in a value.
        value_size: u32,
        /// The maximum of entries.
        max_entries: u32,
    },
    /// `E2BIG`, `EINVAL` or `EFAULT`: the kernel rejects the types of the object's maps, which say where the lock is.
    #[error("the types of keys and values are rejected: {0}")]
    Types(InvalidLock),
    /// `EINVAL`: maps of this type cannot have these flags.
    #[error("maps of this type cannot have the flags {}", map_flag_names(*.flags))]
    Flags {
        /// The flags.
        flags: u32,
    },
    /// The kernel may have it, but this model does not.
    #[error(transparent)]
    NotModelled(#[from] NotModelled),
}

/// What the model lacks of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotModelled {
    /// Maps of this type.
    #[error("{} are not modelled", self.what())]
    Kind(&'static str),
    /// Values with a field of this type, which the kernel manages.
    #[error("{} are not modelled", self.what())]
    Field(&'static str),
    /// This flag.
    #[error("{} is not modelled", self.what())]
    Flag(&'static str),
    /// Structs with more members than are looked at to find locks.
    #[error("{} are not modelled", self.what())]
    ManyMembers,
}

impl NotModelled {
    /// What it is, such as `maps of type bloom_filter`.
    fn what(self) -> String {
        match self {
            Self::Kind(kind) => format!("maps of type {kind}"),
            Self::Field(field) => format!("values with a {field}"),
            Self::Flag(flag) => format!("the flag {flag}"),
            Self::ManyMembers => "structs with a bpf_spin_lock and so many members".to_owned(),
        }
    }
}

impl MapError {
    /// What the kernel may have and the model has not, if that is the reason.
    pub fn not_modelled(self) -> Option<String> {
        match self {
            Self::NotModelled(not_modelled) => Some(not_modelled.what()),
            _ => None,
        }
    }

    /// The errno.
    pub const fn errno(self) -> Errno {
        match self {
            Self::Frozen => Errno::EPERM,
            Self::NoEntry => Errno::ENOENT,
            Self::TooBig | Self::Types(InvalidLock::Several | InvalidLock::TooDeep) => Errno::E2BIG,
            Self::Again => Errno::EAGAIN,
            Self::NoMemory | Self::Together { .. } => Errno::ENOMEM,
            Self::Exists => Errno::EEXIST,
            Self::Types(InvalidLock::Overlooked) => Errno::EFAULT,
            Self::Invalid
            | Self::Types(_)
            | Self::Sizes { .. }
            | Self::Flags { .. }
            | Self::NotModelled(_) => Errno::EINVAL,
            Self::NoSpace => Errno::ENOSPC,
        }
    }
}

/// `BPF_ANY`: create the entry or replace it.
pub const ANY: u64 = uapi::BPF_ANY;
/// `BPF_NOEXIST`: create the entry.
pub const NOEXIST: u64 = uapi::BPF_NOEXIST;
/// `BPF_EXIST`: replace the entry.
pub const EXIST: u64 = uapi::BPF_EXIST;
/// `BPF_F_LOCK`: hold the lock in the value. It is combined with one of the others.
pub const LOCK: u64 = uapi::BPF_F_LOCK;

/// Checks the flags of an update against whether the entry exists.
pub(super) fn check_flags(flags: u64, exists: bool) -> Result<(), MapError> {
    match flags {
        ANY => Ok(()),
        NOEXIST if exists => Err(MapError::Exists),
        EXIST if !exists => Err(MapError::NoEntry),
        NOEXIST | EXIST => Ok(()),
        _ => Err(MapError::Invalid),
    }
}
