//! Knobs whose values are secret. Programs do not record them, so that they never leave the kernel.

/// Last components of the names of such knobs.
///
/// - `stable_secret` (`net/ipv6/conf/*/stable_secret`): from it, a host derives its stable IPv6 addresses (RFC 7217).
/// - `tcp_fastopen_key` (`net/ipv4/tcp_fastopen_key`): whoever knows it can make TCP Fast Open cookies.
pub const LAST_COMPONENTS: [&str; 2] = ["stable_secret", "tcp_fastopen_key"];

/// Paths below which all knobs are such.
///
/// - `kernel/random/`: `uuid` makes a new random UUID for each read; somebody may use what was read as a secret.
pub const BELOW: [&str; 1] = ["kernel/random/"];

/// Whether the values of the knob at this path below `/proc/sys` are secret.
///
/// ```
/// use knobgate_events::secrets::is_secret;
///
/// assert!(is_secret(b"net/ipv6/conf/eth0/stable_secret"));
/// assert!(!is_secret(b"net/ipv4/tcp_fastopen"));
/// ```
pub fn is_secret(knob: &[u8]) -> bool {
    let last = knob.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    LAST_COMPONENTS.iter().any(|secret| secret.as_bytes() == last)
        || BELOW.iter().any(|above| knob.starts_with(above.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_has_the_same_secrets() {
        for knob in knobgate_catalogue::all() {
            assert_eq!(is_secret(knob.pattern().as_bytes()), knob.is_secret(), "{}", knob.pattern());
        }
    }
}
