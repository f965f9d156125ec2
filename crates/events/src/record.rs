//! The binary form of an event.
//!
//! A record has a fixed part, and then its texts, one after the other: the name of the knob, the value that was written, the current
//! value, the text of the rule, the name of the policy, and the value that was stored. Numbers are little-endian. [`offset`] has
//! the places in the fixed part.
//!
//! The same bytes are in the memory of a policy and in ring buffers. In the memory a program can overwrite a record while
//! somebody reads it. So the record begins with a number that the program changes before it writes anything else
//! ([`offset::BEGIN`]), and has another one that it sets to the same number when it is done ([`offset::END`]).

use knobgate_policy::{AccessKind, Errno, Mode};

use crate::event::{Event, EventRule, EventText, EventVerdict, Namespaces, RuleRef, Totals};

/// The version of the format that this crate defines. It decodes this one, and all earlier ones.
pub const VERSION: u16 = 1;

/// The most bytes of a text in a record.
pub const TEXT_MAX: usize = 256;

/// The most bytes of the name of a policy in a record.
pub const POLICY_NAME_MAX: usize = knobgate_policy::limits::POLICY_NAME_MAX;

/// The most bytes of a value that the kernel's helpers show: a page. This number as the length of a text that was cut means that
/// the text has this many bytes, or more.
pub const VALUE_SEEN_MAX: usize = 4096;

/// Bytes of a record in the memory, whatever its texts: room for the longest ones, and for the NUL that helpers put after the
/// last.
pub const BYTES_MAX: usize = 1536;

/// The index of a default among the rules of a record: this many after the last rule.
const DEFAULTS: u32 = 2;

/// Where things are in the fixed part of a record. Texts and values have their lengths there.
pub mod offset {
    /// 8 bytes: the number of this record, which is set before anything else.
    pub const BEGIN: i16 = 0;
    /// 8 bytes: the same number, which is set after everything else.
    pub const END: i16 = 8;
    /// 2 bytes: the version of the format.
    pub const VERSION: i16 = 16;
    /// 2 bytes: how many bytes of the record are in use.
    pub const SIZE: i16 = 18;
    /// 4 bytes: [flags](super::flag).
    pub const FLAGS: i16 = 20;
    /// 8 bytes: nanoseconds of `CLOCK_BOOTTIME`.
    pub const TIME: i16 = 24;
    /// 16 bytes: the key of this rule and cgroup in the memory. It starts with the id of the cgroup, 8 bytes.
    pub const KEY: i16 = 32;
    /// 4 bytes, in the key: the index of the rule. After the last rule come the default for reads, and the one for writes.
    pub const RULE: i16 = KEY + 8;
    /// 4 bytes, in the key: a number for the text of the policy.
    pub const POLICY: i16 = KEY + 12;
    /// 8 bytes: a number for the memory.
    pub const ORIGIN: i16 = 48;
    /// 8 bytes: how many events of this key were sent.
    pub const SENT: i16 = 56;
    /// 8 bytes: how many were suppressed.
    pub const SUPPRESSED: i16 = 64;
    /// 4 bytes: the thread id.
    pub const TID: i16 = 72;
    /// 4 bytes: the process id.
    pub const PID: i16 = 76;
    /// 4 bytes: the user id.
    pub const UID: i16 = 80;
    /// 4 bytes: the group id.
    pub const GID: i16 = 84;
    /// 16 bytes: the name of the task, which ends at the first NUL.
    pub const COMM: i16 = 88;
    /// 4 bytes for each of six namespaces: network, UTS, IPC, user, pid, mount.
    pub const NAMESPACES: i16 = 104;
    /// 4 bytes: the low half of the file position.
    pub const POSITION: i16 = 128;
    /// 2 bytes: the verdict: 0 to allow, 1 to deny, 2 to rewrite.
    pub const VERDICT: i16 = 132;
    /// 2 bytes: the errno of a denial.
    pub const ERRNO: i16 = 134;
    /// 4 bytes: what `bpf_get_retval` returned.
    pub const RETVAL: i16 = 136;
    /// 4 bytes: the line of the rule, or 0.
    pub const LINE: i16 = 140;
    /// 4 bytes: how many rules the policy has.
    pub const RULES: i16 = 144;
    /// 2 bytes: the recorded bytes of the knob's name.
    pub const KNOB_LENGTH: i16 = 148;
    /// 2 bytes: the recorded bytes of the current value.
    pub const OLD_LENGTH: i16 = 150;
    /// 2 bytes: the recorded bytes of the written value.
    pub const NEW_LENGTH: i16 = 152;
    /// 2 bytes: the recorded bytes of the rule's text.
    pub const RULE_LENGTH: i16 = 154;
    /// 2 bytes: the bytes of the name of the policy.
    pub const POLICY_LENGTH: i16 = 156;
    /// 2 bytes: the recorded bytes of the stored value.
    pub const STORED_LENGTH: i16 = 158;
    /// 2 bytes: the bytes of the whole current value, if it was cut; else 0.
    pub const OLD_CUT: i16 = 160;
    /// 2 bytes: the same for the written value.
    pub const NEW_CUT: i16 = 162;
    /// 2 bytes: the same for the rule's text.
    pub const RULE_CUT: i16 = 164;
    /// 2 bytes: the same for the stored value.
    pub const STORED_CUT: i16 = 166;
    /// The first text.
    pub const TEXTS: i16 = 168;
}

