//! Options of the kernel's configuration, as programs see them (kconfig): a read-only map with a value for each.

use super::externs::Extern;
use super::target_kernel::TargetKernel;
use crate::MapDef;
use crate::btf_types::{INT, INT_IS_BOOL, INT_IS_SIGNED, Type, Types};

/// The name of the map, and of the section that declares its variables.
pub(super) const KCONFIG: &str = ".kconfig";

/// The most bytes of all options of an object. A text in `.config` has at most some thousands.
const BYTES_MAX: usize = 1 << 20;

/// How a program wants to see an option.
enum OptionType {
    Bool,
    /// `enum libbpf_tristate`: 0 for no, 1 for yes, 2 for a module.
    Tristate {
        size: usize,
    },
    /// One character: the letter of a tristate, or a number.
    Char {
        signed: bool,
    },
    Integer {
        size: usize,
        signed: bool,
    },
    /// A text of at most this many bytes, with its NUL.
    Text {
        size: usize,
    },
}

/// Where an option is in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionPlace {
    /// At this offset.
    Offset(u32),
    /// The kernel is a model, which was not given it.
    NotModelled,
    /// It is no option.
    NotAnOption,
}

/// The map with the values of all options that an object declares, and where each is. It is the same for all its programs.
///
/// # Errors
///
/// What is wrong with one of them.
pub(super) fn kconfig(
    externs: &[Extern],
    types: &Types<'_>,
    kernel: &dyn TargetKernel,
) -> Result<(MapDef, Vec<OptionPlace>), String> {
    let mut value = Vec::new();
    let mut places = Vec::new();
    for option in externs {
        let place = if option.is_option {
            let in_context = |why| format!("the option {} (kconfig): {why}", option.name);
            let wanted = OptionType::declared(option, types).map_err(in_context)?;
            let (size, align) = wanted.size_and_align();
            let place = value.len().next_multiple_of(align);
            if place.saturating_add(size) > BYTES_MAX {
                return Err(in_context(format!("all options together have more than {BYTES_MAX} bytes")));
            }
            let Some(bytes) = bytes_of(option, &wanted, kernel).map_err(in_context)? else {
                places.push(OptionPlace::NotModelled);
                continue;
            };
            value.resize(place, 0);
            value.extend(bytes);
            value.resize(place + size, 0);
            OptionPlace::Offset(place as u32)
        } else {
            OptionPlace::NotAnOption
        };
        places.push(place);
    }
    Ok((MapDef::frozen_value(KCONFIG, value), places))
}

/// The value of an option in memory, without zeros at its end. `None`: the kernel is a model, which was not given the option.
fn bytes_of(
    option: &Extern,
    wanted: &OptionType,
    kernel: &dyn TargetKernel,
) -> Result<Option<Vec<u8>>, String> {
    match value_of(option, kernel)? {
        Some(value) => wanted.bytes(&value).map(Some),
        None if option.is_weak => Ok(Some(Vec::new())),
        None if !kernel.has_code() => Ok(None),
        None => {
            Err(format!("{kernel} does not have it set; if the program works without, declare it __weak"))
        }
    }
}

/// The value of an option, as `.config` has it.
fn value_of(option: &Extern, kernel: &dyn TargetKernel) -> Result<Option<String>, String> {
    let yes = |is: bool| Some(if is { "y" } else { "n" }.to_owned());
    Ok(match &*option.name {
        "LINUX_KERNEL_VERSION" => Some(kernel.version_code()?.to_string()),
        // Kernel functions for system calls take a struct pt_regs: since 4.17 on x86-64.
        "LINUX_HAS_SYSCALL_WRAPPER" => yes(kernel.version_code()? >= 4 << 16 | 17 << 8),
        // bpf_get_attach_cookie()
        "LINUX_HAS_BPF_COOKIE" => yes(kernel.version_code()? >= 5 << 16 | 15 << 8),
        name if name.starts_with("CONFIG_") => kernel.config(name)?,
        _ => None,
    })
}

impl OptionType {
    /// The type that an option is declared with.
    fn declared(option: &Extern, types: &Types<'_>) -> Result<Self, String> {
        Self::of(types, option.of_type).ok_or_else(|| {
            let name = types.describe(option.of_type);
            format!("it is declared as {name}; what can hold an option is bool, char, enum libbpf_tristate, an integer, or an array of char")
        })
    }

    fn of(types: &Types<'_>, id: u32) -> Option<Self> {
        let (_, of) = types.stripped(id)?;
        let size = types.size(id)? as usize;
        if let Some((element, _)) = of.array() {
            let (_, element) = types.stripped(element)?;
            return (is_char(element) && size > 0).then_some(Self::Text { size });
        }
        let signed = of.int_encoding() & INT_IS_SIGNED != 0;
        match of.kind {
            INT if of.int_encoding() & INT_IS_BOOL != 0 => (size == 1).then_some(Self::Bool),
            INT if size == 1 => Some(Self::Char { signed }),
            INT if matches!(size, 2 | 4 | 8) => Some(Self::Integer { size, signed }),
            _ if of.is_enum() && types.name(of) == "libbpf_tristate" => {
                matches!(size, 1 | 2 | 4 | 8).then_some(Self::Tristate { size })
            }
            _ => None,
        }
    }

