//! The keeper: policy, spawn, process trees, supervision, output files, its socket and the agent's side of
//! it. Imports `model`. No network, no TLS, no async runtime, no store.

pub mod journal;
pub mod wire;
