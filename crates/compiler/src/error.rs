//! Why a policy cannot be compiled, and where its program is stricter than the policy.

use knobgate_bpf::AsmError;
use knobgate_bpf::uapi;
use knobgate_policy::Errno;

/// The most instructions of one program: `BPF_COMPLEXITY_LIMIT_INSNS` in include/linux/bpf.h.
pub const INSTRUCTIONS_MAX: usize = uapi::BPF_COMPLEXITY_LIMIT_INSNS;

/// The most rounds of one loop: `BPF_MAX_LOOPS` in include/linux/bpf.h.
pub(crate) const LOOPS_MAX: usize = uapi::BPF_MAX_LOOPS as usize;

/// How many steps building the automaton for names may take.
pub(crate) const NAME_STEPS_MAX: usize = 1 << 26;

/// How many steps building all automata for texts may take together.
pub(crate) const TEXT_STEPS_MAX: usize = 1 << 28;

/// Why a policy cannot be compiled. Rules are named by their index in the policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The patterns of the policy, up to those of this rule, make too large an automaton.
    #[error(
        "the patterns up to this rule make an automaton of more than {} states and byte classes together, or take more \
         than {} steps to make it",
        knobgate_glob::ENTRIES_MAX,
        NAME_STEPS_MAX
    )]
    PatternsTooComplex {
        /// The rule.
        rule: usize,
    },
    /// A text pattern, or a set for `ranges`, of this rule makes too large an automaton.
    #[error(
        "the text pattern or the set of ranges makes an automaton of more than {} states and byte classes together, or \
         those up to this rule take more than {} steps",
        knobgate_glob::ENTRIES_MAX,
        TEXT_STEPS_MAX
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
    /// The program, up to this rule, is more than the kernel's verifier can be expected to follow.
    #[error(
        "up to this rule the policy is about {INSTRUCTIONS_MAX} instructions of work for the kernel's verifier, which is as \
         much as it does{}",
        if *bpf_loop { "" } else { "; a kernel with bpf_loop (Linux 5.17) takes more such rules" }
    )]
    TooMuchToVerify {
        /// The rule.
        rule: usize,
        /// Whether the kernel has `bpf_loop`, which makes many conditions less work.
        bpf_loop: bool,
    },
    /// The rules for some name, from this one on, make more tests than one loop has rounds.
    #[error(
        "the conditions from this rule on are more than {} tests for one name, which is as many as a kernel makes",
        LOOPS_MAX
    )]
    TooManyTests {
        /// The rule.
        rule: usize,
    },
    /// The rule has an operand that programs cannot get on this kernel.
    #[error("this kernel does not let cgroup/sysctl programs read `{operand}`")]
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
            | Self::TooMuchToVerify { rule, .. }
            | Self::TooManyTests { rule }
            | Self::NotOnThisKernel { rule, .. } => Some(rule),
            Self::Assemble(_) => None,
        }
    }
}

/// Something that a policy asks for and the kernel cannot do, so that the program is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Degradation {
    /// Programs cannot loop over a value: rules that look at one of more than [`SHORT_VALUE_MAX`](knobgate_policy::limits::SHORT_VALUE_MAX) bytes cannot
    /// be evaluated.
    LongValuesAreDenied,
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
