//! `context ls|use|rm`: the fleets that one client home knows.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::args::{ContextCommand, Global};
use crate::cli::client::Input;
use crate::cli::fault::{Exit, Fault, FaultCode};
use crate::cli::home;
use crate::cli::print::{Out, tables};
use crate::proto::identity::{Identity, load_centers};

/// `ucron context …`.
pub async fn context(
    out: &mut Out,
    input: &mut Input,
    global: &Global,
    command: &ContextCommand,
) -> Result<Exit, Fault> {
    let root = home::root(global)?;
    match command {
        ContextCommand::Ls => list(out, global, &root),
        ContextCommand::Use { name } => {
            home::check(&root, name)?;
            home::choose(&root, name)?;
            out.say(&format!("context {name} is in use"));
            Ok(Exit::DONE)
        }
        ContextCommand::Rm { names, yes } => {
            for name in names {
                home::check(&root, name)?;
            }
            if names.len() > 1 && !yes && !input.confirm(out, "context rm", names).await? {
                return Ok(Exit::NO);
            }
            for name in names {
                remove(out, &root, name)?;
            }
            Ok(Exit::DONE)
        }
    }
}

fn list(out: &mut Out, global: &Global, root: &Path) -> Result<Exit, Fault> {
    let in_use = home::context(global, root)?;
    let names = home::contexts(root);
    let row = |name: &String| row(root, name, *name == in_use);
    let rows = names.iter().map(row).collect();
    out.list(&tables::CONTEXTS, rows)?;
    if names.is_empty() {
        out.say("no contexts; `ucron login CENTER:PORT [--context NAME]` adds one");
    }
    Ok(Exit::DONE)
}

fn row(root: &Path, name: &str, in_use: bool) -> Value {
    let dir = home::place(root, name);
    // One that cannot be used is listed all the same, with what is wrong instead of what it is.
    let identity = Identity::load(&dir);
    let centers = load_centers(&dir).ok();
    let problem = identity.as_ref().err().map(ToString::to_string);
    let uri = identity.as_ref().ok().map(Identity::uri);
    json!({
        "name": name,
        "in_use": in_use,
        "operator": uri.map(|uri| uri.id.clone()),
        "fleet": uri.map(|uri| uri.fleet.to_string()),
        "centers": centers,
        "home": dir.display().to_string(),
        "problem": problem,
    })
}

fn remove(out: &mut Out, root: &Path, name: &str) -> Result<(), Fault> {
    let dir = home::place(root, name);
    let removed = if name == home::DEFAULT {
        Identity::remove(&dir)
    } else {
        std::fs::remove_dir_all(&dir)
    };
    removed.map_err(|error| {
        let text = format!("cannot remove `{}`: {error}", dir.display());
        Fault::new(FaultCode::Failed, text)
    })?;
    out.say(&format!("context {name} is forgotten"));
    if home::context_in_use(root)?.as_deref() == Some(name) {
        home::forget_choice(root)?;
        out.say("it was in use; the client home itself is now");
    }
    Ok(())
}