    fn size_and_align(&self) -> (usize, usize) {
        match *self {
            Self::Bool | Self::Char { .. } => (1, 1),
            Self::Tristate { size } | Self::Integer { size, .. } => (size, size),
            Self::Text { size } => (size, 1),
        }
    }

    /// A value of `.config` as bytes; those that are left out are zeros.
    fn bytes(&self, value: &str) -> Result<Vec<u8>, String> {
        let unfit = |what: &str| format!("it is {value}, which does not fit {what}");
        let text = value.strip_prefix('"').map(|rest| rest.strip_suffix('"').unwrap_or(rest));
        match (self, value, text) {
            (Self::Text { size }, _, Some(text)) => {
                let kept = text.len().min(size - 1);
                Ok(text.as_bytes()[..kept].to_vec())
            }
            (Self::Text { .. }, ..) => Err(unfit("an array of char")),
            (_, _, Some(_)) => Err(unfit("anything but an array of char")),
            (Self::Bool, "y", _) => Ok(vec![1]),
            (Self::Bool, "n", _) => Ok(vec![0]),
            (Self::Bool, ..) => Err(unfit("a bool; a module is seen by an enum libbpf_tristate or a char")),
            (Self::Tristate { .. }, letter @ ("y" | "m" | "n"), _) => Ok(vec![match letter {
                "y" => 1,
                "m" => 2,
                _ => 0,
            }]),
            (Self::Tristate { .. }, ..) => Err(unfit("an enum libbpf_tristate")),
            (Self::Char { .. }, letter @ ("y" | "m" | "n"), _) => Ok(letter.as_bytes().to_vec()),
            (Self::Integer { .. }, "y" | "m" | "n", _) => Err(unfit("an integer")),
            (Self::Char { signed }, ..) => integer(value, 1, *signed).ok_or_else(|| unfit("a char")),
            (Self::Integer { size, signed }, ..) => integer(value, *size, *signed)
                .ok_or_else(|| unfit(&format!("an integer of {size} bytes{}", sign(*signed)))),
        }
    }
}

fn sign(signed: bool) -> &'static str {
    if signed { " with a sign" } else { " without a sign" }
}

/// Whether this is the type of characters.
pub(super) fn is_char(of: Type<'_>) -> bool {
    of.kind == INT && of.payload == 1 && of.int_encoding() & INT_IS_BOOL == 0
}

/// A number, in decimal or with `0x`, as the bytes of an integer. `None`: it is no number, or does not fit.
pub(super) fn integer(text: &str, size: usize, signed: bool) -> Option<Vec<u8>> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    if digits.starts_with(['-', '+']) {
        return None;
    }
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) if !digits.starts_with(['-', '+']) => u128::from_str_radix(digits, 16).ok()?,
        Some(_) => return None,
        None => digits.parse().ok()?,
    };
    number_bytes(negative, magnitude, size, signed)
}

/// The bytes of an integer. `None`: it does not fit.
pub(super) fn integer_bytes(number: i128, size: usize, signed: bool) -> Option<Vec<u8>> {
    number_bytes(number < 0, number.unsigned_abs(), size, signed)
}

fn number_bytes(negative: bool, magnitude: u128, size: usize, signed: bool) -> Option<Vec<u8>> {
    // BTF can say anything.
    if !(1..=16).contains(&size) {
        return None;
    }
    let largest = u128::MAX >> (128 - size * 8 + usize::from(signed));
    let limit = match (negative, signed) {
        (false, _) => largest,
        (true, true) => largest + 1,
        (true, false) => 0,
    };
    let number = if negative { magnitude.wrapping_neg() } else { magnitude };
    (magnitude <= limit).then(|| number.to_le_bytes()[..size].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_all_sizes_have_their_whole_range() {
        for size in [1, 2, 4, 8, 16] {
            let highest = u128::MAX >> (128 - size * 8);
            let lowest = i128::MIN >> (128 - size * 8);
            assert_eq!(integer(&highest.to_string(), size, false), Some(vec![0xff; size]));
            assert_eq!(integer(&lowest.to_string(), size, true).map(|bytes| bytes[size - 1]), Some(0x80));
            assert_eq!(integer(&(highest / 2 + 1).to_string(), size, true), None);
            assert_eq!(integer("-1", size, false), None);
            assert_eq!(integer("-1", size, true), Some(vec![0xff; size]));
            if size < 16 {
                assert_eq!(integer(&(highest + 1).to_string(), size, false), None);
                assert_eq!(integer(&(lowest - 1).to_string(), size, true), None);
            }
        }
        assert_eq!(integer("-0", 4, false), Some(vec![0; 4]));
        assert_eq!(integer("5", 16, false).map(|bytes| bytes[0]), Some(5));
    }

    #[test]
    fn no_number_fits_a_size_that_integers_cannot_have() {
        for size in [0, 17, 1 << 28] {
            assert_eq!(integer_bytes(0, size, false), None);
            assert_eq!(integer_bytes(-1, size, true), None);
        }
    }
}
