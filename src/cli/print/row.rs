//! Views as flat JSON objects with the fields of the contract: what `-o json` writes, and what tables take
//! their cells from. Nothing is absent; what is not known is `null`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::model::{Parole, TaskPath, Work};
use crate::proto::request::{Changed, Saved};
use crate::proto::view::{EventView, GroupView, RunView, StatusView, TaskView};
use crate::rule::Zone;

use super::time;

/// A view whose fields are those of the contract already.
pub fn plain<T: Serialize>(view: &T) -> Value {
    serde_json::to_value(view).unwrap_or(Value::Null)
}

/// Many of them.
pub fn plain_all<T: Serialize>(views: &[T]) -> Vec<Value> {
    views.iter().map(plain).collect()
}

/// The fleet at a glance.
pub fn status(view: &StatusView) -> Value {
    let row = with(plain(view), "conditions", || json!([]));
    with(row, "freezes", || json!([]))
}

/// A group.
pub fn group(view: &GroupView) -> Value {
    with(plain(view), "frozen", || Value::Null)
}

/// An event.
pub fn event(view: &EventView) -> Value {
    with(plain(view), "condition", || Value::Null)
}

/// Nothing is absent, also what the wire leaves out.
fn with(row: Value, name: &str, value: impl FnOnce() -> Value) -> Value {
    let mut row = fields(row);
    row.entry(name.to_owned()).or_insert_with(value);
    Value::Object(row)
}

/// A run with all its fields; what the wire leaves out is `null`.
pub fn whole(view: &RunView) -> Value {
    let mut row = fields(plain(view));
    for name in ["output_gap", "output_cut"] {
        row.entry(name).or_insert(Value::Null);
    }
    Value::Object(row)
}

/// A run; one that stands for misses in a row says so in its reason.
pub fn run(view: &RunView, zone: &Zone) -> Value {
    let mut row = whole(view);
    if view.span.is_some()
        && let Value::Object(fields) = &mut row
    {
        fields.remove("span");
        fields.insert("reason".to_owned(), Value::String(reason(view, zone)));
    }
    row
}

/// A run's reason; of misses in a row how many there were, and since when.
pub fn reason(view: &RunView, zone: &Zone) -> String {
    let Some(span) = &view.span else {
        return view.reason.clone();
    };
    let since = time::stamp(span.from, zone);
    format!(
        "{} in a row since {since}: {}",
        thousands(span.count),
        view.reason
    )
}

