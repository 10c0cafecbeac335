//! How a scenario's command behaves, as its vector says: `work TAKES-MS EXIT WORD…`; without TAKES it runs on. The words
//! are `ignores-term` (only KILL ends it), `unseen` (how it ended is lost where no keeper runs), `says=TEXT` (the end of
//! its output) and `fails=WHY` (the host does not bring it to its command).

use ucron::exec::supervise::Failure;
use ucron::model::Execute;

/// What a command does.
#[derive(Clone, Default, Debug)]
pub struct Behaviour {
    /// Milliseconds that it takes; none: for ever.
    pub takes: Option<i64>,
    /// Its exit code by itself.
    pub exit: i32,
    /// Whether only KILL ends it.
    pub ignores_term: bool,
    /// Whether a keeper that was away cannot learn how it ended.
    pub unseen: bool,
    /// The end of its output.
    pub says: Option<String>,
    /// Why it is never reached.
    pub fails: Option<Failure>,
}

impl Behaviour {
    /// What the words of a vector say.
    pub fn of(execute: &Execute) -> Self {
        let Execute::Vector(words) = execute else {
            return Self {
                takes: Some(0),
                ..Self::default()
            };
        };
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok());
        let has = |wanted: &str| words.iter().any(|word| word == wanted);
        let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
        Self {
            takes: number(1),
            exit: number(2)
                .and_then(|code| i32::try_from(code).ok())
                .unwrap_or(0),
            ignores_term: has("ignores-term"),
            unseen: has("unseen"),
            says: value("says=").map(str::to_owned),
            fails: value("fails=").map(failure),
        }
    }
}

/// In the words of the real keeper.
fn failure(why: &str) -> Failure {
    let exec = |code, why: &str| Failure::Exec {
        code,
        reason: format!("`work`: {why}"),
    };
    match why {
        "no account" => Failure::Setup("there is no account `nobody` on this host".to_owned()),
        "policy" => Failure::Refused(
            "the policy of this host does not allow user `nobody`; to allow it, write …".to_owned(),
        ),
        "not found" => exec(127, why),
        "not executable" => exec(126, why),
        other => panic!("`{other}` is no reason to fail"),
    }
}
