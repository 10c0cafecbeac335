//! A task being written: its fields, what each of them says now, and the command line that they make. The form
//! knows no flag of its own: it writes the words of `ucron add` or `ucron edit`, and the argument table reads them.

use super::field::Field;
use crate::cli::args::{self, Command, Parsed};
use crate::cli::command::{edit, save};
use crate::cli::fault::Fault;
use crate::model::{Execute, GroupName, Output, Target, TargetWord, TaskName, UserName};
use crate::proto::request::Request;
use crate::proto::view::TaskView;
use crate::rule::{Rule, Zone, format_duration, parse_duration};
use crate::tui::text;

/// What a form is for.
#[derive(Clone, PartialEq, Debug)]
pub enum Of {
    /// A new task.
    Add,
    /// A task as it was when the form was opened.
    Edit(Box<TaskView>),
}

/// The fields, from top to bottom.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FormField {
    /// The group.
    Group,
    /// The name.
    Name,
    /// When it is due.
    Rule,
    /// The zone of the rule.
    Zone,
    /// The account.
    User,
    /// The command.
    Command,
    /// Whether the command is a shell line or words.
    How,
    /// Whether it is a daemon.
    Daemon,
    /// On which agents.
    Target,
    /// Longest time of an attempt.
    Timeout,
    /// Further attempts.
    Retries,
    /// When it is due while it runs.
    Overlap,
    /// What of the output is kept.
    Output,
    /// Free text.
    Note,
    /// Any other flags of `ucron add`.
    More,
    /// The button.
    Save,
}

impl FormField {
    /// From top to bottom.
    pub const ALL: [Self; 16] = [
        Self::Group,
        Self::Name,
        Self::Rule,
        Self::Zone,
        Self::User,
        Self::Command,
        Self::How,
        Self::Daemon,
        Self::Target,
        Self::Timeout,
        Self::Retries,
        Self::Overlap,
        Self::Output,
        Self::Note,
        Self::More,
        Self::Save,
    ];

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Name => "name",
            Self::Rule => "rule",
            Self::Zone => "zone",
            Self::User => "user",
            Self::Command => "command",
            Self::How => "run as",
            Self::Daemon => "daemon",
            Self::Target => "target",
            Self::Timeout => "timeout",
            Self::Retries => "retries",
            Self::Overlap => "overlap",
            Self::Output => "output",
            Self::Note => "note",
            Self::More => "more flags",
            Self::Save => "save",
        }
    }

    /// What is meant where nothing is typed, and how to write it.
    pub fn help(self) -> &'static str {
        match self {
            Self::Group => "which agents; must exist",
            Self::Name => "letters, digits, . _ -",
            Self::Rule => "*/5 * * * *, @every 10s, @daily",
            Self::Zone => "the center's",
            Self::User => "the account it runs as",
            Self::Command => "what to run",
            Self::How | Self::Daemon | Self::Overlap | Self::Output => "",
            Self::Target => "all (one, or agents' names)",
            Self::Timeout => "never (30s, 2h)",
            Self::Retries => "0",
            Self::Note => "free text",
            Self::More => "--nice 5 --env A=b, as of `ucron add`",
            Self::Save => "Enter or Ctrl-S saves",
        }
    }

    /// The words to choose from; empty where text is typed.
    pub fn choices(self) -> &'static [&'static str] {
        match self {
            Self::How => &["shell line", "words"],
            Self::Daemon => &["no", "yes"],
            Self::Overlap => &["skip", "queue", "allow", "replace"],
            Self::Output => &["none", "tail"],
            _ => &[],
        }
    }
}

/// One field of the form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which.
    pub field: FormField,
    /// What stands in it.
    pub typed: Field,
    /// What stood in it when the form was opened.
    pub before: String,
}

/// A task being written.
#[derive(Clone, PartialEq, Debug)]
pub struct Form {
    /// What for.
    pub of: Of,
    /// The fields.
    pub entries: Vec<Entry>,
    /// Which one is typed in.
    pub at: usize,
    /// What was refused, by us or by the center; several lines.
    pub refused: Vec<String>,
    /// Whether Esc was pressed with something typed.
    pub is_leaving: bool,
    /// Whether it is being saved.
    pub is_saving: bool,
    /// Whether what is in the fields was asked for at least once, so that empty ones are told.
    pub was_tried: bool,
}

impl Form {
    /// For a new task, in this group if one is known; then the name is what is typed first.
    pub fn add(group: Option<&GroupName>) -> Self {
        let value = |field: FormField| field.choices().first().copied().unwrap_or("").to_owned();
        let mut form = Self::new(Of::Add, value);
        if let Some(group) = group {
            form.fill_group(group);
        }
        form
    }

