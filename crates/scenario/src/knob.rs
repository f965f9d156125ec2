//! The knobs of a scenario, and their handlers.

use knobgate_hook::handler::{
    Bitmap, Bool, HandlerEnv, Hz, IntVec, ReadFails, StableSecret, Text, U8, Uint, UlongVec, Unit, Written,
};
use knobgate_hook::{Errno, Handler, Profile, WritesStrict};

use crate::document::{HandlerDocument, HandlerKind, Integer};

/// A knob with its initial value.
#[derive(Debug)]
pub(crate) struct Knob {
    /// Its path below `/proc/sys`.
    pub(crate) name: String,
    /// The initial value, as it is written; `None` if it cannot be read.
    pub(crate) value: Option<Vec<u8>>,
    /// Permissions, as in `0o644`.
    pub(crate) mode: u16,
    pub(crate) handler: HandlerDocument,
}

const STRING_BYTES: u32 = 4096;
const BITMAP_BITS: u32 = 65_536;

impl Knob {
    /// Whether a process of root can read it, whatever was written.
    pub(crate) fn can_always_be_read(&self) -> bool {
        self.can_be_read() && self.handler.kind != HandlerKind::StableSecret
    }

    /// Whether there are values that a process of root can read.
    pub(crate) fn can_be_read(&self) -> bool {
        self.mode & 0o400 != 0 && self.handler.read_error.is_none()
    }

    /// Its handler on this kernel, with the initial value.
    pub(crate) fn handler(&self, profile: &Profile) -> Result<Box<dyn Handler>, String> {
        let is_secret = self.handler.kind == HandlerKind::StableSecret;
        let Some(value) = &self.value else {
            return match &self.handler.read_error {
                Some(name) => {
                    let errno =
                        Errno::from_name(name).ok_or_else(|| format!("there is no error `{name}`"))?;
                    Ok(Box::new(ReadFails { errno, writes: empty(&self.handler, b"0")? }))
                }
                None if is_secret => empty(&self.handler, b""),
                None => Err("the `value` is missing: only a knob that cannot be read has none".to_owned()),
            };
        };
        if self.handler.read_error.is_some() {
            return Err("a knob with `read_error` has no `value`".to_owned());
        }
        let mut handler = empty(&self.handler, value)?;
        let taken = handler
            .write(Written::terminated(value), &mut 0, &handler_env(profile))
            .map_err(|errno| format!("the handler rejects this value with {errno}"))?;
        if taken == value.len() {
            Ok(handler)
        } else {
            Err(format!("the handler takes only the first {taken} bytes of this value"))
        }
    }

    #[cfg(feature = "kernel")]
    /// What a read returns on this kernel while the knob has its initial value.
    pub(crate) fn shown(&self, profile: &Profile) -> Result<Result<Vec<u8>, Errno>, String> {
        Ok(self.handler(profile)?.read(knobgate_backend::VALUE_READ_MAX, &mut 0, &handler_env(profile)))
    }
}

fn handler_env(profile: &Profile) -> HandlerEnv<'_> {
    HandlerEnv { strict: WritesStrict::Strict, profile }
}

/// A handler whose numbers are 0, or whose text is empty.
fn empty(document: &HandlerDocument, value: &[u8]) -> Result<Box<dyn Handler>, String> {
    let HandlerDocument { kind, len, min, max, max_len, .. } = *document;
    let unused = |field: &str, given: bool| {
        if given { Err(format!("a handler of this kind has no `{field}`")) } else { Ok(()) }
    };
    if !matches!(kind, HandlerKind::String | HandlerKind::StableSecret | HandlerKind::Bitmap)
        && value.iter().all(u8::is_ascii_whitespace)
    {
        return Err("the value of a knob of this kind is a number".to_owned());
    }
    if !matches!(kind, HandlerKind::String | HandlerKind::Bitmap) {
        unused("max_len", max_len.is_some())?;
    }
    if matches!(kind, HandlerKind::String | HandlerKind::Bitmap | HandlerKind::StableSecret) {
        unused("min", min.is_some())?;
        unused("max", max.is_some())?;
    }
    let numbers = || value.split(u8::is_ascii_whitespace).filter(|number| !number.is_empty()).count();
    let len_or = |default: usize| match len {
        Some(0) => Err("`len` cannot be 0".to_owned()),
        Some(len) => Ok(len as usize),
        None => Ok(default),
    };
    let only_one = || match len {
        None | Some(1) => Ok(()),
        Some(_) => Err("a knob of this kind is one number: its `len` is 1".to_owned()),
    };
    Ok(match kind {
        HandlerKind::String => {
            unused("len", len.is_some())?;
            match max_len.unwrap_or(STRING_BYTES) {
                0 => return Err("`max_len` cannot be 0: a string needs space for its NUL".to_owned()),
                room => Box::new(Text::new("", room as usize)),
            }
        }
        HandlerKind::Int | HandlerKind::Jiffies | HandlerKind::MsJiffies | HandlerKind::UserHzJiffies => {
            let unit = match kind {
                HandlerKind::Jiffies => Unit::Seconds(Hz::H250),
                HandlerKind::MsJiffies => Unit::Milliseconds(Hz::H250),
                HandlerKind::UserHzJiffies => Unit::UserTicks(Hz::H250),
                _ => Unit::One,
            };
            let (min, max) = bounds(min, max, i32::MIN, i32::MAX)?;
            Box::new(IntVec::new(vec![0; len_or(numbers())?]).between(min, max).in_unit(unit))
        }
        HandlerKind::Ulong => {
            let (min, max) = bounds(min, max, 0, u64::MAX)?;
            Box::new(UlongVec::new(vec![0; len_or(numbers())?]).between(min, max))
        }
        HandlerKind::Uint => {
            only_one()?;
            let (min, max) = bounds(min, max, 0, u32::MAX)?;
            Box::new(Uint::new(0).between(min, max))
        }
        HandlerKind::U8 => {
            only_one()?;
            let (min, max) = bounds(min, max, 0, u8::MAX)?;
            Box::new(U8::new(0).between(min, max))
        }
        HandlerKind::Bool => {
            only_one()?;
            if min.is_some() || max.is_some() {
                let (min, max) = bounds(min, max, 0, 1)?;
                Box::new(U8::new(0).between(min, max))
            } else {
                Box::new(Bool { value: false })
            }
        }
        HandlerKind::Bitmap => {
            if len.is_some() && max_len.is_some() && len != max_len {
                return Err("`len` and `max_len` of a bitmap mean the same, but differ here".to_owned());
            }
            Box::new(Bitmap::new(len_or(max_len.unwrap_or(BITMAP_BITS) as usize)?))
        }
        HandlerKind::StableSecret => {
            unused("len", len.is_some())?;
            Box::new(StableSecret::default())
        }
    })
}

/// The bounds as numbers of the type that the knob stores.
fn bounds<T: TryFrom<i128> + PartialOrd + std::fmt::Display>(
    min: Option<Integer>,
    max: Option<Integer>,
    least: T,
    most: T,
) -> Result<(T, T), String> {
    let of = |name: &str, given: Option<Integer>, default: T| match given {
        None => Ok(default),
        Some(Integer(number)) => {
            T::try_from(number).map_err(|_| format!("`{name}` is out of range for this kind: {number}"))
        }
    };
    let (min, max) = (of("min", min, least)?, of("max", max, most)?);
    if min > max { Err(format!("`min` is {min}, which is more than `max`, {max}")) } else { Ok((min, max)) }
}
