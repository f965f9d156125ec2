//! The kernel that the hook in user space stands for, as programs of objects depend on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use knobgate_bpf::{KernelStructs, KernelSymbol, KernelTypes, TargetKernel};

use crate::task_btf::{kernel_btf, was_renamed};
use crate::{KernelBtf, Profile};

/// What the programs of an object are linked for, on the hook in user space.
///
/// It has the types that [`task_btf`](crate::task_btf) has, or those of [a kernel](Self::btf), the version of its [`Profile`], and the options of a kernel's
/// configuration that it was given. It has neither functions nor variables.
///
/// It does not know what else a kernel has. A program that gets to an access to anything else is rejected as not modelled, also where
/// it asks whether that exists: `bpf_core_field_exists()` or the address of a weak function would otherwise take the way of an older
/// kernel. What the kernel is meant not to have is declared with [`without`](Self::without).
///
/// ```
/// use knobgate_bpf::Object;
/// use knobgate_hook::{ModelKernel, Profile};
///
/// let kernel = ModelKernel::new(Profile::default()).option("CONFIG_HZ", "250");
/// let object = Object::read(include_bytes!("../../../examples/objects/layout.bpf.o"))?;
/// let program = object.program_for(Some("layout"), &kernel)?;
/// # Ok::<(), knobgate_bpf::ObjectError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelKernel {
    profile: Profile,
    own_btf: OnceLock<Vec<u8>>,
    btf: Option<KernelBtf>,
    options: BTreeMap<String, String>,
    without: BTreeSet<String>,
}

impl ModelKernel {
    /// A kernel of this profile, without options.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            own_btf: OnceLock::new(),
            btf: None,
            options: BTreeMap::new(),
            without: BTreeSet::new(),
        }
    }

    /// With the types of a kernel. Programs find the members of structs where that kernel has them, and the model's own structs are
    /// laid out in the same way; a program that gets to an access to any other member is rejected as not modelled. What is not in
    /// the BTF, this kernel does not have.
    ///
    /// ```no_run
    /// use knobgate_hook::prelude::*;
    /// use knobgate_hook::KernelBtf;
    ///
    /// let mut hook = Hook::default();
    /// hook.kernel = hook.kernel.btf(KernelBtf::read(&std::fs::read("/sys/kernel/btf/vmlinux")?)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn btf(mut self, btf: KernelBtf) -> Self {
        self.btf = Some(btf);
        self
    }

    /// With an option of its configuration, as `.config` has it: `CONFIG_HZ` and `250`, `y`, `m`, or a text in quotes. Options that
    /// are not given are not set.
    #[must_use]
    pub fn option(mut self, option: &str, value: &str) -> Self {
        self.options.insert(option.to_owned(), value.to_owned());
        self
    }

    /// Declares that it lacks a field, a value of an enum, a type, a function or a variable: `struct task_struct.no_such_member`,
    /// `enum pid_type::NO_SUCH`, `struct no_such_struct`, `no_such_function`. Without a type, its fields and values are missing too.
    /// What the model has stays.
    #[must_use]
    pub fn without(mut self, what: &str) -> Self {
        self.without.insert(what.to_owned());
        self
    }
}

impl fmt::Display for ModelKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hook in user space (as {})", self.profile)
    }
}

impl TargetKernel for ModelKernel {
    fn btf(&self) -> Result<&[u8], String> {
        Ok(match &self.btf {
            Some(btf) => btf.bytes(),
            None => self.own_btf.get_or_init(|| kernel_btf(&self.profile)),
        })
    }

    fn types(&self) -> Option<&KernelTypes> {
        self.btf.as_ref().map(KernelBtf::types)
    }

    fn version_code(&self) -> Result<u32, String> {
        let mut numbers = self.profile.name.split('.').map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0u32).min(255);
        Ok(next() << 16 | next() << 8 | next())
    }

    fn config(&self, option: &str) -> Result<Option<String>, String> {
        Ok(self.options.get(option).cloned())
    }

    fn symbol(&self, _: &str) -> Result<Option<KernelSymbol>, String> {
        Ok(None)
    }

    fn lacks(&self, what: &str) -> bool {
        let end = what.find(['.', ':']).unwrap_or(what.len());
        let was_renamed = self.btf.is_none() && was_renamed(&self.profile, what);
        was_renamed || self.without.contains(what) || self.without.contains(&what[..end])
    }

    fn has_code(&self) -> bool {
        false
    }

    fn structs(&self) -> Option<Arc<KernelStructs>> {
        self.btf.as_ref().map(|btf| btf.structs().clone())
    }
}
