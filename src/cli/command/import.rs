//! `import`: the tasks of another program, shown row by row, and added in one step or not at all.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::ancestor::{self, Candidate, Candidates, How};
use crate::cli::args::ImportMysqlArgs;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault, FaultCode};
use crate::cli::print::{Out, tables};
use crate::config::StoreTls;
use crate::files::read_private;
use crate::model::TaskPath;
use crate::proto::request::{
    Answer, Imported, ImportedTask, MOST_IMPORTED, NewTask, Request, TaskImport,
};
use crate::store::{Database, ForeignTable, Place, PlaceError, Secret, Tls, read_table};

/// `ucron import mysql`.
pub async fn mysql(client: &mut Client<'_>, args: &ImportMysqlArgs) -> Result<Exit, Fault> {
    let database = database(args)?;
    let table = table(&database, &args.table).await?;
    if table.rows.len() > MOST_IMPORTED {
        let text = format!("`{}` has more than {MOST_IMPORTED} rows", args.table);
        return Err(
            Fault::usage(text).hint("make a view of a part of it, and name that with --table")
        );
    }
    let how = how(args, &database).await?;
    let candidates = ancestor::read(&table, &how).map_err(Fault::usage)?;
    tell_notes(client.out, &candidates);
    let fates = add(client, args, &candidates.rows).await?;
    tell(client.out, args, &candidates.rows, &fates)
}

/// The database with the password that is named elsewhere.
fn database(args: &ImportMysqlArgs) -> Result<Database, Fault> {
    let place = Place::parse(&args.url).map_err(|error| match error {
        PlaceError::Password => Fault::usage("the URL holds a password, which others can read")
            .hint("take it out, and give --password-file or --password-env"),
        error => Fault::usage(format!("bad value for `--url`: {error}")),
    })?;
    let Place::Mysql(mut database) = place else {
        return Err(Fault::usage(
            "`--url` wants mysql://USER@HOST[:PORT]/DATABASE",
        ));
    };
    database.password = password(args)?;
    database.tls = match (args.tls, &database.tls, args.ca.clone()) {
        (StoreTls::Off, _, Some(_)) => {
            return Err(Fault::usage("`--ca` and `--tls off` do not go together"));
        }
        (StoreTls::Off, ..) | (StoreTls::Auto, Tls::Off, None) => Tls::Off,
        (_, _, ca) => Tls::On { ca },
    };
    Ok(*database)
}

fn password(args: &ImportMysqlArgs) -> Result<Option<Secret>, Fault> {
    let text = match (&args.password_file, &args.password_env) {
        (Some(path), _) => read_private(path)
            .map_err(|error| Fault::usage(format!("cannot read the password: {error}")))?,
        (None, Some(name)) => std::env::var(name).map_err(|_| {
            Fault::usage(format!(
                "the variable `{name}` with the password is not set"
            ))
        })?,
        (None, None) => return Ok(None),
    };
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(Fault::usage("the password is empty"));
    }
    Ok(Some(Secret::new(line)))
}

async fn table(database: &Database, name: &str) -> Result<ForeignTable, Fault> {
    let read = read_table(database, name, MOST_IMPORTED + 1).await;
    let read = read.map_err(|error| {
        // The center's settings have other names for the same.
        let text = error.to_string();
        let text = text.replace("`store_ca` (--store-ca)", "--ca");
        Fault::new(
            FaultCode::Failed,
            text.replace("set `store_tls = \"off\"`", "give --tls off"),
        )
    })?;
    read.ok_or_else(|| {
        let text = format!("the database `{}` has no table `{name}`", database.name);
        Fault::new(FaultCode::NotFound, text).hint("name it with --table")
    })
}

async fn how(args: &ImportMysqlArgs, database: &Database) -> Result<How, Fault> {
    Ok(How {
        group: args.group.clone(),
        groups: match &args.groups_table {
            Some(name) => groups(name, &table(database, name).await?)?,
            None => BTreeMap::new(),
        },
        zone: args.timezone.clone(),
        target: args.target.clone(),
        no_shell: args.no_shell,
        disabled: args.disabled,
        status_on: args.status_on.clone(),
    })
}

/// Names of groups by their number.
fn groups(name: &str, table: &ForeignTable) -> Result<BTreeMap<String, String>, Fault> {
    let place = |wanted: &str| {
        let mut columns = table.columns.iter();
        columns
            .position(|column| column.eq_ignore_ascii_case(wanted))
            .ok_or_else(|| {
                let columns = table.columns.join(", ");
                Fault::usage(format!(
                    "`{name}` has no column `{wanted}`; it has {columns}"
                ))
            })
    };
    let (gid, gname) = (place("gid")?, place("gname")?);
    let pairs = table.rows.iter();
    Ok(pairs
        .filter_map(|row| Some((row[gid].clone()?, row[gname].clone()?)))
        .collect())
}

/// What is another than it was, and what is not taken over.
fn tell_notes(out: &mut Out, candidates: &Candidates) {
    for row in &candidates.rows {
        for note in &row.notes {
            out.tell(&format!("row {}: {note}", row.row));
        }
    }
    for (column, filled) in &candidates.left_out {
        out.tell(&format!(
            "the column `{column}` is not taken over; {filled} rows have something in it"
        ));
    }
}

