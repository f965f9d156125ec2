//! Inferring a handler that reads like a knob.

use knobgate_hook::handler::custom::Call;
use knobgate_hook::handler::{Bitmap, Custom, HandlerEnv, IntVec, Text, UlongVec, Written};
use knobgate_hook::{Errno, Handler, Profile, VALUE_BYTES, WritesStrict};

use super::{Inferred, Reading, TEXT_BYTES};

/// A handler that reads like `reading` on this kernel, preferably `known`.
pub(super) fn handler(
    reading: &Reading,
    known: Option<Box<dyn Handler>>,
    profile: &Profile,
) -> (Box<dyn Handler>, Inferred) {
    let whole = reading.whole.as_slice();
    let mut candidates: Vec<(Box<dyn Handler>, Inferred)> = Vec::new();
    candidates.extend(known.map(|handler| (handler, Inferred::ByName)));
    if let Some((handler, count)) = integers(whole) {
        candidates.push((handler, Inferred::Integers(count)));
    }
    if whole == b"\n" {
        candidates.push((Box::new(Text::new("", TEXT_BYTES)), Inferred::Empty));
    }
    candidates.push((Box::new(Bitmap::new(SET_SIZE)), Inferred::Set));
    candidates.push((Box::new(Text::new("", TEXT_BYTES)), Inferred::Text));
    let found = candidates.into_iter().find_map(|(mut handler, inferred)| {
        (takes(&mut *handler, whole, profile) && reads_as(&mut *handler, reading, profile))
            .then_some((handler, inferred))
    });
    found.unwrap_or_else(|| (Box::new(fixed(reading.clone())), Inferred::Unknown))
}

/// The size of the kernel's largest set, that of the ports.
const SET_SIZE: usize = 65536;

/// The handler for `text`, if it is a list of integers in the kernel's format. Also returns their number.
fn integers(text: &[u8]) -> Option<(Box<dyn Handler>, usize)> {
    let line = str::from_utf8(text.strip_suffix(b"\n")?).ok()?;
    fn all<T: std::str::FromStr>(line: &str) -> Option<Vec<T>> {
        line.split('\t').map(|number| number.parse().ok()).collect()
    }
    if let Some(values) = all::<i32>(line) {
        let count = values.len();
        return Some((Box::new(IntVec::new(values)), count));
    }
    let values = all::<u64>(line)?;
    let count = values.len();
    Some((Box::new(UlongVec::new(values)), count))
}

/// Whether the handler holds `value` after it was written.
fn takes(handler: &mut dyn Handler, value: &[u8], profile: &Profile) -> bool {
    handler.write(Written::terminated(value), &mut 0, &handler_env(profile)).is_ok()
}

fn reads_as(handler: &mut dyn Handler, reading: &Reading, profile: &Profile) -> bool {
    let mut read = |mut position| handler.read(VALUE_BYTES, &mut position, &handler_env(profile));
    read(0).is_ok_and(|read| read == reading.whole) && read(1).is_ok_and(|read| read == reading.after_first)
}

fn handler_env(profile: &Profile) -> HandlerEnv<'_> {
    HandlerEnv { strict: WritesStrict::Strict, profile }
}

/// A handler that accepts every write and discards it.
pub(super) fn anything() -> impl Handler {
    Custom(|call: Call<'_>, _: &mut i64, _: &HandlerEnv<'_>| match call {
        Call::Write(written) => Ok(written.bytes.len()),
        Call::Read { .. } => Err(Errno::EIO),
    })
}

/// A handler with a constant value.
fn fixed(Reading { whole, after_first }: Reading) -> impl Handler {
    let continues = whole.get(1..) == Some(&after_first[..]);
    Custom(move |call: Call<'_>, position: &mut i64, _: &HandlerEnv<'_>| {
        let Call::Read { count, reply } = call else { return Err(Errno::EINVAL) };
        let start = usize::try_from(*position).unwrap_or(usize::MAX);
        let rest = match start {
            0 => &whole[..],
            start if continues => whole.get(start..).unwrap_or_default(),
            1 => &after_first[..],
            _ => &[],
        };
        let read = &rest[..rest.len().min(count)];
        reply.extend(read);
        *position += read.len() as i64;
        Ok(read.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_inferred_from_reads_at_two_positions() {
        let texts = |text: &str| Reading {
            whole: text.into(),
            after_first: text.as_bytes().get(1..).unwrap_or_default().to_vec(),
        };
        let numbers = |text: &str| Reading { whole: text.into(), after_first: Vec::new() };
        let cases = [
            (numbers("4096\n"), Inferred::Integers(1)),
            (numbers("-1\n"), Inferred::Integers(1)),
            (numbers("4\t4\t1\t7\n"), Inferred::Integers(4)),
            (numbers("18446744073692774399\n"), Inferred::Integers(1)),
            (numbers("1\t18446744073692774399\n"), Inferred::Integers(2)),
            (numbers("0-1\n"), Inferred::Set),
            (numbers("1,3-5\n"), Inferred::Set),
            (texts("4096\n"), Inferred::Text),
            (texts("core\n"), Inferred::Text),
            (texts("0-1\n"), Inferred::Text),
            (texts("\n"), Inferred::Empty),
            (numbers("\n"), Inferred::Empty),
            (texts("two\nlines\n"), Inferred::Unknown),
            (texts("no end"), Inferred::Unknown),
            (texts(""), Inferred::Unknown),
            (numbers("-1\t18446744073692774399\n"), Inferred::Unknown),
            (numbers("007\n"), Inferred::Unknown),
        ];
        for (reading, expected) in cases {
            let profile = Profile::default();
            let (mut handler, inferred) = handler(&reading, None, &profile);
            assert_eq!(inferred, expected, "{reading:?}");
            assert!(reads_as(&mut *handler, &reading, &profile), "{reading:?}: {handler:?}");
        }
    }

    #[test]
    fn a_handler_known_by_name_must_read_the_same() {
        let known = || -> Option<Box<dyn Handler>> { Some(Box::new(IntVec::new([5]).between(0, 10))) };
        let reading = |text: &str| Reading { whole: text.into(), after_first: Vec::new() };
        let profile = Profile::default();
        assert_eq!(handler(&reading("7\n"), known(), &profile).1, Inferred::ByName);
        assert_eq!(handler(&reading("11\n"), known(), &profile).1, Inferred::Integers(1));
        assert_eq!(handler(&reading("7\t8\n"), known(), &profile).1, Inferred::Integers(2));
    }
}
