//! Who put a program on a cgroup, as text.

use std::collections::BTreeMap;

use knobgate_kernel::{LinkOrigin, LinkSource};

use crate::plural::count;

/// By whom.
pub(crate) fn by(source: LinkSource) -> &'static str {
    match source {
        LinkSource::Hand => "by hand",
        LinkSource::Agent => "by the agent",
        LinkSource::Hook => "by a hook",
        LinkSource::Nri => "by the NRI plugin",
        _ => "by a newer version of knobgate",
    }
}

/// By whom, on how many cgroups: `by a hook on 2 cgroups, by the agent on 1 cgroup`.
pub(crate) fn by_all(sources: &BTreeMap<LinkSource, usize>) -> String {
    let one = |(&source, &cgroups): (&LinkSource, &usize)| {
        format!("{} on {}", by(source), count(cgroups, "cgroup"))
    };
    sources.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What is to be said about a link behind its number: nothing about one that was made by hand before there were processes.
pub(crate) fn describe(origin: LinkOrigin) -> String {
    let source = match origin.source {
        LinkSource::Hand => String::new(),
        source => format!(" {}", by(source)),
    };
    let late = if origin.late { ", late" } else { "" };
    format!("{source}{late}")
}
