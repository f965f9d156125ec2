//! The kernel that a program is linked for.

use std::fmt;
use std::sync::Arc;

use super::link_env::KernelTypes;
use crate::KernelStructs;

/// A kernel, as far as a program depends on it: its types (CO-RE), its configuration (kconfig), and its functions and variables
/// (kfuncs and ksyms).
///
/// `knobgate_kernel::RunningKernel` is the running one, `knobgate_hook::ModelKernel` the one that the hook in user space
/// stands for. `Display` is how messages call it, as in `Linux 6.18.44`.
///
/// Every error is the reason why the answer is not known.
pub trait TargetKernel: fmt::Display {
    /// Its types: what `/sys/kernel/btf/vmlinux` holds.
    ///
    /// # Errors
    ///
    /// It has none, or they cannot be read.
    fn btf(&self) -> Result<&[u8], String>;

    /// The same, if it was read before. Otherwise it is read once for each program.
    fn types(&self) -> Option<&KernelTypes> {
        None
    }

    /// `LINUX_VERSION_CODE`: a byte each for the major number, the minor number and the patch level.
    ///
    /// # Errors
    ///
    /// It is not known.
    fn version_code(&self) -> Result<u32, String>;

    /// The value of an option such as `CONFIG_HZ`, as `.config` has it: `y`, `m`, a number, or a text in quotes. `None`: it is not
    /// set.
    ///
    /// # Errors
    ///
    /// The configuration is not known.
    fn config(&self, option: &str) -> Result<Option<String>, String>;

    /// A symbol of the kernel or of a module.
    ///
    /// # Errors
    ///
    /// The symbols are not known, or there are several of that name.
    fn symbol(&self, name: &str) -> Result<Option<KernelSymbol>, String>;

    /// Whether it certainly lacks something that neither its BTF nor its symbols have. Of a whole kernel that is always so. A model
    /// knows only a part of the kernel that it stands for, and what else that has is unknown.
    ///
    /// `what` has no flavour, and is written like `struct task_struct.cred`, `enum pid_type::PIDTYPE_PID`, `struct rq`, or
    /// `bpf_iter_num_new`.
    fn lacks(&self, what: &str) -> bool;

    /// Whether programs can call its functions and read its variables. A model has neither.
    fn has_code(&self) -> bool;

    /// The structs that a model has in its memory, if they are laid out as in the [BTF](Self::btf) of a kernel. The BTF then also
    /// has what the model does not: a program that accesses that is rejected as not modelled. Types and members that the BTF does not
    /// have, the kernel lacks. `None`: all that the BTF has is there, and [`lacks`](Self::lacks) tells about the rest.
    fn structs(&self) -> Option<Arc<KernelStructs>> {
        None
    }
}

/// A function or variable of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSymbol {
    /// Its address.
    pub address: u64,
    /// The module that it is in; `None`: in the kernel itself.
    pub module: Option<String>,
}

/// No kernel at all: programs that depend on one cannot be linked for it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NoKernel;

const NOTHING_KNOWN: &str = "it is not known which kernel the program is for";

impl fmt::Display for NoKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an unknown kernel")
    }
}

impl TargetKernel for NoKernel {
    fn btf(&self) -> Result<&[u8], String> {
        Err(NOTHING_KNOWN.to_owned())
    }

    fn version_code(&self) -> Result<u32, String> {
        Err(NOTHING_KNOWN.to_owned())
    }

    fn config(&self, _: &str) -> Result<Option<String>, String> {
        Err(NOTHING_KNOWN.to_owned())
    }

    fn symbol(&self, _: &str) -> Result<Option<KernelSymbol>, String> {
        Err(NOTHING_KNOWN.to_owned())
    }

    fn lacks(&self, _: &str) -> bool {
        false
    }

    fn has_code(&self) -> bool {
        false
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A kernel with these types and nothing else, or a model that knows no others.
    pub(crate) struct Kernel {
        pub(crate) btf: Vec<u8>,
        pub(crate) is_model: bool,
        /// The structs of a model that has the types of a whole kernel.
        pub(crate) structs: Option<Arc<KernelStructs>>,
    }

    impl fmt::Display for Kernel {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the kernel")
        }
    }

    impl TargetKernel for Kernel {
        fn btf(&self) -> Result<&[u8], String> {
            Ok(&self.btf)
        }

        fn version_code(&self) -> Result<u32, String> {
            Ok(0)
        }

        fn config(&self, _: &str) -> Result<Option<String>, String> {
            Ok(None)
        }

        fn symbol(&self, _: &str) -> Result<Option<KernelSymbol>, String> {
            Ok(None)
        }

        fn lacks(&self, what: &str) -> bool {
            !self.is_model || what == "struct s.absent"
        }

        fn has_code(&self) -> bool {
            !self.is_model
        }

        fn structs(&self) -> Option<Arc<KernelStructs>> {
            self.structs.clone()
        }
    }
}
