//! Sealing: a private key encrypted under a sealing key that lies elsewhere. AES-256-GCM under a key that HKDF-SHA256
//! (RFC 5869) draws from the sealing key and a salt of each sealing, so that none seals twice and the nonce may be
//! constant. What lies beside the sealed key in the clear is bound to it. Reads and writes no file.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use thiserror::Error;

use super::token::{RandomError, random};

const BEGIN: &str = "-----BEGIN UCRON SEALED KEY-----";
const END: &str = "-----END UCRON SEALED KEY-----";
/// What the drawn key is for.
const PURPOSE: &[u8] = b"ucron authority 1";
const SALT_LEN: usize = 16;
/// Random bytes of a sealing key that is made here.
const KEY_LEN: usize = 32;
/// Characters of a sealing key at least: 128 bits in hexadecimal. It is no password, for nothing slows guessing down.
const LEAST: usize = 32;
/// Characters of a line, as in PEM.
const LINE: usize = 64;

/// Why a key cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// Too little for a key.
    #[error("a sealing key has at least {LEAST} random characters in its first line")]
    Short,
    /// Not what this module wrote.
    #[error("the sealed key cannot be read")]
    Form,
    /// Another key, or changed since.
    #[error("the sealing key does not open it: it is another's, or the file was changed")]
    Closed,
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The key that seals. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(String);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(***)")
    }
}

impl SealKey {
    /// A new one.
    pub fn make() -> Result<Self, RandomError> {
        Ok(Self(STANDARD.encode(random::<KEY_LEN>()?)))
    }

    /// The first line of a text.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let line = text.lines().next().unwrap_or_default().trim();
        if line.len() < LEAST {
            return Err(SealError::Short);
        }
        Ok(Self(line.to_owned()))
    }

    /// The line that [`SealKey::parse`] reads: for its file and nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Encrypts `secret`, bound to `beside`; text of whole lines.
    pub(super) fn seal(&self, secret: &str, beside: &str) -> Result<String, SealError> {
        let salt = random::<SALT_LEN>()?;
        let mut sealed = secret.as_bytes().to_vec();
        let beside = Aad::from(beside.as_bytes());
        let done = self
            .drawn(&salt)?
            .seal_in_place_append_tag(nonce(), beside, &mut sealed);
        done.map_err(|_| SealError::Form)?;
        let text = STANDARD.encode([&salt[..], &sealed].concat());
        let mut out = format!("{BEGIN}\n");
        for line in text.as_bytes().chunks(LINE) {
            out.push_str(&String::from_utf8_lossy(line));
            out.push('\n');
        }
        Ok(out + END + "\n")
    }

    /// What was sealed.
    pub(super) fn open(&self, sealed: &str, beside: &str) -> Result<String, SealError> {
        let text = sealed.trim().strip_prefix(BEGIN);
        let text = text.and_then(|text| text.strip_suffix(END));
        let text: String = text.ok_or(SealError::Form)?.split_whitespace().collect();
        let bytes = STANDARD.decode(text).map_err(|_| SealError::Form)?;
        let (salt, sealed) = bytes.split_at_checked(SALT_LEN).ok_or(SealError::Form)?;
        let mut sealed = sealed.to_vec();
        let beside = Aad::from(beside.as_bytes());
        let opened = self
            .drawn(salt)?
            .open_in_place(nonce(), beside, &mut sealed)
            .map_err(|_| SealError::Closed)?;
        String::from_utf8(opened.to_vec()).map_err(|_| SealError::Form)
    }

    fn drawn(&self, salt: &[u8]) -> Result<LessSafeKey, SealError> {
        let drawn = Salt::new(HKDF_SHA256, salt).extract(self.0.as_bytes());
        let drawn = drawn.expand(&[PURPOSE], &AES_256_GCM);
        let drawn = drawn.map_err(|_| SealError::Form)?;
        Ok(LessSafeKey::new(UnboundKey::from(drawn)))
    }
}

/// Whether a text begins with a sealed key.
pub(super) fn is_sealed(text: &str) -> bool {
    text.trim_start().starts_with(BEGIN)
}

/// Every drawn key seals once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_beside_the_same_text_only() {
        let (key, other) = (SealKey::make().unwrap(), SealKey::make().unwrap());
        let sealed = key.seal("the secret", "beside").unwrap();
        assert!(is_sealed(&sealed) && !sealed.contains("secret"));
        assert_ne!(sealed, key.seal("the secret", "beside").unwrap());
        assert_eq!(key.open(&sealed, "beside").unwrap(), "the secret");
        assert_eq!(key.open(&sealed, "other"), Err(SealError::Closed));
        assert_eq!(other.open(&sealed, "beside"), Err(SealError::Closed));
        assert_eq!(key.open("hello", "beside"), Err(SealError::Form));
    }

    #[test]
    fn a_sealing_key_is_a_line_of_enough_characters() {
        let key = SealKey::make().unwrap();
        let read = SealKey::parse(&format!("{}\n# kept in the safe\n", key.reveal()));
        assert_eq!(read, Ok(key.clone()));
        assert_eq!(SealKey::parse("geheim\n"), Err(SealError::Short));
        assert_eq!(format!("{key:?}"), "SealKey(***)");
    }
}
