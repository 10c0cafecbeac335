//! `groups`, `group add|rm|assign|unassign|freeze|thaw`.

use crate::cli::args::{AssignArgs, FreezeArgs, GroupCommand};
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::hit::{self, Deed, count};
use crate::cli::print::{clean, row, tables, time};
use crate::model::{AgentName, GroupName};
use crate::proto::request::{
    Answer, Frozen, GroupAdd, GroupAssign, GroupFreeze, GroupList, GroupRemove, GroupThaw, Request,
};
use crate::rule::parse_time_ahead;

/// `ucron groups`.
pub async fn list(client: &mut Client<'_>) -> Result<Exit, Fault> {
    match client.ask(Request::GroupList(GroupList {})).await? {
        Answer::Groups(groups) => {
            client
                .out
                .list(&tables::GROUPS, groups.iter().map(row::group).collect())?;
            Ok(Exit::DONE)
        }
        _ => Err(Fault::unexpected("`groups`")),
    }
}

/// `ucron group …`.
pub async fn group(client: &mut Client<'_>, command: GroupCommand) -> Result<Exit, Fault> {
    match command {
        GroupCommand::Add { groups } => {
            client
                .done(&groups, "is added", |group| {
                    Request::GroupAdd(GroupAdd { group })
                })
                .await
        }
        GroupCommand::Rm { groups, yes } => {
            if !client.sure("group rm", &groups, yes).await? {
                return Ok(Exit::NO);
            }
            client
                .done(&groups, "is removed", |group| {
                    Request::GroupRemove(GroupRemove { group })
                })
                .await
        }
        GroupCommand::Assign(args) => assign(client, args, true).await,
        GroupCommand::Unassign(args) => assign(client, args, false).await,
        GroupCommand::Freeze(args) => freeze(client, args).await,
        GroupCommand::Thaw { groups } => thaw(client, &groups).await,
    }
}

async fn freeze(client: &mut Client<'_>, args: FreezeArgs) -> Result<Exit, Fault> {
    let zone = client.out.style.zone.clone();
    let until = args.until.as_deref();
    let until = until.map(|text| parse_time_ahead(text, client.out.now(), &zone));
    let until = until
        .transpose()
        .map_err(|error| Fault::usage(format!("bad value for --until: {error}")))?;
    let request = Request::GroupFreeze(GroupFreeze {
        group: args.group,
        until,
        reason: args.reason,
        dry_run: args.dry_run,
    });
    let Answer::Frozen(frozen) = client.ask(request).await? else {
        return Err(Fault::unexpected("`group freeze`"));
    };
    let out = &mut *client.out;
    if out.style.is_json() {
        out.json(&row::plain(&*frozen))?;
    } else {
        if !frozen.tasks.is_empty() {
            out.list(&tables::FROZEN, row::plain_all(&frozen.tasks))?;
        }
        let sentence = sentence(&frozen, &time::stamp(frozen.until, &zone));
        out.say(&sentence);
    }
    Ok(hit::unconfirmed(
        client.out,
        frozen.group.as_str(),
        &frozen.hit.unconfirmed,
    ))
}

/// What a freeze does, or would do.
fn sentence(frozen: &Frozen, until: &str) -> String {
    let verb = if frozen.done { "is" } else { "would be" };
    let least = if frozen.at_least { "at least " } else { "" };
    let cancelled = match frozen.hit.cancelled {
        0 => String::new(),
        runs => format!("; {} cancelled", count(runs, "planned run")),
    };
    let left_out = frozen.count - frozen.tasks.len() as u64;
    let left_out = match left_out {
        0 => String::new(),
        tasks => format!(" ({tasks} not listed)"),
    };
    format!(
        "group {} {verb} frozen until {until}: {}; {least}{} of {}{left_out} will not run{cancelled}",
        frozen.group,
        clean::line(&frozen.reason),
        count(frozen.occurrences, "occurrence"),
        count(frozen.count, "task"),
    )
}

async fn thaw(client: &mut Client<'_>, groups: &[GroupName]) -> Result<Exit, Fault> {
    let ask = |group: &GroupName| {
        Request::GroupThaw(GroupThaw {
            group: group.clone(),
        })
    };
    let deed = Deed {
        done: "is thawed",
        already: "is not frozen",
    };
    client
        .each(groups, ask, |out, group, answer| match answer {
            Answer::Changed(changed) => {
                if out.style.is_json() {
                    out.json(&row::plain(&*changed))?;
                }
                Ok(hit::tell(out, group.as_str(), deed, &changed))
            }
            _ => Err(Fault::unexpected("`group thaw`")),
        })
        .await
}

async fn assign(client: &mut Client<'_>, args: AssignArgs, assign: bool) -> Result<Exit, Fault> {
    let names: Vec<&str> = args.agents.iter().map(AgentName::as_str).collect();
    let name = format!("{}: {}", args.group, names.join(", "));
    let deed = if assign {
        Deed {
            done: "assigned",
            already: "assigned already",
        }
    } else {
        Deed {
            done: "unassigned",
            already: "not in the group anyway",
        }
    };
    let request = Request::GroupAssign(GroupAssign {
        group: args.group.clone(),
        agents: args.agents.clone(),
        assign,
    });
    match client.ask(request).await? {
        Answer::Changed(changed) => {
            if client.out.style.is_json() {
                let hit = row::plain(&*changed);
                client.out.json(&hit)?;
            }
            Ok(hit::tell(client.out, &name, deed, &changed))
        }
        _ => Err(Fault::unexpected("`group assign`")),
    }
}