/// The flags of a record: what it has, and what it says of the access.
pub mod flag {
    /// The process and thread id.
    pub const PID: u32 = 1 << 0;
    /// The user and group id.
    pub const UID: u32 = 1 << 1;
    /// The name of the task.
    pub const COMM: u32 = 1 << 2;
    /// The namespaces.
    pub const NAMESPACES: u32 = 1 << 3;
    /// What the programs before it had come to.
    pub const RETVAL: u32 = 1 << 4;
    /// The current value.
    pub const OLD: u32 = 1 << 5;
    /// The written value.
    pub const NEW: u32 = 1 << 6;
    /// The stored value.
    pub const STORED: u32 = 1 << 7;
    /// The values of the knob are secret.
    pub const SECRET: u32 = 1 << 8;
    /// The access is a write.
    pub const WRITE: u32 = 1 << 9;
    /// The verdict was not enforced.
    pub const AUDIT: u32 = 1 << 10;
    /// The rule could not be evaluated.
    pub const EVAL_ERROR: u32 = 1 << 11;
    /// The program only observes.
    pub const OBSERVER: u32 = 1 << 12;
    /// The name of the knob was cut.
    pub const KNOB_CUT: u32 = 1 << 13;
    /// The rule's cgroups that came too late for the memory share a place there, this one with them.
    pub const SHARED: u32 = 1 << 14;
    /// The first event of this key.
    pub const FIRST: u32 = 1 << 15;
    /// The policy declares the width of knobs.
    pub const WIDTHS: u32 = 1 << 16;
}

/// The numbers of verdicts.
pub mod verdict {
    /// It passes.
    pub const ALLOW: u16 = 0;
    /// It fails.
    pub const DENY: u16 = 1;
    /// It passes with another value.
    pub const REWRITE: u16 = 2;
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A later version of knobgate has written it.
    #[error("the record has version {version} of the format, and this knobgate knows none after {VERSION}")]
    Version {
        /// Its version.
        version: u16,
    },
    /// A program was writing it.
    #[error("the record was being written while it was read")]
    Torn,
    /// It is damaged.
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
}

