//! Text to rule, rule to occurrences. Imports nobody: no clock is read here, every instant is an
//! argument. The one thing read from the machine is its zone data (see `zone`).
//!
//! In reading order: `definition` (what a rule is) and `parse` (how its text becomes one, with
//! `field` for one field and `error` for what can be wrong), `calendar` and `pattern` (which local
//! times match), `zone` (local times to instants) and `schedule` (the occurrences), then `words`,
//! `duration`, `moment` and `time` for what people read and write.

mod calendar;
mod civil;
mod definition;
mod duration;
mod error;
mod field;
mod instant;
mod moment;
mod near;
mod parse;
mod pattern;
mod schedule;
#[cfg(test)]
mod tests;
mod time;
mod words;
mod zone;

pub use civil::LocalTime;
pub use definition::{At, Rule, RuleKind};
pub use duration::{DurationError, format_duration, parse_duration, parse_duration_or_zero};
pub use error::{Field, Problem, RuleError};
pub use instant::UnixMs;
pub(crate) use near::nearest;
pub use schedule::{Schedule, ScheduleError, Shift};
pub use time::{TimeError, parse_time, parse_time_ahead};
pub use words::words;
pub use zone::{Zone, ZoneError};