/// A number with a comma before each three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A task, flat: the fields of its spec and its work beside its own.
pub fn task(view: &TaskView) -> Value {
    let mut row = Map::new();
    for (name, value) in fields(plain(&view.spec.work)) {
        row.insert(name, value);
    }
    for (name, value) in fields(plain(&view.spec)) {
        row.insert(name, value);
    }
    for (name, value) in fields(plain(view)) {
        row.insert(name, value);
    }
    for (name, value) in fields(plain(&view.spec.watch)) {
        row.insert(name, value);
    }
    for name in [
        "spec", "work", "watch", "backoff", "parole", "limits", "zone",
    ] {
        row.remove(name);
    }
    // `timezone` is the zone in which the rule is read, `tz` the flag: the task's own, if it has one.
    row.insert("tz".to_owned(), plain(&view.spec.timezone));
    row.insert("timezone".to_owned(), plain(&view.zone));
    // The wire leaves it out where it is the default.
    row.insert("max_rate".to_owned(), plain(&view.spec.max_rate));
    row.extend(work(&view.spec.work));
    Value::Object(row)
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What has another form on the command line than between the programs.
fn work(work: &Work) -> [(String, Value); 5] {
    let limits = work.limits.iter();
    let limits: Map<String, Value> = limits
        .map(|limit| (limit.kind.as_str().to_owned(), json!(limit.value)))
        .collect();
    let backoff = [work.backoff.first, work.backoff.longest].map(millis);
    [
        ("limit".to_owned(), Value::Object(limits)),
        ("backoff_ms".to_owned(), json!(backoff)),
        ("leftovers".to_owned(), json!(work.leftovers)),
        ("umask".to_owned(), json!(format!("{:03o}", work.umask))),
        (
            "parole_ms".to_owned(),
            match work.parole {
                Parole::Never => Value::Null,
                Parole::After(span) => json!(millis(span)),
            },
        ),
    ]
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// `group/name` of a task.
pub fn path(view: &TaskView) -> String {
    let (group, name) = (view.group.clone(), view.task_name.clone());
    TaskPath { group, name }.to_string()
}

/// What a changing deed hit, under the task's name.
pub fn changed(task: &str, changed: &Changed) -> Value {
    json!({
        "task": task,
        "id": changed.task,
        "revision": changed.revision,
        "changed": changed.changed,
        "cancelled": changed.cancelled,
        "stopped": changed.stopped,
        "unconfirmed": changed.unconfirmed,
    })
}

/// What `kill` hit, under the run's name as it was given.
pub fn killed(run: &str, changed: &Changed) -> Value {
    json!({
        "run_id": run,
        "changed": changed.changed,
        "stopped": changed.stopped,
        "unconfirmed": changed.unconfirmed,
    })
}

/// A task saved: the task itself, and what that did.
pub fn saved(saved: &Saved) -> Value {
    let mut row = fields(task(&saved.task));
    row.insert("task".to_owned(), json!(path(&saved.task)));
    row.insert("created".to_owned(), json!(saved.created));
    row.insert("changed".to_owned(), json!(saved.changed));
    row.insert("warnings".to_owned(), json!(saved.warnings));
    row.insert("cancelled".to_owned(), json!(saved.hit.cancelled));
    row.insert("stopped".to_owned(), json!(saved.hit.stopped));
    row.insert("unconfirmed".to_owned(), plain(&saved.hit.unconfirmed));
    Value::Object(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake;

    fn check(row: &Value, wanted: &str) {
        let Value::Object(fields) = row else {
            panic!("no object: {row}");
        };
        let mut wanted: Vec<&str> = wanted.split_whitespace().collect();
        wanted.sort_unstable();
        let found: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn objects_have_exactly_the_fields_of_the_contract() {
        check(
            &task(&fake::task("web", "probe")),
            "id group task_name rule timezone execute run_user daemon processes enabled target overlap timeout_ms \
             retries revision next_at last_run tz note catch_up misfire_grace_ms jitter_ms max_rate output cwd umask nice env \
             env_file limit stop_signal grace_ms restart start_seconds_ms start_retries parole_ms backoff_ms \
             success_codes leftovers recent running saved_at changed_by changed_at warn_late_ms warn_failures warn_missed \
             max_duration_ms min_duration_ms expect_output",
        );
        check(
            &whole(&fake::run("web", "probe")),
            "run_id task group agent slot attempt cause scheduled_at started_at finished_at late_ms outcome reason \
             exit_code signal pid output_bytes output_gap output_cut peak_memory_bytes cpu_ms revision tail",
        );
        check(
            &plain(&fake::process()),
            "run_id task group agent slot pid state started_at since next_at reason restarts daemon revision",
        );
        check(
            &plain(&fake::agent("a1")),
            "name groups state version running skew_ms last_seen_at address",
        );
        check(
            &group(&fake::group("web")),
            "name agents tasks run_users frozen_until frozen",
        );
        check(
            &status(&fake::status()),
            "center role epoch centers standbys lease_age_ms version now timezone agents tasks running lateness_ms \
             problems conditions freezes",
        );
        check(
            &event(&fake::event()),
            "cursor at event task agent run_id slot outcome late_ms condition operator reason",
        );
    }

    #[test]
    fn misses_in_a_row_are_told_with_their_number_and_beginning() {
        let check = |count: u64, wanted: &str| {
            let mut view = fake::run("web", "probe");
            view.reason = "the center was down".to_owned();
            let from = view.scheduled_at;
            view.span = (count > 1).then_some(crate::proto::view::SpanView { from, count });
            let row = run(&view, &Zone::utc());
            assert_eq!(row["reason"], json!(wanted));
            assert!(row.get("span").is_none());
        };
        check(1, "the center was down");
        check(
            999,
            "999 in a row since 2026-11-22 16:49:00: the center was down",
        );
        check(
            28_800,
            "28,800 in a row since 2026-11-22 16:49:00: the center was down",
        );
        check(
            1_234_567,
            "1,234,567 in a row since 2026-11-22 16:49:00: the center was down",
        );
    }

    #[test]
    fn a_task_is_flat_and_in_the_forms_of_the_command_line() {
        let mut view = fake::task("web", "probe");
        view.spec.work.limits = vec!["nofile=4096".parse().unwrap()];
        view.spec.work.parole = Parole::Never;
        let row = task(&view);
        assert_eq!(row["limit"], json!({"nofile": 4096}));
        assert_eq!(row["parole_ms"], Value::Null);
        assert_eq!(row["backoff_ms"], json!([1000, 60000]));
        assert_eq!(row["umask"], json!("022"));
        assert_eq!(row["target"], json!("all"));
        assert_eq!(row["execute"], json!(["/opt/probe", "--all"]));
        assert_eq!(row["timezone"], json!("UTC"));
        assert_eq!(row["tz"], Value::Null);
        assert_eq!(row["grace_ms"], json!(10000));
        assert_eq!(row["timeout_ms"], Value::Null);
    }
}
