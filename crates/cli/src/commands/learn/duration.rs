//! Times as arguments.

use std::str::FromStr;
use std::time::Duration;

/// A time: `30s`, `10m`, `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ERROR: &str = "a time is a whole number with its unit: 30s, 10m, 2h or 1d";
        let units = [("s", 1), ("m", 60), ("h", 60 * 60), ("d", 24 * 60 * 60)];
        let parsed = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
        let (number, seconds) = parsed.ok_or(ERROR)?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ERROR);
        }
        let number: u64 = number.parse().map_err(|_| ERROR)?;
        number.checked_mul(*seconds).map(|seconds| Self(Duration::from_secs(seconds))).ok_or(ERROR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (text, seconds) in
            [("30s", Some(30)), ("10m", Some(600)), ("2h", Some(7200)), ("1d", Some(86400)), ("10", None)]
        {
            assert_eq!(
                text.parse().ok(),
                seconds.map(|seconds| Span(Duration::from_secs(seconds))),
                "{text}"
            );
        }
        for text in ["", "m", "-1s", "+1s", "1.5h", "10 m", "99999999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
