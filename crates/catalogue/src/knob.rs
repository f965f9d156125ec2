//! One entry of the catalogue.

use crate::{Kernels, Normalisation, Variant, Width};

/// What is known about a knob, or about all knobs that a pattern matches.
#[derive(Debug, Clone)]
pub struct Knob {
    pub(crate) pattern: &'static str,
    pub(crate) variants: Vec<Variant>,
    pub(crate) acts: bool,
    pub(crate) one_way: Option<OneWay>,
    pub(crate) is_secret: bool,
    pub(crate) bounds_vary: bool,
    pub(crate) alias_of: Option<&'static str>,
    pub(crate) reaches: Vec<&'static str>,
    pub(crate) width: Width,
    pub(crate) stores: Option<Normalisation>,
    pub(crate) summary: &'static str,
}

impl Knob {
    /// Its name in canonical form: with slashes, and with a placeholder where a component differs from machine to machine.
    pub fn pattern(&self) -> &'static str {
        self.pattern
    }

    /// Whether the pattern has no placeholder, and so is the name of a knob.
    pub fn is_literal(&self) -> bool {
        !self.pattern.contains('<')
    }

    /// The kernels that have the knob, of those that were [asked](crate::kernels()).
    pub fn kernels(&self) -> Kernels {
        self.variants.iter().fold(Kernels::default(), |all, variant| all.and(variant.kernels))
    }

    /// What the kernel's tables say, where kernels differ: newest first. There is at least one.
    pub fn variants(&self) -> &[Variant] {
        &self.variants
    }

    /// What the newest kernel with this knob says about it.
    pub fn newest(&self) -> &Variant {
        &self.variants[0]
    }

    /// Whether each write makes the kernel do something at once, even if it changes no value: `vm/drop_caches`.
    pub fn acts(&self) -> bool {
        self.acts
    }

    /// Whether the [bounds](Variant::bounds) depend on the machine: its architecture, its memory, or how its kernel was built.
    pub fn bounds_vary(&self) -> bool {
        self.bounds_vary
    }

    /// Whether the value can only go one way until the machine, or the namespace, is new.
    pub fn one_way(&self) -> Option<OneWay> {
        self.one_way
    }

    /// Whether the value is secret.
    pub fn is_secret(&self) -> bool {
        self.is_secret
    }

    /// The pattern of the knob that has the same value: a write to one of them changes both.
    pub fn alias_of(&self) -> Option<&'static str> {
        self.alias_of
    }

    /// The patterns of other knobs whose values a write to this one also changes.
    pub fn reaches(&self) -> &[&'static str] {
        &self.reaches
    }

    /// Which numbers it stores unchanged, on every kernel that has it.
    pub fn width(&self) -> Width {
        self.width
    }

    /// How it changes what is written, if it does.
    pub fn stores(&self) -> Option<Normalisation> {
        self.stores
    }

    /// What it does, in one line that begins with a small letter and ends without a dot.
    pub fn summary(&self) -> &'static str {
        self.summary
    }
}

/// The one way that a value can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OneWay {
    /// A write can raise it, or set bits, and not undo that: `kernel/modules_disabled`.
    Up,
    /// A write can lower it, or clear bits, and not undo that: `kernel/kexec_load_limit_panic`.
    Down,
    /// It can be changed until a certain value is written, which is final: 3 for `kernel/yama/ptrace_scope`. For
    /// `net/vsock/child_ns_mode`, the first write is.
    Final,
}
