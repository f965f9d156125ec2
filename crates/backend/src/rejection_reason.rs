//! Why a program is rejected, in the same words on the model and on every kernel.
//!
//! The model uses the words of the kernel's verifier, and adds the instruction. What both know is kept; what only one of
//! them knows is left out. Wordings also differ between kernels.

#[cfg(feature = "kernel")]
use knobgate_bpf::uapi::BPF_COMPLEXITY_LIMIT_INSNS;
#[cfg(feature = "kernel")]
use knobgate_hook::Rejection;

/// The starts of messages, and how much of each message is kept.
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
    ("Unreleased reference", Kept::Start),
    ("div by zero", Kept::Start),
    ("the call stack of", Kept::Line),
    ("recursive call", Kept::Start),
];

/// Parts of messages, each with the wording that replaces the whole message.
const CONTAINED: &[(&str, &str)] = &[
    // From kernels without function addresses, about a program with function names.
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

/// How messages about an unavailable helper start. The model only knows the names of this hook's helpers.
const HELPERS: &[&str] = &["program of this type cannot use helper ", "invalid func ", "unknown func "];

#[derive(Debug, Clone, Copy)]
enum Kept {
    /// All of it.
    Line,
    /// The start.
    Start,
}

/// The reason in `text`, the last message of the verifier or the model.
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
    if let Some(reason) = register_at(text) {
        return reason;
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

/// What is wrong with a register that is returned or passed: `At program exit the register R0 … should have been in [0, 1]`, or `…
/// is not a known value`. What it was is left out. Kernels before 6.8 write the range as `(0x0; 0x1)`: a value, and the mask of
/// the bits that may be set as well.
fn register_at(text: &str) -> Option<String> {
    let (at, rest) = text.strip_prefix("At ")?.split_once(" the register R")?;
    let (register, found) = rest.split_once(' ')?;
    let whole = |what: &str| Some(format!("At {at} the register R{register} {what}"));
    if found.starts_with("is not a known value") {
        return whole("is not a known value");
    }
    let (_, range) = found.split_once("should have been in ")?;
    let known_bits = range.strip_prefix("(0x").and_then(|range| range.strip_suffix(')')?.split_once("; 0x"));
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    match known_bits.and_then(|(value, mask)| Some((number(value)?, number(mask)?))) {
        Some((value, mask)) => whole(&format!("should have been in [{value}, {}]", value | mask)),
        None => whole(&format!("should have been in {range}")),
    }
}

/// Why a program of so many instructions is too large; `message` is the verifier's, if it ran.
#[cfg(feature = "kernel")]
pub(crate) fn too_large(insns: usize, message: &str) -> String {
    match insns {
        0 => Rejection::Empty.to_string(),
        _ if insns > BPF_COMPLEXITY_LIMIT_INSNS => Rejection::TooLarge { insns }.to_string(),
        _ => reason(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_wordings_of_a_reason_become_one() {
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
                    "At callback return the register R0 has value (0x2; 0x0) should have been in (0x0; 0x1)",
                    "instruction 5: At callback return the register R0 has smin=2 smax=2 should have been in [0, 1]",
                ],
                "At callback return the register R0 should have been in [0, 1]",
            ),
            (
                &[
                    "At program exit the register R0 is not a known value (ctx)",
                    "instruction 1: At program exit the register R0 is not a known value (ctx)",
                    "At program exit the register R0 is not a known value (map_value)",
                ],
                "At program exit the register R0 is not a known value",
            ),
            (
                &["the id of the object should have been in the first field"],
                "the id of the object should have been in the first field",
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
