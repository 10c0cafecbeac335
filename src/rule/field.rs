//! One field of a calendar rule: its text to list items, every wrong part with its place.

use std::ops::Range;

use super::error::{Field, Problem};

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A wrong part: its bytes in the rule, the field and the reason.
pub(super) type Fault = (Range<usize>, Field, Problem);

/// One item of a field's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Item {
    /// `*`, `?` (step 1) or `*/n`.
    Star { step: u16 },
    /// `a`, `a-b` or `a-b/n`; in days of the week 7 may be the high end.
    Span { low: u16, high: u16, step: u16 },
    /// `L`: the last day of the month.
    Last,
    /// `LW`: the last weekday of the month.
    LastWeekday,
    /// `15W`: the weekday nearest to that day.
    Near(u16),
    /// `5#2`: the second Friday; the day is 0-6.
    Nth { day: u16, nth: u16 },
    /// `5L`: the last Friday; the day is 0-6.
    LastOf(u16),
}

/// A field that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Items {
    pub(super) list: Vec<Item>,
    /// The text starts with `*`: a *wildcard* for clock changes.
    pub(super) starred: bool,
    /// `+` before the day of week.
    pub(super) and: bool,
}

impl Items {
    /// A field that was not written and means one value.
    pub(super) fn only(value: u16) -> Self {
        let list = vec![Item::Span {
            low: value,
            high: value,
            step: 1,
        }];
        Self {
            list,
            starred: false,
            and: false,
        }
    }

    /// A field that was not written and means every value.
    pub(super) fn every() -> Self {
        Self {
            list: vec![Item::Star { step: 1 }],
            starred: true,
            and: false,
        }
    }

    /// Whether the field excludes anything by its form: `*`, `?` and `*/1` do not.
    pub(super) fn is_restricted(&self) -> bool {
        self.list != [Item::Star { step: 1 }]
    }

    /// Whether the field has a `*/n` that skips values.
    pub(super) fn has_starred_step(&self) -> bool {
        self.list
            .iter()
            .any(|item| matches!(item, Item::Star { step } if *step > 1))
    }

    /// The values of the plain items, ascending without repeats; Sunday stays 0 or 7 as written.
    pub(super) fn values(&self, field: Field) -> Vec<u16> {
        let (first, last) = field.values();
        let mut values: Vec<u16> = self
            .list
            .iter()
            .filter_map(|item| match *item {
                Item::Star { step } => Some((first, last, step)),
                Item::Span { low, high, step } => Some((low, high, step)),
                _ => None,
            })
            .flat_map(|(low, high, step)| (low..=high).step_by(usize::from(step)))
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

/// A piece of the rule's text and where it starts.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
}

impl<'a> Part<'a> {
    pub(super) fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    pub(super) fn split(self, at: char) -> impl Iterator<Item = Part<'a>> {
        let mut start = self.start;
        self.text.split(at).map(move |text| {
            let part = Part { text, start };
            start += text.len() + at.len_utf8();
            part
        })
    }

    /// The part cut at the first `at`, which belongs to neither half.
    fn cut(self, at: char) -> Option<(Part<'a>, Part<'a>)> {
        let (left, right) = self.text.split_once(at)?;
        let start = self.start + left.len() + at.len_utf8();
        Some((
            Part {
                text: left,
                start: self.start,
            },
            Part { text: right, start },
        ))
    }

    fn fault<T>(self, field: Field, problem: Problem) -> Result<T, Fault> {
        Err((self.span(), field, problem))
    }
}

