//! What can be wrong with a rule: which field, what was read, what is allowed, and where.

use std::fmt::{self, Write as _};
use std::ops::Range;

use super::civil::{FIRST_YEAR, LAST_YEAR};
use super::duration::{DurationError, quoted};
use super::moment::MomentError;

/// The part of a rule that an error speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// Seconds, the first of six or seven fields.
    Second,
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
    /// Days of the month.
    DayOfMonth,
    /// Months.
    Month,
    /// Days of the week.
    DayOfWeek,
    /// Years, the last of seven fields.
    Year,
    /// The rule as a whole.
    Rule,
    /// What follows `@every`.
    Every,
    /// What follows `@at`.
    At,
}

impl Field {
    /// The smallest and the largest number of the field.
    pub fn range(self) -> (u16, u16) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
            Self::Year => (year(FIRST_YEAR), year(LAST_YEAR)),
            Self::Rule | Self::Every | Self::At => (0, 0),
        }
    }

    /// What `*` stands for: the range without the second Sunday.
    pub(super) fn values(self) -> (u16, u16) {
        match self {
            Self::DayOfWeek => (0, 6),
            field => field.range(),
        }
    }

    /// What may stand in the field, for the last line of an error.
    pub fn allowed(self) -> String {
        let (low, high) = self.range();
        match self {
            Self::Second | Self::Minute | Self::Hour | Self::Year => {
                format!("`*`, {low}-{high}, lists `a,b`, ranges `a-b`, steps `*/n` and `a-b/n`")
            }
            Self::Month => format!(
                "`*`, {low}-{high} or JAN-DEC, lists `a,b`, ranges `a-b`, steps `*/n` and `a-b/n`"
            ),
            Self::DayOfMonth => format!(
                "`*`, `?`, {low}-{high}, lists, ranges, steps, `L` (last day), `LW` (last weekday), \
                 `15W` (weekday nearest to the 15th)"
            ),
            Self::DayOfWeek => format!(
                "`*`, `?`, {low}-{high} (0 and 7 are Sunday) or SUN-SAT, lists, ranges, steps, `5#2` \
                 (second Friday), `5L` or `FRI#L` (last Friday), `+` in front for AND"
            ),
            Self::Rule => {
                "5 fields (minute hour day-of-month month day-of-week), 6 (seconds first), \
                           7 (year last), or @yearly @monthly @weekly @daily @hourly @every @at \
                           @always @reboot"
                    .to_owned()
            }
            Self::Every => "a duration of 1ms to 3660d, like 250ms, 30s, 1h30m".to_owned(),
            Self::At => {
                "2027-01-31T03:00:00+08:00, or without the offset in the task's zone".to_owned()
            }
        }
    }
}

fn year(value: i64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
            Self::Year => "year",
            Self::Rule => "rule",
            Self::Every => "@every",
            Self::At => "@at",
        })
    }
}

/// What is wrong with the part that was read; its text continues "`part` …".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// A number outside the field.
    #[error("is not in {0}-{1}")]
    OutOfRange(u16, u16),
    /// Neither a number nor one of the field's names.
    #[error("is not a number")]
    NotANumber,
    /// A name that the field does not have.
    #[error("is neither a number nor one of {0}")]
    NotAName(&'static str),
    /// Nothing between two commas, before the first or after the last.
    #[error("has an empty list item")]
    EmptyItem,
    /// `*` beside other list items.
    #[error("already means every value; write it alone")]
    StarInList,
    /// `?` in a field without days, or beside other items.
    #[error("may stand only alone, in day of month or day of week")]
    QuestionMark,
    /// A range that runs backwards.
    #[error("is reversed; write the smaller end first, or two ranges in a list")]
    Reversed,
    /// `1-`, `-5`, `1-2-3`.
    #[error("is not a range; write it like 1-5")]
    BadRange,
    /// A step of zero.
    #[error("has step 0; a step is 1 or more")]
    StepZero,
    /// `1-5/`, `1/2/3`, `*/x`.
    #[error("has no whole number as its step; write it like */5 or 10-40/5")]
    BadStep,
    /// `5/15`.
    #[error("has a step without a range; write {0}")]
    StepNeedsRange(String),
    /// `L`, `W` or `#` where the field has no such thing, or in a wrong shape.
    #[error("is not a day here; {0}")]
    BadDay(&'static str),
    /// `+` elsewhere than before the day of week.
    #[error("may not start with `+`; that belongs before the day of week")]
    Plus,
    /// A number of fields that no rule has.
    #[error("has {0}; a rule has 5, 6 (seconds first) or 7 (year last)")]
    FieldCount(String),
    /// An `@word` that does not exist.
    #[error("is not known{0}")]
    UnknownNickname(String),
    /// Something after an `@word` that takes nothing.
    #[error("is too much; nothing may follow {0}")]
    Trailing(&'static str),
    /// The rest of a line from a crontab.
    #[error(
        "is a command and no part of the rule, which says only when; give it as the command to execute"
    )]
    Command,
    /// Nothing was written.
    #[error("is empty")]
    Empty,
    /// More text than any rule needs.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// Dates such as 30 February.
    #[error("never comes: no year has such a date")]
    Never,
    /// Every field is good, yet the matcher refuses them together; it says why.
    #[error("cannot be matched: {0}")]
    Unmatched(String),
    /// `@every` without a readable duration.
    #[error("{0}")]
    Duration(DurationError),
    /// `@every` with a span above the bound.
    #[error("is more than 3660d")]
    EveryTooLong,
    /// `@at` without a readable time.
    #[error("{0}")]
    Moment(MomentError),
}

