//! Names by which a knob can be set that are not its own.

use std::collections::HashMap;
use std::sync::LazyLock;

use knobgate_catalogue::{Knob, all};

use crate::KnobName;

/// Another name by which a knob can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherName {
    pub(crate) name: KnobName,
    /// Whether both are the same knob, with the same unit. Otherwise a write of this one also sets the other, perhaps to another number.
    pub(crate) is_same: bool,
}

/// How a knob can be set by the name of another.
#[derive(Clone, Copy)]
struct Way {
    other: &'static Knob,
    is_same: bool,
}

/// For the pattern of each knob that other names set, the ways.
static WAYS: LazyLock<HashMap<&'static str, Vec<Way>>> = LazyLock::new(|| {
    let mut ways: HashMap<&'static str, Vec<Way>> = HashMap::new();
    let mut add = |set: &'static str, other: &'static Knob, is_same| {
        ways.entry(set).or_default().push(Way { other, is_same });
    };
    let by_pattern: HashMap<&str, &'static Knob> = all().iter().map(|knob| (knob.pattern(), knob)).collect();
    for knob in all() {
        if let Some(other) = knob.alias_of().and_then(|alias| by_pattern.get(alias)) {
            // `retrans_time` and `retrans_time_ms` are in different units.
            let is_same = knob.stores() == other.stores() && knob.width() == other.width();
            add(other.pattern(), knob, is_same);
            add(knob.pattern(), other, is_same);
        }
        for &set in knob.reaches() {
            add(set, knob, false);
        }
    }
    ways
});

/// The other names by which the knob `name`, which the entry `knob` is about, can be set.
pub(crate) fn other_names(knob: &Knob, name: &[u8]) -> Vec<OtherName> {
    let ways = WAYS.get(knob.pattern()).into_iter().flatten();
    let other = |way: &Way| {
        let other = filled(way.other.pattern(), knob.pattern(), name)?;
        Some(OtherName { name: KnobName::from_path(other).ok()?, is_same: way.is_same })
    };
    ways.filter_map(other).collect()
}

/// `pattern` with what `name` has in the places of the same placeholders in `of_name`; `None` if `of_name` does not have one.
fn filled(pattern: &str, of_name: &str, name: &[u8]) -> Option<Vec<u8>> {
    let components: Vec<(&str, &[u8])> = of_name.split('/').zip(name.split(|&byte| byte == b'/')).collect();
    let component = |wanted: &str| match wanted.starts_with('<') {
        true => {
            components.iter().find(|(placeholder, _)| *placeholder == wanted).map(|(_, found)| found.to_vec())
        }
        false => Some(wanted.as_bytes().to_vec()),
    };
    Some(pattern.split('/').map(component).collect::<Option<Vec<_>>>()?.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use knobgate_catalogue::find;

    use super::*;

    fn others(name: &str) -> Vec<(String, bool)> {
        let other = |other: OtherName| (other.name.to_string(), other.is_same);
        other_names(find(name.as_bytes()).expect(name), name.as_bytes()).into_iter().map(other).collect()
    }

    #[test]
    fn an_alias_is_one_in_both_directions() {
        let one = ("net.ipv4.ip_forward".to_owned(), true);
        let another = ("net.ipv4.conf.all.forwarding".to_owned(), true);
        assert!(others("net/ipv4/conf/all/forwarding").contains(&one));
        assert!(others("net/ipv4/ip_forward").contains(&another));
    }

    #[test]
    fn what_sets_every_interface_sets_this_one() {
        let all = ("net.ipv4.conf.all.forwarding".to_owned(), false);
        assert!(others("net/ipv4/conf/eth0/forwarding").contains(&all));
    }

    #[test]
    fn placeholders_are_filled_by_name() {
        let of = "net/ipv4/neigh/<interface>/retrans_time";
        let name = b"net/ipv4/neigh/eth0.1/retrans_time";
        let filled = |pattern| filled(pattern, of, name).map(|name| String::from_utf8(name).unwrap());
        assert_eq!(
            filled("net/ipv4/neigh/<interface>/retrans_time_ms").as_deref(),
            Some("net/ipv4/neigh/eth0.1/retrans_time_ms")
        );
        assert_eq!(filled("net/ipv4/neigh/<cpu>/x"), None);
        assert_eq!(filled("net/x").as_deref(), Some("net/x"));
    }
}
