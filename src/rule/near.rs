//! Which known names a wrong one was probably meant to be.

/// The names that are written most like `word`, at most `count`. The last part of a name counts
/// for the whole, so that `berlin` finds Europe/Berlin.
pub(crate) fn nearest<'a>(
    word: &str,
    names: impl Iterator<Item = &'a str>,
    count: usize,
) -> Vec<&'a str> {
    let word: Vec<char> = word.chars().take(40).flat_map(char::to_lowercase).collect();
    let allowed = (word.len() / 3).clamp(1, 3);
    let mut near: Vec<(usize, &str)> = names
        .map(|name| {
            let city = name.rsplit('/').next().unwrap_or(name);
            (distance(&word, name).min(distance(&word, city)), name)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort_by_key(|(distance, name)| (*distance, name.len()));
    near.into_iter().map(|(_, name)| name).take(count).collect()
}

/// Levenshtein's distance; spaces, dashes and underscores are one and the same.
fn distance(word: &[char], name: &str) -> usize {
    let plain = |c: char| {
        if matches!(c, ' ' | '-') {
            '_'
        } else {
            c.to_ascii_lowercase()
        }
    };
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (line, name_char) in name.chars().map(plain).enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, word_char) in word.iter().copied().map(plain).enumerate() {
            let cost = usize::from(word_char != name_char);
            let best = (diagonal + cost)
                .min(row[column] + 1)
                .min(row[column + 1] + 1);
            diagonal = row[column + 1];
            row[column + 1] = best;
        }
    }
    row[word.len()]
}
