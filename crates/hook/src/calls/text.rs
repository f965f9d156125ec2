//! Helpers for text: kernel/bpf/helpers.c, kernel/trace/bpf_trace.c.

use knobgate_bpf::Reg;

use super::{Called, Helper, errno};
use crate::machine::{Machine, Reason, Region, Value};

const EINVAL: i32 = 22;
/// `MAX_BPRINTF_VARARGS`
const ARGUMENTS_MAX: usize = 12;
/// The most of a `%s` that is printed: `MAX_BPRINTF_BUF`.
const TEXT_MAX: u64 = 512;

/// `bpf_strncmp(s1, s1_sz, s2)`; `s2` is a string in read-only memory.
pub(super) fn compare(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let pointer = machine.pointer_argument(helper, Reg::R1)?;
    let size = machine.size_argument(helper, Reg::R2, false)?;
    let left = machine.bytes_argument(pointer, size)?;
    let right = constant_text(machine, helper, Reg::R3)?;
    let at = |text: &[u8], index: usize| i64::from(text.get(index).copied().unwrap_or(0));
    let differing = (0..size).find_map(|index| {
        let (a, b) = (at(&left, index), at(&right, index));
        if a != b { Some((a - b).signum()) } else { (a == 0).then_some(0) }
    });
    Ok(Value::number(differing.unwrap_or(0) as u64))
}

/// A string in a map that nobody can change, without its NUL: `check_reg_const_str()`.
fn constant_text(machine: &mut Machine<'_, '_>, helper: Helper, register: Reg) -> Called<Vec<u8>> {
    let pointer = machine.pointer_argument(helper, register)?;
    let text = match pointer.region {
        Region::MapValue { map, slot } => {
            let state = machine.memory.maps[usize::from(map)].state();
            let value = state.value(slot).filter(|_| state.def().frozen).unwrap_or_default();
            let rest = value.get(pointer.bits as usize..).unwrap_or_default();
            rest.iter().position(|byte| *byte == 0).map(|end| rest[..end].to_vec())
        }
        _ => None,
    };
    text.ok_or(Reason::Argument {
        helper: helper.name(),
        register: register.number(),
        wanted: "a string with a NUL in a frozen map",
        found: pointer.region,
    })
}

/// `bpf_snprintf(str, str_size, fmt, data, data_len)`; numbers only, as data holds no pointers here.
pub(super) fn snprintf(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let size = machine.size_argument(helper, Reg::R2, true)?;
    let format = constant_text(machine, helper, Reg::R3)?;
    let data_size = machine.size_argument(helper, Reg::R5, true)?;
    if data_size % 8 != 0 || data_size > 8 * ARGUMENTS_MAX {
        return Ok(errno(EINVAL));
    }
    let data = if data_size == 0 {
        Vec::new()
    } else {
        let pointer = machine.pointer_argument(helper, Reg::R4)?;
        machine.bytes_argument(pointer, data_size)?
    };
    let numbers: Vec<Value> =
        data.as_chunks::<8>().0.iter().map(|bytes| Value::number(u64::from_le_bytes(*bytes))).collect();
    let text = print(machine, helper, &format, &numbers)?;
    if size > 0 {
        let pointer = machine.pointer_argument(helper, Reg::R1)?;
        let len = text.len().min(size - 1);
        // As the whole buffer may be written to, it all counts as stored to.
        machine.memory.write(pointer, size, |buffer| {
            buffer[..len].copy_from_slice(&text[..len]);
            buffer[len] = 0;
        })?;
    }
    Ok(Value::number(text.len() as u64 + 1))
}

/// `bpf_trace_printk(fmt, fmt_size, …)`: to the tracer.
pub(super) fn trace_printk(machine: &mut Machine<'_, '_>, helper: Helper) -> Called {
    let pointer = machine.pointer_argument(helper, Reg::R1)?;
    let size = machine.size_argument(helper, Reg::R2, false)?;
    let mut format = machine.bytes_argument(pointer, size)?;
    if format.pop() != Some(0) {
        return Ok(errno(EINVAL));
    }
    let wanted = format.windows(2).filter(|pair| pair[0] == b'%' && pair[1] != b'%').count();
    if wanted > 3 {
        return Ok(errno(EINVAL));
    }
    let registers = [Reg::R3, Reg::R4, Reg::R5];
    let arguments: Vec<Value> =
        registers[..wanted].iter().map(|register| machine.read(*register)).collect::<Result<_, _>>()?;
    let text = print(machine, helper, &format, &arguments)?;
    if let Some(tracer) = &mut machine.tracer {
        tracer.print(&text);
    }
    Ok(Value::number(text.len() as u64))
}

