//! Offsets of the kernel structures that the programs read.

use std::fmt::Write as _;

use knobgate_bpf::{LayoutError, StructLayouts};

use crate::{boot_cache, machine};

/// Increment this with every change to the fields.
const FORMAT: u32 = 1;
const FILE: &str = "layout";

/// Defines [`Layout`], which treats all fields alike.
macro_rules! layout {
    ($($(#[$doc:meta])* $field:ident = $find:ident $what:literal,)*) => {
        /// Offsets and sizes in bytes. Each is named after what it leads to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) struct Layout {
            $($(#[$doc])* pub(super) $field: u32,)*
        }

        impl Layout {
            /// From the BTF of a kernel.
            pub(super) fn of(btf: &[u8]) -> Result<Self, LayoutError> {
                let layouts = StructLayouts::read(btf)?;
                Ok(Self { $($field: layouts.$find($what)?,)* })
            }

            fn render(&self, boot_id: &str) -> String {
                let mut text = head(boot_id);
                $(let _ = writeln!(text, "{} {}", $what, self.$field);)*
                text
            }

            /// Has a different number in each field.
            #[cfg(test)]
            fn example() -> Self {
                let mut numbers = 1..;
                Self { $($field: numbers.next().unwrap_or_else(|| panic!("no number for {}", $what)),)* }
            }

            fn parse(boot_id: &str, text: &str) -> Option<Self> {
                let mut lines = text.strip_prefix(&*head(boot_id))?.lines();
                Some(Self { $($field: lines.next()?.strip_prefix(concat!($what, " "))?.parse().ok()?,)* })
            }
        }
    };
}

layout! {
    process = offset "task_struct.tgid",
    leader = offset "task_struct.group_leader",
    name = offset "task_struct.comm",
    signals = offset "task_struct.signal",
    cgroups = offset "task_struct.cgroups",
    thread_id = offset "task_struct.thread_pid",
    start = offset "task_struct.start_boottime",
    /// The number of live threads.
    live = offset "signal_struct.live.counter",
    /// The v2 cgroup.
    default_cgroup = offset "css_set.dfl_cgrp",
    /// The root of its hierarchy.
    root = offset "cgroup.root",
    node = offset "cgroup.kn",
    state = offset "cgroup.self",
    /// From a cgroup to the state of its parent.
    above = offset "cgroup.self.parent",
    node_id = offset "kernfs_node.id",
    /// The depth of the pid namespace, and the ids in it and in all its ancestors.
    level = offset "pid.level",
    numbers = offset "pid.numbers",
    number = offset "upid.nr",
    namespace = offset "upid.ns",
    number_size = size "upid",
    namespace_id = offset "pid_namespace.ns.inum",
}

impl Layout {
    /// What was found since boot. The BTF is long, and is read one page at a time.
    pub(super) fn cached() -> Option<Self> {
        Self::parse(&machine::boot_id().ok()?, &boot_cache::read(FILE)?)
    }

    pub(super) fn store(&self) {
        if let Ok(boot_id) = machine::boot_id() {
            boot_cache::write(FILE, &self.render(&boot_id));
        }
    }
}

fn head(boot_id: &str) -> String {
    format!("format {FORMAT}\nboot {boot_id}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_cached_until_the_next_boot() {
        let layout = Layout::example();
        let text = layout.render("a");
        assert_eq!(Layout::parse("a", &text), Some(layout));
        assert_eq!(Layout::parse("b", &text), None);
        assert_eq!(Layout::parse("a", &text.replacen("format 1", "format 0", 1)), None);
        assert_eq!(Layout::parse("a", &text[..text.len() / 2]), None);
    }
}
