//! The ancestor's command lines: text from a web form, with its quotes and ampersands as HTML.

use crate::model::Execute;

/// What a shell does more with than split it at blanks.
const SHELL: &str = "|&;<>()$`\\\"'*?[]#~{}!\n";

const ENTITIES: [(&str, &str); 6] = [
    ("&#039;", "'"),
    ("&#39;", "'"),
    ("&quot;", "\""),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&amp;", "&"),
];

/// The command. Without anything for a shell in it the words are the same either way.
pub(super) fn execute(text: &str, no_shell: bool, notes: &mut Vec<String>) -> Execute {
    let mut line = text.to_owned();
    for (entity, sign) in ENTITIES {
        line = line.replace(entity, sign);
    }
    if line != text {
        notes.push(
            "the command had HTML in it, as `&quot;`, which is read as what it stands for"
                .to_owned(),
        );
    }
    let found = line.chars().find(|c| SHELL.contains(*c));
    match found {
        Some(sign) if !no_shell => {
            let sign = sign.escape_debug();
            notes.push(format!(
                "the command has `{sign}` and becomes a shell line; --no-shell splits it at blanks"
            ));
            Execute::Shell(line)
        }
        _ => Execute::Vector(line.split_whitespace().map(str::to_owned).collect()),
    }
}