/// A rule that was refused: the text, the place of the wrong part, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleError {
    /// The rule as it was given (cut where it was too long).
    pub text: String,
    /// The wrong part, in bytes of `text`.
    pub span: Range<usize>,
    /// The field it stands in.
    pub field: Field,
    /// What is wrong with it.
    pub problem: Problem,
}

impl RuleError {
    /// The wrong part, as it was read.
    pub fn read(&self) -> &str {
        self.text.get(self.span.clone()).unwrap_or("")
    }

    /// What is allowed in that place.
    pub fn allowed(&self) -> String {
        self.field.allowed()
    }

    /// Several lines: the rule, carets under the wrong part, the sentence, what is allowed.
    /// Columns are counted as a terminal shows them.
    pub fn caret(&self) -> String {
        let before = visible(self.text.get(..self.span.start).unwrap_or(""));
        let wrong = visible(self.read());
        let pad = " ".repeat(width(&before));
        let marks = "^".repeat(width(&wrong).max(1));
        let text = visible(&self.text);
        format!("{text}\n{pad}{marks}\n{self}\nallowed: {}", self.allowed())
    }
}

impl fmt::Display for RuleError {
    /// One line: ``minute: `60` is not in 0-59``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.field)?;
        match &self.problem {
            // These name the part themselves.
            Problem::Duration(error) => write!(f, "{error}"),
            Problem::Moment(error) => write!(f, "{error}"),
            Problem::Empty => write!(f, "nothing is written"),
            problem => write!(f, "`{}` {problem}", quoted(self.read())),
        }
    }
}

impl std::error::Error for RuleError {}

/// The text as a terminal may show it, one line, tabs as single spaces.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push_visible(&mut shown, c);
    }
    shown
}

/// Appends `c`, or for what would be invisible or move the cursor a visible stand-in: the control
/// pictures of Unicode (U+2400) or `\u{…}`.
pub(super) fn push_visible(shown: &mut String, c: char) {
    match u32::from(c) {
        0x09 => shown.push(' '),
        code @ 0..0x20 => shown.extend(char::from_u32(0x2400 + code)),
        0x7f => shown.push('\u{2421}'),
        code if is_hidden(c, code) => {
            // Writing into a String cannot fail.
            let _ = write!(shown, "{}", c.escape_unicode());
        }
        _ => shown.push(c),
    }
}

fn is_hidden(c: char, code: u32) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(code, 0xad | 0x300..=0x36f | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e)
        || matches!(code, 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff | 0xfff9..=0xfffb)
        || code >= 0xe_0000
}

/// Columns that a visible text takes: East Asian wide characters and emoji take two.
fn width(text: &str) -> usize {
    text.chars()
        .map(|c| if is_wide(u32::from(c)) { 2 } else { 1 })
        .sum()
}

fn is_wide(code: u32) -> bool {
    matches!(code, 0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xac00..=0xd7a3)
        || matches!(code, 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6)
        || matches!(code, 0x1_f300..=0x1_f64f | 0x1_f900..=0x1_f9ff | 0x2_0000..=0x3_fffd)
}
