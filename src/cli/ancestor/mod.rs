//! Tasks as the PHP ancestor kept them, in one MySQL table, made into those of today. Every row becomes a task or
//! says why it cannot; what is another than it was there is said too. Pure.

mod columns;
mod command;
mod name;
mod row;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use columns::{Column, Columns};

use crate::model::{GroupName, Target};
use crate::proto::request::NewTask;
use crate::rule::Zone;
use crate::store::ForeignTable;

/// What the operator says of all of them.
#[derive(Clone, Debug)]
pub struct How {
    /// The group, in place of the table's.
    pub group: Option<GroupName>,
    /// Names of the ancestor's groups by their number.
    pub groups: BTreeMap<String, String>,
    /// The zone in which the ancestor read its rules; the center's where none.
    pub zone: Option<Zone>,
    /// Where they run.
    pub target: Target,
    /// Whether commands are words only, as for the ancestor, and never a shell line.
    pub no_shell: bool,
    /// Whether they are all added stopped.
    pub disabled: bool,
    /// The status of a task that is on.
    pub status_on: String,
}

/// One row.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// What names it: the id it has there, else its place.
    pub row: String,
    /// The task; why there is none, every reason.
    pub task: Result<NewTask, Vec<String>>,
    /// What is another than it was.
    pub notes: Vec<String>,
}

/// The whole table.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidates {
    /// Its rows.
    pub rows: Vec<Candidate>,
    /// Columns that are not taken over, with how many rows have something in them.
    pub left_out: Vec<(String, usize)>,
}

/// Makes tasks of a table; an error where it is not such a table at all.
pub fn read(table: &ForeignTable, how: &How) -> Result<Candidates, String> {
    let columns = Columns::find(table, how.group.is_some())?;
    let mut taken = BTreeSet::new();
    let rows = table.rows.iter().enumerate().map(|(at, row)| {
        let id = columns.of(row, Column::Id).map(str::to_owned);
        let mut candidate = row::candidate(&columns, row, how);
        candidate.row = id.clone().unwrap_or_else(|| (at + 1).to_string());
        name::make_unique(&mut candidate, id.as_deref(), &mut taken);
        candidate
    });
    let rows = rows.collect();
    let left_out = columns.strange.iter().map(|(name, place)| {
        let filled =
            |row: &&Vec<Option<String>>| row[*place].as_ref().is_some_and(|text| !text.is_empty());
        (name.clone(), table.rows.iter().filter(filled).count())
    });
    let left_out = left_out.collect();
    Ok(Candidates { rows, left_out })
}
