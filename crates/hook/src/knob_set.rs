//! Who owns a knob.

use crate::Namespaces;

/// The set of knobs that a knob is in: `struct ctl_table_set` in include/linux/sysctl.h. Programs get there from the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnobSet {
    /// That of the knobs which all namespaces share.
    Shared,
    /// That of the network namespace with this number.
    OfNet(u32),
    /// Programs cannot read where it is: the pointer to it is null. No kernel has this.
    Unreadable,
}

impl KnobSet {
    /// That of the knob `name`, opened by a task in these namespaces. Those below `net/` are the network namespace's.
    pub fn of(name: &str, opener: &Namespaces) -> Self {
        if name.starts_with("net/") { Self::OfNet(opener.net) } else { Self::Shared }
    }
}
