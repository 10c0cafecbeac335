//! Text that fits: clean, of a known width, cut where it must be. Wide characters count as two columns.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::print::clean;
pub use crate::cli::print::table::cut;
use crate::model::TaskPath;

/// Columns between tab stops.
const TAB: usize = 8;
/// Columns of a task's name that are kept where its group and it do not fit together.
const NAME: usize = 24;

/// One clean line: ends of lines as spaces, no control sequence, no control character.
pub fn line(text: &str) -> String {
    output(&text.replace(['\n', '\r'], " "))
}

/// A line of a run's output: no control sequences, no colours, tabs as spaces.
pub fn output(text: &str) -> String {
    let kept = clean::output(text);
    let mut plain = String::with_capacity(kept.len());
    let mut column = 0;
    let mut chars = kept.chars();
    while let Some(c) = chars.next() {
        match c {
            // Only colours are left, which end with an m.
            '\u{1b}' => drop(chars.by_ref().find(|c| *c == 'm')),
            '\t' => {
                let pad = TAB - column % TAB;
                plain.extend(std::iter::repeat_n(' ', pad));
                column += pad;
            }
            c => {
                plain.push(c);
                column += c.width().unwrap_or(0);
            }
        }
    }
    plain
}

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `group/name`; where it does not fit the group is cut first, then the name.
pub fn path(path: &TaskPath, columns: usize) -> String {
    let whole = path.to_string();
    if whole.width() <= columns {
        return whole;
    }
    let name = path.name.as_str();
    let kept = name.width().min(NAME);
    let group = columns.saturating_sub(kept + 1);
    if group < 2 {
        return cut(name, columns);
    }
    let group = cut(path.group.as_str(), group);
    let left = columns.saturating_sub(group.width() + 1);
    format!("{group}/{}", cut(name, left))
}

/// Breaks a text into lines of at most so many columns, between words where it can.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut rest = line(paragraph);
        while rest.width() > columns {
            let at = break_at(&rest, columns);
            let tail = rest.split_off(at);
            lines.push(rest.trim_end().to_owned());
            tail.trim_start().clone_into(&mut rest);
            if rest.is_empty() {
                break;
            }
        }
        if !rest.is_empty() || paragraph.is_empty() {
            lines.push(rest);
        }
    }
    lines
}

/// Where to break, in bytes, at least one character in.
fn break_at(text: &str, columns: usize) -> usize {
    let mut used = 0;
    let mut space = None;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns {
            let first = text.chars().next().map_or(0, char::len_utf8);
            return space.unwrap_or(at).max(first);
        }
        if c == ' ' && at > 0 {
            space = Some(at);
        }
    }
    text.len()
}

/// The text, filled up with blanks to so many columns.
pub fn pad(text: &str, columns: usize) -> String {
    let blanks = " ".repeat(columns.saturating_sub(text.width()));
    format!("{text}{blanks}")
}

/// `1 task`, `2 tasks`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Why a command line cannot be split into words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a quote is not closed")]
pub struct OpenQuote;

/// Splits a line into words as a shell would, with '…', "…" and \, and nothing else of a shell.
pub fn words(line: &str) -> Result<Vec<String>, OpenQuote> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word
                .get_or_insert_default()
                .push(chars.next().ok_or(OpenQuote)?),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(OpenQuote);
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_name_is_uncut_up_to_24_columns() {
        for (text, columns, wanted) in [
            ("web/probe", 20, "web/probe"),
            (
                "production/abcdefghijklmnopqrstuvwx",
                30,
                "prod…/abcdefghijklmnopqrstuvwx",
            ),
            (
                "production/abcdefghijklmnopqrstuvwx",
                24,
                "abcdefghijklmnopqrstuvwx",
            ),
            ("production/abc", 8, "pro…/abc"),
            ("生产/备份备份备份", 10, "备份备份…"),
        ] {
            assert_eq!(path(&text.parse().unwrap(), columns), wanted);
        }
    }

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("备份备份", 3), ["备", "份", "备", "份"]);
        assert_eq!(wrap("备", 1), ["备"]);
        assert_eq!(wrap("a\nb\u{7}", 9), ["a", "b"]);
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        let split = |line| words(line).map(|words| words.join("|"));
        assert_eq!(
            split("a  'b c' \"d\\\"e\" f\\ g ''").unwrap(),
            "a|b c|d\"e|f g|"
        );
        assert_eq!(split("a 'b"), Err(OpenQuote));
        assert_eq!(split("a\\"), Err(OpenQuote));
    }
}
