//! One `read(2)` or `write(2)` of a knob, as the hook sees it.

use std::borrow::Cow;

use crate::{KnobName, limits};

/// Whether a knob is read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessKind {
    /// `read(2)`, `pread(2)`, `readv(2)` and so on.
    Read,
    /// `write(2)`, `pwrite(2)`, `writev(2)` and so on.
    Write,
}

impl AccessKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];
}

/// One access: what is read or written where, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The knob.
    pub knob: KnobName,
    /// The bytes passed to `write(2)`, all of them; `None` for a read. An empty write has no new value (the
    /// hook shows none), which is not the same as an empty one.
    pub new: Option<Vec<u8>>,
    /// What the knob holds, as a read of it at position 0 returns it: usually with a newline at its end.
    /// `None` where the knob cannot be read.
    pub old: Option<Vec<u8>>,
    /// The file position in bytes. The hook shows its low 32 bits.
    pub pos: u64,
    /// Which network namespace owns the knob, if it is one below `net/`. That was decided when the knob was opened: the task can
    /// be in another one. `None` where that is not known.
    pub knob_netns: Option<KnobNetns>,
    /// Who does it.
    pub task: Task,
}

/// The network namespace that owns a knob below `net/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KnobNetns {
    /// The initial one, that of the host.
    Host,
    /// Another one.
    Other,
}

impl KnobNetns {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Host, Self::Other];
}

/// The task that makes an access. The default is root's, without a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Task {
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Real group id, in the initial user namespace.
    pub gid: u32,
    /// The task's name; the kernel keeps at most [`COMM_MAX`](crate::limits::COMM_MAX) bytes.
    pub comm: Vec<u8>,
}

impl Task {
    /// The same with this user id.
    #[must_use]
    pub fn uid(self, uid: u32) -> Self {
        Self { uid, ..self }
    }

    /// The same with this group id.
    #[must_use]
    pub fn gid(self, gid: u32) -> Self {
        Self { gid, ..self }
    }

    /// The same with this name.
    #[must_use]
    pub fn comm(self, comm: impl Into<Vec<u8>>) -> Self {
        Self { comm: comm.into(), ..self }
    }
}

impl Access {
    /// A read of `knob` at position 0 by root.
    pub fn read(knob: KnobName) -> Self {
        Self { knob, new: None, old: None, pos: 0, knob_netns: None, task: Task::default() }
    }

    /// A write of `new` to `knob` at position 0 by root.
    pub fn write(knob: KnobName, new: impl Into<Vec<u8>>) -> Self {
        Self { new: Some(new.into()), ..Self::read(knob) }
    }

    /// The same of a knob that this network namespace owns.
    #[must_use]
    pub fn knob_netns(self, netns: KnobNetns) -> Self {
        Self { knob_netns: Some(netns), ..self }
    }

    /// The access as a program sees it that can look at values of at most `most` bytes: a longer value is too long for every
    /// [rule](crate::evaluate()) that looks at it.
    pub fn seen_up_to(&self, most: usize) -> Cow<'_, Self> {
        let is_seen = |value: &Option<Vec<u8>>| value.as_ref().is_none_or(|value| value.len() <= most);
        if is_seen(&self.new) && is_seen(&self.old) {
            return Cow::Borrowed(self);
        }
        let seen = |value: &Option<Vec<u8>>| {
            if is_seen(value) { value.clone() } else { Some(vec![b'?'; limits::VALUE_MAX + 1]) }
        };
        Cow::Owned(Self { new: seen(&self.new), old: seen(&self.old), ..self.clone() })
    }

    /// Whether it is a read or a write.
    pub fn kind(&self) -> AccessKind {
        if self.new.is_some() { AccessKind::Write } else { AccessKind::Read }
    }
}
