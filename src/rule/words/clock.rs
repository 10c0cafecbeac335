//! The time of day of a calendar rule in words.

use super::super::calendar::Fields;
use super::super::error::Field;
use super::super::field::Items;
use super::{even_step, list, ordinal, runs};

/// More clock times than these are said as a pattern.
const MAX_CLOCK_TIMES: usize = 6;

/// A time phrase and what may stand beside it.
pub(super) struct Phrase {
    pub(super) text: String,
    pub(super) place: Place,
}

/// How a time phrase relates to the day.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// All day long: it needs neither zone nor "every day".
    Anywhere,
    /// A part of the day.
    Window,
    /// Times on the clock.
    Clock,
}

/// The values of the three fields.
struct Times {
    seconds: Vec<u16>,
    minutes: Vec<u16>,
    hours: Vec<u16>,
}

/// The time of day in words.
pub(super) fn phrase(fields: &Fields) -> Phrase {
    let times = Times {
        seconds: values(&fields.second, Field::Second),
        minutes: values(&fields.minute, Field::Minute),
        hours: values(&fields.hour, Field::Hour),
    };
    if times.seconds.len() * times.minutes.len() * times.hours.len() <= MAX_CLOCK_TIMES {
        return Phrase {
            text: times.clock_times(),
            place: Place::Clock,
        };
    }
    let place = if times.hours.len() == 24 {
        Place::Anywhere
    } else {
        Place::Window
    };
    let text = if times.seconds == [0] {
        times.without_seconds()
    } else {
        times.with_seconds()
    };
    Phrase { text, place }
}

fn values(items: &Items, field: Field) -> Vec<u16> {
    items.values(field)
}

impl Times {
    /// "at 09:00, 13:00 and 17:00".
    fn clock_times(&self) -> String {
        let mut times = Vec::new();
        for hour in &self.hours {
            for minute in &self.minutes {
                for second in &self.seconds {
                    times.push(match second {
                        0 if self.seconds == [0] => format!("{hour:02}:{minute:02}"),
                        second => format!("{hour:02}:{minute:02}:{second:02}"),
                    });
                }
            }
        }
        format!("at {}", list(&times))
    }

    fn without_seconds(&self) -> String {
        if self.hours.len() == 24 {
            return self.minutes_of_every_hour();
        }
        if let ([minute], Some(step)) = (self.minutes.as_slice(), even_step(&self.hours)) {
            let interval = if step == 1 {
                "hour".to_owned()
            } else {
                format!("{step} hours")
            };
            let (first, last) = ends(&self.hours);
            return format!(
                "every {interval} from {first:02}:{minute:02} to {last:02}:{minute:02}"
            );
        }
        match (
            whole_interval(&self.minutes, "minute"),
            is_one_run(&self.hours),
        ) {
            (Some(interval), true) => {
                let (first, last) = ends(&self.hours);
                let (from, to) = ends(&self.minutes);
                format!("{interval} from {first:02}:{from:02} to {last:02}:{to:02}")
            }
            (Some(interval), false) => format!("{interval} of {}", self.hours_named()),
            (None, _) => format!(
                "at {} of {}",
                named("minute", &self.minutes),
                self.hours_named()
            ),
        }
    }

    fn minutes_of_every_hour(&self) -> String {
        if self.minutes == [0] {
            return "every hour".to_owned();
        }
        if let Some(interval) = whole_interval(&self.minutes, "minute") {
            return interval;
        }
        match even_step(&self.minutes) {
            // From 0 to the end of the hour, but the hour is no multiple.
            Some(step)
                if self.minutes[0] == 0 && step > 1 && ends(&self.minutes).1 + step >= 60 =>
            {
                format!("every {step} minutes from the start of every hour")
            }
            _ => {
                let unit = if self.minutes == [1] {
                    "minute"
                } else {
                    "minutes"
                };
                let minutes = runs(&self.minutes, |minute| minute.to_string());
                format!("at {minutes} {unit} past every hour")
            }
        }
    }

    fn with_seconds(&self) -> String {
        let seconds = match whole_interval(&self.seconds, "second") {
            Some(interval) => interval,
            None => format!("at {}", named("second", &self.seconds)),
        };
        let all_minutes = self.minutes.len() == 60;
        let minutes = match whole_step(&self.minutes) {
            _ if all_minutes => "every minute".to_owned(),
            Some(step) => format!("every {} minute", ordinal(step)),
            None => named("minute", &self.minutes),
        };
        match (
            all_minutes && seconds.starts_with("every"),
            self.hours.len(),
        ) {
            (true, 24) => seconds,
            (true, _) => format!("{seconds} of {}", self.hours_named()),
            (false, 24) if all_minutes || whole_step(&self.minutes).is_some() => {
                format!("{seconds} of {minutes}")
            }
            (false, 24) => format!("{seconds} of {minutes} of every hour"),
            (false, _) => format!("{seconds} of {minutes} of {}", self.hours_named()),
        }
    }

    fn hours_named(&self) -> String {
        let word = if self.hours.len() == 1 {
            "the hour"
        } else {
            "the hours"
        };
        format!("{word} {}", runs(&self.hours, |hour| format!("{hour:02}")))
    }
}

/// "minute 5", "minutes 5, 25 and 46".
fn named(unit: &str, values: &[u16]) -> String {
    let plural = if values.len() == 1 { "" } else { "s" };
    format!("{unit}{plural} {}", runs(values, |value| value.to_string()))
}

/// The step of values that go round the sixty evenly from 0.
fn whole_step(values: &[u16]) -> Option<u16> {
    let step = even_step(values)?;
    let is_whole = values[0] == 0 && 60 % step == 0 && values.len() == usize::from(60 / step);
    is_whole.then_some(step)
}

/// "every minute", "every 5 minutes", where the values go round evenly.
fn whole_interval(values: &[u16], unit: &str) -> Option<String> {
    match whole_step(values)? {
        1 => Some(format!("every {unit}")),
        step => Some(format!("every {step} {unit}s")),
    }
}

fn is_one_run(values: &[u16]) -> bool {
    values.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

fn ends(values: &[u16]) -> (u16, u16) {
    let first = values.first().copied().unwrap_or_default();
    (first, values.last().copied().unwrap_or(first))
}
