//! Names that may have been meant.

use std::sync::LazyLock;

use knobgate_catalogue::all;

use crate::KnobName;
use crate::did_you_mean::did_you_mean_knob;

/// The name of a knob of the catalogue, or one of `others`, that is close enough to `name` to be what was meant, in dotted
/// notation. None without the feature `suggest`.
///
/// ```
/// use knobgate_policy::{KnobName, catalogue};
///
/// let meant = |name| catalogue::did_you_mean(&KnobName::parse(name).unwrap(), []);
/// assert_eq!(meant("kernel.core_patern"), Some("kernel.core_pattern".to_owned()));
/// assert_eq!(meant("net.ipv4.conf.web0.rp_fliter"), Some("net.ipv4.conf.web0.rp_filter".to_owned()));
/// assert_eq!(meant("kernel.banana"), None);
/// ```
pub fn did_you_mean<'a>(name: &KnobName, others: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let written = name.to_string();
    let filled = filled(name);
    let literals = LITERALS.iter().map(String::as_str);
    // Both borrow for as long as the shorter.
    let others = others.into_iter().map(|other| -> &str { other });
    let candidates = literals.chain(filled.iter().map(String::as_str)).chain(others);
    did_you_mean_knob(&written, candidates).map(str::to_owned)
}

/// The names of all knobs whose patterns have no placeholder, with dots.
static LITERALS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let literals = all().iter().filter(|knob| knob.is_literal());
    literals.map(|knob| knob.pattern().replace('/', ".")).collect()
});

/// The names that patterns with placeholders get with the components of `name` in these places.
fn filled(name: &KnobName) -> Vec<String> {
    let components: Vec<&[u8]> = name.as_bytes().split(|&byte| byte == b'/').collect();
    let mut names = Vec::new();
    for knob in all().iter().filter(|knob| !knob.is_literal()) {
        let pattern: Vec<&str> = knob.pattern().split('/').collect();
        if pattern.len() != components.len() {
            continue;
        }
        let component = |(pattern, component): (&&'static str, &&[u8])| match pattern.starts_with('<') {
            true => component.to_vec(),
            false => pattern.as_bytes().to_vec(),
        };
        let path = pattern.iter().zip(&components).map(component).collect::<Vec<_>>().join(&b'/');
        names.extend(KnobName::from_path(path).ok().map(|name| name.to_string()));
    }
    names
}
