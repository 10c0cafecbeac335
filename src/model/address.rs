//! Where something is dialled: a host and a port. Never anybody's identity; see `peer`.

// The values only: nothing here opens a socket.
use core::net::{Ipv6Addr, SocketAddr};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Characters of a host's name at most (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// A text that is no address to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no address to dial; write it like a1.example:9501 or [::1]:9501")]
pub struct AddressError;

/// `HOST:PORT`: a host's name, an IPv4 address or an IPv6 address in brackets, and a port that is not 0.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort(String);

impl HostPort {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A socket's address; none for one that cannot be dialled, as its port is 0.
    pub fn of(address: SocketAddr) -> Option<Self> {
        address.to_string().parse().ok()
    }
}

fn is_host(text: &str) -> bool {
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=MAX_HOST).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.chars().all(is_allowed)
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        if is_host(host) && is_port(port) {
            return Ok(Self(text.to_owned()));
        }
        Err(AddressError)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for HostPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: bool) {
        let got = text.parse::<HostPort>();
        assert_eq!(got.is_ok(), wanted, "{text}");
        if let Ok(address) = got {
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        check("a1.example:9501", true);
        check("192.0.2.21:9501", true);
        check("[2001:db8::1]:1", true);
        check("host_1:65535", true);
        check("a1", false);
        check(":9501", false);
        check("a1:", false);
        check("a1:0", false);
        check("a1:+1", false);
        check("a1:65536", false);
        check("::1:9501", false);
        check("[a1]:9501", false);
        check("-a:1", false);
        check("a b:1", false);
        check("a\u{1b}:1", false);
        check(&format!("{}:1", "a".repeat(254)), false);
    }
}
