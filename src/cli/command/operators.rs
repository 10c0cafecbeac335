//! `operators`, `operator rm`, `grant`, `ungrant`, `token agent|operator|center`.

use serde_json::json;

use crate::cli::args::{GrantArgs, OperatorCommand, TokenCommand};
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::print::{row, tables};
use crate::proto::request::{
    Answer, Grant, OperatorList, OperatorRemove, Request, TokenAgent, TokenCenter, TokenOperator,
};

/// `ucron operators`.
pub async fn list(client: &mut Client<'_>) -> Result<Exit, Fault> {
    match client.ask(Request::OperatorList(OperatorList {})).await? {
        Answer::Operators(operators) => {
            client
                .out
                .list(&tables::OPERATORS, row::plain_all(&operators))?;
            Ok(Exit::DONE)
        }
        _ => Err(Fault::unexpected("`operators`")),
    }
}

/// `ucron operator …`.
pub async fn operator(client: &mut Client<'_>, command: OperatorCommand) -> Result<Exit, Fault> {
    let OperatorCommand::Rm { names, yes } = command;
    if !client.sure("operator rm", &names, yes).await? {
        return Ok(Exit::NO);
    }
    client
        .done(&names, "is removed", |operator| {
            Request::OperatorRemove(OperatorRemove { operator })
        })
        .await
}

/// `ucron grant|ungrant`.
pub async fn grant(client: &mut Client<'_>, args: GrantArgs, grant: bool) -> Result<Exit, Fault> {
    let place = match &args.group {
        Some(group) => format!("in {group}"),
        None => "in all groups".to_owned(),
    };
    let what = if grant {
        format!("is {} {place}", args.role)
    } else {
        format!("is no longer {} {place}", args.role)
    };
    client
        .done(std::slice::from_ref(&args.operator), &what, |operator| {
            Request::Grant(Grant {
                operator,
                role: args.role,
                group: args.group.clone(),
                grant,
            })
        })
        .await
}

/// `ucron token …`: the token alone on stdout.
pub async fn token(client: &mut Client<'_>, command: TokenCommand) -> Result<Exit, Fault> {
    let request = match command {
        TokenCommand::Agent { group, ttl } => {
            Request::TokenAgent(TokenAgent { groups: group, ttl })
        }
        TokenCommand::Operator { name, ttl } => Request::TokenOperator(TokenOperator {
            operator: name,
            ttl,
        }),
        TokenCommand::Center { ttl } => Request::TokenCenter(TokenCenter { ttl }),
    };
    match client.ask(request).await? {
        Answer::Token(made) if client.out.style.is_json() => {
            client.out.json(&json!({"token": made.token}))?;
            Ok(Exit::DONE)
        }
        Answer::Token(made) => {
            client.out.live(&made.token)?;
            Ok(Exit::DONE)
        }
        _ => Err(Fault::unexpected("`token`")),
    }
}
