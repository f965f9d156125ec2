//! The knobs that a machine has.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use knobgate_catalogue::{Kernel, Kernels, Knob, Mode, Variant, kernels};
use knobgate_kernel::knob_names_below;
use knobgate_policy::KnobName;

use crate::failure::Failure;
use crate::knob_value::KnobValue;

/// The knobs of a machine, or of what a process sees of it.
pub(super) struct ThisMachine {
    proc_sys: PathBuf,
    /// Its kernel, such as `6.18.44`.
    release: Option<String>,
    /// Sorted.
    names: Vec<KnobName>,
}

impl ThisMachine {
    /// The knobs of a directory like `/proc/sys`.
    ///
    /// # Errors
    /// It cannot be listed.
    pub(super) fn at(proc_sys: PathBuf) -> Result<Self, Failure> {
        let names = knob_names_below(&proc_sys).map_err(|error| {
            Failure::machine(format!("cannot list the knobs of {}", proc_sys.display())).because(error)
        })?;
        let names = names.into_iter().filter_map(|name| KnobName::from_path(name).ok()).collect();
        let release = fs::read_to_string(proc_sys.join("kernel/osrelease")).ok();
        Ok(Self { release: release.map(|release| release.trim().to_owned()), proc_sys, names })
    }

    /// A machine about which nothing is known.
    pub(super) fn unknown(proc_sys: PathBuf) -> Self {
        Self { proc_sys, release: None, names: Vec::new() }
    }

    pub(super) fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    pub(super) fn names(&self) -> &[KnobName] {
        &self.names
    }

    /// Its series, such as `6.18`, if the catalogue was made from a kernel of that.
    pub(super) fn series(&self) -> Option<&'static str> {
        let of_release = self.release()?;
        let is_of = |series: &str| {
            let rest = of_release.strip_prefix(series);
            rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        };
        kernels().iter().map(Kernel::series).find(|series| is_of(series))
    }

    /// Whether a kernel like the machine's is one of these.
    pub(super) fn is_in(&self, kernels: Kernels) -> bool {
        self.series().is_some_and(|series| kernels.contains(series))
    }

    /// What the catalogue says about the knob on a kernel like the machine's, or on the newest.
    pub(super) fn variant(&self, knob: &'static Knob) -> &'static Variant {
        let of_machine = knob.variants().iter().find(|variant| self.is_in(variant.kernels()));
        of_machine.unwrap_or_else(|| knob.newest())
    }

    /// The mode of the knob.
    pub(super) fn mode(&self, name: &KnobName) -> Option<Mode> {
        let path = self.proc_sys.join(OsStr::from_bytes(name.as_bytes()));
        let bits = fs::metadata(path).ok()?.mode() & 0o7777;
        u16::try_from(bits).ok().and_then(Mode::new)
    }

    /// The value of the knob.
    pub(super) fn value(&self, name: &KnobName) -> KnobValue {
        KnobValue::read_below(&self.proc_sys, name)
    }
}
