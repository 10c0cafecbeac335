//! SHA-256 as the store uses it: of a migration's text, of an audit entry, of rows that are copied.

use sha2::{Digest, Sha256};

/// Of a text, in hexadecimal.
pub(super) fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Of fields, each with its length, so that no two lists have the same sum.
pub(super) fn of_fields<'a>(fields: impl IntoIterator<Item = Option<&'a str>>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in fields {
        let length = field.map_or(-1, |field| i64::try_from(field.len()).unwrap_or(i64::MAX));
        hash.update(length.to_be_bytes());
        hash.update(field.unwrap_or_default());
    }
    hash.finalize().into()
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