/// What became of a row.
enum Fate {
    /// It is no task, or the center does not take it.
    Refused(Vec<String>, FaultCode),
    /// It was not asked for in the end; it could be added.
    Addable(ImportedTask),
    /// It is there.
    Done(ImportedTask),
}

/// Asks the center: for all rows that are tasks, and where some are refused and may be left out, for the others.
async fn add(
    client: &Client<'_>,
    args: &ImportMysqlArgs,
    rows: &[Candidate],
) -> Result<Vec<Fate>, Fault> {
    let is_whole = rows.iter().all(|row| row.task.is_ok());
    let dry_run = args.dry_run || !(is_whole || args.skip_refused);
    let all: Vec<NewTask> = rows
        .iter()
        .filter_map(|row| row.task.clone().ok())
        .collect();
    let mut told = ask(client, args, all.clone(), dry_run).await?;
    if !told.done && !dry_run && args.skip_refused {
        let fates = all.into_iter().zip(&told.tasks);
        let good = fates.filter(|(_, fate)| fate.refused.is_none());
        let again = ask(client, args, good.map(|(task, _)| task).collect(), false).await?;
        told = merged(told, again);
    }
    let mut tasks = told.tasks.into_iter();
    let fate = |row: &Candidate| match &row.task {
        Err(wrong) => Some(Fate::Refused(wrong.clone(), FaultCode::Failed)),
        Ok(_) => tasks.next().map(|task| match &task.refused {
            Some(refused) => Fate::Refused(vec![refused.message.clone()], refused.code.into()),
            None if told.done || task.kept => Fate::Done(task),
            None => Fate::Addable(task),
        }),
    };
    Ok(rows.iter().filter_map(fate).collect())
}

/// The second answer in place of what was not refused in the first.
fn merged(first: Imported, second: Imported) -> Imported {
    let mut again = second.tasks.into_iter();
    let tasks = first.tasks.into_iter().map(|task| match &task.refused {
        Some(_) => task,
        None => again.next().unwrap_or(task),
    });
    Imported {
        done: second.done,
        tasks: tasks.collect(),
    }
}

async fn ask(
    client: &Client<'_>,
    args: &ImportMysqlArgs,
    tasks: Vec<NewTask>,
    dry_run: bool,
) -> Result<Imported, Fault> {
    let request = TaskImport {
        tasks,
        if_exists: args.if_exists,
        dry_run,
    };
    match client.ask(Request::TaskImport(request)).await? {
        Answer::Imported(imported) => Ok(imported),
        _ => Err(Fault::unexpected("`import`")),
    }
}

/// Every row with its fate, then how many of each; the exit is the worst of what was refused.
fn tell(
    out: &mut Out,
    args: &ImportMysqlArgs,
    rows: &[Candidate],
    fates: &[Fate],
) -> Result<Exit, Fault> {
    let shown = rows.iter().zip(fates);
    out.list(
        &tables::IMPORTED,
        shown.map(|(row, fate)| value(row, fate)).collect(),
    )?;
    let mut warnings: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut added, mut kept, mut addable, mut refused) = (0, 0, 0, 0);
    let mut exit = Exit::DONE;
    for fate in fates {
        let task = match fate {
            Fate::Refused(_, code) => {
                refused += 1;
                exit = exit.worst(Exit(code.exit_code()));
                continue;
            }
            Fate::Addable(task) => {
                addable += 1;
                task
            }
            Fate::Done(task) => {
                *(if task.kept { &mut kept } else { &mut added }) += 1;
                task
            }
        };
        for warning in &task.warnings {
            *warnings.entry(warning).or_default() += 1;
        }
    }
    for (warning, count) in warnings {
        out.tell(&format!("warning: {warning} ({count} tasks)"));
    }
    let counts =
        format!("{added} added, {kept} there before, {addable} could be added, {refused} refused");
    out.say(&counts);
    if refused > 0 && added == 0 && !args.dry_run {
        out.tell("nothing was added: mend the rows that are refused, or leave them out with --skip-refused");
    }
    let left_out = args.skip_refused && !args.dry_run;
    Ok(if left_out && added > 0 {
        Exit::DONE
    } else {
        exit
    })
}

fn value(row: &Candidate, fate: &Fate) -> Value {
    let (word, id, reason) = match fate {
        Fate::Refused(why, _) => ("refused", None, why.join("; ")),
        Fate::Addable(_) => ("new", None, String::new()),
        Fate::Done(task) if task.kept => ("kept", task.id.clone(), String::new()),
        Fate::Done(task) => ("added", task.id.clone(), String::new()),
    };
    let mut value = json!({
        "row": row.row, "fate": word, "id": id, "reason": reason, "notes": row.notes,
        "task": null, "rule": null, "timezone": null, "run_user": null, "execute": null, "enabled": null,
    });
    if let Ok(task) = &row.task {
        let NewTask {
            group,
            name,
            enabled,
            spec,
        } = task.clone();
        value["task"] = json!(TaskPath { group, name }.to_string());
        value["rule"] = json!(spec.rule.text());
        value["timezone"] = json!(spec.timezone);
        value["run_user"] = json!(spec.work.run_user);
        value["execute"] = json!(spec.work.execute);
        value["enabled"] = json!(enabled);
    }
    value
}
