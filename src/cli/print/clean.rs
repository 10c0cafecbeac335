//! Text that others wrote (jobs, peers, operators) before it reaches a terminal: no control character gets
//! through, in output of runs only SGR sequences (colours) do.

/// One line without control characters: white space becomes a space, the rest is left out.
pub fn line(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\t' | '\r' => Some(' '),
            c if is_control(c) => None,
            c => Some(c),
        })
        .collect()
}

/// The same for several lines.
pub fn lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(line).collect();
    lines.join("\n")
}

/// JSON on one line. What JSON itself lets pass (DEL, C1, turned direction) is escaped too, so that the text is
/// the same to a program and harmless to a terminal.
pub fn json(value: &serde_json::Value) -> String {
    let escape = |c: char| match c {
        c if is_control(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    value.to_string().chars().map(escape).collect()
}

/// C0, C1, DEL, and what turns the direction of text around.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A line of a run's output for a terminal: tabs and colours stay, every other control sequence goes.
/// A line that set a colour ends with its reset.
pub fn output(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut colored = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\u{1b}' || c == '\u{9b}' {
            let (sequence, after) = sequence(rest);
            if is_sgr(sequence) {
                kept.push_str(sequence);
                colored = true;
            }
            rest = after;
            continue;
        }
        if c == '\t' || !is_control(c) {
            kept.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    if colored {
        kept.push_str("\u{1b}[0m");
    }
    kept
}

/// `ESC [ digits ; digits m`.
fn is_sgr(sequence: &str) -> bool {
    sequence
        .strip_prefix("\u{1b}[")
        .and_then(|rest| rest.strip_suffix('m'))
        .is_some_and(|rest| {
            rest.bytes()
                .all(|b| b.is_ascii_digit() || b == b';' || b == b':')
        })
}

/// Splits a text that begins with a control sequence (ECMA-48) after that sequence.
fn sequence(text: &str) -> (&str, &str) {
    let mut chars = text.char_indices();
    let Some((_, first)) = chars.next() else {
        return (text, "");
    };
    let introducer = if first == '\u{9b}' {
        Some('[')
    } else {
        chars.next().map(|(_, c)| c)
    };
    let end = match introducer {
        Some('[') => chars.find(|(_, c)| matches!(c, '@'..='~') || c.is_control()),
        // Strings (OSC, DCS, SOS, PM, APC) end with BEL or ST.
        Some(']' | 'P' | 'X' | '^' | '_') => return string_sequence(text),
        // Intermediate bytes, then one final.
        Some(' '..='/') => chars.find(|(_, c)| !matches!(c, ' '..='/')),
        Some(c) => return text.split_at((first.len_utf8() + c.len_utf8()).min(text.len())),
        None => None,
    };
    match end {
        Some((at, c)) => text.split_at(at + c.len_utf8()),
        None => (text, ""),
    }
}

fn string_sequence(text: &str) -> (&str, &str) {
    let bell = text.find('\u{7}').map(|at| at + 1);
    let st = text[1..].find("\u{1b}\\").map(|at| at + 3);
    match bell.into_iter().chain(st).min() {
        Some(end) => text.split_at(end),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_text_and_colours_reaches_a_terminal() {
        for (text, wanted) in [
            ("plain\ttext", "plain\ttext"),
            ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m\u{1b}[0m"),
            ("\u{1b}[2Jgone", "gone"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]52;c;AAAA\u{1b}\\after", "after"),
            ("\u{1b}Pq#0\u{1b}\\after", "after"),
            ("\u{1b}cafter", "after"),
            ("\u{1b}(0after", "after"),
            ("\u{9b}2Jafter", "after"),
            ("\u{1b}[?1049hafter\r", "after"),
            ("a\u{8}\u{7f}b", "ab"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("\u{1b}]never ended", ""),
            ("\u{202e}gnol", "gnol"),
        ] {
            assert_eq!(output(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_cell_is_one_line() {
        assert_eq!(line("a\nb\u{1b}[31m\u{0}c"), "a b[31mc");
        assert_eq!(lines("a\u{7}\nb"), "a\nb");
        let value = serde_json::json!("a\u{9b}\u{202e}\u{1b}ü");
        assert_eq!(json(&value), r#""a\u009b\u202e\u001bü""#);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json(&value)).unwrap(),
            value
        );
    }
}
