//! What travels between programs: line codec, messages, handshake, link, TLS, identity files. Imports `model`
//! and `rule`.

pub mod agent;
pub mod client;
pub mod codec;
pub mod fault;
pub mod gate;
pub mod handshake;
pub mod hello;
pub mod identity;
pub mod join;
pub mod link;
pub mod redial;
pub mod request;
mod strict;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
pub mod view;