/// Reads one field.
pub(super) fn parse_field(field: Field, whole: Part<'_>) -> Result<Items, Fault> {
    let mut part = whole;
    let mut and = false;
    if let Some(rest) = part.text.strip_prefix('+') {
        if field != Field::DayOfWeek || rest.is_empty() {
            return part.fault(field, Problem::Plus);
        }
        and = true;
        part = Part {
            text: rest,
            start: part.start + 1,
        };
    }
    let in_list = part.text.contains(',');
    let list = part
        .split(',')
        .map(|item| match item.text {
            "" => whole.fault(field, Problem::EmptyItem),
            "*" if in_list => item.fault(field, Problem::StarInList),
            "?" if in_list => item.fault(field, Problem::QuestionMark),
            _ => parse_item(field, item),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let starred = part.text.starts_with('*');
    Ok(Items { list, starred, and })
}

fn parse_item(field: Field, item: Part<'_>) -> Result<Item, Fault> {
    if item.text.starts_with('?') {
        return match (item.text, field) {
            ("?", Field::DayOfMonth | Field::DayOfWeek) => Ok(Item::Star { step: 1 }),
            _ => item.fault(field, Problem::QuestionMark),
        };
    }
    let special = match field {
        Field::DayOfMonth => parse_day_of_month(item)?,
        Field::DayOfWeek => parse_day_of_week(item)?,
        _ => None,
    };
    match special {
        Some(special) => Ok(special),
        None => parse_span(field, item),
    }
}

/// `L`, `LW`, `15W`; anything else is left to the caller.
fn parse_day_of_month(item: Part<'_>) -> Result<Option<Item>, Fault> {
    let field = Field::DayOfMonth;
    let upper = item.text.to_ascii_uppercase();
    match upper.as_str() {
        "L" => return Ok(Some(Item::Last)),
        "LW" => return Ok(Some(Item::LastWeekday)),
        _ if !upper.contains(['L', 'W']) => return Ok(None),
        _ => {}
    }
    match upper.strip_suffix('W') {
        Some(day) if !day.is_empty() && day.bytes().all(|b| b.is_ascii_digit()) => {
            let text = &item.text[..day.len()];
            let day = parse_number(
                field,
                Part {
                    text,
                    start: item.start,
                },
            )?;
            Ok(Some(Item::Near(day)))
        }
        _ => item.fault(
            field,
            Problem::BadDay("write L, LW, or one day and W, like 15W"),
        ),
    }
}

/// `5#2`, `5#L`, `5L`; anything else is left to the caller.
fn parse_day_of_week(item: Part<'_>) -> Result<Option<Item>, Fault> {
    let field = Field::DayOfWeek;
    if let Some((day, nth)) = item.cut('#') {
        let day = parse_number(field, day)? % 7;
        return match nth.text {
            "L" | "l" => Ok(Some(Item::LastOf(day))),
            "1" | "2" | "3" | "4" | "5" => {
                let nth = u16::from(nth.text.as_bytes()[0] - b'0');
                Ok(Some(Item::Nth { day, nth }))
            }
            _ => item.fault(
                field,
                Problem::BadDay("after # comes 1 to 5, or L for the last"),
            ),
        };
    }
    match item.text.strip_suffix(['L', 'l']) {
        Some("") => item.fault(
            field,
            Problem::BadDay("say which day is the last one, like 5L; the last day of a month is L in day of month"),
        ),
        Some(day) => {
            let day = parse_number(field, Part { text: day, start: item.start })?;
            Ok(Some(Item::LastOf(day % 7)))
        }
        None => Ok(None),
    }
}

/// `*`, `*/n`, `a`, `a-b`, `a-b/n`.
fn parse_span(field: Field, item: Part<'_>) -> Result<Item, Fault> {
    if item.text == "*" {
        return Ok(Item::Star { step: 1 });
    }
    let Some((base, step)) = item.cut('/') else {
        let (low, high) = parse_range(field, item)?;
        return Ok(Item::Span { low, high, step: 1 });
    };
    let step = parse_step(field, item, step)?;
    if base.text == "*" {
        return Ok(Item::Star { step });
    }
    let (low, high) = parse_range(field, base)?;
    if !base.text.contains('-') {
        let (_, last) = field.range();
        let hint = format!("`{low}-{last}/{step}`");
        return item.fault(field, Problem::StepNeedsRange(hint));
    }
    Ok(Item::Span { low, high, step })
}

fn parse_step(field: Field, item: Part<'_>, step: Part<'_>) -> Result<u16, Fault> {
    if step.text.is_empty() || !step.text.bytes().all(|b| b.is_ascii_digit()) {
        return item.fault(field, Problem::BadStep);
    }
    match step.text.parse() {
        Ok(0) => item.fault(field, Problem::StepZero),
        Ok(step) => Ok(step),
        Err(_) => step.fault(field, Problem::OutOfRange(1, u16::MAX)),
    }
}

/// One value, or two with a dash between.
fn parse_range(field: Field, part: Part<'_>) -> Result<(u16, u16), Fault> {
    let Some((low, high)) = part.cut('-') else {
        let value = parse_number(field, part)?;
        return Ok((value, value));
    };
    if low.text.is_empty() || high.text.is_empty() || high.text.contains('-') {
        return part.fault(field, Problem::BadRange);
    }
    let from = parse_number(field, low)?;
    let mut to = parse_number(field, high)?;
    // A week that is written to its end: MON-SUN, FRI-SUN.
    if high.text.eq_ignore_ascii_case("SUN") && from > 0 {
        to = 7;
    }
    if from > to {
        return part.fault(field, Problem::Reversed);
    }
    Ok((from, to))
}

/// A number or a name of the field.
fn parse_number(field: Field, part: Part<'_>) -> Result<u16, Fault> {
    if let Some(value) = name_value(field, part.text) {
        return Ok(value);
    }
    if part.text.is_empty() || !part.text.bytes().all(|b| b.is_ascii_digit()) {
        return part.fault(field, not_a_value(field));
    }
    let (low, high) = field.range();
    match part.text.parse() {
        Ok(value) if (low..=high).contains(&value) => Ok(value),
        _ => part.fault(field, Problem::OutOfRange(low, high)),
    }
}

fn name_value(field: Field, text: &str) -> Option<u16> {
    let (names, first) = match field {
        Field::Month => (&MONTHS[..], 1),
        Field::DayOfWeek => (&WEEKDAYS[..], 0),
        _ => return None,
    };
    let place = names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text))?;
    Some(first + u16::try_from(place).ok()?)
}

/// Whether a text begins with the name of a month or day: `FRIDAY`, `mon-fri`.
pub(super) fn begins_with_name(text: &str) -> bool {
    let start = text.get(..3).unwrap_or(text);
    let mut names = MONTHS.iter().chain(&WEEKDAYS);
    names.any(|name| name.eq_ignore_ascii_case(start))
}

fn not_a_value(field: Field) -> Problem {
    match field {
        Field::Month => Problem::NotAName("JAN-DEC"),
        Field::DayOfWeek => Problem::NotAName("SUN-SAT"),
        _ => Problem::NotANumber,
    }
}