/// The event of a record.
///
/// # Errors
///
/// See [`DecodeError`].
pub fn decode(record: &[u8]) -> Result<Event, DecodeError> {
    let damaged = DecodeError::Damaged;
    let fixed = Fixed(record.first_chunk().ok_or(damaged("it is too short"))?);
    if fixed.u64(offset::BEGIN) != fixed.u64(offset::END) {
        return Err(DecodeError::Torn);
    }
    match fixed.u16(offset::VERSION) {
        VERSION => {}
        0 => return Err(damaged("it has no version")),
        version => return Err(DecodeError::Version { version }),
    }
    let flags = fixed.u32(offset::FLAGS);
    let has = |flag: u32| flags & flag != 0;
    let texts = record.get(..fixed.u16(offset::SIZE).into()).ok_or(damaged("it is shorter than it says"))?;
    let mut texts = texts.get(offset::TEXTS as usize..).ok_or(damaged("it has no room for texts"))?;
    let mut next = |length: i16, cut: u16| {
        let (bytes, rest) = texts
            .split_at_checked(fixed.u16(length).into())
            .ok_or(damaged("a text is longer than the record"))?;
        texts = rest;
        Ok(EventText { bytes: bytes.to_vec(), cut_from: (cut > 0).then_some(cut.into()) })
    };
    let mut knob = next(offset::KNOB_LENGTH, 0)?;
    // How long a longer name is, the kernel does not say.
    knob.cut_from = has(flag::KNOB_CUT).then(|| knob.bytes.len() as u32 + 1);
    let new = next(offset::NEW_LENGTH, fixed.u16(offset::NEW_CUT))?;
    let old = next(offset::OLD_LENGTH, fixed.u16(offset::OLD_CUT))?;
    let rule_text = next(offset::RULE_LENGTH, fixed.u16(offset::RULE_CUT))?;
    let policy = next(offset::POLICY_LENGTH, 0)?;
    let stored = next(offset::STORED_LENGTH, fixed.u16(offset::STORED_CUT))?;

    let kind = if has(flag::WRITE) { AccessKind::Write } else { AccessKind::Read };
    let (rule, rules) = (fixed.u32(offset::RULE), fixed.u32(offset::RULES));
    let rule = match rule.checked_sub(rules) {
        None => RuleRef::Rule(rule),
        Some(default) if default < DEFAULTS => RuleRef::Default(AccessKind::ALL[default as usize]),
        Some(_) => return Err(damaged("there is no such rule")),
    };
    let verdict = match fixed.u16(offset::VERDICT) {
        verdict::ALLOW => EventVerdict::Allow,
        verdict::DENY => {
            let errno = Errno::from_number(fixed.u16(offset::ERRNO).into());
            EventVerdict::Deny(errno.ok_or(damaged("its errno is unknown"))?)
        }
        verdict::REWRITE => EventVerdict::Rewrite,
        _ => return Err(damaged("its verdict is unknown")),
    };
    let denied_before = match fixed.u32(offset::RETVAL) as i32 {
        retval @ -4095..=-1 if has(flag::RETVAL) => Some(retval.unsigned_abs() as u16),
        _ => None,
    };
    let [net, uts, ipc, user, pid, mnt] = std::array::from_fn(|index| {
        Some(fixed.u32(offset::NAMESPACES + 4 * index as i16)).filter(|&inode| inode > 0)
    });
    let line = fixed.u32(offset::LINE);
    Ok(Event {
        boot_time: fixed.u64(offset::TIME),
        cgroup_id: fixed.u64(offset::KEY),
        pid: has(flag::PID).then(|| fixed.u32(offset::PID)),
        tid: has(flag::PID).then(|| fixed.u32(offset::TID)),
        uid: has(flag::UID).then(|| fixed.u32(offset::UID)),
        gid: has(flag::UID).then(|| fixed.u32(offset::GID)),
        comm: has(flag::COMM).then(|| {
            let comm: [u8; 16] = fixed.bytes(offset::COMM);
            comm.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
        }),
        namespaces: has(flag::NAMESPACES).then_some(Namespaces { net, uts, ipc, user, pid, mnt }),
        knob,
        kind,
        position: fixed.u32(offset::POSITION),
        secret: has(flag::SECRET),
        old: has(flag::OLD).then_some(old),
        new: has(flag::NEW).then_some(new),
        stored: has(flag::STORED).then_some(stored),
        verdict,
        mode: if has(flag::AUDIT) { Mode::Audit } else { Mode::Enforce },
        denied_before,
        policy: String::from_utf8_lossy(&policy.bytes).into_owned(),
        rule: EventRule {
            rule,
            line: (line > 0).then_some(line),
            text: rule_text,
            eval_error: has(flag::EVAL_ERROR),
        },
        declares_widths: has(flag::WIDTHS),
        observer: has(flag::OBSERVER),
        outcome_unknown: has(flag::OBSERVER) && !has(flag::RETVAL),
        origin: fixed.u64(offset::ORIGIN),
        totals: Totals { sent: fixed.u64(offset::SENT), suppressed: fixed.u64(offset::SUPPRESSED) },
    })
}

/// The fixed part of a record.
struct Fixed<'a>(&'a [u8; offset::TEXTS as usize]);

impl Fixed<'_> {
    /// The bytes at a constant offset inside.
    fn bytes<const N: usize>(&self, at: i16) -> [u8; N] {
        std::array::from_fn(|index| self.0[at as usize + index])
    }

    fn u16(&self, at: i16) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    fn u32(&self, at: i16) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    fn u64(&self, at: i16) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }
}
