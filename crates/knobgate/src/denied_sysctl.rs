//! Knobs that the runtime writes when it makes a container, and that a policy on the container denies.
//!
//! The runtime writes them from inside the container's cgroup. It would fail, and say no more than the name of the file.

use std::error::Error;
use std::fmt;

use knobgate_policy::{
    Access, AccessKind, DecidedBy, Input, Inputs, KnobName, Place, PolicyFile, Span, engine_writes, possible,
};

use crate::oci_state::OciBundle;

/// A knob in `linux.sysctl` of a container that a policy denies, whatever is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeniedSysctl {
    /// The name of the policy.
    pub policy: String,
    /// The rule or default that denies it, with its place: `web.knob:3: default write deny`.
    pub rule: String,
    /// The knob, as the bundle has it.
    pub knob: String,
    /// The value.
    pub value: String,
}

impl DeniedSysctl {
    /// The first knob that a policy denies for sure if it is enforced, whatever its mode is.
    pub fn find(policy: &PolicyFile, bundle: &OciBundle) -> Option<Self> {
        let mut unknown: Inputs = [Input::Old, Input::Comm, Input::Netns].into_iter().collect();
        if bundle.user_namespace {
            // The runtime's process in it has another user id outside.
            unknown = [Input::Old, Input::Comm, Input::Netns, Input::Uid, Input::Gid].into_iter().collect();
        }
        bundle.sysctls.iter().find_map(|(knob, value)| {
            // The runtime rejects a name that is none.
            let name = KnobName::parse(knob.as_bytes()).ok()?;
            let by =
                possible(policy.policy(), &Access::write(name, value.as_bytes()), unknown).denied_by()?;
            Some(Self {
                policy: policy.policy().name().to_owned(),
                rule: place_of(policy, by),
                knob: knob.clone(),
                value: value.clone(),
            })
        })
    }

    /// Whether an engine sets the knob to this value without being asked.
    pub fn is_of_engine(&self) -> bool {
        let knob = self.knob.replace('/', ".");
        engine_writes::all().iter().any(|write| write.knob() == knob && write.value() == self.value)
    }
}

impl fmt::Display for DeniedSysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, rule, knob, value } = self;
        write!(
            f,
            "the policy \"{policy}\" denies what the container's runtime has to write before the container starts: {knob} = \
             {value} ({rule})"
        )?;
        if self.is_of_engine() {
            write!(
                f,
                "; container engines set this knob themselves: allow it, or add `include preset \"{}\"` to the policy",
                engine_writes::PRESET
            )
        } else {
            f.write_str("; allow it in the policy, or do not ask for it")
        }
    }
}

impl Error for DeniedSysctl {}

/// The text of what decides, with its place in the policy.
fn place_of(policy: &PolicyFile, by: DecidedBy) -> String {
    let source = policy.source();
    let of = |span: Option<Span>| {
        let span = span?;
        let Place { name, line, .. } = source.place(span.start);
        Some(format!("{name}:{line}: {}", source.slice(span)))
    };
    let unstated = || format!("{}: no rule allows it, and writes are denied by default", source.name());
    match by {
        DecidedBy::Rule(rule) => of(policy.rule_span(rule)),
        DecidedBy::EvalError { rule, error } => {
            of(policy.rule_span(rule)).map(|rule| format!("{rule}, which cannot be evaluated: {error}"))
        }
        DecidedBy::Default(_) => of(policy.default_span(AccessKind::Write)),
    }
    .unwrap_or_else(unstated)
}

#[cfg(test)]
mod tests {
    use knobgate_policy::{CheckOptions, Source, parse};

    use super::*;

    fn found(policy: &str, bundle: OciBundle) -> Option<String> {
        let file = parse(Source::new("web.knob", policy), &CheckOptions::default()).unwrap();
        DeniedSysctl::find(&file, &bundle).map(|denied| denied.to_string())
    }

    fn bundle(knob: &str, value: &str) -> OciBundle {
        OciBundle { sysctls: [(knob.to_owned(), value.to_owned())].into(), ..OciBundle::default() }
    }

    #[test]
    fn what_is_denied_for_sure_is_found() {
        let ttl = || bundle("net.ipv4.ip_default_ttl", "70");
        for (policy, expected) in [
            ("policy web\n", Some("(web.knob: no rule allows it, and writes are denied by default)")),
            ("policy web\ndefault write deny\n", Some("(web.knob:2: default write deny)")),
            (
                "policy web\ndefault write allow\ndeny write net.ipv4.ip_default_ttl if new > 64\n",
                Some("(web.knob:3: deny write net.ipv4.ip_default_ttl if new > 64)"),
            ),
            // Which of two errnos depends on the current value.
            ("policy web\ndeny(EINVAL) write net.** if old == 1\n", Some("(web.knob:2: deny(EINVAL)")),
            ("policy web\nallow write net.ipv4.ip_default_ttl if new <= 70\n", None),
            // It depends on what is not known.
            ("policy web\nallow write net.ipv4.ip_default_ttl if old == 64\n", None),
            ("policy web\nallow write net.ipv4.ip_default_ttl if comm == \"runc\"\n", None),
        ] {
            let found = found(policy, ttl());
            assert_eq!(found.is_some(), expected.is_some(), "{policy}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{found}");
                assert!(found.contains("net.ipv4.ip_default_ttl = 70"), "{found}");
                assert!(!found.contains("preset"), "{found}");
            }
        }
    }

    #[test]
    fn the_user_is_not_known_in_a_user_namespace() {
        let root_only = "policy web\nallow write net.ipv4.ip_default_ttl if uid != 0\n";
        let ttl = || bundle("net.ipv4.ip_default_ttl", "70");
        assert!(found(root_only, ttl()).is_some());
        assert_eq!(found(root_only, OciBundle { user_namespace: true, ..ttl() }), None);
    }

    #[test]
    fn what_engines_set_themselves_is_said() {
        for (knob, value, is_of_engine) in [
            ("net.ipv4.ip_unprivileged_port_start", "0", true),
            ("net/ipv4/ping_group_range", "0 2147483647", true),
            ("net.ipv4.ping_group_range", "0 0", true),
            // Somebody asked for these, and the preset does not allow them.
            ("net.ipv4.ip_unprivileged_port_start", "80", false),
            ("net.ipv4.ip_default_ttl", "0", false),
        ] {
            let denied = found("policy web\n", bundle(knob, value)).unwrap();
            assert_eq!(denied.contains("include preset \"docker-runtime@1\""), is_of_engine, "{denied}");
        }
    }
}
