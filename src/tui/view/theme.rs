//! What looks how: the terminal's own 16 colours on its own background; without colours bold, underline and dim.

use ratatui::style::{Color, Modifier, Style};

use crate::model::Outcome;

/// What a piece of text means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// Less important.
    Dim,
    /// Important.
    Strong,
    /// In order.
    Good,
    /// Not in order.
    Bad,
    /// Wants an eye.
    Warn,
    /// A key, a name, a place.
    Info,
}

/// Whether there are colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Theme {
    /// False with NO_COLOR.
    pub has_colors: bool,
}

impl Theme {
    /// How a tone looks.
    pub fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        match (tone, self.has_colors) {
            (Tone::Plain, _) | (Tone::Good, false) => plain,
            (Tone::Dim, _) => plain.add_modifier(Modifier::DIM),
            (Tone::Strong, _) | (Tone::Info | Tone::Warn, false) => {
                plain.add_modifier(Modifier::BOLD)
            }
            (Tone::Good, true) => plain.fg(Color::Green),
            (Tone::Info, true) => plain.fg(Color::Cyan),
            (Tone::Bad, true) => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Tone::Bad, false) => plain.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            (Tone::Warn, true) => plain.fg(Color::Yellow),
        }
    }
}

/// How an outcome looks, and the letter that stands for it without colours.
pub fn outcome(outcome: Outcome) -> (char, Tone) {
    match outcome {
        Outcome::Succeeded => ('·', Tone::Good),
        Outcome::Failed => ('F', Tone::Bad),
        Outcome::TimedOut => ('T', Tone::Bad),
        Outcome::Stopped => ('s', Tone::Dim),
        Outcome::Skipped => ('-', Tone::Dim),
        Outcome::Missed => ('M', Tone::Warn),
        Outcome::Lost => ('L', Tone::Warn),
    }
}
