//! What follows when the process of a daemon's slot has ended: pure, one decision.

use std::time::Duration;

use crate::exec::words;
use crate::model::{Ending, Outcome, Restart, RunId, Work};

/// What a slot does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Starts again after this time.
    Start(Duration),
    /// Stays as it is.
    Exited,
    /// Has failed too often.
    Fatal(String),
}

/// The decision. `failures` counts the starts in a row that ended before their `start_seconds`, this one
/// included (0: it had run long enough).
pub(super) fn after(work: &Work, ending: &Ending, failures: u16, run_id: &RunId) -> Next {
    let success = ending.outcome == Outcome::Succeeded;
    let again = match work.restart {
        Restart::Always => true,
        Restart::OnFailure => !success,
        Restart::Never => false,
    };
    if !again {
        return Next::Exited;
    }
    if failures > work.start_retries {
        let span = words::span(work.start_seconds);
        return Next::Fatal(format!(
            "ended {failures} times in a row within {span} of its start; last: {}",
            ending.reason
        ));
    }
    Next::Start(wait(work, failures, run_id))
}

/// The first restart is immediate; then the task's backoff, shortened by up to a half, so that slots that died
/// together do not come back together. The same run gives the same wait.
fn wait(work: &Work, failures: u16, run_id: &RunId) -> Duration {
    if failures <= 1 {
        return Duration::ZERO;
    }
    let whole = work.backoff.before(failures);
    let dice = super::super::journal::checksum(run_id.as_str().as_bytes()) % 1024;
    let cut = whole.as_millis() * u128::from(dice) / 2048;
    whole.saturating_sub(Duration::from_millis(u64::try_from(cut).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Execute, UnixMs, UserName};

    fn check(restart: Restart, outcome: Outcome, failures: u16, wanted: &str) {
        let mut work = Work::new(
            Execute::Shell("x".into()),
            UserName::parse("nobody").unwrap(),
        );
        work.restart = restart;
        let ending = Ending::unstarted(outcome, "exited with code 1", UnixMs(0));
        let got = match after(&work, &ending, failures, &RunId::hash(b"x")) {
            Next::Start(wait) if wait.is_zero() => "at once".to_owned(),
            Next::Start(wait) => {
                let whole = work.backoff.before(failures);
                assert!(wait <= whole && wait >= whole / 2, "{wait:?} of {whole:?}");
                "later".to_owned()
            }
            Next::Exited => "exited".to_owned(),
            Next::Fatal(why) => why,
        };
        assert_eq!(got, wanted);
    }

    #[test]
    fn restart_policy_backoff_and_fatal() {
        use Outcome::{Failed, Succeeded};
        check(Restart::Always, Succeeded, 0, "at once");
        check(Restart::Always, Failed, 1, "at once");
        check(Restart::Always, Failed, 2, "later");
        check(Restart::Always, Failed, 3, "later");
        let fatal = "ended 4 times in a row within 1s of its start; last: exited with code 1";
        check(Restart::Always, Failed, 4, fatal);
        check(Restart::OnFailure, Succeeded, 1, "exited");
        check(Restart::OnFailure, Failed, 1, "at once");
        check(Restart::Never, Failed, 0, "exited");
    }
}
