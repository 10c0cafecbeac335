//! The durable side of the center: one interface, SQLite behind it now, MySQL later. What is written is a
//! closed list ([`Write`]); a batch of them is one transaction that begins by renewing the lease.

mod rows;

pub use rows::{
    AgentRow, AnswerRow, AuditRow, GroupRow, LeaseGuard, OperatorRow, RunQuery, RunRow, Snapshot,
    StoredRun, TokenFor, TokenRow, Write,
};
