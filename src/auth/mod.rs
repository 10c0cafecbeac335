//! Who may do what (pure), one-time tokens, the certificate authority. Imports `model`.

mod access;
mod ca;
mod seal;
mod token;

pub use access::{Access, Deed, Denied};
pub use ca::{Authority, AuthorityError, Issued, LIFE, LIFE_CA};
pub use seal::{SealError, SealKey};
pub use token::{RandomError, make_token, same_token, seed};
