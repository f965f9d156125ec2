//! What a kernel cannot do in a policy, and what happens instead.

use std::fmt;

use knobgate_compiler::{Degradation, PolicySource};
use knobgate_kernel::ProbeOutcome;
use knobgate_policy::limits;

/// The kernel that a policy is compiled for.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum TargetKernel<'a> {
    /// The running kernel.
    Running {
        /// Whether it honours replaced values.
        rewrites: &'a ProbeOutcome,
    },
    /// Another kernel, with its name for messages.
    Other(&'a str),
}

/// What a kernel cannot do in a policy, and what the program does instead, which is stricter than the policy.
///
/// `Display` gives a message: `web.knob:7: this kernel … denies with EPERM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLimit {
    degradation: Degradation,
    place: Option<String>,
    description: String,
}

impl KernelLimit {
    /// The limit of `kernel` that causes a degradation of this policy.
    pub fn new(degradation: Degradation, policy: &PolicySource<'_>, kernel: &TargetKernel<'_>) -> Self {
        let place = match degradation {
            Degradation::RewriteIsDenied { rule } | Degradation::VectorClampIsDenied { rule } => {
                Some(place(policy, rule))
            }
            _ => None,
        };
        Self { degradation, place, description: describe(degradation, policy, kernel) }
    }

    /// The degradation.
    pub fn degradation(&self) -> Degradation {
        self.degradation
    }

    /// The message without the place of the rule.
    pub fn description(&self) -> &str {
        &self.description
    }
}

impl fmt::Display for KernelLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.description)
    }
}

fn describe(degradation: Degradation, policy: &PolicySource<'_>, kernel: &TargetKernel<'_>) -> String {
    let name = match *kernel {
        TargetKernel::Running { .. } => "this kernel",
        TargetKernel::Other(name) => name,
    };
    let text = |rule| policy.rule_text(rule).unwrap_or_default();
    match (degradation, kernel) {
        (Degradation::ErrnoIsEperm(errno), _) => format!(
            "{name} does not let programs choose the errno of a denial (Linux 5.18 does): denials with {errno} are EPERM"
        ),
        (
            Degradation::RewriteIsDenied { rule },
            TargetKernel::Running { rewrites: rewrites @ ProbeOutcome::Unknown(_) },
        ) => format!(
            "whether {name} drops replacements is {rewrites}; where `{}` would rewrite, it denies with EPERM",
            text(rule),
        ),
        (Degradation::RewriteIsDenied { rule }, _) => format!(
            "{name} drops replacements (a bug in Linux 5.18 and later, fixed in 6.1.178, 6.12.96, 6.18.44 and 7.2); \
             where `{}` would rewrite, it denies with EPERM",
            text(rule),
        ),
        (Degradation::VectorClampIsDenied { rule }, _) => format!(
            "{name} does not let programs build lists of numbers; where `{}` would rewrite, it denies with EPERM",
            text(rule),
        ),
        (Degradation::LongValuesAreDenied, _) => format!(
            "{name} does not let programs loop over a value (Linux 5.17 does, and on arm64 5.18): rules that look at a value of more than {} bytes \
             cannot be evaluated, and deny it",
            limits::SHORT_VALUE_MAX,
        ),
        (other, _) => {
            format!("{name} cannot do everything that the policy says, and denies instead: {other:?}")
        }
    }
}

/// `web.knob:7`
fn place(policy: &PolicySource<'_>, rule: usize) -> String {
    policy.rule_place(rule).map_or_else(|| policy.name().to_owned(), |place| place.to_string())
}

#[cfg(test)]
mod tests {
    use knobgate_bpf::Features;
    use knobgate_compiler::compile;
    use knobgate_policy::{CheckOptions, Source, parse};

    use super::*;

    #[test]
    fn limits_are_reported_for_each_rule() {
        let text = "policy p\ndeny(EROFS) write kernel.**\nclamp write net.core.somaxconn to 1..2\n\
                    clamp write net.ipv4.tcp_mem to [1..2, 1..2]\n";
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        let said_where = |features: &Features, rewrites: &ProbeOutcome| -> Vec<String> {
            let compiled = compile(&file, features).expect("a program");
            compiled
                .degradations()
                .iter()
                .map(|&degradation| {
                    KernelLimit::new(degradation, &(&file).into(), &TargetKernel::Running { rewrites })
                        .to_string()
                })
                .collect()
        };
        let printed = |features: &Features| said_where(features, &ProbeOutcome::No);
        assert_eq!(printed(&Features::ALL), Vec::<String>::new());

        let all = printed(&Features { set_new_value: false, set_retval: false, ..Features::ALL });
        let about = |part: &str| all.iter().filter(|line| line.contains(part)).count();
        assert_eq!(about("denials with EROFS are EPERM"), 1, "{all:?}");
        assert_eq!(about("p.knob:3: this kernel drops"), 1, "{all:?}");
        let unknown = ProbeOutcome::Unknown("no cgroup can be made".to_owned());
        let unsure = said_where(&Features { set_new_value: false, ..Features::ALL }, &unknown);
        assert!(unsure.iter().all(|line| line.contains("is unknown: no cgroup can be made")), "{unsure:?}");
        assert_eq!(about("`clamp write net.core.somaxconn to 1..2` would rewrite, it denies"), 1, "{all:?}");

        let lists = printed(&Features { variable_stack: false, ..Features::ALL });
        let [list] = lists.as_slice() else { panic!("{lists:?}") };
        assert!(list.starts_with("p.knob:4: ") && list.contains("lists of numbers"), "{list}");
    }

    #[test]
    fn a_described_kernel_is_called_by_its_name() {
        let text = "policy p\nclamp write net.core.somaxconn to 1..2\n";
        let file = parse(Source::new("p.knob", text), &CheckOptions::default()).expect("a policy");
        let kernel = TargetKernel::Other("Linux 6.8");
        let printed =
            KernelLimit::new(Degradation::RewriteIsDenied { rule: 0 }, &(&file).into(), &kernel).to_string();
        assert!(printed.starts_with("p.knob:2: Linux 6.8 drops replacements"), "{printed}");
    }
}
