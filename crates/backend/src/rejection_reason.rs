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

/// Other wordings of a reason, each with the one that replaces the whole message. Names from objects are never at these places.
const REPLACED: &[(Part, &str)] = &[
    // From kernels without function addresses, about a program with function names.
    (Part::Start("number of funcs in func_info"), "unrecognized bpf_ld_imm64 insn"),
    (Part::Start("unknown opcode "), NO_INSTRUCTION),
    (Part::End(" uses reserved fields"), NO_INSTRUCTION),
    // The last line of the verifier's log, of which the line before is the reason.
    (Part::End(" would lead to reference leak"), "Unreleased reference"),
];

/// How a message starts or ends.
#[derive(Debug, Clone, Copy)]
enum Part {
    Start(&'static str),
    End(&'static str),
}

impl Part {
    fn is_of(self, text: &str) -> bool {
        match self {
            Self::Start(start) => text.starts_with(start),
            Self::End(end) => text.ends_with(end),
        }
    }
}

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
    if let Some(reason) = stack_bounds(text) {
        return reason;
    }
    let replaced = REPLACED.iter().find(|(part, _)| part.is_of(text));
    replaced.map_or(text, |(_, whole)| whole).to_owned()
}

/// An access beyond the stack. Kernels before 5.12 say neither what it does nor through which register.
fn stack_bounds(text: &str) -> Option<String> {
    let newer = ["invalid write to stack R", "invalid read from stack R"];
    let access = newer.iter().find_map(|start| Some(text.strip_prefix(start)?.split_once(' ')?.1))?;
    access.starts_with("off=").then(|| format!("invalid stack {access}"))
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
            (
                &[
                    "Unreleased reference id=2 alloc_insn=3",
                    "instruction 7: BPF_EXIT instruction in main prog would lead to reference leak",
                ],
                "Unreleased reference",
            ),
            (
                &[
                    "instruction 0: invalid write to stack R10 off=-520 size=8",
                    "invalid stack off=-520 size=8",
                ],
                "invalid stack off=-520 size=8",
            ),
            (
                &["instruction 5: invalid read from stack R2 off -8+0 size 8"],
                "invalid read from stack R2 off -8+0 size 8",
            ),
            (
                &["instruction 1: BPF_ST stores into R1 ctx is not allowed"],
                "BPF_ST stores into R1 ctx is not allowed",
            ),
            (
                &["unknown opcode ff", "BPF_ALU uses reserved fields", "instruction 0: unknown opcode ff"],
                "no such instruction",
            ),
            (
                &["the map \"stack R\" stores into, to the stack: stack off"],
                "the map \"stack R\" stores into, to the stack: stack off",
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
