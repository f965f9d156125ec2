//! What the kernel's tables say about a knob.

use std::fmt;

use crate::{Kernels, Kind};

/// What the tables of some kernels say about a knob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    pub(crate) kernels: Kernels,
    pub(crate) scope: Scope,
    pub(crate) mode: Mode,
    pub(crate) handler: &'static str,
    pub(crate) kind: Kind,
    pub(crate) length: Option<u32>,
    pub(crate) bounds: Option<(i128, i128)>,
}

impl Variant {
    /// The kernels with these facts. None of them has the knob if this is empty; the facts are from the kernel's sources then.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Whose the knob is.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Who may read and write it.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The kernel's function that parses and prints the value.
    pub fn handler(&self) -> &'static str {
        self.handler
    }

    /// What the handler takes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many bytes the value has in the kernel's memory, for a text with the NUL at its end. `None` where it varies.
    pub fn length(&self) -> Option<u32> {
        self.length
    }

    /// How many numbers the value has; `None` if it has none, or if their count varies.
    pub fn elements(&self) -> Option<u32> {
        let size = match self.kind() {
            // One number, whatever the table says: it was an int once.
            Kind::Bool => return Some(1),
            kind => kind.size()?,
        };
        self.length.map(|length| length / size).filter(|&count| count > 0)
    }

    /// The least and the greatest number that the handler takes, for each element; `None` where that is not known.
    ///
    /// A number inside the bounds may be rejected for other reasons. One outside them always is, except that some handlers
    /// ignore it instead, and `write(2)` succeeds.
    pub fn bounds(&self) -> Option<(i128, i128)> {
        self.bounds
    }
}

/// Whose a knob is: of the host, or of each namespace of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// There is one value for the whole machine, whoever sees the knob.
    Host,
    /// Each network namespace has a value of its own.
    Network,
    /// Each IPC namespace has a value of its own.
    Ipc,
    /// Each UTS namespace has a value of its own.
    Uts,
    /// Each user namespace has a value of its own.
    User,
    /// Each pid namespace has a value of its own.
    Pid,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Host, Self::Network, Self::Ipc, Self::Uts, Self::User, Self::Pid];

    /// Its name: `host`, `network`, `ipc`, `uts`, `user` or `pid`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Pid => "pid",
        }
    }

    /// The scope with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The mode of a knob's file. Displayed like `0644`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode(u16);

impl Mode {
    /// From the bits that stat(2) gives; `None` if there are others than those of reading and writing.
    pub fn new(bits: u16) -> Option<Self> {
        (bits & !0o666 == 0).then_some(Self(bits))
    }

    /// The bits.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// Whether anybody may read the knob.
    pub fn is_readable(self) -> bool {
        self.0 & 0o444 != 0
    }

    /// Whether anybody may write it.
    pub fn is_writable(self) -> bool {
        self.0 & 0o222 != 0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}
