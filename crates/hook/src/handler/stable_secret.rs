//! `net/ipv6/conf/*/stable_secret`: `addrconf_sysctl_stable_secret` in net/ipv6/addrconf.c.

use std::net::Ipv6Addr;

use super::{Handler, HandlerEnv, Text, Written};
use crate::Errno;

/// `IPV6_MAX_STRLEN`
const ADDRESS_BYTES: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len() + 1;

/// A secret in the notation of an IPv6 address. While it is not set, reads fail with `EIO`, so that programs get no current
/// value. Writes that are not an address fail with `EIO`, too. Nothing unsets it.
///
/// The kernel also takes some texts that start with an address; this handler does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StableSecret {
    /// The secret, if it is set.
    pub secret: Option<Ipv6Addr>,
}

impl Handler for StableSecret {
    fn read(&mut self, count: usize, position: &mut i64, env: &HandlerEnv<'_>) -> Result<Vec<u8>, Errno> {
        let secret = self.secret.ok_or(Errno::EIO)?;
        let groups = secret.segments().map(|group| format!("{group:04x}"));
        Text::new(groups.join(":"), ADDRESS_BYTES).read(count, position, env)
    }

    fn write(
        &mut self,
        written: Written<'_>,
        position: &mut i64,
        env: &HandlerEnv<'_>,
    ) -> Result<usize, Errno> {
        let mut text = Text::new("", ADDRESS_BYTES);
        let length = text.write(written, position, env)?;
        let address = str::from_utf8(text.value()).ok().and_then(|address| address.parse().ok());
        self.secret = Some(address.ok_or(Errno::EIO)?);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Profile, WritesStrict};

    #[test]
    fn a_secret_cannot_be_read_until_it_is_written() {
        let profile = Profile::default();
        let env = HandlerEnv { strict: WritesStrict::Strict, profile: &profile };
        let mut handler = StableSecret::default();
        let read = |handler: &mut StableSecret| handler.read(100, &mut 0, &env);
        assert_eq!(read(&mut handler), Err(Errno::EIO));
        for wrong in [&b""[..], b"secret\n", b" ::1\n", b"1.2.3.4\n"] {
            assert_eq!(handler.write(Written::terminated(wrong), &mut 0, &env), Err(Errno::EIO));
        }
        assert_eq!(read(&mut handler), Err(Errno::EIO));
        assert_eq!(handler.write(Written::terminated(b"2001:db8::1\n"), &mut 0, &env), Ok(12));
        assert_eq!(read(&mut handler), Ok(b"2001:0db8:0000:0000:0000:0000:0000:0001\n".to_vec()));
        assert_eq!(handler.write(Written::terminated(b"::255.255.255.255\n"), &mut 0, &env), Ok(18));
        assert_eq!(read(&mut handler), Ok(b"0000:0000:0000:0000:0000:0000:ffff:ffff\n".to_vec()));
    }
}
