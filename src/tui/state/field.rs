//! A line of text being typed, with a cursor that moves by characters.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Characters that a line may have at most: no more than a task's text may.
const LONGEST: usize = 32 * 1024;

/// A line of text being typed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Field {
    text: Vec<char>,
    cursor: usize,
}

impl Field {
    /// A line that holds this already, the cursor at its end.
    pub fn new(text: &str) -> Self {
        let text: Vec<char> = text.chars().filter(|c| !c.is_control()).collect();
        let cursor = text.len();
        Self { text, cursor }
    }

    /// What was typed.
    pub fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// What stands before the cursor.
    pub fn before_cursor(&self) -> String {
        self.text[..self.cursor].iter().collect()
    }

    /// Whether nothing was typed.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Writes at the cursor; control characters are left out, ends of lines become spaces.
    pub fn paste(&mut self, text: &str) {
        for c in text.trim_end_matches(['\r', '\n']).chars() {
            self.insert(if matches!(c, '\n' | '\t') { ' ' } else { c });
        }
    }

    fn insert(&mut self, c: char) {
        if !c.is_control() && self.text.len() < LONGEST {
            self.text.insert(self.cursor, c);
            self.cursor += 1;
        }
    }

    /// Does what a key does in a line; whether it did anything.
    pub fn key(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, control) {
            (KeyCode::Char('a'), true) | (KeyCode::Home, _) => self.cursor = 0,
            (KeyCode::Char('e'), true) | (KeyCode::End, _) => self.cursor = self.text.len(),
            (KeyCode::Char('u'), true) => drop(self.text.drain(..std::mem::take(&mut self.cursor))),
            (KeyCode::Char('k'), true) => self.text.truncate(self.cursor),
            (KeyCode::Char('w'), true) => self.delete_word(),
            (KeyCode::Char(c), false) if !key.modifiers.contains(KeyModifiers::ALT) => {
                self.insert(c);
            }
            (KeyCode::Left, _) => self.cursor = self.cursor.saturating_sub(1),
            (KeyCode::Right, _) => self.cursor = (self.cursor + 1).min(self.text.len()),
            (KeyCode::Backspace, _) if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.cursor);
            }
            (KeyCode::Delete, _) if self.cursor < self.text.len() => {
                self.text.remove(self.cursor);
            }
            (KeyCode::Backspace | KeyCode::Delete, _) => {}
            _ => return false,
        }
        true
    }

    fn delete_word(&mut self) {
        let end = self.cursor;
        while self.cursor > 0 && self.text[self.cursor - 1] == ' ' {
            self.cursor -= 1;
        }
        while self.cursor > 0 && self.text[self.cursor - 1] != ' ' {
            self.cursor -= 1;
        }
        self.text.drain(self.cursor..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start: &str, keys: &[(KeyCode, KeyModifiers)], before: &str, text: &str) {
        let mut field = Field::new(start);
        for (code, modifiers) in keys {
            field.key(KeyEvent::new(*code, *modifiers));
        }
        assert_eq!(
            (field.before_cursor().as_str(), field.text().as_str()),
            (before, text)
        );
    }

    #[test]
    fn a_line_is_edited_by_characters() {
        let plain = |code| (code, KeyModifiers::NONE);
        let control = |c| (KeyCode::Char(c), KeyModifiers::CONTROL);
        check("", &[plain(KeyCode::Char('ü'))], "ü", "ü");
        check("备份", &[plain(KeyCode::Backspace)], "备", "备");
        check(
            "ab",
            &[plain(KeyCode::Left), plain(KeyCode::Delete)],
            "a",
            "a",
        );
        check("a b  ", &[control('w')], "a ", "a ");
        check("ab", &[control('a'), plain(KeyCode::Char('x'))], "x", "xab");
        check("ab", &[control('u')], "", "");
        check(
            "",
            &[plain(KeyCode::Backspace), plain(KeyCode::Left)],
            "",
            "",
        );
    }

    #[test]
    fn control_characters_are_not_typed() {
        let mut field = Field::new("a\u{1b}b");
        field.paste("c\u{7}\nd\n");
        assert_eq!(field.text(), "abc d");
    }
}
