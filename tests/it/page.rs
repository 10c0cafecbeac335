//! Examples as they are printed for readers: on man pages, in the help, in README.md.
#![allow(dead_code, reason = "shared by two test programs; each uses a part")]

/// A command line that a reader may type, and what the page says that it answers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Example {
    /// The heading that it stands under.
    pub section: String,
    /// As a reader types it, without the prompt.
    pub line: String,
    /// Lines of output; none where the page shows none.
    pub shown: Vec<String>,
}

/// A page of `man/` as it is committed.
pub fn committed(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}

/// The examples of a page in mdoc: every literal line of COMMANDS, elsewhere what stands behind a prompt, with the
/// literal lines below it as its answer.
pub fn of_man(page: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut place = Place::default();
    for line in page.lines() {
        if place.turns(line) {
            continue;
        }
        let example = place.example(line);
        if example.is_some() {
            place.answering = place.literal;
            found.extend(example);
        } else if let (true, Some(last)) = (place.answering, found.last_mut()) {
            last.shown.push(plain(line));
        }
    }
    found
}

/// Where on a page one is.
#[derive(Default)]
struct Place {
    chapter: String,
    section: String,
    literal: bool,
    /// Below an example.
    answering: bool,
}

impl Place {
    /// Takes in a line that leads elsewhere; false for any other.
    fn turns(&mut self, line: &str) -> bool {
        let (macro_, rest) = line.split_at(line.len().min(4));
        match macro_ {
            ".Sh " => rest.clone_into(&mut self.chapter),
            ".Ss " => {}
            ".Bd " => self.literal = rest.starts_with("-literal"),
            ".Ed" => self.literal = false,
            _ => return false,
        }
        self.answering = false;
        if [".Sh ", ".Ss "].contains(&macro_) {
            rest.clone_into(&mut self.section);
        }
        true
    }

    fn example(&self, line: &str) -> Option<Example> {
        match line.strip_prefix(".Dl ") {
            Some(line) => typed(line, &self.section),
            None if !self.literal => None,
            None if self.chapter == "COMMANDS" => Some(example(line, &self.section)),
            None => typed(line, &self.section),
        }
    }
}

/// What stands behind a prompt.
fn typed(line: &str, section: &str) -> Option<Example> {
    let line = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "));
    line.map(|line| example(line, section))
}

fn example(line: &str, section: &str) -> Example {
    Example {
        section: section.to_owned(),
        line: plain(line),
        shown: Vec::new(),
    }
}

/// Without the escapes of roff.
fn plain(line: &str) -> String {
    let line = line.strip_prefix("\\&").unwrap_or(line);
    line.replace("\\e", "\\").replace("\\-", "-")
}

/// The examples of a help text: what is indented below its last heading `Examples:` or `First steps:`.
pub fn of_help(help: &str) -> Vec<Example> {
    let lines = help.lines().skip_while(|line| {
        let heading = ["Example:", "Examples:", "First steps:"];
        !heading.contains(line)
    });
    let lines = lines.filter_map(|line| line.strip_prefix("  "));
    lines.map(|line| example(line, "help")).collect()
}

/// The examples of README.md: its indented lines, but for the picture.
pub fn of_readme(text: &str) -> Vec<Example> {
    let mut picture = false;
    let lines = text.lines().filter_map(|line| {
        picture |= line.starts_with("<!-- dashboard: begin");
        picture &= !line.starts_with("<!-- dashboard: end");
        line.strip_prefix("    ").filter(|_| !picture)
    });
    lines.map(|line| example(line, "README")).collect()
}

/// Splits a line as a shell does, as far as the examples go: blanks, both quotes.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

impl Example {
    /// The commands of the line, each with its words: those of a pipe or a list apart.
    pub fn commands(&self) -> Vec<Vec<String>> {
        let words = words(&self.line);
        let commands = words.split(|word| matches!(word.as_str(), "|" | "||" | "&&"));
        commands.map(<[String]>::to_vec).collect()
    }

    /// Whether one of its commands begins with these words; an assignment before them is none.
    pub fn tries(&self, start: &[&str]) -> bool {
        self.commands().iter().any(|words| {
            words
                .windows(start.len())
                .any(|at| at.iter().zip(start).all(|(word, wanted)| word == wanted))
        })
    }
}

/// Whether an answer has the shape that is shown: the same words, but for ids, times and numbers, which only have to
/// look alike.
pub fn is_alike(shown: &str, real: &str) -> bool {
    let (shown, real): (Vec<_>, Vec<_>) = (
        shown.split_whitespace().collect(),
        real.split_whitespace().collect(),
    );
    shown.len() == real.len() && shown.iter().zip(real).all(|(a, b)| masked(a) == masked(b))
}

/// A word with what differs from call to call replaced by what kind of thing it is.
fn masked(word: &str) -> String {
    let bare = word.trim_matches(|c: char| "(),;:`".contains(c));
    let is_id = |len: usize| {
        bare.len() == len
            && bare
                .chars()
                .all(|c| c.is_ascii_digit() || c.is_ascii_lowercase())
            && bare.contains(|c: char| c.is_ascii_digit())
    };
    let is_day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&bare);
    let kind = match bare {
        _ if is_day => "DAY".to_owned(),
        _ if is_id(26) || is_id(8) => "ID".to_owned(),
        _ => numbers(bare),
    };
    word.replace(bare, &kind)
}

/// Every row of digits as one `9`.
fn numbers(word: &str) -> String {
    let mut shape = String::new();
    for c in word.chars() {
        match c {
            '0'..='9' if shape.ends_with('9') => {}
            '0'..='9' => shape.push('9'),
            c => shape.push(c),
        }
    }
    shape
}
