//! From the ancestor's rules to those of today. Its cron had 5 or 6 fields of numbers, a day had to match both of
//! its fields, and what it did not understand it read in its own way: what it did is kept, and said.

use crate::rule::Rule;

/// A rule, and what is to be said of it; or why there is none.
pub fn rule(text: &str, notes: &mut Vec<String>) -> Result<Rule, String> {
    let text = text.trim();
    let now = if let Ok(seconds) = text.parse::<u64>() {
        notes.push(format!("the rule `{text}` is an interval of {seconds} s"));
        format!("@every {seconds}s")
    } else if text.starts_with('@') {
        text.to_owned()
    } else {
        fields(text, notes)
    };
    Rule::parse(&now).map_err(|error| format!("{error}; allowed: {}", error.allowed()))
}

fn fields(text: &str, notes: &mut Vec<String>) -> String {
    let mut fields: Vec<String> = text
        .split_whitespace()
        .map(|field| items(field, notes))
        .collect();
    let count = fields.len();
    if !(5..=6).contains(&count) {
        return text.to_owned();
    }
    let week = &mut fields[count - 1];
    let plain: Vec<&str> = week.split(',').map(saturday).collect();
    let plain = plain.join(",");
    if plain != *week {
        notes.push("day of week 7 was Saturday there and stays so; 0 is Sunday".to_owned());
        *week = plain;
    }
    let is_free = |field: &String| ["*", "?"].contains(&field.as_str());
    if !is_free(&fields[count - 3])
        && !is_free(&fields[count - 1])
        && !fields[count - 1].starts_with('+')
    {
        notes.push("day of month and day of week must both match, as they had to there".to_owned());
        fields[count - 1].insert(0, '+');
    }
    fields.join(" ")
}

/// A step behind a single value changed nothing there; a step of 0 was 1.
fn items(field: &str, notes: &mut Vec<String>) -> String {
    let item = |item: &str| match item.split_once('/') {
        Some((single, _)) if is_number(single) => single.to_owned(),
        Some((all, "0")) => all.to_owned(),
        _ => item.to_owned(),
    };
    let now = field.split(',').map(item).collect::<Vec<_>>().join(",");
    if now != field {
        notes.push(format!("`{field}` meant `{now}` there"));
    }
    now
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A value beyond the last was the last.
fn saturday(item: &str) -> &str {
    match item {
        "7" => "6",
        "0-7" => "0-6",
        "1-7" => "1-6",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule as it is kept, or the begin of the reason, and how much is to be said.
    fn check(text: &str, wanted: &str, said: usize) {
        let mut notes = Vec::new();
        let read = match rule(text, &mut notes) {
            Ok(rule) => rule.text().to_owned(),
            Err(why) => why,
        };
        assert!(read.starts_with(wanted), "{text}: {read}");
        assert_eq!(notes.len(), said, "{text}: {notes:?}");
    }

    #[test]
    fn a_rule_stays_what_it_was() {
        check("* * * * *", "* * * * *", 0);
        check(" */5 1-3 * * 1,2 ", "*/5 1-3 * * 1,2", 0);
        check("*/10 * * * * *", "*/10 * * * * *", 0);
        check("@daily", "@daily", 0);
        check("30", "@every 30s", 1);
    }

    #[test]
    fn what_the_ancestor_read_in_its_own_way_is_said() {
        check("0 0 1 * 1", "0 0 1 * +1", 1);
        check("0 0 1 */2 * 1-5", "0 0 1 */2 * +1-5", 1);
        check("0 0 */2 * 1-5", "0 0 */2 * +1-5", 1);
        check("5/2 * * * *", "5 * * * *", 1);
        check("*/0 * * * *", "* * * * *", 1);
        check("0 0 * * 7", "0 0 * * 6", 1);
        check("0 0 * * 1-7", "0 0 * * 1-6", 1);
    }

    #[test]
    fn what_cannot_be_kept_has_a_reason() {
        check("", "", 0);
        check("* * * *", "", 0);
        check("61 * * * *", "", 0);
        check("0", "", 1);
        check("every day", "", 0);
        for text in ["", "* * * *", "61 * * * *", "0", "every day"] {
            assert!(rule(text, &mut Vec::new()).is_err(), "{text}");
        }
    }
}
