//! What can go wrong, and what a kernel makes of a policy that it cannot carry out in full.

use knobgate_bpf::AsmError;
use knobgate_policy::Errno;

/// The most instructions that a kernel takes in one program: `BPF_COMPLEXITY_LIMIT_INSNS` in include/linux/bpf.h.
pub const INSTRUCTIONS_MAX: usize = 1_000_000;

/// Why a policy cannot be compiled. Rules are named by their index in the policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The patterns of the policy, up to those of this rule, make too large an automaton.
    #[error(
        "the patterns up to this rule make an automaton of more than {} states and byte classes together",
        crate::table::ENTRIES_MAX
    )]
    PatternsTooComplex {
        /// The rule.
        rule: usize,
    },
    /// A text pattern of this rule makes too large an automaton.
    #[error(
        "the text pattern makes an automaton of more than {} states and byte classes together",
        crate::table::ENTRIES_MAX
    )]
    TextTooComplex {
        /// The rule.
        rule: usize,
    },
    /// The program, up to this rule, has too many instructions.
    #[error(
        "the program has more than {INSTRUCTIONS_MAX} instructions up to this rule, which is as many as a kernel takes"
    )]
    TooManyInstructions {
        /// The rule.
        rule: usize,
    },
    /// The rule asks for something that the kernel cannot tell.
    #[error("this kernel gives programs of this type no `{operand}`")]
    NotOnThisKernel {
        /// The rule.
        rule: usize,
        /// The operand of the language.
        operand: &'static str,
    },
    /// The code could not be assembled.
    #[error("cannot assemble the program")]
    Assemble(#[from] AsmError),
}

impl CompileError {
    /// The rule that it is about.
    pub fn rule(&self) -> Option<usize> {
        match *self {
            Self::PatternsTooComplex { rule }
            | Self::TextTooComplex { rule }
            | Self::TooManyInstructions { rule }
            | Self::NotOnThisKernel { rule, .. } => Some(rule),
            Self::Assemble(_) => None,
        }
    }
}

/// Something that a policy asks for and the kernel cannot do, and for which the program does something stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Degradation {
    /// The kernel has no `bpf_set_retval`: denials with this errno are `EPERM`.
    ErrnoIsEperm(Errno),
    /// The kernel drops replaced values: wherever this rule would rewrite, it denies with `EPERM`.
    RewriteIsDenied {
        /// The rule.
        rule: usize,
    },
    /// The kernel lets no program write its stack at a computed offset: wherever a number is outside of its range,
    /// this clamp of several numbers denies with `EPERM`.
    VectorClampIsDenied {
        /// The rule.
        rule: usize,
    },
}
