//! A small fleet in which every field of every row differs from its default.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::NOW;
use crate::model::*;
use crate::rule::{Rule, Zone};
use crate::store::*;

pub(in crate::store) fn group_name(text: &str) -> GroupName {
    GroupName::parse(text).unwrap()
}

/// An id that ends in this digit.
fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(n: u64) -> T {
    format!("01hz{n:022}").parse().unwrap()
}

pub(in crate::store) fn task_id(n: u64) -> TaskId {
    id(n)
}

pub(in crate::store) fn agent_id(n: u64) -> AgentId {
    id(n)
}

pub(in crate::store) fn group(name: &str) -> GroupRow {
    GroupRow {
        name: group_name(name),
        run_users: Some(BTreeSet::from(["www-data".into(), "x y".into()])),
        created_at: NOW.minus(Duration::from_hours(1)),
    }
}

pub(in crate::store) fn agent(n: u64, name: &str) -> AgentRow {
    AgentRow {
        id: id(n),
        name: AgentName::parse(name).unwrap(),
        groups: BTreeSet::from([group_name("web"), group_name("Web")]),
        dial_address: None,
        draining: true,
        drain_daemons: true,
        boot_id: Some("d2f1-77".parse().unwrap()),
        boot_seen_at: Some(UnixMs(7)),
        incarnation: Incarnation(9),
        version: Some("0.1.0".into()),
        last_seen_at: Some(UnixMs(8)),
        created_at: UnixMs(6),
    }
}

pub(in crate::store) fn operator(n: u64, name: &str) -> OperatorRow {
    OperatorRow {
        id: id(n),
        name: OperatorName::parse(name).unwrap(),
        role: Some(Role::Viewer),
        roles: BTreeMap::from([(group_name("web"), Role::Admin)]),
        logged_in: true,
        created_at: UnixMs(5),
    }
}

/// A task with a shell line that looks like an array.
pub(in crate::store) fn task(n: u64, group: &str, name: &str) -> Task {
    let work = Work {
        execute: Execute::Shell("[ -f /x ] && echo 'ü%'".into()),
        daemon: true,
        processes: 3,
        overlap: Overlap::Queue,
        timeout: Some(Duration::from_millis(1500)),
        retries: 2,
        backoff: Backoff {
            first: Duration::from_millis(10),
            longest: Duration::from_secs(7),
        },
        success_codes: BTreeSet::from([0, 3]),
        output: Output::Tail,
        cwd: Some("/tmp".into()),
        umask: 0o027,
        nice: 5,
        env: BTreeMap::from([("A".into(), "b\nc".into())]),
        env_file: Some("/etc/env".into()),
        limits: vec![Limit {
            kind: LimitKind::Nofile,
            value: 4096,
        }],
        stop_signal: StopSignal::KILL,
        grace: Duration::from_secs(1),
        restart: Restart::OnFailure,
        start_seconds: Duration::from_secs(2),
        start_retries: 5,
        parole: Parole::Never,
        ..Work::new(
            Execute::Shell(String::new()),
            UserName::parse("www-data").unwrap(),
        )
    };
    let spec = TaskSpec {
        timezone: Some(Zone::parse("Europe/Berlin").unwrap()),
        note: Some("nightly".into()),
        target: Target::Named(BTreeSet::from([AgentName::parse("a1").unwrap()])),
        catch_up: true,
        misfire_grace: Duration::from_secs(61),
        jitter: Duration::from_millis(250),
        ..TaskSpec::new(Rule::parse("*/5 3 * * *").unwrap(), work)
    };
    Task {
        id: id(n),
        group: group_name(group),
        name: TaskName::parse(name).unwrap(),
        revision: Revision(4),
        enabled: false,
        finishing: true,
        spec,
        saved_at: UnixMs(11),
        changed_by: OperatorName::parse("admin").unwrap(),
        changed_at: UnixMs(12),
    }
}

