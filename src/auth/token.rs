//! Making one-time tokens and comparing them; their text is `model`'s.

use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::model::{Fingerprint, PeerRole, Token};

/// The system gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the system gives no random numbers")]
pub struct RandomError;

/// A new token for an agent or an operator of the fleet whose certificate authority has this fingerprint.
pub fn make_token(role: PeerRole, pin: Fingerprint) -> Result<Token, RandomError> {
    Ok(Token::new(role, &random()?, pin))
}

/// 256 random bits, for whoever makes ids and secrets from them.
pub fn seed() -> Result<[u8; 32], RandomError> {
    random()
}

/// Random bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| RandomError)?;
    Ok(bytes)
}

/// Whether this is the token of which the store kept this hash; takes as long whatever differs.
pub fn same_token(token: &Token, stored_hash: &str) -> bool {
    token.hash().as_bytes().ct_eq(stored_hash.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_another_and_known_by_its_hash() {
        let pin = Fingerprint::of(b"ca");
        let one = make_token(PeerRole::Agent, pin).unwrap();
        let two = make_token(PeerRole::Agent, pin).unwrap();
        assert!(same_token(&one, &one.hash()));
        assert!(!same_token(&one, &two.hash()));
        assert!(!same_token(&one, ""));
    }
}
