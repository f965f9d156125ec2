//! The stack of a compiled program: everything by its offset from the frame pointer.
//!
//! A program and all that it calls share 512 bytes. The main function uses 448 of them. The verifier counts 32 for each of the
//! two levels of functions below it, whether they use them or not.

use knobgate_bpf::uapi::TASK_COMM_LEN;
use knobgate_policy::Value;
use knobgate_policy::limits::{
    COMM_MAX, ELEMENTS_MAX, LAST_COMPONENT_MAX, NAME_MAX, NUMBER_CHARS_MAX, SHORT_VALUE_MAX,
};

use crate::ir::Subject;

/// Bytes in the buffer of a value: one more than the longest value that fits, so that the helpers can tell that it does and
/// a terminating NUL has room. Of a longer one, the buffer has the first bytes, and a NUL.
pub(crate) const VALUE_BYTES: i16 = SHORT_VALUE_MAX as i16 + 1;
/// Bytes that a list of numbers may fill, from the start of the buffer of the new value on, with the NUL that ends it. They may go on
/// in the buffer of the current one.
pub(crate) const LIST_BYTES: i16 = (ELEMENTS_MAX * (NUMBER_CHARS_MAX + 1)).next_multiple_of(8) as i16;
/// The [length](Numbers::length) of a value that is longer than that.
pub(crate) const LONG: u8 = u8::MAX;
/// Bytes in the buffer of the name. The buffers of the values are in the same place: they are fetched when the name has been
/// matched and is no longer needed.
pub(crate) const NAME_BYTES: i16 = NAME_MAX as i16 + 1;
/// Bytes that `bpf_get_current_comm` fills: `TASK_COMM_LEN`.
pub(crate) const COMM_BYTES: i16 = TASK_COMM_LEN as i16;

const NEW: i16 = -448;
const OLD: i16 = NEW + VALUE_BYTES;
const NEW_NUMBERS: i16 = OLD + VALUE_BYTES;
const OLD_NUMBERS: i16 = NEW_NUMBERS + NUMBERS_BYTES;
/// The name.
pub(crate) const NAME: i16 = NEW;
/// Bytes in the buffer of the last component of the name.
pub(crate) const LAST_COMPONENT_BYTES: i16 = LAST_COMPONENT_MAX as i16 + 1;
/// The last component of the name, in the same place as the numbers of the values.
pub(crate) const LAST_COMPONENT: i16 = NEW_NUMBERS;
/// The name of the task.
pub(crate) const COMM: i16 = OLD_NUMBERS + NUMBERS_BYTES;
/// uid (low half) and gid (high half) of the task.
pub(crate) const IDS: i16 = COMM + COMM_BYTES;
/// The file position, 4 bytes.
pub(crate) const POSITION: i16 = IDS + 8;
/// For the interpreter, the context. No ids are loaded while it runs.
pub(crate) const CONTEXT: i16 = IDS;
/// For the interpreter, the network namespace of the knob, 4 bytes. The row is known while it runs.
pub(crate) const KNOB_NETNS: i16 = LAUNDER_ROW;
// The offsets below are no multiples of 8: there the verifier would track what is stored, and follow every path once for
// each value (see `codegen::verifier`).
/// One byte through which a register is [laundered](crate::codegen). Names are known by then.
pub(crate) const LAUNDER: i16 = TOO_LONG;
/// 4 bytes through which the offset of a row is laundered.
pub(crate) const LAUNDER_ROW: i16 = NUMBERS_OF_OLD.at + 4;
/// The offset of the row of the step for this last component if the name turns out to be too long, 4 bytes.
pub(crate) const TOO_LONG: i16 = IDS + 8 + 4;
/// The offset of the only slot of a name with this last component, or 0, 4 bytes. It is in the same place as the last
/// component, which has been looked up by then.
pub(crate) const ONLY_SLOT: i16 = NUMBERS_OF_NEW.at + 4;
/// The offset of the counters of the rule that ends the program with an event, 4 bytes. Nothing is laundered by then.
pub(crate) const REPORTED: i16 = TOO_LONG;
/// For the interpreter, the offset of the row of the step whose condition is tested, 4 bytes. Names are known by then.
pub(crate) const ROW: i16 = TOO_LONG;
/// For the interpreter, the offset of the node that is tested, or the [end](super::end) of the condition, 4 bytes.
pub(crate) const NODE: i16 = NUMBERS_OF_NEW.at + 4;
/// Where the text of a replacement comes from, 4 bytes. The numbers of the current value are no longer needed.
pub(crate) const SOURCE: i16 = NUMBERS_OF_OLD.at + 8 + 4;
/// The number of the slot that holds a replacement, 4 bytes.
pub(crate) const HELD_SLOT: i16 = NUMBERS_OF_OLD.at + 16 + 4;
/// The length of that replacement, 4 bytes.
pub(crate) const HELD_LENGTH: i16 = NUMBERS_OF_OLD.at + 24 + 4;
/// Bytes of the [`Numbers`] of a value.
const NUMBERS_BYTES: i16 = 8 + 8 * ELEMENTS_MAX as i16;

