//! The client's commands: arguments (one table), the session with the centers, one file per command family,
//! printing. Imports `model`, `rule`, `proto` and, to read the ancestor's table, `store`; nothing of the other programs.

mod ancestor;
pub mod args;
mod client;
pub mod command;
pub mod document;
mod editor;
#[cfg(test)]
mod fake;
pub mod fault;
mod hit;
pub mod home;
pub mod print;
mod select;
pub mod session;
mod spec;
mod terminal;
#[cfg(test)]
mod tests;
mod within;

pub use within::within;

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::BufReader;

use crate::workers::Workers;
use args::{Command, DevArgs, GenArgs, Global, ImportCommand, Parsed};
use client::{Client, Input};
use command::{
    agents, audit, context, edit, events, export, groups, import, login, logs, next, operators,
    run, runs, save, status, tasks, why,
};
use fault::{Exit, Fault, FaultCode};
use print::{Out, Style};
use session::Session;

/// What the command line wants from the main.
pub enum Start {
    /// It is done; leave with this.
    Over(ExitCode),
    /// `ucron dev`.
    Dev(DevArgs),
    /// `ucron gen`.
    Gen(GenArgs),
    /// `ucron` alone on a terminal: the dashboard, which imports this and so is opened by the main.
    Dashboard(Global),
}

/// Reads the command line and does what it says, except for `dev` and `gen`, which need all programs and live
/// beside the mains.
pub fn start(args: impl IntoIterator<Item = OsString>) -> Start {
    let args: Vec<OsString> = args.into_iter().collect();
    let ucron = match args::parse(args.clone()) {
        Parsed::Command(ucron) => *ucron,
        Parsed::Help(text) => return Start::Over(help(&text)),
        Parsed::Wrong(fault) => return Start::Over(complain(&args, &fault)),
    };
    match ucron.command {
        Some(Command::Dev(dev)) => Start::Dev(dev),
        Some(Command::Gen(pages)) => Start::Gen(pages),
        Some(command) => Start::Over(serve(&ucron.global, command)),
        None if io::stdin().is_terminal() && io::stdout().is_terminal() => {
            Start::Dashboard(ucron.global)
        }
        None => {
            let _ = write!(io::stderr(), "{}", help_text());
            Start::Over(ExitCode::from(FaultCode::Usage.exit_code()))
        }
    }
}

/// The help of the whole program.
fn help_text() -> String {
    args::help()
}

fn help(text: &str) -> ExitCode {
    // A reader who closes early has read enough.
    let _ = write!(io::stdout(), "{text}").and_then(|()| io::stdout().flush());
    ExitCode::SUCCESS
}

/// Tells a fault on stderr, for a program where the command line asked for JSON; gives its exit code.
pub fn complain(args: &[OsString], fault: &Fault) -> ExitCode {
    let format = if args::wants_json(args) {
        "json"
    } else {
        "table"
    };
    if let Parsed::Command(plain) = args::parse(["ucron", "-o", format]) {
        stdio(&plain.global).fault(fault);
    }
    ExitCode::from(fault.code.exit_code())
}

fn stdio(global: &Global) -> Out {
    Out::new(
        Box::new(BufWriter::new(io::stdout())),
        Box::new(io::stderr()),
        Style::new(global, terminal::width(), crate::clock::now),
    )
}

/// Runs a command with the process's own streams.
fn serve(global: &Global, command: Command) -> ExitCode {
    let mut out = stdio(global);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let fault = Fault::new(FaultCode::Failed, format!("cannot start: {error}"));
            out.fault(&fault);
            return ExitCode::from(fault.code.exit_code());
        }
    };
    let exit = runtime.block_on(async {
        let is_terminal = io::stdin().is_terminal();
        let lines = Box::new(BufReader::new(tokio::io::stdin()));
        let editor = editor::of_environment(is_terminal);
        let mut input = Input::new(lines, is_terminal).with_editor(editor);
        let editing = input.editing();
        tokio::select! {
            exit = perform(global, command, &mut out, &mut input, async || reach(global).await) => exit,
            () = interrupted(&editing) => Exit(FaultCode::Interrupted.exit_code()),
        }
    });
    // A thread that waits for stdin would keep the process.
    runtime.shutdown_background();
    let flushed = out
        .flush()
        .err()
        .filter(|fault| fault.code != FaultCode::Closed);
    if let Some(fault) = flushed {
        out.fault(&fault);
        return ExitCode::from(exit.worst(Exit::from(&fault)).0);
    }
    ExitCode::from(exit.0)
}

