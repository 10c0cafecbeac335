//! What the JSON library lets pass and ucron does not: keys given twice (it takes the last), at any level, and
//! depth up to its own limit.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::codec::{FaultKind, MAX_DEPTH};

/// Checks that a text is one JSON object within these rules; keeps nothing of it.
pub(super) fn check_json(text: &str) -> Result<(), FaultKind> {
    if !text.trim_start().starts_with('{') {
        let kind = match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => FaultKind::NotObject,
            Err(_) => FaultKind::NotJson,
        };
        return Err(kind);
    }
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let strict = Strict {
        depth: MAX_DEPTH,
        found: &mut found,
    };
    let read = strict.deserialize(&mut reader).and_then(|()| reader.end());
    match (read, found) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(kind)) => Err(kind),
        (Err(_), None) => Err(FaultKind::NotJson),
    }
}

/// Walks through any JSON value and keeps nothing but the keys of the objects it is in.
struct Strict<'a> {
    depth: usize,
    found: &'a mut Option<FaultKind>,
}

impl Strict<'_> {
    fn fail<E: serde::de::Error>(&mut self, kind: FaultKind) -> E {
        *self.found = Some(kind);
        E::custom("")
    }

    fn deeper<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        self.depth
            .checked_sub(1)
            .ok_or_else(|| self.fail(FaultKind::TooDeep))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let found = self.found;
        while items
            .next_element_seed(Strict {
                depth,
                found: &mut *found,
            })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key_seed(Key(PhantomData))? {
            if !keys.insert(key) {
                return Err(self.fail(FaultKind::DuplicateKey));
            }
            entries.next_value_seed(Strict {
                depth,
                found: &mut *self.found,
            })?;
        }
        Ok(())
    }
}

/// A key, borrowed from the line where it has no escapes.
struct Key<'de>(PhantomData<&'de str>);

impl<'de> DeserializeSeed<'de> for Key<'de> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'de> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
