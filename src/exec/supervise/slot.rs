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

/// A process of a daemon that counts as running at once (`start_seconds` 0) has failed all the same if it ends
/// this soon: without a wait it would be started hundreds of times a second.
const SOON: Duration = Duration::from_secs(1);

/// Starts in a row that failed, this one included: those whose process ended before its `start_seconds`. What the
/// host could not even record is not the daemon's failure.
pub(super) fn failures(work: &Work, ending: &Ending, before: u16, ran: Duration) -> u16 {
    let enough = if work.start_seconds.is_zero() {
        SOON
    } else {
        work.start_seconds
    };
    if ending.outcome == Outcome::Missed {
        before
    } else if ran >= enough {
        0
    } else {
        before.saturating_add(1)
    }
}

/// The decision. `failures` counts the starts in a row that failed, this one included.
pub(super) fn after(work: &Work, ending: &Ending, failures: u16, run_id: &RunId) -> Next {
    if ending.outcome == Outcome::Missed {
        // Disk or descriptors: it goes on by itself when there are some again.
        return Next::Start(wait(work, failures.max(2), run_id));
    }
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
        return Next::Fatal(format!(
            "{}; last: {}",
            failed(work, ending, failures),
            ending.reason
        ));
    }
    Next::Start(wait(work, failures, run_id))
}

fn failed(work: &Work, ending: &Ending, failures: u16) -> String {
    let often = match failures {
        1 => "once".to_owned(),
        many => format!("{many} times in a row"),
    };
    if ending.pid.is_none() {
        return format!("could not be started, {often}");
    }
    let span = match work.start_seconds {
        Duration::ZERO => SOON,
        span => span,
    };
    format!("ended {often} within {} of its start", words::span(span))
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
        let mut ending = Ending::unstarted(outcome, "exited with code 1", UnixMs(0));
        ending.pid = Some(7).filter(|_| outcome != Outcome::Missed);
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
        use Outcome::{Failed, Missed, Succeeded};
        check(Restart::Always, Succeeded, 0, "at once");
        check(Restart::Always, Failed, 1, "at once");
        check(Restart::Always, Failed, 2, "later");
        check(Restart::Always, Failed, 3, "later");
        let fatal = "ended 4 times in a row within 1s of its start; last: exited with code 1";
        check(Restart::Always, Failed, 4, fatal);
        check(Restart::OnFailure, Succeeded, 1, "exited");
        check(Restart::OnFailure, Failed, 1, "at once");
        check(Restart::Never, Failed, 0, "exited");
        for restart in [Restart::Always, Restart::OnFailure, Restart::Never] {
            check(restart, Missed, 0, "later");
            check(restart, Missed, 99, "later");
        }
    }

    fn check_failures(start_seconds: u64, ran: u64, outcome: Outcome, wanted: u16) {
        let mut work = Work::new(
            Execute::Shell("x".into()),
            UserName::parse("nobody").unwrap(),
        );
        work.start_seconds = Duration::from_millis(start_seconds);
        let ending = Ending::unstarted(outcome, "", UnixMs(0));
        let got = failures(&work, &ending, 3, Duration::from_millis(ran));
        assert_eq!(got, wanted, "{start_seconds} {ran} {outcome}");
    }

    #[test]
    fn a_start_fails_where_its_process_does_not_run_for_its_start_seconds() {
        use Outcome::{Failed, Missed, Succeeded};
        check_failures(5000, 4999, Failed, 4);
        check_failures(5000, 4999, Succeeded, 4);
        check_failures(5000, 5000, Failed, 0);
        check_failures(0, 999, Failed, 4);
        check_failures(0, 1000, Failed, 0);
        check_failures(5000, 0, Missed, 3);
    }

    #[test]
    fn waits_double_up_to_the_longest_and_slots_that_died_together_do_not_come_back_together() {
        let mut work = Work::new(
            Execute::Shell("x".into()),
            UserName::parse("nobody").unwrap(),
        );
        work.backoff.first = Duration::from_secs(1);
        work.backoff.longest = Duration::from_secs(8);
        let mut seen = std::collections::BTreeSet::new();
        for (failures, whole) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 4),
            (5, 8),
            (6, 8),
            (u16::MAX, 8),
        ] {
            let whole = Duration::from_secs(whole);
            for run in 0..50_u8 {
                let got = wait(&work, failures, &RunId::hash(&[run]));
                assert!(got <= whole && got >= whole / 2, "{failures}: {got:?}");
                seen.insert((failures, got));
            }
        }
        let different = |failures| seen.iter().filter(|(of, _)| *of == failures).count();
        assert_eq!(different(1), 1, "the first restart is immediate");
        assert!(different(5) > 40, "{} waits of 50", different(5));
    }
}
