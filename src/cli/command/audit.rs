//! `audit`: who changed what.

use crate::cli::args::AuditArgs;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::print::{row, tables};
use crate::proto::request::{Answer, Audit, Request};

/// `ucron audit`.
pub async fn audit(client: &mut Client<'_>, args: AuditArgs) -> Result<Exit, Fault> {
    match client
        .ask(Request::Audit(Audit { limit: args.limit }))
        .await?
    {
        Answer::Audit(entries) => {
            client.out.list(&tables::AUDIT, row::plain_all(&entries))?;
            Ok(Exit::DONE)
        }
        _ => Err(Fault::unexpected("`audit`")),
    }
}
