//! `agents`, `agent add|drain|undrain|rm|rename`.

use crate::cli::args::AgentCommand;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::print::{row, tables};
use crate::model::AgentName;
use crate::proto::request::{
    AgentAdd, AgentDrain, AgentList, AgentRemove, AgentRename, Answer, Request,
};

/// `ucron agents`.
pub async fn list(client: &mut Client<'_>) -> Result<Exit, Fault> {
    match client.ask(Request::AgentList(AgentList {})).await? {
        Answer::Agents(agents) => {
            client.out.list(&tables::AGENTS, row::plain_all(&agents))?;
            Ok(Exit::DONE)
        }
        _ => Err(Fault::unexpected("`agents`")),
    }
}

/// `ucron agent …`.
pub async fn agent(client: &mut Client<'_>, command: AgentCommand) -> Result<Exit, Fault> {
    match command {
        AgentCommand::Add {
            agent,
            address,
            fingerprint,
        } => {
            let what = "is added; next, on its host: ucron-agent run --state DIR";
            client
                .done(&[agent], what, |agent| {
                    Request::AgentAdd(AgentAdd {
                        agent,
                        address: address.clone(),
                        fingerprint,
                    })
                })
                .await
        }
        AgentCommand::Drain { names, daemons } => {
            let what = if daemons {
                "is draining, its daemons end"
            } else {
                "is draining"
            };
            client
                .done(&names, what, |agent: AgentName| drain(agent, true, daemons))
                .await
        }
        AgentCommand::Undrain { names } => {
            client
                .done(&names, "gets new runs again", |agent| {
                    drain(agent, false, false)
                })
                .await
        }
        AgentCommand::Rm { names, yes } => {
            if !client.sure("agent rm", &names, yes).await? {
                return Ok(Exit::NO);
            }
            client
                .done(&names, "is removed", |agent| {
                    Request::AgentRemove(AgentRemove { agent })
                })
                .await
        }
        AgentCommand::Rename { agent, name } => {
            let what = format!("is now {name}");
            client
                .done(&[agent], &what, |agent| {
                    let name = name.clone();
                    Request::AgentRename(AgentRename { agent, name })
                })
                .await
        }
    }
}

fn drain(agent: AgentName, drain: bool, daemons: bool) -> Request {
    Request::AgentDrain(AgentDrain {
        agent,
        drain,
        daemons,
    })
}
