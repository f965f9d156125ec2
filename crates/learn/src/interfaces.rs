//! Knobs that each network interface has: `net/ipv4/conf/eth0/rp_filter`.

use knobgate_policy::{KnobName, KnobPattern, NotationError};

/// A knob that each interface has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Leaf {
    /// `net.ipv4.conf`
    table: &'static str,
    /// `rp_filter`
    knob: String,
}

/// What stands for an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    /// An interface.
    One,
    /// `all` or `default`.
    General,
}

/// The tables that each interface has.
const TABLES: [(&str, &str); 4] = [
    ("net/ipv4/conf/", "net.ipv4.conf"),
    ("net/ipv4/neigh/", "net.ipv4.neigh"),
    ("net/ipv6/conf/", "net.ipv6.conf"),
    ("net/ipv6/neigh/", "net.ipv6.neigh"),
];
/// The names in these tables that are no interfaces.
const GENERAL: [&str; 2] = ["all", "default"];

impl Leaf {
    /// The knob of an interface that this is.
    pub(crate) fn of(name: &KnobName) -> Option<(Self, Interface)> {
        let name = name.as_bytes();
        let (rest, table) =
            TABLES.iter().find_map(|(path, table)| Some((name.strip_prefix(path.as_bytes())?, *table)))?;
        let slash = rest.iter().position(|&byte| byte == b'/')?;
        let (interface, knob) = (&rest[..slash], str::from_utf8(&rest[slash + 1..]).ok()?);
        // As all knobs of these tables are called. Nothing has to be escaped then.
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_general = GENERAL.iter().any(|general| general.as_bytes() == interface);
        let place = if is_general { Interface::General } else { Interface::One };
        knob.bytes().all(is_plain).then(|| (Self { table, knob: knob.to_owned() }, place))
    }

    /// The names of this knob of all interfaces, as a glob.
    pub(crate) fn glob(&self) -> String {
        format!("{}.*.{}", self.table, self.knob)
    }

    /// The names that are of no interface.
    pub(crate) fn general_names(&self) -> Vec<KnobName> {
        let name = |general| KnobName::parse(format!("{}.{general}.{}", self.table, self.knob));
        GENERAL.iter().filter_map(|general| name(general).ok()).collect()
    }
}

/// The pattern of the knob of all interfaces.
pub(crate) fn pattern_of_all_interfaces(leaf: &Leaf) -> Result<KnobPattern, NotationError> {
    KnobPattern::parse(leaf.glob())
}

/// The pattern of one knob alone, whatever characters its name has.
pub(crate) fn pattern(name: &KnobName) -> Result<KnobPattern, NotationError> {
    KnobPattern::parse(name.to_string())
}
