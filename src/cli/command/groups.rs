//! `groups`, `group add|rm|assign|unassign`.

use crate::cli::args::{AssignArgs, GroupCommand};
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::hit::{self, Deed};
use crate::cli::print::{row, tables};
use crate::model::AgentName;
use crate::proto::request::{Answer, GroupAdd, GroupAssign, GroupList, GroupRemove, Request};

/// `ucron groups`.
pub async fn list(client: &mut Client<'_>) -> Result<Exit, Fault> {
    match client.ask(Request::GroupList(GroupList {})).await? {
        Answer::Groups(groups) => {
            client.out.list(&tables::GROUPS, row::plain_all(&groups))?;
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
    }
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
