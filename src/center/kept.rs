//! The end of a run's output that its agent returned with the outcome: what the center itself has of it.

use crate::model::{Ending, UnixMs};

/// The returned end of a run's output.
#[derive(Clone, Debug)]
pub struct KeptTail {
    /// The attempt it is of.
    pub attempt: u16,
    /// Where in the output it begins.
    pub offset: u64,
    /// When it had been written.
    pub at: UnixMs,
    /// The text.
    pub text: String,
}

impl KeptTail {
    /// What an ending has, if anything.
    pub fn of(ending: &Ending) -> Option<Self> {
        let text = ending.tail.clone()?;
        let all = ending.output_bytes.unwrap_or_default();
        Some(Self {
            attempt: ending.attempt,
            offset: all.saturating_sub(text.len() as u64),
            at: ending.finished_at,
            text,
        })
    }

    /// The last lines of it.
    #[must_use]
    pub fn last(mut self, lines: Option<u64>) -> Self {
        let Some(wanted) = lines.and_then(|lines| usize::try_from(lines).ok()) else {
            return self;
        };
        let ends = self.text.trim_end_matches('\n').rmatch_indices('\n');
        let cut = match wanted.checked_sub(1) {
            Some(before) => ends.map(|(at, _)| at + 1).nth(before).unwrap_or(0),
            None => self.text.len(),
        };
        self.text.drain(..cut);
        self.offset += cut as u64;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_what_is_kept_keep_their_place() {
        let check = |text: &str, lines: Option<u64>, expected: (&str, u64)| {
            let kept = KeptTail {
                attempt: 1,
                offset: 100,
                at: UnixMs(0),
                text: text.to_owned(),
            };
            let kept = kept.last(lines);
            assert_eq!((kept.text.as_str(), kept.offset), expected, "{text:?}");
        };
        check("a\nb\nc\n", None, ("a\nb\nc\n", 100));
        check("a\nb\nc\n", Some(2), ("b\nc\n", 102));
        check("a\nb\nc", Some(1), ("c", 104));
        check("a\nb\nc\n", Some(9), ("a\nb\nc\n", 100));
        check("a\n", Some(0), ("", 102));
        check("", Some(1), ("", 100));
    }
}
