//! A daemon's slot in one sentence, for `show`, `why` and the dashboard: what it does, since when, why, and what
//! comes next.

use super::clean;
use crate::proto::view::ProcessView;
use crate::rule::UnixMs;

/// `fatal since …: ended 4 times in a row …; tried again at …`. Instants are written by the caller, who knows
/// zone and clock.
pub fn words(view: &ProcessView, instant: impl Fn(UnixMs) -> String) -> String {
    let up = matches!(view.state.as_str(), "running" | "starting");
    let started_at = view.started_at.filter(|_| up);
    let since = started_at.or(view.since);
    let since = since.map(|at| format!(" since {}", instant(at)));
    let pid = view.pid.map(|pid| format!(", pid {pid}"));
    let restarts = restarts(view).map(|restarts| format!(", {restarts}"));
    let reason = Some(clean::line(&view.reason))
        .filter(|reason| !matches!(reason.as_str(), "" | "runs" | "starts"))
        .map(|reason| format!(": {reason}"));
    let facts = [since, pid, restarts, reason].into_iter().flatten();
    let facts: String = facts.collect();
    format!("{}{facts}{}", state(view), next(view, instant))
}

/// `2 restarts`; none where there was none.
pub fn restarts(view: &ProcessView) -> Option<String> {
    match view.restarts {
        0 => None,
        1 => Some("1 restart".to_owned()),
        many => Some(format!("{many} restarts")),
    }
}

fn state(view: &ProcessView) -> String {
    match view.state.as_str() {
        "running" => "runs".to_owned(),
        "starting" => "starts".to_owned(),
        "backoff" => "waits to start again".to_owned(),
        "stopping" => "is being stopped".to_owned(),
        "exited" => "has ended, and stays so by its restart policy".to_owned(),
        "fatal" => "is fatal".to_owned(),
        other => clean::line(other),
    }
}

fn next(view: &ProcessView, instant: impl Fn(UnixMs) -> String) -> String {
    match (view.state.as_str(), view.next_at) {
        ("backoff" | "fatal", Some(at)) => format!("; next start {}", instant(at)),
        ("fatal", None) => "; not tried again by itself, `ucron start` does".to_owned(),
        _ => String::new(),
    }
}

/// How many of a daemon's slots are in which state: `3 of 4 slots run, 1 is fatal`.
pub fn count(views: &[ProcessView]) -> String {
    let of = |state: &str| views.iter().filter(|view| view.state == state).count();
    let first = match (of("running"), views.len()) {
        (_, 0) => return "no agent has told of a slot of it".to_owned(),
        (1, 1) => "its one slot runs".to_owned(),
        (runs, all) => format!("{runs} of {all} slots run"),
    };
    let others = [
        ("starting", "starting"),
        ("backoff", "waiting to start again"),
        ("stopping", "being stopped"),
        ("exited", "ended for good"),
        ("fatal", "fatal"),
    ];
    let others = others.map(|(state, said)| (of(state), said));
    let others = others.iter().filter(|(count, _)| *count > 0);
    let others = others.map(|(count, said)| format!("{count} {said}"));
    let parts: Vec<String> = [first].into_iter().chain(others).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake;

    fn view(state: &str, reason: &str) -> ProcessView {
        let lives = matches!(state, "running" | "starting" | "stopping");
        ProcessView {
            state: state.to_owned(),
            reason: reason.to_owned(),
            pid: Some(4711).filter(|_| lives),
            started_at: Some(UnixMs(1)).filter(|_| lives),
            since: Some(UnixMs(2)),
            next_at: Some(UnixMs(3)).filter(|_| matches!(state, "backoff" | "fatal")),
            restarts: 2,
            ..fake::process()
        }
    }

    fn check(view: &ProcessView, wanted: &str) {
        assert_eq!(words(view, |at| format!("T{}", at.0)), wanted);
    }

    #[test]
    fn every_state_says_what_it_is_why_and_what_comes_next() {
        check(
            &view("running", "runs"),
            "runs since T1, pid 4711, 2 restarts",
        );
        check(
            &view("starting", "starts"),
            "starts since T1, pid 4711, 2 restarts",
        );
        check(
            &view("backoff", "exited with code 7 (2 failed starts in a row)"),
            "waits to start again since T2, 2 restarts: exited with code 7 (2 failed starts in a row); next start T3",
        );
        check(
            &view("stopping", "stopped by admin"),
            "is being stopped since T2, pid 4711, 2 restarts: stopped by admin",
        );
        check(
            &view("exited", "exited with code 0"),
            "has ended, and stays so by its restart policy since T2, 2 restarts: exited with code 0",
        );
        let fatal = view("fatal", "ended 4 times in a row; last output: no\u{1b}[2J");
        check(
            &fatal,
            "is fatal since T2, 2 restarts: ended 4 times in a row; last output: no[2J; next start T3",
        );
        let never = ProcessView {
            next_at: None,
            ..fatal
        };
        check(
            &never,
            "is fatal since T2, 2 restarts: ended 4 times in a row; last output: no[2J; not tried again by itself, \
             `ucron start` does",
        );
    }

    fn check_count(states: &[&str], wanted: &str) {
        let views: Vec<_> = states.iter().map(|state| view(state, "")).collect();
        assert_eq!(count(&views), wanted);
    }

    #[test]
    fn slots_are_counted_by_state() {
        check_count(&[], "no agent has told of a slot of it");
        check_count(&["running"], "its one slot runs");
        check_count(&["running", "running"], "2 of 2 slots run");
        check_count(&["fatal"], "0 of 1 slots run, 1 fatal");
        let mixed = [
            "running", "backoff", "fatal", "starting", "exited", "stopping",
        ];
        check_count(
            &mixed,
            "1 of 6 slots run, 1 starting, 1 waiting to start again, 1 being stopped, 1 ended for good, 1 fatal",
        );
    }
}
