//! Knobs whose reads fail, so that programs get no current value.

use knobgate_scenario::{Document, HandlerDocument, HandlerKind, KnobDocument};

use crate::Case;
use crate::programs::setting;

fn knob(name: &str, mode: Option<&str>, kind: HandlerKind, read_error: Option<&str>) -> KnobDocument {
    let read_error = read_error.map(str::to_owned);
    KnobDocument {
        name: name.to_owned(),
        value: None,
        mode: mode.map(str::to_owned),
        handler: HandlerDocument { kind, len: None, min: None, max: None, max_len: None, read_error },
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let secret = "net/ipv6/conf/default/stable_secret";
    // Nothing unsets the secret, so this is the only scenario with it.
    let document = Document {
        knobs: vec![
            knob(secret, Some("0600"), HandlerKind::StableSecret, None),
            knob("net/ipv4/route/flush", Some("0200"), HandlerKind::Int, Some("EINVAL")),
        ],
        ..setting()
    };
    let steps = format!(
        r#"
        {{"attach": {{"program": "allow", "cgroup": "a", "mode": "link"}}}},
        {{"attach": {{"program": "set 7", "cgroup": "d", "mode": "link"}}}},
        {{"read": {{"knob": "{secret}", "cgroup": "/"}}}},
        {{"read": {{"knob": "{secret}", "cgroup": "a"}}}},
        {{"write": {{"knob": "{secret}", "cgroup": "a", "data": "secret\n"}}}},
        {{"write": {{"knob": "{secret}", "cgroup": "d", "data": "::5\n"}}}},
        {{"write": {{"knob": "{secret}", "cgroup": "a", "data": "2001:db8::1\n"}}}},
        {{"read": {{"knob": "{secret}", "cgroup": "a"}}}},
        {{"read": {{"knob": "{secret}", "cgroup": "a", "pos": 5, "count": 4}}}},
        {{"write": {{"knob": "{secret}", "cgroup": "a", "data": "no address"}}}},
        {{"read": {{"knob": "net/ipv4/route/flush", "cgroup": "a"}}}}"#
    );
    vec![("knobs whose reads fail", document, steps)]
}
