//! A table that is not ucron's, as texts: what an import begins with. It is read and never written.

use super::StoreError;
use super::mysql::foreign;
use super::place::Database;

/// A table as it was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ForeignTable {
    /// The names of its columns.
    pub columns: Vec<String>,
    /// Its rows, ordered by the first column; none is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Reads at most so many rows of a table of this database; nothing where it has no such table.
pub async fn read_table(
    database: &Database,
    table: &str,
    most: usize,
) -> Result<Option<ForeignTable>, StoreError> {
    foreign::read(database, table, most).await
}
