//! The nouns of ucron with validated names and ids. Values only: nothing here reads a clock or does I/O.
//! Imports `rule`.

mod address;
mod duration;
mod fleet;
mod id;
mod name;
mod outcome;
mod peer;
mod policy;
mod run;
mod task;
mod token;
mod work;

pub use address::{AddressError, HostPort};
pub use duration::{ms, ms_option};
pub use fleet::{AgentState, Incarnation, Role, SessionLease};
pub use id::{
    AgentId, BootId, Epoch, FleetId, OperatorId, RequestId, Revision, RunId, Slot, TaskId,
};
pub use name::{AgentName, GroupName, NameError, OperatorName, TaskName, TaskPath, UserName};
pub use outcome::{Ending, Outcome};
pub use peer::{Fingerprint, FingerprintError, PeerRole, PeerUri, PeerUriError};
pub use policy::{HostPolicy, PolicyRules, RunAs};
pub use run::{Cause, RunKey, RunRef};
pub use task::{Target, TargetWord, Task, TaskSpec, TaskText};
pub use token::{Token, TokenError};
pub use work::{
    Backoff, Execute, Limit, LimitKind, Output, Overlap, Parole, Restart, SpecError, StopSignal,
    Work,
};

/// What may be imported for reading a rule or an instant beside the nouns.
pub use crate::rule::UnixMs;
