//! What is known about the knobs of `/proc/sys`: a catalogue that needs no kernel.
//!
//! **In** comes the name of a knob in canonical form, like `net/ipv4/conf/eth0/rp_filter`. **Out** comes a [`Knob`]:
//! which kernels have it, who may write it, what its handler takes, whose it is, and what it does.
//!
//! ```
//! use knobgate_catalogue::{Kind, Scope, find};
//!
//! let knob = find(b"net/ipv4/conf/eth0/rp_filter").ok_or("not in the catalogue")?;
//! assert_eq!(knob.pattern(), "net/ipv4/conf/<interface>/rp_filter");
//! assert_eq!((knob.newest().kind(), knob.newest().scope()), (Kind::Int, Scope::Network));
//! assert!(knob.kernels().contains("6.12"));
//!
//! let knob = find(b"net/ipv4/ip_forward").ok_or("not in the catalogue")?;
//! assert_eq!(knob.alias_of(), Some("net/ipv4/conf/all/forwarding"));
//! # Ok::<(), &str>(())
//! ```
//!
//! # Patterns
//!
//! A pattern is a name in which a component in angle brackets stands for any one component: see [`PLACEHOLDERS`]. Where
//! two patterns match a name, the one with the earlier literal component is [found](find):
//! `net/ipv4/conf/all/forwarding` has an entry of its own, and the entry of `net/ipv4/conf/<interface>/forwarding` is
//! about all other directories.
//!
//! # The data
//!
//! | file | has | is written by |
//! | --- | --- | --- |
//! | `data/kernels.tsv` | the kernels that were asked | `.ci/knobs` |
//! | `data/tables.tsv` | what the tables of these kernels say: a line for each knob and [`Variant`] | `.ci/knobs` |
//! | `data/handlers.tsv` | what each handler parses | hand |
//! | `data/knobs.tsv` | what no table says: effects, secrets, and one line about each knob | hand |
//!
//! The kernels are Debian's for amd64. A variant without kernels is written by hand: it is about a knob that none of them has,
//! because they were built without it, and its facts are from the kernel's sources.
//!
//! A few bounds depend on the machine, and are those of a small virtual one: those of `vm/mmap_rnd_bits`, the greatest number of
//! `kernel/hung_task_timeout_secs`, and the least ones of buffers of sockets. Where a bound is the value of another knob, there
//! is [none](Variant::bounds).
//!
//! No knob belongs to a mount namespace: `fs/binfmt_misc`, which does, is a file system of its own.
#![forbid(unsafe_code)]

pub mod facts;
mod handler;
mod index;
mod kernels;
mod knob;
mod parse;
mod variant;
mod width;

use std::sync::LazyLock;

pub use handler::Kind;
pub use kernels::{Kernel, Kernels};
pub use knob::{Knob, OneWay};
pub use variant::{Mode, Scope, Variant};
pub use width::{Normalisation, Width};

/// The placeholders of patterns, each with what it stands for.
pub const PLACEHOLDERS: [(&str, &str); 7] = [
    ("<cpu>", "a CPU, such as `cpu0`"),
    ("<device>", "a device of this kind, such as `parport0` or `cdrom`"),
    ("<domain>", "a scheduling domain, such as `domain0`"),
    ("<interface>", "a network interface, or `all` or `default`"),
    ("<number>", "a number"),
    ("<port>", "a port of a device"),
    ("<service>", "a service of the kernel that has knobs for each instance of it"),
];

static CATALOGUE: LazyLock<parse::Catalogue> =
    LazyLock::new(|| parse::Catalogue::built_in().unwrap_or_else(|error| panic!("{error}")));

/// All knobs, sorted by pattern.
pub fn all() -> &'static [Knob] {
    &CATALOGUE.knobs
}

/// The kernels that were asked, oldest first.
pub fn kernels() -> &'static [Kernel] {
    kernels::all()
}

/// The entry for the knob with this name, in canonical form: the path below `/proc/sys`, with slashes.
pub fn find(name: &[u8]) -> Option<&'static Knob> {
    CATALOGUE.index.find(name).map(|at| &CATALOGUE.knobs[at])
}
