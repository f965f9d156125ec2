//! What a terminal sends for keys.
//!
//! crossterm reads keys too, but it waits inside of its read for the rest of an unfinished sequence, during which no event is read, and
//! never returns when the terminal has gone.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    /// With the control key, in lower case.
    Ctrl(char),
    Enter,
    Escape,
    Tab,
    BackTab,
    Backspace,
    Delete,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

/// Turns bytes into keys. Sequences that are not known are left out.
#[derive(Debug, Default)]
pub(super) struct KeyDecoder {
    /// The start of a sequence whose end has not come yet.
    pending: Vec<u8>,
}

/// No key has a longer sequence.
const SEQUENCE_MAX: usize = 32;

impl KeyDecoder {
    /// The keys that are complete with these bytes.
    pub(super) fn keys(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        for &byte in bytes {
            self.pending.push(byte);
            match decode(&self.pending) {
                Decoded::Key(key) => keys.push(key),
                Decoded::Nothing => {}
                Decoded::Unfinished if self.pending.len() < SEQUENCE_MAX => continue,
                Decoded::Unfinished => {}
            }
            self.pending.clear();
        }
        keys
    }

    /// Whether there is the start of a sequence.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The key if nothing more comes: what starts a sequence is also sent by the escape key.
    pub(super) fn end(&mut self) -> Option<Key> {
        let pending = std::mem::take(&mut self.pending);
        (pending == [ESCAPE]).then_some(Key::Escape)
    }
}

const ESCAPE: u8 = 0x1b;

enum Decoded {
    Key(Key),
    /// A sequence without a meaning here.
    Nothing,
    Unfinished,
}

fn decode(bytes: &[u8]) -> Decoded {
    let known = |key: Option<Key>| key.map_or(Decoded::Nothing, Decoded::Key);
    match *bytes {
        [ESCAPE] | [ESCAPE, b'[' | b'O'] => Decoded::Unfinished,
        // The function keys of the console have another byte after this.
        [ESCAPE, b'[', b'['] => Decoded::Unfinished,
        [ESCAPE, b'O', last] => known(cursor_key(last)),
        // Control sequences: parameters, and a last byte (ECMA-48, 5.4).
        [ESCAPE, b'[', ref parameters @ .., last] => match last {
            _ if parameters == b"[" => Decoded::Nothing,
            0x20..=0x3f => Decoded::Unfinished,
            b'~' => known(numbered_key(parameters)),
            last => known(cursor_key(last)),
        },
        // A key together with Alt.
        [ESCAPE, _] => Decoded::Nothing,
        [b'\r' | b'\n'] => Decoded::Key(Key::Enter),
        [b'\t'] => Decoded::Key(Key::Tab),
        [0x7f | 0x08] => Decoded::Key(Key::Backspace),
        [control @ 0x01..=0x1a] => Decoded::Key(Key::Ctrl(char::from(control - 1 + b'a'))),
        [0..=0x1f] => Decoded::Nothing,
        _ => match str::from_utf8(bytes) {
            Ok(text) => known(text.chars().next().map(Key::Char)),
            Err(error) if error.error_len().is_none() => Decoded::Unfinished,
            Err(_) => Decoded::Nothing,
        },
    }
}

fn cursor_key(last: u8) -> Option<Key> {
    Some(match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        b'Z' => Key::BackTab,
        _ => return None,
    })
}

/// A key of which the first parameter says which one it is; others are about Shift, Alt and Ctrl.
fn numbered_key(parameters: &[u8]) -> Option<Key> {
    Some(match parameters.split(|&byte| byte == b';').next()? {
        b"1" | b"7" => Key::Home,
        b"4" | b"8" => Key::End,
        b"3" => Key::Delete,
        b"5" => Key::PageUp,
        b"6" => Key::PageDown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_have_several_sequences_for_a_key() {
        for (bytes, expected) in [
            (&b"q"[..], &[Key::Char('q')][..]),
            (b"\x1b[A\x1bOA\x1b[1;5A", &[Key::Up, Key::Up, Key::Up]),
            (b"\x1b[H\x1b[1~\x1b[7~\x1bOH", &[Key::Home; 4]),
            (b"\x1b[F\x1b[4~\x1b[8~\x1bOF", &[Key::End; 4]),
            (b"\x1b[5~\x1b[6~\x1b[3~\x1b[Z", &[Key::PageUp, Key::PageDown, Key::Delete, Key::BackTab]),
            (b"\r\n\t\x7f\x08", &[Key::Enter, Key::Enter, Key::Tab, Key::Backspace, Key::Backspace]),
            (b"\x03\x1a\x15", &[Key::Ctrl('c'), Key::Ctrl('z'), Key::Ctrl('u')]),
            ("é→".as_bytes(), &[Key::Char('é'), Key::Char('→')]),
            (
                b"\x1b[[Aa\x1b[15~b\x1bjc\x1b[?1;2cd\x00e",
                &[Key::Char('a'), Key::Char('b'), Key::Char('c'), Key::Char('d'), Key::Char('e')],
            ),
            (b"\xff\xc3q", &[]),
        ] {
            assert_eq!(KeyDecoder::default().keys(bytes), expected, "{}", bytes.escape_ascii());
            let mut decoder = KeyDecoder::default();
            let one_by_one: Vec<Key> = bytes.iter().flat_map(|&byte| decoder.keys(&[byte])).collect();
            assert_eq!(one_by_one, expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_escape_alone_is_the_escape_key() {
        let mut decoder = KeyDecoder::default();
        assert_eq!((decoder.keys(b"\x1b"), decoder.is_waiting()), (vec![], true));
        assert_eq!((decoder.end(), decoder.is_waiting()), (Some(Key::Escape), false));
        assert_eq!((decoder.keys(b"\x1b["), decoder.end()), (vec![], None));
        assert_eq!(decoder.keys(b"j"), [Key::Char('j')]);
    }

    #[test]
    fn no_sequence_is_waited_for_without_end() {
        let mut decoder = KeyDecoder::default();
        let long = [b"\x1b[".to_vec(), vec![b'1'; 1000]].concat();
        decoder.keys(&long);
        assert!(decoder.pending.len() < SEQUENCE_MAX);
    }
}
