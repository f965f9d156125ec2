//! Why a program is refused, in words that are the same wherever it is.
//!
//! The model says what the kernel's verifier says, and names the instruction as well; what both know is kept, and what
//! one of them alone knows is left out. Kernels say some of it in other words, too.

/// What is kept of a text that starts so: the text, up to what the place or the kernel adds to it.
const REASONS: &[(&str, Kept)] = &[
    ("invalid bpf_context access", Kept::Line),
    ("unreachable insn", Kept::Line),
    ("last insn is not an exit or jmp", Kept::Line),
    ("frame pointer is read only", Kept::Line),
    ("BPF_LD_[ABS|IND] instructions not allowed", Kept::Start),
    ("jump out of range", Kept::Start),
    ("back-edge from insn", Kept::Start),
    ("infinite loop detected", Kept::Start),
    ("combined stack size", Kept::Start),
    ("the call stack of", Kept::Line),
    ("recursive call", Kept::Start),
];

/// Texts in which the reason is somewhere, with what stands for all of them.
const CONTAINED: &[(&str, &str)] = &[
    ("At bpf_set_retval", "At bpf_set_retval the register R1 should have been in [-4095, 0]"),
    ("should have been in", "At program exit the register R0 should have been in [0, 1]"),
    // What kernels say that know no addresses of functions, of a program that names its functions.
    ("number of funcs in func_info", "unrecognized bpf_ld_imm64 insn"),
    ("unknown opcode", NO_INSTRUCTION),
    ("uses reserved fields", NO_INSTRUCTION),
    ("is not a BPF instruction", NO_INSTRUCTION),
    ("stores into", "stores into the context are not allowed"),
    ("to the stack", "invalid access to the stack"),
    ("stack R", "invalid access to the stack"),
    ("stack off", "invalid access to the stack"),
];

const NO_INSTRUCTION: &str = "no such instruction";

/// How a helper is refused that is not for the program. The model has names for those of this hook alone.
const HELPERS: &[&str] = &["program of this type cannot use helper ", "invalid func ", "unknown func "];

#[derive(Debug, Clone, Copy)]
enum Kept {
    /// All of it.
    Line,
    /// The words by which it is known.
    Start,
}

/// The reason in `text`, which is what the verifier or the model says last.
pub(crate) fn reason(text: &str) -> String {
    let text = text.trim();
    let text = match text.strip_prefix("instruction ").and_then(|rest| rest.split_once(": ")) {
        Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => text,
    };
    if HELPERS.iter().any(|start| text.starts_with(start))
        && let Some((_, number)) = text.split_once('#')
    {
        return format!("program of this type cannot use helper #{number}");
    }
    for (start, kept) in REASONS {
        if text.starts_with(start) {
            return match kept {
                Kept::Line => text,
                Kept::Start => start,
            }
            .to_owned();
        }
    }
    let contained = CONTAINED.iter().find(|(part, _)| text.contains(part));
    contained.map_or(text, |(_, whole)| whole).to_owned()
}

/// The reason why a program of so many instructions is too large; `said` is what the verifier says, if it came so far.
#[cfg(feature = "kernel")]
pub(crate) fn too_large(insns: usize, said: &str) -> String {
    match insns {
        0 => "the program has no instructions".to_owned(),
        1_000_001.. => format!("the program has {insns} instructions; 1000000 is the most"),
        _ => reason(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reason_is_the_same_in_other_words() {
        for (texts, expected) in [
            (
                &[
                    "instruction 3: invalid bpf_context access off=8 size=4",
                    "invalid bpf_context access off=8 size=4",
                ][..],
                "invalid bpf_context access off=8 size=4",
            ),
            (
                &[
                    "At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]",
                    "At program exit the register R0 has value (0x2; 0x0) should have been in (0x0; 0x1)",
                    "instruction 1: At program exit the register R0 has unknown scalar value should have been in [0, 1]",
                ],
                "At program exit the register R0 should have been in [0, 1]",
            ),
            (
                &[
                    "At bpf_set_retval the register R1 has smin=5 smax=5 should have been in [-4095, 0]",
                    "instruction 1: At bpf_set_retval the register R1 has value 5 should have been in [-4095, 0]",
                ],
                "At bpf_set_retval the register R1 should have been in [-4095, 0]",
            ),
            (
                &[
                    "instruction 1: unrecognized bpf_ld_imm64 insn",
                    "unrecognized bpf_ld_imm64 insn",
                    "number of funcs in func_info doesn't match number of subprogs",
                ],
                "unrecognized bpf_ld_imm64 insn",
            ),
            (
                &["jump out of range from insn 0 to 9", "instruction 0: jump out of range to instruction 9"],
                "jump out of range",
            ),
            (
                &[
                    "instruction 0: invalid func unknown#26",
                    "program of this type cannot use helper bpf_skb_load_bytes#26",
                    "unknown func bpf_skb_load_bytes#26",
                ],
                "program of this type cannot use helper #26",
            ),
            (&["instruction 0: R3 !read_ok", "R3 !read_ok"], "R3 !read_ok"),
            (&["unreachable insn 4", " unreachable insn 4\n"], "unreachable insn 4"),
        ] {
            for text in texts {
                assert_eq!(reason(text), expected, "{text}");
            }
        }
    }
}
