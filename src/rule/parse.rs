//! The text of a rule to its meaning. Everything is checked here, so that a stored rule can only
//! be evaluated, never fail.

use std::ops::Range;
use std::time::Duration;

use croner::errors::CronError;

use super::calendar::{Calendar, Fields};
use super::definition::{At, Shape};
use super::duration::parse_duration;
use super::error::{Field, Problem, RuleError};
use super::field::{Fault, Item, Items, Part, begins_with_name, parse_field};
use super::instant::UnixMs;
use super::moment::{MomentError, parse_moment};

/// A rule with every value of every field written out is shorter.
const MAX_BYTES: usize = 1024;

/// Ten years: what is rarer is a date, not an interval.
const MAX_EVERY: Duration = Duration::from_hours(3660 * 24);

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// Every `@word`, for the hint at a wrong one.
const KNOWN: [&str; 11] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
    "@every",
    "@at",
    "@always",
    "@reboot",
];

/// A rule's meaning and what is doubtful about it.
pub(super) struct Parsed {
    pub(super) shape: Shape,
    pub(super) warnings: Vec<String>,
}

impl From<Shape> for Parsed {
    fn from(shape: Shape) -> Self {
        Self {
            shape,
            warnings: Vec::new(),
        }
    }
}

/// Reads a rule.
pub(super) fn parse_rule(text: &str) -> Result<Parsed, RuleError> {
    if text.len() > MAX_BYTES {
        let kept = text.floor_char_boundary(MAX_BYTES);
        let fault = (0..kept, Field::Rule, Problem::TooLong(MAX_BYTES));
        return Err(refuse(&text[..kept], fault));
    }
    parse_parts(&words(text)).map_err(|fault| refuse(text, fault))
}

fn refuse(text: &str, (span, field, problem): Fault) -> RuleError {
    RuleError {
        text: text.to_owned(),
        span,
        field,
        problem,
    }
}

/// The text trimmed, with one space wherever white space was.
pub(super) fn collapse(text: &str) -> String {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.join(" ")
}

/// The pieces between white space, with their places.
fn words(text: &str) -> Vec<Part<'_>> {
    text.split_ascii_whitespace()
        .map(|word| {
            let start = word.as_ptr().addr() - text.as_ptr().addr();
            Part { text: word, start }
        })
        .collect()
}

fn parse_parts(parts: &[Part<'_>]) -> Result<Parsed, Fault> {
    match parts {
        [] => Err((0..0, Field::Rule, Problem::Empty)),
        [first, rest @ ..] if first.text.starts_with('@') => parse_nickname(*first, rest),
        _ => parse_calendar(parts).map_err(|fault| command_fault(parts).unwrap_or(fault)),
    }
}

fn parse_nickname(name: Part<'_>, rest: &[Part<'_>]) -> Result<Parsed, Fault> {
    let lower = name.text.to_ascii_lowercase();
    match lower.as_str() {
        "@every" => parse_every(name, rest),
        "@at" => parse_at(name, rest),
        "@always" => nothing_after("@always", rest).map(|()| Shape::Always.into()),
        "@reboot" => nothing_after("@reboot", rest).map(|()| Shape::Reboot.into()),
        _ => parse_alias(name, &lower, rest),
    }
}

fn parse_alias(name: Part<'_>, lower: &str, rest: &[Part<'_>]) -> Result<Parsed, Fault> {
    let found = NICKNAMES.iter().find(|(nickname, _)| *nickname == lower);
    let Some((nickname, fields)) = found else {
        let problem = Problem::UnknownNickname(nearest(lower));
        return Err((name.span(), Field::Rule, problem));
    };
    nothing_after(nickname, rest)?;
    parse_calendar(&words(fields)).map_err(|(_, field, problem)| (name.span(), field, problem))
}

fn nearest(word: &str) -> String {
    let known = super::near::nearest(word, KNOWN.into_iter(), 1);
    match known.first() {
        Some(near) => format!("; did you mean {near}?"),
        None => format!("; known are {}", KNOWN.join(" ")),
    }
}

fn nothing_after(name: &'static str, rest: &[Part<'_>]) -> Result<(), Fault> {
    let Some(span) = span_of(rest) else {
        return Ok(());
    };
    let problem = if has_command(rest) {
        Problem::Command
    } else {
        Problem::Trailing(name)
    };
    Err((span, Field::Rule, problem))
}

