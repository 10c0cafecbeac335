//! Logs of center, agent and keeper: to stderr, one line an event. What is logged where is theirs.

use std::io;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// What is logged.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What ucron could not do.
    Error,
    /// And what needs attention.
    Warn,
    /// And events of operators and agents; none per run.
    #[default]
    Info,
    /// And every run and frame.
    Debug,
    /// And everything.
    Trace,
}

impl LogLevel {
    /// The word in settings and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How it is logged.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The word in settings and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Sends logs to stderr from now on. The first call in a process counts, later ones change nothing.
pub fn init_logs(level: LogLevel, format: LogFormat) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter(level)))
        .with_writer(io::stderr)
        // It would be told to stderr too, with a panic where that cannot be written: a full disk under the log.
        .log_internal_errors(false)
        .with_target(false);
    // An error says that logs go somewhere already.
    let _ = match format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
}

/// Libraries are heard from `warn` up only: below, they tell of their own affairs.
fn filter(level: LogLevel) -> String {
    let own = level.as_str();
    match level {
        LogLevel::Error => own.to_owned(),
        _ => format!("warn,ucron={own}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_a_filter() {
        use LogLevel::{Debug, Error, Info, Trace, Warn};
        for level in [Error, Warn, Info, Debug, Trace] {
            assert!(filter(level).parse::<EnvFilter>().is_ok(), "{level:?}");
        }
    }
}