/// A task of defaults with a vector.
pub(in crate::store) fn plain_task(n: u64, group: &str, name: &str) -> Task {
    let execute = Execute::Vector(vec!["echo".into(), "a \"b\"".into()]);
    let work = Work::new(execute, UserName::parse("root").unwrap());
    Task {
        enabled: true,
        finishing: false,
        spec: TaskSpec::new(Rule::parse("0 0 * * *").unwrap(), work),
        ..task(n, group, name)
    }
}

/// A planned run of task `task`, due at `at`, on agent 1.
pub(in crate::store) fn run(task: u64, at: i64) -> RunRow {
    run_on(task, at, Some(agent_id(1)), Cause::Rule)
}

pub(in crate::store) fn run_on(
    task: u64,
    at: i64,
    target: Option<AgentId>,
    cause: Cause,
) -> RunRow {
    let key = RunKey {
        task: task_id(task),
        scheduled_at: UnixMs(at),
        target: target.clone(),
        slot: Slot(2),
        cause,
    };
    RunRow {
        run: RunRef {
            run_id: RunId::of(&key),
            task: key.task,
            revision: Revision(4),
            slot: key.slot,
            cause,
            scheduled_at: key.scheduled_at,
            delay: Duration::ZERO,
        },
        agent: target.clone().or(Some(agent_id(1))),
        target,
        start_before: UnixMs(at + 60_000),
    }
}

/// An ending with every field.
pub(in crate::store) fn ending(outcome: Outcome) -> Ending {
    Ending {
        outcome,
        reason: "exit code 3".into(),
        exit_code: Some(3),
        signal: Some(15),
        pid: Some(4711),
        attempt: 2,
        started_at: Some(UnixMs(20)),
        finished_at: UnixMs(21),
        output_bytes: Some(1 << 40),
        output_gap: None,
        output_cut: None,
        // Later versions of the schema have columns for these.
        peak_memory_bytes: None,
        cpu_ms: None,
        tail: Some("line\u{0}\n".into()),
    }
}

pub(in crate::store) fn end(row: &RunRow, outcome: Outcome) -> Write {
    Write::EndRun {
        run_id: row.run.run_id.clone(),
        only_of: None,
        ending: Box::new(ending(outcome)),
    }
}

/// As an agent says it that has the run or has not.
pub(in crate::store) fn end_by(agent: &AgentId, row: &RunRow, outcome: Outcome) -> Write {
    Write::EndRun {
        run_id: row.run.run_id.clone(),
        only_of: Some(agent.clone()),
        ending: Box::new(ending(outcome)),
    }
}

/// A span of task `task` on agent 1, uncounted.
pub(in crate::store) fn span_of(task: u64, from: i64, to: i64) -> SpanRow {
    SpanRow {
        task: task_id(task),
        revision: Revision(4),
        target: Some(agent_id(1)),
        agent: Some(agent_id(1)),
        slot: Slot(2),
        rule: Rule::parse("*/5 3 * * *").unwrap(),
        zone: Zone::parse("Europe/Berlin").unwrap(),
        from: UnixMs(from),
        to: UnixMs(to),
        count: None,
        reason: "agent a1 offline since T".into(),
        began_at: UnixMs(from),
        closed_at: NOW,
    }
}

/// Those of version 2 that leave something to be read.
pub(in crate::store) fn additions_2() -> Vec<Write> {
    let mut late = run(1, 5000);
    late.run.delay = Duration::from_millis(700);
    vec![
        Write::PlanRun(late.clone()),
        Write::CatchUpRun {
            run_id: late.run.run_id,
        },
        Write::PutSpan(Box::new(span_of(1, 1_799_028_300_000, 1_799_030_000_000))),
        Write::PutSpan(Box::new(SpanRow {
            target: None,
            agent: None,
            to: UnixMs(1_799_028_600_000),
            count: Some(2),
            ..span_of(2, 1_799_028_300_000, 0)
        })),
    ]
}

pub(in crate::store) fn agent_token() -> TokenRow {
    TokenRow {
        hash: "aa11".into(),
        purpose: TokenFor::Agent(BTreeSet::from([group_name("web")])),
        expires_at: UnixMs(30),
    }
}

pub(in crate::store) fn operator_token() -> TokenRow {
    TokenRow {
        hash: "bb22".into(),
        purpose: TokenFor::Operator(id(1)),
        expires_at: UnixMs(31),
    }
}

