//! Descriptions of kernels.

/// What differs between kernels, as far as programs of this hook can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// What people call it: `6.18`, `6.12-before-fixes`.
    pub name: &'static str,
}
