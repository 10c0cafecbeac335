//! Why a command did not do what was asked: one code for programs and for the exit, one sentence, one hint.

use std::fmt;
use std::io;

use serde::Serialize;

use crate::proto::request::{Refusal, RefusalCode};

/// Links that may break one after the other without anything new between them before a stream ends.
const BREAKS: u32 = 5;

/// For programs, in `-o json`; decides the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// 1: it failed, or the answer is no.
    Failed,
    /// 2: the command line makes no sense, or a name is ambiguous.
    Usage,
    /// 3: not there, or not to be seen.
    NotFound,
    /// 4: seen, but not allowed.
    Forbidden,
    /// 5: taken, changed meanwhile, in the way.
    Conflict,
    /// 1: the center cannot do it now.
    Unavailable,
    /// 1: the link broke; the same asked over a new one may be answered. Programs are told `unavailable`.
    #[serde(rename = "unavailable")]
    LinkBroken,
    /// 6: no center reached in time.
    NoCenter,
    /// 7: done at the center, not yet confirmed by agents.
    Unconfirmed,
    /// 124: `--wait-timeout` is over.
    WaitTimeout,
    /// 130: interrupted.
    Interrupted,
    /// 1: the client home is missing, unreadable, or not accepted by the center.
    Identity,
    /// 1: center and client do not understand each other.
    Protocol,
    /// 0: nobody reads stdout any more; what was read is all that was wanted.
    Closed,
}

impl FaultCode {
    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Failed
            | Self::Unavailable
            | Self::LinkBroken
            | Self::Identity
            | Self::Protocol => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Forbidden => 4,
            Self::Conflict => 5,
            Self::NoCenter => 6,
            Self::Unconfirmed => 7,
            Self::WaitTimeout => 124,
            Self::Interrupted => 130,
        }
    }
}

impl From<RefusalCode> for FaultCode {
    fn from(code: RefusalCode) -> Self {
        match code {
            RefusalCode::Failed => Self::Failed,
            RefusalCode::Usage => Self::Usage,
            RefusalCode::NotFound => Self::NotFound,
            RefusalCode::Forbidden => Self::Forbidden,
            RefusalCode::Conflict => Self::Conflict,
            RefusalCode::Unavailable => Self::Unavailable,
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fault {
    /// For programs.
    pub code: FaultCode,
    /// What was wrong; several lines where a caret points at it.
    pub message: String,
    /// What to do next, where that is known.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// A wrong use.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FaultCode::Usage, message)
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether a new link may help after so many that broke without anything new between them.
    pub fn may_go_on(&self, breaks: u32) -> bool {
        self.code == FaultCode::LinkBroken && breaks < BREAKS
    }

    /// What failed, before why.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The center answered something that is no answer to the question.
    pub fn unexpected(what: &str) -> Self {
        Self::new(
            FaultCode::Protocol,
            format!("the center's answer to {what} is of another kind"),
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.into(),
            message: refusal.message,
            hint: refusal.hint,
        }
    }
}

impl From<io::Error> for Fault {
    /// Of writing to stdout or stderr.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(FaultCode::Closed, "nobody reads the output"),
            _ => Self::new(
                FaultCode::Failed,
                format!("cannot write the output: {error}"),
            ),
        }
    }
}

/// How a command ended, for the exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit(pub u8);

impl Exit {
    /// Done.
    pub const DONE: Self = Self(0);
    /// Failed, or the answer is no.
    pub const NO: Self = Self(1);
    /// Done at the center, not confirmed by all agents.
    pub const UNCONFIRMED: Self = Self(7);

    /// The worse of two: anything that failed is worse than what is merely not yet confirmed, else the
    /// higher code.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        let weight = |exit: Self| match exit {
            Self::DONE => 0,
            Self::UNCONFIRMED => 1,
            Self(code) => 1 + u16::from(code),
        };
        if weight(other) > weight(self) {
            other
        } else {
            self
        }
    }
}

impl From<&Fault> for Exit {
    fn from(fault: &Fault) -> Self {
        Self(fault.code.exit_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_exit_code_wins_and_unconfirmed_is_the_mildest() {
        for (one, other, wanted) in [
            (0, 0, 0),
            (0, 7, 7),
            (7, 1, 1),
            (3, 7, 3),
            (2, 5, 5),
            (5, 6, 6),
        ] {
            assert_eq!(Exit(one).worst(Exit(other)), Exit(wanted));
            assert_eq!(Exit(other).worst(Exit(one)), Exit(wanted));
        }
    }
}