pub(in crate::store) fn answer(request: &str, at: UnixMs) -> AnswerRow {
    AnswerRow {
        request_id: request.parse().unwrap(),
        operator: id(1),
        answer: "{\"ok\":true}".into(),
        at,
    }
}

pub(in crate::store) fn entry(at: i64, group: Option<&str>) -> AuditRow {
    AuditRow {
        at: UnixMs(at),
        operator: OperatorName::parse("admin").unwrap(),
        address: "10.0.0.1:55".into(),
        deed: "task edit".into(),
        subject: "web/dump".into(),
        group: group.map(group_name),
        before: Some("{}".into()),
        after: None,
    }
}

/// Groups whose names differ in case alone, two tasks in each, two agents, an operator.
pub(in crate::store) fn fleet() -> Vec<Write> {
    vec![
        Write::PutGroup(group("Web")),
        Write::PutGroup(GroupRow {
            run_users: None,
            ..group("web")
        }),
        Write::PutAgent(Box::new(agent(1, "a1"))),
        Write::PutAgent(Box::new(AgentRow {
            groups: BTreeSet::new(),
            boot_id: None,
            boot_seen_at: None,
            version: None,
            last_seen_at: None,
            draining: false,
            drain_daemons: false,
            ..agent(2, "A1")
        })),
        Write::PutOperator(Box::new(operator(1, "admin"))),
        Write::PutTask(Box::new(task(1, "web", "dump"))),
        Write::PutTask(Box::new(plain_task(2, "Web", "dump"))),
    ]
}

/// One of every kind of change, in an order in which each has something to do.
pub(in crate::store) fn every_change() -> Vec<Write> {
    let mut changes = additions();
    changes.extend(additions_2());
    changes.extend(memories());
    changes.extend(removals());
    changes
}

/// What the leader remembers, changes and forgets.
pub(in crate::store) fn memories() -> Vec<Write> {
    let write = |name: &str, text: Option<&str>| Write::Remember {
        name: name.to_owned(),
        text: text.map(str::to_owned),
    };
    vec![
        write("one", Some("{\"1\":1}")),
        write("two", Some("2")),
        write("one", Some("11 中")),
        write("two", None),
    ]
}

/// Those that leave something to be read.
pub(in crate::store) fn additions() -> Vec<Write> {
    let (ended, done, open) = (
        run(1, 1000),
        run(1, 2000),
        run_on(2, 3000, None, Cause::Rule),
    );
    let mut changes = fleet();
    changes.extend([
        Write::SetCursor {
            task: task_id(1),
            at: UnixMs(1500),
        },
        Write::PutToken(agent_token()),
        Write::PutToken(operator_token()),
        Write::RemoveToken {
            hash: "bb22".into(),
        },
        Write::PlanRun(ended.clone()),
        Write::PlanRun(done.clone()),
        Write::PlanRun(open.clone()),
        Write::ReviseRun {
            run_id: open.run.run_id.clone(),
            revision: Revision(5),
            delay: Duration::ZERO,
            start_before: UnixMs(63_000),
        },
        Write::ReassignRun {
            run_id: open.run.run_id.clone(),
            from: Some(agent_id(1)),
            to: agent_id(2),
        },
        end(&ended, Outcome::Failed),
        end(&done, Outcome::Succeeded),
        Write::RecordRun {
            row: Box::new(run_on(1, 4000, Some(agent_id(1)), Cause::Daemon)),
            ending: Box::new(ending(Outcome::Stopped)),
        },
        Write::PutAnswer(answer("r1", NOW)),
        Write::Audit(Box::new(entry(1, Some("web")))),
    ]);
    changes
}

fn removals() -> Vec<Write> {
    vec![
        Write::RemoveTask {
            task: task_id(1),
            at: NOW,
        },
        Write::RemoveAgent {
            agent: agent_id(1),
            at: NOW,
        },
        Write::RemoveOperator {
            operator: id(1),
            at: NOW,
        },
        Write::RemoveGroup(group_name("web")),
    ]
}