    /// For a task that is there.
    pub fn edit(task: &TaskView) -> Self {
        let mut form = Self::new(Of::Edit(Box::new(task.clone())), |field| value(task, field));
        form.at = 2;
        form
    }

    fn new(of: Of, value: impl Fn(FormField) -> String) -> Self {
        let entry = |field| {
            let before: String = value(field);
            Entry {
                field,
                typed: Field::new(&before),
                before,
            }
        };
        Self {
            of,
            entries: FormField::ALL.into_iter().map(entry).collect(),
            at: 0,
            refused: Vec::new(),
            is_leaving: false,
            is_saving: false,
            was_tried: false,
        }
    }

    /// Writes the group of a new task, where nobody has typed one.
    pub fn fill_group(&mut self, group: &GroupName) {
        let entry = &mut self.entries[0];
        if self.of == Of::Add && entry.typed.is_empty() && entry.before.is_empty() {
            entry.before = group.to_string();
            entry.typed = Field::new(&entry.before);
            self.at = self.at.max(1);
        }
    }

    /// What stands in a field.
    pub fn text(&self, field: FormField) -> String {
        self.entries
            .iter()
            .find(|entry| entry.field == field)
            .map(|entry| entry.typed.text().trim().to_owned())
            .unwrap_or_default()
    }

    /// Whether anything was changed.
    pub fn is_changed(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.typed.text() != entry.before)
    }

    /// Whether a field was changed.
    fn has_changed(&self, field: FormField) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.field == field && entry.typed.text().trim() != entry.before)
    }

    /// Goes to another field, around the ends.
    pub fn go(&mut self, by: isize) {
        let count = self.entries.len();
        self.at = (self.at + count).saturating_add_signed(by) % count;
    }

    /// Turns a field of choices to its next or previous word.
    pub fn turn(&mut self, by: isize) {
        let entry = &mut self.entries[self.at];
        let choices = entry.field.choices();
        let text = entry.typed.text();
        if let Some(at) = choices.iter().position(|word| *word == text) {
            let next = (at + choices.len()).saturating_add_signed(by) % choices.len();
            entry.typed = Field::new(choices[next]);
        }
    }

    /// The words of the command line that the form makes.
    pub fn command(&self) -> Result<Vec<String>, Fault> {
        let mut words = vec!["ucron".to_owned()];
        match &self.of {
            Of::Add => words.push("add".to_owned()),
            Of::Edit(task) => words.extend(["edit".to_owned(), task.id.to_string()]),
        }
        for (field, flag) in FLAGS {
            words.extend(self.flag(field, flag));
        }
        if self.is_flag_wanted(FormField::Daemon) && self.text(FormField::Daemon) == "yes" {
            words.push("--daemon".to_owned());
        } else if self.has_changed(FormField::Daemon) {
            words.push("--no-daemon".to_owned());
        }
        let more = self.text(FormField::More);
        words.extend(
            text::words(&more).map_err(|error| Fault::usage(format!("more flags: {error}")))?,
        );
        self.push_execute(&mut words)?;
        Ok(words)
    }

    fn is_flag_wanted(&self, field: FormField) -> bool {
        self.of == Of::Add || self.has_changed(field)
    }

    fn flag(&self, field: FormField, flag: &str) -> Option<String> {
        let value = self.text(field);
        match (value.is_empty(), &self.of) {
            (false, _) if self.is_flag_wanted(field) => Some(format!("--{flag}={value}")),
            (true, Of::Edit(_)) if self.has_changed(field) => Some(format!("--no-{flag}")),
            _ => None,
        }
    }

    fn push_execute(&self, words: &mut Vec<String>) -> Result<(), Fault> {
        let command = self.text(FormField::Command);
        let is_wanted =
            self.is_flag_wanted(FormField::Command) || self.is_flag_wanted(FormField::How);
        if command.is_empty() || !is_wanted {
            return Ok(());
        }
        if self.text(FormField::How) == "words" {
            words.push("--".to_owned());
            let split = text::words(&command);
            words.extend(split.map_err(|error| Fault::usage(format!("command: {error}")))?);
        } else {
            words.push(format!("--shell={command}"));
        }
        Ok(())
    }

    /// What is asked of the center.
    pub fn request(&self) -> Result<Request, Fault> {
        if let Some((field, why)) = self.troubles().into_iter().next() {
            return Err(Fault::usage(format!("{}: {why}", field.label())));
        }
        match (args::parse(self.command()?), &self.of) {
            (Parsed::Command(ucron), of) => match (ucron.command, of) {
                (Some(Command::Add(args)), Of::Add) => save::added(&args),
                (Some(Command::Edit(args)), Of::Edit(old)) => edit::asked(&args, old),
                _ => Err(Fault::usage("the fields make another command")),
            },
            (Parsed::Wrong(fault), _) => Err(fault),
            (Parsed::Help(_), _) => {
                Err(Fault::usage("more flags: no help here; see `:add --help`"))
            }
        }
    }

    /// What is wrong with the fields, each with its sentence; empty ones only once saving was tried.
    pub fn troubles(&self) -> Vec<(FormField, String)> {
        let wrong = |field| Some((field, self.trouble(field)?));
        FormField::ALL.into_iter().filter_map(wrong).collect()
    }

    /// What is wrong with a field.
    pub fn trouble(&self, field: FormField) -> Option<String> {
        let text = self.text(field);
        if text.is_empty() {
            return self.missing(field);
        }
        match field {
            FormField::Group => GroupName::parse(&text).err().map(|error| error.to_string()),
            FormField::Name => TaskName::parse(&text).err().map(|error| error.to_string()),
            FormField::Rule => Rule::parse(&text).err().map(|error| error.to_string()),
            FormField::Zone => Zone::parse(&text).err().map(|error| error.to_string()),
            FormField::User => UserName::parse(&text).err().map(|error| error.to_string()),
            FormField::Timeout => parse_duration(&text).err().map(|error| error.to_string()),
            FormField::Target => args::value::target(&text).err(),
            FormField::Retries => text
                .parse::<u16>()
                .err()
                .map(|_| "not a whole number".to_owned()),
            FormField::Command if self.text(FormField::How) == "words" => {
                text::words(&text).err().map(|error| error.to_string())
            }
            FormField::More => text::words(&text).err().map(|error| error.to_string()),
            _ => None,
        }
    }

    fn missing(&self, field: FormField) -> Option<String> {
        let is_daemon = self.text(FormField::Daemon) == "yes";
        let is_needed = match field {
            FormField::Rule => !is_daemon,
            FormField::Group | FormField::Name | FormField::User | FormField::Command => true,
            _ => false,
        };
        (is_needed && self.was_tried).then(|| "is missing".to_owned())
    }
}