/// What to say of a line pasted from a crontab: five fields, then perhaps an account, a command.
fn command_fault(parts: &[Part<'_>]) -> Option<Fault> {
    let (fields, rest) = parts.split_at_checked(5)?;
    if !has_command(rest) {
        return None;
    }
    let command = (span_of(rest)?, Field::Rule, Problem::Command);
    Some(parse_fields(fields).err().unwrap_or(command))
}

fn has_command(parts: &[Part<'_>]) -> bool {
    parts.iter().any(|part| is_command(part.text))
}

/// Whether a word can only belong to a command, not be a field with a mistake in it: a path, a
/// variable, a quote, or a name that is longer than and unlike those of days and months.
fn is_command(word: &str) -> bool {
    let is_name = |word: &str| word.len() > 3 && !begins_with_name(word);
    word.starts_with(['/', '.', '~', '$', '"', '\'', '(', '[', '{', ':'])
        || word.starts_with(|c: char| c.is_ascii_alphabetic()) && is_name(word)
}

fn span_of(parts: &[Part<'_>]) -> Option<Range<usize>> {
    Some(parts.first()?.span().start..parts.last()?.span().end)
}

fn parse_every(name: Part<'_>, rest: &[Part<'_>]) -> Result<Parsed, Fault> {
    let span = span_of(rest).unwrap_or(name.span());
    let text = rest
        .iter()
        .map(|part| part.text)
        .collect::<Vec<_>>()
        .join(" ");
    let every = parse_duration(&text)
        .map_err(|error| (span.clone(), Field::Every, Problem::Duration(error)))?;
    if every > MAX_EVERY {
        return Err((span, Field::Every, Problem::EveryTooLong));
    }
    Ok(Shape::Every(every).into())
}

fn parse_at(name: Part<'_>, rest: &[Part<'_>]) -> Result<Parsed, Fault> {
    let span = span_of(rest).unwrap_or(name.span());
    let text = rest
        .iter()
        .map(|part| part.text)
        .collect::<Vec<_>>()
        .join(" ");
    let moment = match parse_moment(&text) {
        Ok(moment) if moment.is_finer => Err(MomentError::TooFine(text)),
        other => other,
    };
    let moment = moment.map_err(|error| (span, Field::At, Problem::Moment(error)))?;
    let at = match moment.offset {
        Some(offset) => {
            let seconds = moment.local.seconds - offset;
            At::Instant(UnixMs(seconds * 1000 + moment.local.millis))
        }
        None => At::Local(moment.local),
    };
    Ok(Shape::At(at).into())
}

/// The fields of a rule that is known to be good; `None` for those without fields.
pub(super) fn fields_of(text: &str) -> Option<Fields> {
    let nickname = NICKNAMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    let text = nickname.map_or(text, |(_, fields)| fields);
    parse_fields(&words(text)).ok()
}

fn parse_fields(parts: &[Part<'_>]) -> Result<Fields, Fault> {
    let (second, plain, year) = match parts {
        plain if plain.len() == 5 => (None, plain, None),
        [second, plain @ ..] if plain.len() == 5 => (Some(second), plain, None),
        [second, plain @ .., year] if plain.len() == 5 => (Some(second), plain, Some(year)),
        _ => return Err(wrong_count(parts)),
    };
    Ok(Fields {
        second: second.map_or(Ok(Items::only(0)), |part| parse_field(Field::Second, *part))?,
        minute: parse_field(Field::Minute, plain[0])?,
        hour: parse_field(Field::Hour, plain[1])?,
        day_of_month: parse_field(Field::DayOfMonth, plain[2])?,
        month: parse_field(Field::Month, plain[3])?,
        day_of_week: parse_field(Field::DayOfWeek, plain[4])?,
        year: year.map_or(Ok(Items::every()), |part| parse_field(Field::Year, *part))?,
    })
}

fn wrong_count(parts: &[Part<'_>]) -> Fault {
    let count = match parts.len() {
        1 => "1 field".to_owned(),
        count => format!("{count} fields"),
    };
    let span = span_of(parts).unwrap_or(0..0);
    (span, Field::Rule, Problem::FieldCount(count))
}

fn parse_calendar(parts: &[Part<'_>]) -> Result<Parsed, Fault> {
    let fields = parse_fields(parts)?;
    let unmatched = |error: CronError| {
        let problem = Problem::Unmatched(error.to_string());
        (span_of(parts).unwrap_or(0..0), Field::Rule, problem)
    };
    let Some(calendar) = Calendar::new(&fields).map_err(unmatched)? else {
        return Err((day_span(parts), Field::DayOfMonth, Problem::Never));
    };
    Ok(Parsed {
        shape: Shape::Calendar(calendar),
        warnings: warnings(&fields).map_err(unmatched)?,
    })
}

/// From the day of month to the end: the parts that together make a date.
fn day_span(parts: &[Part<'_>]) -> Range<usize> {
    let first = if parts.len() == 5 { 2 } else { 3 };
    span_of(&parts[first..]).unwrap_or(0..0)
}

fn warnings(fields: &Fields) -> Result<Vec<String>, CronError> {
    let mut warnings = Vec::new();
    let (dates, weekdays) = (&fields.day_of_month, &fields.day_of_week);
    let both = dates.is_restricted() && weekdays.is_restricted();
    if both && !weekdays.and && (dates.has_starred_step() || weekdays.has_starred_step()) {
        warnings.push(
            "day of month and day of week are both restricted, one with `*/n`: either one matching \
             is enough here, other crons want both; write `+` before the day of week for both"
                .to_owned(),
        );
    }
    if both && !weekdays.and && !fields.is_date_possible()? {
        warnings.push("no year has that day of month; only the day of week counts".to_owned());
    }
    for (field, items) in [
        (Field::Second, &fields.second),
        (Field::Minute, &fields.minute),
        (Field::Hour, &fields.hour),
        (Field::DayOfMonth, dates),
        (Field::Month, &fields.month),
        (Field::DayOfWeek, weekdays),
        (Field::Year, &fields.year),
    ] {
        warnings.extend(long_step(field, items));
    }
    Ok(warnings)
}

/// A step that never leaves the first value.
fn long_step(field: Field, items: &Items) -> Option<String> {
    let (first, last) = field.values();
    items.list.iter().find_map(|item| {
        let (low, high, step) = match *item {
            Item::Star { step } => (first, last, step),
            Item::Span { low, high, step } if step > 1 => (low, high, step),
            _ => return None,
        };
        (step > high - low).then(|| {
            format!("{field}: the step {step} is longer than {low}-{high}, so only {low} is left")
        })
    })
}
