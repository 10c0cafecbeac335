//! How things are printed: what the global flags and the terminal say.

use crate::cli::args::{Format, Global};
use crate::rule::{UnixMs, Zone};

/// How things are printed.
#[derive(Clone, Debug)]
pub struct Style {
    /// For people or for programs.
    pub format: Format,
    /// Ids only.
    pub quiet: bool,
    /// Whether tables have a line of titles.
    pub headers: bool,
    /// The columns asked for.
    pub columns: Option<Vec<String>>,
    /// The field to sort by, and whether from the highest.
    pub sort: Option<(String, bool)>,
    /// Columns of the terminal; none where stdout is none, then nothing is dropped or cut.
    pub width: Option<usize>,
    /// Whether stdout is a terminal.
    pub is_terminal: bool,
    /// The zone of times shown and read.
    pub zone: Zone,
    /// Reads the wall clock.
    pub clock: fn() -> UnixMs,
}

impl Style {
    /// What the flags say, for a stdout that is a terminal of this width or none.
    pub fn new(global: &Global, width: Option<usize>, clock: fn() -> UnixMs) -> Self {
        let zone = match &global.timezone {
            Some(zone) => zone.clone(),
            None if global.utc => Zone::utc(),
            None => Zone::local(),
        };
        Self {
            format: global.format,
            quiet: global.quiet,
            headers: !global.no_headers,
            columns: global.columns.clone(),
            sort: global
                .sort
                .as_deref()
                .map(|field| match field.strip_prefix('-') {
                    Some(field) => (field.to_owned(), true),
                    None => (field.to_owned(), false),
                }),
            width,
            is_terminal: width.is_some(),
            zone,
            clock,
        }
    }

    /// Whether programs read the output.
    pub fn is_json(&self) -> bool {
        self.format != Format::Table
    }
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use super::*;

    /// 2026-11-22T16:50:00Z.
    pub const NOW: UnixMs = UnixMs(1_795_366_200_000);

    /// A table in UTC at [`NOW`], not on a terminal.
    pub fn style() -> Style {
        Style {
            format: Format::Table,
            quiet: false,
            headers: true,
            columns: None,
            sort: None,
            width: None,
            is_terminal: false,
            zone: Zone::utc(),
            clock: || NOW,
        }
    }
}
