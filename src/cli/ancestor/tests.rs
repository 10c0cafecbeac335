//! Tables of the ancestor, read.

use super::*;
use crate::store::ForeignTable;

fn how() -> How {
    How {
        group: None,
        groups: BTreeMap::new(),
        zone: None,
        target: Target::ONE,
        no_shell: false,
        disabled: false,
        status_on: "0".to_owned(),
    }
}

/// Columns and rows, apart by `|`; `NULL` is none.
fn table(columns: &str, rows: &[&str]) -> ForeignTable {
    let texts = |row: &&str| {
        let cells = row.split('|').map(str::trim);
        cells
            .map(|cell| Some(cell.to_owned()).filter(|cell| cell != "NULL"))
            .collect()
    };
    ForeignTable {
        columns: columns
            .split('|')
            .map(|name| name.trim().to_owned())
            .collect(),
        rows: rows.iter().map(texts).collect(),
    }
}

const COLUMNS: &str = "id | gid | taskname | rule | runnumber | execute | status | runuser | manager | agents | createtime";

/// What becomes of one row, in words.
fn told(candidate: &Candidate) -> String {
    match &candidate.task {
        Err(wrong) => format!("refused: {}", wrong.join("; ")),
        Ok(task) => {
            let on = if task.enabled { "on" } else { "off" };
            let spec = &task.spec;
            let execute = serde_json::to_string(&spec.work.execute).unwrap();
            let (rule, user, overlap) = (spec.rule.text(), &spec.work.run_user, spec.work.overlap);
            format!(
                "{}/{} {on} {rule} as {user}: {execute} {overlap}",
                task.group, task.name
            )
        }
    }
}

fn check_with(how: &How, columns: &str, rows: &[&str], wanted: &[&str]) {
    let read = read(&table(columns, rows), how).unwrap();
    let told: Vec<String> = read.rows.iter().map(told).collect();
    assert_eq!(told.len(), wanted.len(), "{told:?}");
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.contains(wanted), "{told}\nwanted: {wanted}");
    }
}

fn check(row: &str, wanted: &str) {
    check_with(&how(), COLUMNS, &[row], &[wanted]);
}

#[test]
fn a_row_becomes_the_task_that_it_was() {
    check(
        "7 | 1 | dump | 30 2 * * * | 1 | /usr/bin/dump  --all | 0 | backup | NULL | NULL | 2016-10-23",
        r#"1/dump on 30 2 * * * as backup: ["/usr/bin/dump","--all"] skip"#,
    );
    check(
        "7 | 1 | dump | */5 * * * * * | 0 | /bin/echo &#039;a &amp;&amp; b&#039; | 1 | nobody | NULL | NULL | x",
        r#"1/dump off */5 * * * * * as nobody: "/bin/echo 'a && b'" allow"#,
    );
    check(
        "7 | 1 | d | @daily | 4 | true | 0 | u | NULL | NULL | x",
        "allow",
    );
    check(
        "7 | 1 | 测试 任务! | @daily | 1 | true | 0 | u | NULL | NULL | x",
        "1/测试-任务 on",
    );
    check(
        "7 | 1 | ??? | @daily | 1 | true | 0 | u | NULL | NULL | x",
        "1/task-7 on",
    );
}

#[test]
fn everything_that_is_wrong_with_a_row_is_said() {
    check(
        "7 | 1 | | 61 * * * * | x | | 0 | a b | NULL | NULL | x",
        "refused: the name is empty; ",
    );
    let wanted = "the command is empty; ";
    check(
        "7 | 1 | | 61 * * * * | x | | 0 | a b | NULL | NULL | x",
        wanted,
    );
    check(
        "7 | 1 | | 61 * * * * | x | | 0 | a b | NULL | NULL | x",
        "`x` is no number of runs",
    );
    check(
        "7 | NULL | d | @daily | 1 | true | 0 | u | NULL | NULL | x",
        "refused: the group is empty",
    );
    check(
        "7 | 1 | all | @daily | 1 | true | 0 | u | NULL | NULL | x",
        "reserved",
    );
    check(
        "7 | 1 | d | @always | 1 | true | 0 | u | NULL | NULL | x",
        "refused: the rule `@always`",
    );
}

#[test]
fn names_are_made_unique_by_the_rows_id() {
    let row = |id: &str| format!("{id} | 1 | d | @daily | 1 | true | 0 | u | NULL | NULL | x");
    let (one, two, three) = (row("1"), row("2"), row("NULL"));
    check_with(
        &how(),
        COLUMNS,
        &[&one, &two, &three],
        &[
            "1/d on",
            "1/d-2 on",
            "refused: an earlier row has the name `d` too",
        ],
    );
}

#[test]
fn the_newer_names_of_columns_and_further_ones_are_known() {
    let columns = "task_name | Rule | execute | run_user | timeout | process_num | color";
    let how = How {
        group: Some("web".parse().unwrap()),
        no_shell: true,
        disabled: true,
        ..how()
    };
    let rows = [
        "a | @daily | x 'y z' | u | 90 | 3 | red",
        "b | @daily | x | u | 1h | 0 | NULL",
    ];
    let read = read(&table(columns, &rows), &how).unwrap();
    assert_eq!(read.left_out, [("color".to_owned(), 1)]);
    let works: Vec<_> = read
        .rows
        .iter()
        .map(|row| row.task.as_ref().unwrap().spec.work.clone())
        .collect();
    let seconds = |work: &crate::model::Work| work.timeout.map(|timeout| timeout.as_secs());
    assert_eq!((seconds(&works[0]), works[0].processes), (Some(90), 3));
    assert_eq!((seconds(&works[1]), works[1].processes), (Some(3600), 1));
    assert!(told(&read.rows[0]).starts_with(r#"web/a off @daily as u: ["x","'y","z'"]"#));
    assert_eq!(read.rows[1].row, "2");
}

#[test]
fn groups_may_have_names_of_their_own() {
    let how = How {
        groups: [("1".to_owned(), "本机 a".to_owned())].into(),
        ..how()
    };
    let row = "7 | 1 | d | @daily | 1 | true | 0 | u | ann | 1,2 | x";
    check_with(&how, COLUMNS, &[row], &["本机-a/d on"]);
    let read = read(&table(COLUMNS, &[row]), &how).unwrap();
    assert_eq!(read.rows[0].notes.len(), 2, "{:?}", read.rows[0].notes);
    let task = read.rows[0].task.as_ref().unwrap();
    assert_eq!(task.spec.note.as_deref(), Some("manager: ann"));
}

#[test]
fn a_table_of_something_else_is_refused() {
    let refused = |columns: &str| read(&table(columns, &[]), &how()).unwrap_err();
    assert!(refused("id | name").contains("no column `gid`; it has id, name"));
    assert!(refused("gid | task_name | rule | execute").contains("`run_user` or `runuser`"));
    assert!(
        refused("gid | task_name | taskname | rule | execute | runuser").contains("say the same")
    );
}
