//! Ids: what names a thing for good, whatever it is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::run::RunKey;

/// A text that is no id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an id")]
pub struct IdError;

macro_rules! text_id {
    ($(#[$doc:meta])* $type:ident, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                let ok: fn(&str) -> bool = $ok;
                if ok(&text) { Ok(Self(text)) } else { Err(IdError) }
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(id: $type) -> String {
                id.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_base32(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| BASE32.contains(&b))
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

text_id!(
    /// A task's id: 26 characters of lower-case Crockford base 32, made when the task is added, sorting by
    /// creation.
    TaskId, |text| is_base32(text, 26)
);
text_id!(
    /// An agent's id: of the same form as a task's, made when it joins; stands in its certificate.
    AgentId, |text| is_base32(text, 26)
);
text_id!(
    /// An operator's id: of the same form as a task's, made with the first token; stands in its certificates.
    OperatorId,
    |text| is_base32(text, 26)
);
text_id!(
    /// A run's id: 26 characters of lower-case Crockford base 32, derived from [`RunKey`]; a daemon's is
    /// derived by the keeper.
    RunId, |text| is_base32(text, 26)
);
text_id!(
    /// The kernel's id of one boot of a host (`/proc/sys/kernel/random/boot_id`).
    BootId, is_token
);
text_id!(
    /// The id that a client gives to a changing request, so that it may be repeated.
    RequestId, is_token
);

text_id!(
    /// A fleet's id, made by `init`; stands in every certificate.
    FleetId, is_token
);

impl From<ulid::Ulid> for FleetId {
    fn from(id: ulid::Ulid) -> Self {
        Self(id.to_string().to_lowercase())
    }
}

impl From<ulid::Ulid> for TaskId {
    fn from(id: ulid::Ulid) -> Self {
        Self(id.to_string().to_lowercase())
    }
}

impl From<ulid::Ulid> for AgentId {
    fn from(id: ulid::Ulid) -> Self {
        Self(id.to_string().to_lowercase())
    }
}

impl From<ulid::Ulid> for OperatorId {
    fn from(id: ulid::Ulid) -> Self {
        Self(id.to_string().to_lowercase())
    }
}

impl RunId {
    /// The id of the run with this key: the same key gives the same id, on every center, for ever.
    pub fn of(key: &RunKey) -> Self {
        let agent = key.target.as_ref().map_or("", AgentId::as_str);
        let text = format!(
            "{}\n{}\n{}\n{}\n{}",
            key.task, key.scheduled_at.0, agent, key.slot.0, key.cause
        );
        Self::hash(text.as_bytes())
    }

    /// The id derived from any bytes that name one run; for daemons' runs, which the keeper makes.
    pub fn hash(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        let mut bits = 0u128;
        for byte in &digest[..16] {
            bits = bits << 8 | u128::from(*byte);
        }
        let text = (0..26)
            .rev()
            .map(|i| char::from(BASE32[(bits >> (i * 5) & 31) as usize]));
        Self(text.collect())
    }

    /// The id that sorts before every other: where a range of ids begins.
    pub fn lowest() -> Self {
        Self("0".repeat(26))
    }

    /// The last 8 characters, as tables show them.
    pub fn short(&self) -> &str {
        &self.0[self.0.len() - 8..]
    }
}

pub(super) const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

macro_rules! number {
    ($(#[$doc:meta])* $type:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $type(pub $int);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Grows by one with every change of a task; the first is 1.
    Revision, u32
);
number!(
    /// Grows by one each time a center takes the lead: the fencing token.
    Epoch, u64
);
number!(
    /// Index of a task's parallel process on one agent, from 0.
    Slot, u16
);

impl Revision {
    /// The revision after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, UnixMs};

    fn key(slot: u16, at: i64) -> RunKey {
        RunKey {
            task: "01hzzzzzzzzzzzzzzzzzzzzzzz".parse().unwrap(),
            scheduled_at: UnixMs(at),
            target: None,
            slot: Slot(slot),
            cause: Cause::Rule,
        }
    }

    #[test]
    fn the_same_key_is_the_same_run_and_another_key_another() {
        let id = RunId::of(&key(0, 1000));
        assert_eq!(id, RunId::of(&key(0, 1000)));
        assert_ne!(id, RunId::of(&key(1, 1000)));
        assert_ne!(id, RunId::of(&key(0, 1001)));
        assert_eq!(id.as_str().parse::<RunId>().unwrap(), id);
        assert_eq!(id.short().len(), 8);
    }

    #[test]
    fn ids_of_the_wrong_form_are_refused() {
        assert!("x".parse::<TaskId>().is_err());
        assert!("01HZZZZZZZZZZZZZZZZZZZZZZZ".parse::<TaskId>().is_err());
        assert!("a\nb".parse::<BootId>().is_err());
    }
}
