//! Policies of every size, made of names as they are found below `/proc/sys`.

use std::fmt::Write;

use knobgate_policy::{CheckOptions, PolicyFile, Source, parse};

/// What stands for a knob's settings per network interface. No benchmark reads or writes one of these.
const LEAVES: [&str; 12] = [
    "accept_local",
    "accept_redirects",
    "arp_announce",
    "arp_filter",
    "arp_ignore",
    "bc_forwarding",
    "forwarding",
    "log_martians",
    "proxy_arp",
    "route_localnet",
    "rp_filter",
    "send_redirects",
];

/// The knob, with slashes, of rule `index` of [`PolicyText::of_literals`].
pub fn literal(index: usize) -> String {
    format!("net/ipv4/conf/veth{}/{}", index / LEAVES.len(), LEAVES[index % LEAVES.len()])
}

/// A policy that lets pass what no rule speaks of.
#[derive(Debug, Clone)]
pub struct PolicyText {
    rules: Vec<String>,
}

impl PolicyText {
    /// `count` rules of `kinds` (`read`, `write`, `read write`), each for one knob that is spelled out, none of which is
    /// ever accessed; `condition` follows each.
    pub fn of_literals(count: usize, kinds: &str, condition: &str) -> Self {
        Self::with(count, |index| format!("allow {kinds} {}{condition}", literal(index)))
    }

    /// As [`of_literals`](Self::of_literals) without conditions, each rule with a last component of its own.
    pub fn of_literals_apart(count: usize, kinds: &str) -> Self {
        Self::with(count, |index| format!("allow {kinds} net.ipv4.neigh.default.gc_thresh_{index}"))
    }

    /// As [`of_literals`](Self::of_literals), for the knob with this last component on other interfaces.
    pub fn of_namesakes(count: usize, kinds: &str, leaf: &str) -> Self {
        Self::with(count, |index| format!("allow {kinds} net.ipv4.conf.veth{index}.{leaf}"))
    }

    /// `count` rules, each for a pattern that no knob matches which is ever accessed.
    pub fn of_globs(count: usize, kinds: &str) -> Self {
        Self::with(count, |index| {
            let leaf = LEAVES[index % LEAVES.len()];
            format!("allow {kinds} net.ipv*.conf.veth{}*.{leaf}", index / LEAVES.len())
        })
    }

    fn with(count: usize, rule: impl Fn(usize) -> String) -> Self {
        Self { rules: (0..count).map(rule).collect() }
    }

    /// Replaces the middle rule with `rule`, or adds it if there is none: as many rules as before.
    #[must_use]
    pub fn with_rule(mut self, rule: &str) -> Self {
        let middle = self.rules.len() / 2;
        match self.rules.get_mut(middle) {
            Some(place) => rule.clone_into(place),
            None => self.rules.push(rule.to_owned()),
        }
        self
    }

    /// Adds the rules of `other` at the end.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.rules.extend(other.rules);
        self
    }

    /// The policy as text.
    pub fn text(&self) -> String {
        let mut text = "policy bench\ndefault read allow\ndefault write allow\n".to_owned();
        for rule in &self.rules {
            writeln!(text, "{rule}").expect("a String takes all");
        }
        text
    }

    /// The policy, parsed and checked.
    ///
    /// # Panics
    ///
    /// If a rule has errors.
    pub fn parsed(&self) -> PolicyFile {
        parse(Source::new("bench.knob", self.text()), &CheckOptions::default())
            .unwrap_or_else(|errors| panic!("{errors:?}"))
    }
}