/// The shape and length of a value, and the signs and low bits of its numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    at: i16,
}

/// Those of the new value.
const NUMBERS_OF_NEW: Numbers = Numbers { at: NEW_NUMBERS };
/// Those of the current value.
const NUMBERS_OF_OLD: Numbers = Numbers { at: OLD_NUMBERS };

impl Numbers {
    /// Those of `value`.
    pub(crate) fn of(value: Value) -> Self {
        match value {
            Value::New => NUMBERS_OF_NEW,
            Value::Old => NUMBERS_OF_OLD,
        }
    }

    /// The offsets of all bytes.
    pub(crate) fn all(self) -> std::ops::Range<i16> {
        self.at..self.at + NUMBERS_BYTES
    }

    /// The output of the DFA for [shapes](super::shape), one byte.
    pub(crate) fn shape(self) -> i16 {
        self.at + 1
    }

    /// One byte: bit `i` says whether number `i` is negative.
    pub(crate) fn signs(self) -> i16 {
        self.at + 2
    }

    /// How many bytes the value has, if it is available, or [`LONG`], one byte.
    pub(crate) fn length(self) -> i16 {
        self.at + 3
    }

    /// The low 64 bits of number `index`, in two's complement.
    pub(crate) fn element(self, index: usize) -> i16 {
        self.at + 8 + 8 * index as i16
    }
}

/// The bytes of `value`.
pub(crate) fn buffer(value: Value) -> i16 {
    match value {
        Value::New => NEW,
        Value::Old => OLD,
    }
}

/// The text of `subject`.
pub(crate) fn subject_buffer(subject: Subject) -> i16 {
    match subject {
        Subject::Value(value) => buffer(value),
        Subject::Comm => COMM,
    }
}

/// Bytes in that buffer. The last one is always 0.
pub(crate) fn subject_bytes(subject: Subject) -> usize {
    let bytes = match subject {
        Subject::Value(_) => VALUE_BYTES,
        Subject::Comm => COMM_BYTES,
    };
    usize::from(bytes as u16)
}

/// Whether that buffer can hold a text of this length.
pub(crate) fn can_hold(subject: Subject, len: usize) -> bool {
    len < subject_bytes(subject)
}

const _: () = {
    assert!(TOO_LONG + 4 <= 0);
    assert!(KNOB_NETNS % 8 != 0);
    assert!(LAUNDER % 8 != 0 && LAUNDER_ROW % 8 != 0 && TOO_LONG % 8 != 0);
    assert!(ONLY_SLOT % 8 != 0 && ROW % 8 != 0 && NODE % 8 != 0);
    assert!(POSITION + 4 <= TOO_LONG);
    assert!(LAST_COMPONENT_BYTES <= NUMBERS_BYTES);
    assert!(NAME_BYTES <= 2 * VALUE_BYTES && LIST_BYTES <= 2 * VALUE_BYTES);
    assert!(COMM_MAX + 1 == TASK_COMM_LEN);
    assert!(SHORT_VALUE_MAX < LONG as usize);
    assert!(SOURCE % 8 != 0 && HELD_SLOT % 8 != 0 && HELD_LENGTH % 8 != 0);
    assert!(NEW % 8 == 0 && VALUE_BYTES % 8 == 0);
};
