//! The cached outcomes, in `/run/knobgate/probes`.
//!
//! The first three lines are the key: the format, the boot, and the capabilities of the process that probed, with what its token
//! delegates.

use std::fmt::Write as _;

use super::{ProbeOutcome, Probes};
use crate::capabilities::{Capabilities, Capability};
use crate::token::BpfToken;
use crate::{boot_cache, machine};

/// Increment this with every change to the probes.
const FORMAT: u32 = 5;
const FILE: &str = "probes";

/// The key of cached outcomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// The current key; `None` if `/proc` cannot be read.
    pub(super) fn current() -> Option<Self> {
        let boot_id = machine::boot_id().ok()?;
        let capabilities = Capabilities::of_this_process().ok()?;
        let token = BpfToken::of_this_process().map(BpfToken::key);
        Some(Self::new(&boot_id, capabilities, token.as_deref()))
    }

    fn new(boot_id: &str, capabilities: Capabilities, token: Option<&str>) -> Self {
        let mut key = format!("format {FORMAT}\nboot {boot_id}\ncapabilities");
        for capability in Capability::FOR_BPF.into_iter().filter(|&one| capabilities.has(one)) {
            let _ = write!(key, " {capability}");
        }
        if let Some(token) = token {
            let _ = write!(key, " {token}");
        }
        key.push('\n');
        Self(key)
    }
}

pub(super) fn read(key: &Key) -> Option<Probes> {
    parse(key, &boot_cache::read(FILE)?)
}

pub(super) fn write(key: &Key, probes: &Probes) {
    if let Some(text) = render(key, probes) {
        boot_cache::write(FILE, &text);
    }
}

/// `None` if a probe failed, so that the next process tries again.
fn render(key: &Key, probes: &Probes) -> Option<String> {
    let mut text = key.0.clone();
    for (name, outcome) in probes.iter() {
        if let ProbeOutcome::Unknown(_) = outcome {
            return None;
        }
        let _ = writeln!(text, "{name} {outcome}");
    }
    Some(text)
}

fn parse(key: &Key, text: &str) -> Option<Probes> {
    let mut lines = text.strip_prefix(&key.0)?.lines();
    Probes::from_names(|field| match lines.next()?.split_once(' ')? {
        (name, "yes") if name == field => Some(ProbeOutcome::Yes),
        (name, "no") if name == field => Some(ProbeOutcome::No),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(boot_id: &str) -> Key {
        Key(format!("format {FORMAT}\nboot {boot_id}\ncapabilities CAP_BPF\n"))
    }

    #[test]
    fn cached_outcomes_are_read() {
        let probes = Probes { set_new_value: ProbeOutcome::No, ..Probes::all(&ProbeOutcome::Yes) };
        let text = render(&key("a"), &probes).expect("all is known");
        assert_eq!(parse(&key("a"), &text), Some(probes));
    }

    #[test]
    fn outcomes_with_another_key_or_format_are_not_used() {
        let text = render(&key("a"), &Probes::all(&ProbeOutcome::Yes)).expect("all is known");
        let cases = [
            render(&key("b"), &Probes::all(&ProbeOutcome::Yes)).expect("all is known"),
            text.replacen(&format!("format {FORMAT}"), "format 0", 1),
            text.replacen("CAP_BPF", "", 1),
            text.replacen("jit yes", "jit maybe", 1),
            text.replacen("links yes\n", "", 1),
            text[..text.len() / 2].to_owned(),
            String::new(),
        ];
        for case in cases {
            assert_eq!(parse(&key("a"), &case), None, "{case}");
        }
    }

    #[test]
    fn unknown_outcomes_are_not_cached() {
        let probes = Probes { links: ProbeOutcome::Unknown("why".into()), ..Probes::all(&ProbeOutcome::Yes) };
        assert_eq!(render(&key("a"), &probes), None);
    }
}