/// Fields that are one flag of `ucron add` each.
const FLAGS: [(FormField, &str); 11] = [
    (FormField::Group, "group"),
    (FormField::Name, "name"),
    (FormField::Rule, "rule"),
    (FormField::Zone, "tz"),
    (FormField::User, "user"),
    (FormField::Target, "target"),
    (FormField::Timeout, "timeout"),
    (FormField::Retries, "retries"),
    (FormField::Overlap, "overlap"),
    (FormField::Output, "output"),
    (FormField::Note, "note"),
];

/// What stands in a field for a task that is there.
fn value(task: &TaskView, field: FormField) -> String {
    let (spec, work) = (&task.spec, &task.spec.work);
    match field {
        FormField::Group => task.group.to_string(),
        FormField::Name => task.task_name.to_string(),
        FormField::Rule => spec.rule.to_string(),
        FormField::Zone => spec
            .timezone
            .as_ref()
            .map(Zone::to_string)
            .unwrap_or_default(),
        FormField::User => work.run_user.to_string(),
        FormField::Command => work.execute.to_string(),
        FormField::How => match work.execute {
            Execute::Shell(_) => "shell line".to_owned(),
            Execute::Vector(_) => "words".to_owned(),
        },
        FormField::Daemon => if work.daemon { "yes" } else { "no" }.to_owned(),
        FormField::Target => target(&spec.target),
        FormField::Timeout => work.timeout.map(format_duration).unwrap_or_default(),
        FormField::Retries => work.retries.to_string(),
        FormField::Overlap => work.overlap.to_string(),
        FormField::Output => match work.output {
            Output::None => "none".to_owned(),
            Output::Tail => "tail".to_owned(),
        },
        FormField::Note => spec.note.clone().unwrap_or_default(),
        FormField::More | FormField::Save => String::new(),
    }
}

/// A target as `--target` takes it.
pub fn target(target: &Target) -> String {
    match target {
        Target::Named(names) => names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(","),
        Target::Word(TargetWord::One) => "one".to_owned(),
        Target::Word(TargetWord::All) => "all".to_owned(),
    }
}