/// Waits for an interrupt that is not for the editor.
async fn interrupted(editing: &AtomicBool) {
    loop {
        // Where interrupts cannot be heard they end the process as they do by default.
        let heard = tokio::signal::ctrl_c().await;
        if heard.is_err() {
            std::future::pending::<()>().await;
        }
        if !editing.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Does a command and tells what was wrong, if anything. A session is begun only for what needs one.
async fn perform(
    global: &Global,
    command: Command,
    out: &mut Out,
    input: &mut Input,
    reach: impl AsyncFnOnce() -> Result<Session, Fault>,
) -> Exit {
    let done = match local(global, &command, out, input).await {
        Some(done) => done,
        None => remote(global, command, out, input, reach).await,
    };
    match done {
        Ok(exit) => exit,
        Err(fault) => {
            if fault.code != FaultCode::Closed {
                out.fault(&fault);
            }
            Exit::from(&fault)
        }
    }
}

/// The commands that need no session.
async fn local(
    global: &Global,
    command: &Command,
    out: &mut Out,
    input: &mut Input,
) -> Option<Result<Exit, Fault>> {
    match command {
        Command::Next(args) if next::is_rule(&args.of) => {
            Some(next::of_rule(out, args, global.timezone.as_ref()))
        }
        Command::Login(args) => Some(match home::directory(global) {
            Ok(dir) => login::login(out, input, &dir, args, global.connect_timeout).await,
            Err(fault) => Err(fault),
        }),
        Command::Context(command) => Some(context::context(out, input, global, command).await),
        _ => None,
    }
}

async fn remote(
    global: &Global,
    command: Command,
    out: &mut Out,
    input: &mut Input,
    reach: impl AsyncFnOnce() -> Result<Session, Fault>,
) -> Result<Exit, Fault> {
    // What is wrong with the values is said before anybody is dialled.
    let first = first_request(&command, &out.style, input.editor.is_some())?;
    let session = reach().await?;
    let mut client = Client {
        session,
        out,
        input,
    };
    carry_out(&mut client, command, first, global).await
}

/// The session with the centers of the client home.
async fn reach(global: &Global) -> Result<Session, Fault> {
    let centers = home::load(global)?;
    Session::connect(centers, global.connect_timeout, &Workers::new()).await
}

/// The request of those commands that can be put together without asking anything first.
fn first_request(
    command: &Command,
    style: &Style,
    has_editor: bool,
) -> Result<Option<crate::proto::request::Request>, Fault> {
    Ok(match command {
        Command::Add(args) => Some(save::added(args)?),
        Command::Runs(args) => Some(runs::listed(args, style)?),
        Command::Edit(args) => {
            edit::check(args, has_editor)?;
            None
        }
        _ => None,
    })
}

/// The table from commands to the files that do them.
async fn carry_out(
    client: &mut Client<'_>,
    command: Command,
    first: Option<crate::proto::request::Request>,
    global: &Global,
) -> Result<Exit, Fault> {
    match (command, first) {
        (Command::Add(args), Some(request)) => save::add(client, request, &args).await,
        (Command::Runs(args), Some(request)) => runs::runs(client, request, args.limit).await,
        (Command::Edit(args), _) => edit::edit(client, &args).await,
        (Command::Export(args), _) => export::export(client, args).await,
        (Command::Import(ImportCommand::Mysql(args)), _) => import::mysql(client, &args).await,
        (Command::Show(args), _) => tasks::show(client, args).await,
        (Command::Ls(args), _) => tasks::ls(client, args).await,
        (Command::Next(args), _) => next::of_task(client, &args, shown(global).as_ref()).await,
        (Command::Why(args), _) => why::why(client, &args).await,
        (Command::Stop(args), _) => tasks::stop(client, args).await,
        (Command::Start(args), _) => tasks::start(client, args).await,
        (Command::Restart(args), _) => tasks::restart(client, args).await,
        (Command::Run(args), _) => run::run(client, args).await,
        (Command::Kill(args), _) => runs::kill(client, args).await,
        (Command::Rm(args), _) => tasks::rm(client, args).await,
        (Command::Ps(args), _) => runs::ps(client, args).await,
        (Command::Logs(args), _) => logs::logs(client, args).await,
        (Command::Agents, _) => agents::list(client).await,
        (Command::Agent(command), _) => agents::agent(client, command).await,
        (Command::Groups, _) => groups::list(client).await,
        (Command::Group(command), _) => groups::group(client, command).await,
        (Command::Operators, _) => operators::list(client).await,
        (Command::Operator(command), _) => operators::operator(client, command).await,
        (Command::Grant(args), _) => operators::grant(client, args, true).await,
        (Command::Ungrant(args), _) => operators::grant(client, args, false).await,
        (Command::Token(command), _) => operators::token(client, command).await,
        (Command::Audit(args), _) => audit::audit(client, args).await,
        (Command::Status(args), _) => status::status(client, args).await,
        (Command::Events(args), _) => events::events(client, args).await,
        // These never come here: they are done without a session.
        (
            Command::Add(_)
            | Command::Runs(_)
            | Command::Login(_)
            | Command::Context(_)
            | Command::Dev(_)
            | Command::Gen(_),
            _,
        ) => Err(Fault::usage("this command needs no center")),
    }
}

/// The zone asked for, if one was.
fn shown(global: &Global) -> Option<crate::rule::Zone> {
    match &global.timezone {
        None if global.utc => Some(crate::rule::Zone::utc()),
        zone => zone.clone(),
    }
}
