//! One-time tokens: the text that lets a new center, agent or operator in once. The text carries the fingerprint of
//! the fleet's certificate authority, so that whoever uses it knows the center before saying anything.

use std::fmt;

use thiserror::Error;

use super::id::BASE32;
use super::peer::{Fingerprint, PeerRole};

/// First part of every token; grows when its form changes.
const FORM: &str = "ucron1";
/// Characters of 32 bytes in base 32.
const SECRET_LEN: usize = 52;

/// Why a text is no token. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not of the form of tokens.
    #[error("this is no token; it looks like `ucron1.agent.….…`, give it whole and on one line")]
    Form,
    /// Of another form than this program knows.
    #[error("this token is of a form that this program does not know; upgrade this program")]
    Version,
    /// Without the fingerprint of the certificate authority.
    #[error("this token has no fingerprint of the fleet's certificate authority; give it whole")]
    Pin,
}

/// A one-time token, `ucron1.center|agent|operator.SECRET.FINGERPRINT`. Its secret never shows in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    role: PeerRole,
    secret: String,
    pin: Fingerprint,
}

impl Token {
    /// The token of these 32 random bytes, for a peer of this role.
    pub fn new(role: PeerRole, random: &[u8; 32], pin: Fingerprint) -> Self {
        Self {
            role,
            secret: base32(random),
            pin,
        }
    }

    /// Reads a token; white space around it is ignored.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.trim().split('.');
        match parts.next() {
            Some(FORM) => {}
            Some(form) if is_later_form(form) => return Err(TokenError::Version),
            _ => return Err(TokenError::Form),
        }
        let role = match parts.next() {
            Some("center") => PeerRole::Center,
            Some("agent") => PeerRole::Agent,
            Some("operator") => PeerRole::Operator,
            _ => return Err(TokenError::Form),
        };
        let secret = parts.next().ok_or(TokenError::Form)?;
        if secret.len() != SECRET_LEN || !secret.bytes().all(|b| BASE32.contains(&b)) {
            return Err(TokenError::Form);
        }
        let pin = parts.next().and_then(|pin| pin.parse().ok());
        match (pin, parts.next()) {
            (Some(pin), None) => Ok(Self {
                role,
                secret: secret.to_owned(),
                pin,
            }),
            _ => Err(TokenError::Pin),
        }
    }

    /// What its bearer may become: center, agent or operator.
    pub fn role(&self) -> PeerRole {
        self.role
    }

    /// The fingerprint of the fleet's certificate authority.
    pub fn pin(&self) -> Fingerprint {
        self.pin
    }

    /// The whole text: for its one user, never for a log.
    pub fn text(&self) -> String {
        format!("{FORM}.{}.{}.{}", self.role, self.secret, self.pin)
    }

    /// What the store keeps instead of the token: SHA-256 of the whole text, 64 hexadecimal digits. A secret of
    /// 256 random bits needs no slow hash.
    pub fn hash(&self) -> String {
        Fingerprint::of(self.text().as_bytes()).to_string()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token {{ role: {:?}, .. }}", self.role)
    }
}

fn is_later_form(text: &str) -> bool {
    text.strip_prefix("ucron")
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn base32(bytes: &[u8; 32]) -> String {
    let bit = |i: usize| bytes.get(i / 8).is_some_and(|b| b >> (7 - i % 8) & 1 == 1);
    (0..SECRET_LEN)
        .map(|i| (0..5).fold(0, |value, j| value << 1 | usize::from(bit(i * 5 + j))))
        .map(|value| char::from(BASE32[value]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::new(PeerRole::Agent, &[0xa5; 32], Fingerprint::of(b"ca"))
    }

    fn check(text: &str, wanted: TokenError) {
        assert_eq!(Token::parse(text), Err(wanted), "{text}");
    }

    #[test]
    fn a_token_survives_its_text() {
        let token = token();
        assert_eq!(Token::parse(&format!(" {}\n", token.text())), Ok(token));
    }

    #[test]
    fn a_text_that_is_no_token_is_refused_by_what_is_wrong() {
        let text = token().text();
        check("", TokenError::Form);
        check("hello", TokenError::Form);
        check(&text.replace("ucron1", "ucron2"), TokenError::Version);
        check(&text.replace("agent", "keeper"), TokenError::Form);
        check(&text.replace("agent.", "agent.x"), TokenError::Form);
        check(&text[..text.len() - 65], TokenError::Pin);
        check(&text[..text.len() - 1], TokenError::Pin);
        check(&format!("{text}.x"), TokenError::Pin);
    }

    #[test]
    fn its_secret_does_not_show() {
        assert_eq!(format!("{:?}", token()), "Token { role: Agent, .. }");
    }

    #[test]
    fn different_bytes_are_different_secrets() {
        let mut bytes = [0; 32];
        let zero = base32(&bytes);
        bytes[31] = 1;
        assert_ne!(base32(&bytes), zero);
        assert_eq!(zero.len(), SECRET_LEN);
    }
}
