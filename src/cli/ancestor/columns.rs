//! Which column of the ancestor's table holds what. Its versions and its users named them differently.

use crate::store::ForeignTable;

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Column {
    /// What names the row for people.
    Id,
    /// The group.
    Group,
    /// The task's name.
    Name,
    /// When it is due.
    Rule,
    /// The command.
    Execute,
    /// The account.
    User,
    /// Longest time of a run.
    Timeout,
    /// Parallel processes of one occurrence.
    Processes,
    /// Runs at one time: 0 is any number.
    AtOnce,
    /// The same of older versions: 0 is one.
    Unique,
    /// Whether it is on.
    Status,
    /// Who looks after it.
    Manager,
    /// Hosts that it may run on.
    Agents,
}

const NAMES: &[(Column, &[&str])] = &[
    (Column::Id, &["id"]),
    (Column::Group, &["gid"]),
    (Column::Name, &["task_name", "taskname"]),
    (Column::Rule, &["rule"]),
    (Column::Execute, &["execute"]),
    (Column::User, &["run_user", "runuser"]),
    (Column::Timeout, &["timeout", "time_out", "run_timeout"]),
    (
        Column::Processes,
        &[
            "processes",
            "process_count",
            "process_num",
            "process_number",
            "processnum",
        ],
    ),
    (Column::AtOnce, &["runnumber", "run_number"]),
    (Column::Unique, &["unique"]),
    (Column::Status, &["status"]),
    (Column::Manager, &["manager"]),
    (Column::Agents, &["agents"]),
];

/// Where each is.
#[derive(Debug)]
pub struct Columns {
    places: Vec<(Column, usize)>,
    /// Columns that nothing is known of: name and place.
    pub strange: Vec<(String, usize)>,
}

impl Columns {
    /// Finds them by their names, upper and lower case alike; says what is missing or there twice.
    pub fn find(table: &ForeignTable, has_group: bool) -> Result<Self, String> {
        let (mut places, mut strange) = (Vec::new(), Vec::new());
        for (place, name) in table.columns.iter().enumerate() {
            let lower = name.to_lowercase();
            match NAMES
                .iter()
                .find(|(_, names)| names.contains(&lower.as_str()))
            {
                Some((column, _)) => places.push((*column, place)),
                None => strange.push((name.clone(), place)),
            }
        }
        let found = Self { places, strange };
        found.check(table, has_group).map(|()| found)
    }

    fn check(&self, table: &ForeignTable, has_group: bool) -> Result<(), String> {
        for (column, names) in NAMES {
            let mut places = self.places.iter().filter(|(found, _)| found == column);
            if let (Some((_, first)), Some((_, second))) = (places.next(), places.next()) {
                let (first, second) = (&table.columns[*first], &table.columns[*second]);
                return Err(format!(
                    "the columns `{first}` and `{second}` say the same; drop one"
                ));
            }
            let is_needed = match column {
                Column::Group => !has_group,
                Column::Name | Column::Rule | Column::Execute | Column::User => true,
                _ => false,
            };
            if is_needed && self.place(*column).is_none() {
                let columns = table.columns.join(", ");
                let names = names.join("` or `");
                return Err(format!(
                    "the table has no column `{names}`; it has {columns}"
                ));
            }
        }
        Ok(())
    }

    fn place(&self, column: Column) -> Option<usize> {
        let found = self.places.iter().find(|(found, _)| *found == column);
        found.map(|(_, place)| *place)
    }

    /// What a row has there: nothing where there is no such column, or nothing is in it.
    pub fn of<'a>(&self, row: &'a [Option<String>], column: Column) -> Option<&'a str> {
        let text = row.get(self.place(column)?)?.as_deref()?.trim();
        Some(text).filter(|text| !text.is_empty())
    }
}
