//! Reading the BTF of a kernel.

use std::path::Path;

use knobgate_hook::KernelBtf;

use crate::failure::Failure;
use crate::limited;

/// The BTF in a file.
pub(super) fn read(path: &Path) -> Result<KernelBtf, Failure> {
    let cannot_read = || Failure::usage(format!("cannot read the BTF in {}", path.display()));
    let bytes =
        limited::read_file(path, KernelBtf::FILE_MAX).map_err(|error| cannot_read().because(error))?;
    KernelBtf::read(&bytes).map_err(|error| cannot_read().because(error))
}