/// The text of a format: `bpf_bprintf_prepare()` and `bstr_printf()`.
fn print(
    machine: &mut Machine<'_, '_>,
    helper: Helper,
    format: &[u8],
    arguments: &[Value],
) -> Called<Vec<u8>> {
    let malformed = Reason::Format { helper: helper.name() };
    let mut arguments = arguments.iter();
    let mut text = Vec::new();
    let mut rest = format;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            text.push(byte);
            continue;
        }
        let Some(directive) = Directive::take(&mut rest) else { return Err(malformed) };
        if directive.letter == b'%' {
            text.push(b'%');
            continue;
        }
        let Some(&argument) = arguments.next() else { return Err(malformed) };
        let shown = match directive.letter {
            b's' => string(machine, argument)?,
            _ if argument.is_number() => directive.number(argument.bits),
            _ => return Err(Reason::DependsOnAddress { left: argument.region, right: Region::Number }),
        };
        directive.pad(&mut text, &shown);
    }
    if arguments.next().is_some() { Err(malformed) } else { Ok(text) }
}

fn string(machine: &mut Machine<'_, '_>, start: Value) -> Called<Vec<u8>> {
    let mut text = Vec::new();
    for offset in 0..TEXT_MAX {
        let place = Value { bits: start.bits.wrapping_add(offset), region: start.region };
        match machine.memory.read(place, 1, |byte| byte[0])? {
            0 => break,
            byte => text.push(byte),
        }
    }
    Ok(text)
}

/// `%[0 +-][width][l|ll](d|i|u|x|X|c|s|p)`
struct Directive {
    flags: Vec<u8>,
    width: usize,
    long: bool,
    letter: u8,
}

impl Directive {
    fn take(rest: &mut &[u8]) -> Option<Self> {
        let mut next_while = |fits: fn(u8) -> bool| {
            let len = rest.iter().take_while(|byte| fits(**byte)).count();
            let (taken, after) = rest.split_at(len);
            *rest = after;
            taken
        };
        let flags = next_while(|byte| matches!(byte, b'0' | b' ' | b'+' | b'-')).to_vec();
        let width = next_while(|byte| byte.is_ascii_digit());
        let width = width.iter().fold(0, |width: usize, digit| {
            width.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
        });
        let long = next_while(|byte| byte == b'l').len();
        let (&letter, after) = rest.split_first()?;
        *rest = after;
        let known = match letter {
            b'd' | b'i' | b'u' | b'x' | b'X' => long <= 2,
            b'c' | b's' | b'p' | b'%' => long == 0,
            _ => false,
        };
        (known && width <= TEXT_MAX as usize).then_some(Self { flags, width, long: long > 0, letter })
    }

    fn number(&self, bits: u64) -> Vec<u8> {
        let unsigned = if self.long { bits } else { u64::from(bits as u32) };
        let signed = if self.long { bits as i64 } else { i64::from(bits as i32) };
        match self.letter {
            b'd' | b'i' if signed >= 0 && self.flags.contains(&b'+') => format!("+{signed}").into_bytes(),
            b'd' | b'i' => signed.to_string().into_bytes(),
            b'u' => unsigned.to_string().into_bytes(),
            b'x' => format!("{unsigned:x}").into_bytes(),
            b'X' => format!("{unsigned:X}").into_bytes(),
            b'c' => vec![bits as u8],
            _ => format!("{bits:016x}").into_bytes(),
        }
    }

    fn pad(&self, text: &mut Vec<u8>, shown: &[u8]) {
        let padding = self.width.saturating_sub(shown.len());
        if self.flags.contains(&b'-') {
            text.extend_from_slice(shown);
            text.extend(std::iter::repeat_n(b' ', padding));
        } else if self.flags.contains(&b'0') && self.letter != b's' && self.letter != b'c' {
            let sign = usize::from(shown.starts_with(b"-") || shown.starts_with(b"+"));
            text.extend_from_slice(&shown[..sign]);
            text.extend(std::iter::repeat_n(b'0', padding));
            text.extend_from_slice(&shown[sign..]);
        } else {
            text.extend(std::iter::repeat_n(b' ', padding));
            text.extend_from_slice(shown);
        }
    }
}
