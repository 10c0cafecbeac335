//! Reasons of outcomes in words: exit codes, signals, spans.

use std::time::Duration;

use super::supervise::Exit;

/// Names of the signals of Linux by number (x86, ARM, RISC-V; `signal(7)`), from 1.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// `9 (KILL)`; a real-time signal is its number alone.
pub fn signal(number: i32) -> String {
    let name = usize::try_from(number - 1)
        .ok()
        .and_then(|at| SIGNALS.get(at));
    match name {
        Some(name) => format!("{number} ({name})"),
        None => number.to_string(),
    }
}

/// `exited with code 3`, `killed by signal 9 (KILL)`, or why nobody knows.
pub fn exit(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(number) => format!("killed by signal {}", signal(*number)),
        Exit::Unknown(why) => why.clone(),
    }
}

/// A span as the command line writes it: `250ms`, `5s`, `1h30m`; zero is `0s`.
pub fn span(span: Duration) -> String {
    let millis = span.as_millis();
    let parts = [
        (millis / 86_400_000, "d"),
        (millis / 3_600_000 % 24, "h"),
        (millis / 60_000 % 60, "m"),
        (millis / 1000 % 60, "s"),
        (millis % 1000, "ms"),
    ];
    let mut words = String::new();
    for (count, unit) in parts.iter().filter(|(count, _)| *count > 0) {
        words.push_str(&count.to_string());
        words.push_str(unit);
    }
    if words.is_empty() {
        words.push_str("0s");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_exits_are_written_as_people_write_them() {
        let check = |millis, wanted: &str| {
            assert_eq!(span(Duration::from_millis(millis)), wanted);
        };
        check(0, "0s");
        check(250, "250ms");
        check(5_000, "5s");
        check(5_400_000, "1h30m");
        assert_eq!(exit(&Exit::Signal(9)), "killed by signal 9 (KILL)");
        assert_eq!(signal(34), "34");
    }
}
