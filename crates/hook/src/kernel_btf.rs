//! The BTF of another kernel, for the hook in user space.

use std::fmt;
use std::sync::Arc;

use knobgate_bpf::{BtfFileError, KernelStructs, KernelTypes, LayoutError, btf_of_file};

use crate::machine::room_for;
use crate::task_btf::all_structs;

/// The BTF of a kernel, with which a [`ModelKernel`](crate::ModelKernel) has the types of that kernel. Clones share it.
#[derive(Clone)]
pub struct KernelBtf {
    types: Arc<KernelTypes>,
    structs: Arc<KernelStructs>,
}

/// Why a file cannot be used as the BTF of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelBtfError {
    /// It is longer than [`KernelBtf::FILE_MAX`].
    #[error(
        "it has more than {} MiB; those of distributions have less than 10, without what vmlinux has beside it \
         (objcopy --dump-section .BTF=FILE vmlinux)",
        KernelBtf::FILE_MAX >> 20
    )]
    TooLong,
    /// There is none in it.
    #[error(transparent)]
    File(#[from] BtfFileError),
    /// It is not that of a kernel, or of one for another kind of machine.
    #[error("its BTF cannot be used: {0}")]
    Layout(#[from] LayoutError),
}

impl KernelBtf {
    /// The longest file, in bytes.
    pub const FILE_MAX: usize = 64 << 20;

    /// Takes the BTF of a kernel from the bytes of a file: one such as `/sys/kernel/btf/vmlinux`, or an ELF file with a section
    /// `.BTF`, such as `vmlinux`.
    ///
    /// # Errors
    ///
    /// [`KernelBtfError`]
    pub fn read(file: &[u8]) -> Result<Self, KernelBtfError> {
        if file.len() > Self::FILE_MAX {
            return Err(KernelBtfError::TooLong);
        }
        let bytes = btf_of_file(file)?;
        let types = KernelTypes::read(bytes.into()).ok_or(LayoutError::Unreadable)?;
        let structs = KernelStructs::of_kernel(&types, all_structs())?;
        for of in structs.all() {
            if of.size > room_for(of.name) {
                return Err(LayoutError::TooLarge { name: of.name, size: of.size }.into());
            }
        }
        Ok(Self { types: Arc::new(types), structs: Arc::new(structs) })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.types.btf()
    }

    pub(crate) fn types(&self) -> &KernelTypes {
        &self.types
    }

    /// The structs of the model in the layout of this kernel.
    pub fn structs(&self) -> &Arc<KernelStructs> {
        &self.structs
    }
}

/// All else is made from the bytes.
impl PartialEq for KernelBtf {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for KernelBtf {}

impl fmt::Debug for KernelBtf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelBtf").field("bytes", &self.bytes().len()).finish_non_exhaustive()
    }
}
