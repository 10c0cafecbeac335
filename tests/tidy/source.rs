//! Source files as the rules look at them: without comments, strings and tests.

use std::fs;
use std::path::Path;

/// One file.
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
    /// The same lines without comments, the insides of strings, and tests.
    code: String,
}

/// Every Rust file below a folder that is not a test of the rooms.
pub fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, folder, &mut |path| {
        if Path::new(path).extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(root.join(path)).unwrap();
            let code = without_tests(&plain(&text));
            found.push(Source {
                path: path.to_owned(),
                text,
                code,
            });
        }
    });
    let tests: Vec<String> = found.iter().flat_map(test_modules).collect();
    let is_test = |path: &str| {
        tests
            .iter()
            .any(|module| path == format!("{module}.rs") || path.starts_with(&format!("{module}/")))
    };
    found.retain(|source| !is_test(&source.path));
    found
}

/// Every text file of the project, with its path.
pub fn all_files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut take = |path: &str| {
        if let Ok(text) = fs::read_to_string(root.join(path)) {
            found.push((path.to_owned(), text));
        }
    };
    for entry in fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        match name.as_str() {
            "target" | ".git" | "Cargo.lock" => {}
            name if root.join(name).is_dir() => walk(root, name, &mut take),
            name => take(name),
        }
    }
    found
}

fn walk(root: &Path, folder: &str, take: &mut impl FnMut(&str)) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else {
        return;
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            walk(root, &path, take);
        } else {
            take(&path);
        }
    }
}

/// Modules in files of their own that stand under `#[cfg(test)]`: their paths without `.rs`.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = source
        .path
        .strip_suffix("/mod.rs")
        .or_else(|| source.path.strip_suffix(".rs"));
    let folder = folder.unwrap_or(&source.path);
    let text: Vec<&str> = source.text.lines().map(str::trim).collect();
    let under_test = text
        .windows(2)
        .filter(|pair| pair[0] == "#[cfg(test)]")
        .map(|pair| pair[1]);
    let named = under_test.filter_map(|line| line.rsplit_once("mod ")?.1.strip_suffix(';'));
    named.map(|name| format!("{folder}/{name}")).collect()
}

impl Source {
    /// The room a file is in: the first part of its path below src; none for mains and the table of contents.
    pub fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let first = below.split('/').next()?;
        let room = first.strip_suffix(".rs").unwrap_or(first);
        (room != "bin" && room != "lib").then_some(room)
    }

    /// Lines with this text, where no longer word is meant.
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        let lines = self.code.lines().enumerate();
        lines
            .filter(|(_, line)| is_word_at(line, word))
            .map(|(index, _)| index + 1)
            .collect()
    }

    /// Lines that use a foreign crate.
    pub fn crate_used(&self, name: &str) -> Vec<usize> {
        let path = format!("{name}::");
        let import = format!("use {name};");
        let uses = |line: &str| {
            let mut from = 0;
            while let Some(at) = line[from..].find(&path) {
                let before = line[..from + at].chars().next_back();
                if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                    return true;
                }
                from += at + path.len();
            }
            line.contains(&import)
        };
        let lines = self.code.lines().enumerate();
        lines
            .filter(|(_, line)| uses(line))
            .map(|(index, _)| index + 1)
            .collect()
    }

    /// What is named right below the crate's root, by `crate::` or by enough `super::`.
    pub fn rooms_imported(&self) -> Vec<(usize, String)> {
        let mut found = self.paths_after("crate::");
        let parts = self.path.trim_start_matches("src/").split('/').count();
        let depth = if self.path.ends_with("/mod.rs") {
            parts - 1
        } else {
            parts
        };
        found.extend(self.paths_after(&"super::".repeat(depth)));
        found
    }

    /// The names that follow a path, also within braces, with their lines.
    pub fn paths_after(&self, path: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices(path) {
            let before = self.code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let line = self.code[..at].matches('\n').count() + 1;
            let rest = &self.code[at + path.len()..];
            found.extend(names(rest).into_iter().map(|name| (line, name)));
        }
        found
    }
}

/// The first name of a path, or the first names of a list in braces.
fn names(rest: &str) -> Vec<String> {
    let Some(list) = rest.strip_prefix('{') else {
        return vec![first_name(rest)];
    };
    let mut depth = 0;
    let mut names = Vec::new();
    let mut start = true;
    for (at, c) in list.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                names.push(first_name(&list[at..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

fn first_name(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// Whether a line has this text and no letter right before or after it.
pub fn is_word_at(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(part_of_word);
        let after = line[at + word.len()..]
            .chars()
            .next()
            .is_some_and(part_of_word);
        // Of paths, only whole ones.
        let starts = word.starts_with(part_of_word) || word.starts_with('/');
        let ends = word.ends_with(part_of_word);
        !(starts && before || ends && after)
    })
}

/// The code without comments and the insides of strings; every line stays a line.
fn plain(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => end_of_line(&chars, at),
            ('/', Some('*')) => end_of_comment(&chars, at),
            ('"', _) => end_of_string(&chars, at),
            ('r', Some('"' | '#')) if !is_name(&chars, at) => end_of_raw(&chars, at),
            ('\'', Some('\\')) => {
                at + 2
                    + chars[at + 3..]
                        .iter()
                        .position(|c| *c == '\'')
                        .map_or(1, |len| len + 2)
            }
            ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().filter(|c| **c == '\n'));
            out.push(' ');
            at = end;
        }
    }
    out
}

fn is_name(chars: &[char], at: usize) -> bool {
    at.checked_sub(1)
        .is_some_and(|before| chars[before].is_alphanumeric() || chars[before] == '_')
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    chars[at..]
        .iter()
        .position(|c| *c == '\n')
        .map_or(chars.len(), |len| at + len)
}

fn end_of_comment(chars: &[char], at: usize) -> usize {
    chars[at..]
        .windows(2)
        .position(|pair| pair == ['*', '/'])
        .map_or(chars.len(), |len| at + len + 2)
}

fn end_of_string(chars: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != '"' {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

fn end_of_raw(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let close: String = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let rest: String = chars[at + hashes + 2..].iter().collect();
    let len = rest.find(&close).map_or(rest.chars().count(), |byte| {
        rest[..byte].chars().count() + close.len()
    });
    at + hashes + 2 + len
}

/// The code without items under `#[cfg(test)]`, blank lines in their place.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        out.push('\n');
        for skipped in lines.by_ref() {
            out.push('\n');
            let same = skipped.len() - skipped.trim_start().len() == indent;
            if same && (skipped.trim_end().ends_with(';') || skipped.trim_end() == end) {
                break;
            }
        }
    }
    out
}

#[test]
fn comments_strings_and_tests_are_not_looked_at() {
    let text = "// crate::a\nlet x = \"crate::b \\\" y\"; let q = '\"'; crate::c;\nlet r = r#\"crate::d\"#;\n\
                #[cfg(test)]\nmod tests {\n    use crate::e;\n}\nuse crate::{f, g::{h, i}};\n";
    let source = Source {
        path: "src/x/y.rs".to_owned(),
        text: text.to_owned(),
        code: without_tests(&plain(text)),
    };
    let found = [(2, "c"), (8, "f"), (8, "g")].map(|(line, name)| (line, name.to_owned()));
    assert_eq!(source.rooms_imported(), found);
    assert_eq!(source.room(), Some("x"));
}
