//! Who stands at the end of a link: the URI that every certificate carries, and fingerprints of keys and
//! certificates. The URI is the only name that is ever checked; addresses and DNS names never are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::id::FleetId;

/// What a peer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerRole {
    /// A center.
    Center,
    /// An agent.
    Agent,
    /// An operator's client.
    Operator,
}

impl PeerRole {
    /// The word in URIs and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Center => "center",
            Self::Agent => "agent",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PeerRole {
    type Err = PeerUriError;

    fn from_str(text: &str) -> Result<Self, PeerUriError> {
        [Self::Center, Self::Agent, Self::Operator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(PeerUriError)
    }
}

/// A text that is no peer's URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not of the form `ucron://FLEET/center|agent|operator/ID`")]
pub struct PeerUriError;

/// The identity in a certificate: `ucron://FLEET/center|agent|operator/ID`. As text, what is not an ASCII
/// letter, digit, `.`, `_` or `-` in the id is percent-encoded, in exactly one way.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PeerUri {
    /// The fleet.
    pub fleet: FleetId,
    /// What the peer is in it.
    pub role: PeerRole,
    /// An agent's id, an operator's or a center's name; decoded.
    pub id: String,
}

/// Bytes an id may have at most: a name of 64 characters of four bytes.
const MAX_ID: usize = 256;

impl fmt::Display for PeerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ucron://{}/{}/", self.fleet, self.role)?;
        for byte in self.id.bytes() {
            if is_plain(byte) {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PeerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerUri {
    type Err = PeerUriError;

    fn from_str(text: &str) -> Result<Self, PeerUriError> {
        let rest = text.strip_prefix("ucron://").ok_or(PeerUriError)?;
        let mut parts = rest.split('/');
        let (Some(fleet), Some(role), Some(id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(PeerUriError);
        };
        let uri = Self {
            fleet: fleet.parse().map_err(|_| PeerUriError)?,
            role: role.parse()?,
            id: decode(id)?,
        };
        // One identity has one text, so that two texts are never one peer.
        if uri.to_string() == text {
            Ok(uri)
        } else {
            Err(PeerUriError)
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn decode(text: &str) -> Result<String, PeerUriError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (&[high, low], after) = rest.split_first_chunk().ok_or(PeerUriError)?;
        bytes.push(hex_digit(high).ok_or(PeerUriError)? << 4 | hex_digit(low).ok_or(PeerUriError)?);
        rest = after;
    }
    if bytes.is_empty() || bytes.len() > MAX_ID {
        return Err(PeerUriError);
    }
    String::from_utf8(bytes).map_err(|_| PeerUriError)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a fingerprint of 64 lower-case hexadecimal digits")]
pub struct FingerprintError;

/// SHA-256 of a certificate or a public key (DER): 64 lower-case hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of these bytes.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        if text.len() != 64 {
            return Err(FingerprintError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let [high, low] = [hex_digit(pair[0]), hex_digit(pair[1])];
            *byte = high.ok_or(FingerprintError)? << 4 | low.ok_or(FingerprintError)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: Option<(PeerRole, &str)>) {
        let got = text.parse::<PeerUri>().ok();
        let pair = got.as_ref().map(|uri| (uri.role, uri.id.as_str()));
        assert_eq!(pair, wanted, "{text}");
        if let Some(uri) = got {
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn a_uri_names_fleet_role_and_id_in_one_way() {
        check("ucron://f-1/agent/01hz", Some((PeerRole::Agent, "01hz")));
        check("ucron://f/center/c1", Some((PeerRole::Center, "c1")));
        check(
            "ucron://f/operator/%c3%bcber",
            Some((PeerRole::Operator, "über")),
        );
        check("ucron://f/operator/%C3%BCber", None);
        check("ucron://f/operator/%61dmin", None);
        check("ucron://f/operator/%ff", None);
        check("ucron://f/operator/%f", None);
        check("ucron://f/operator/", None);
        check("ucron://f/operator/a/b", None);
        check("ucron://f/root/a", None);
        check("ucron:///agent/a", None);
        check("https://f/agent/a", None);
        check(&format!("ucron://f/agent/{}", "a".repeat(257)), None);
    }

    #[test]
    fn a_fingerprint_is_64_lower_case_digits() {
        let print = Fingerprint::of(b"x");
        assert_eq!(print.to_string().parse(), Ok(print));
        assert!(
            print
                .to_string()
                .to_uppercase()
                .parse::<Fingerprint>()
                .is_err()
        );
        assert!("00".parse::<Fingerprint>().is_err());
        assert!("ä".repeat(32).parse::<Fingerprint>().is_err());
    }
}
