//! What `ucron-center` does once its arguments are read; `ucron dev` runs the same.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use super::args::{
    BackupArgs, CenterArgs, CenterCommand, CopyArgs, InitArgs, JoinArgs, RestoreArgs, RunArgs,
    StepDownArgs, StoreCommand,
};
use super::copy::{backup, copy, restore};
use super::init::{Init, Initialised, init};
use super::joining::{Joining, join};
use super::notify::NotifyCommands;
use super::place::StoreAsk;
use super::run::{keep, run};
use super::step_down::step_down;
use crate::config::{CenterSettings, Settings, StoreTls, init_logs};
use crate::files::read_private;
use crate::model::Token;
use crate::store::Keep;
use crate::workers::Workers;

/// Longest token that is read.
const MAX_TOKEN: u64 = 4096;

/// The whole program: reads arguments, does it, says what went wrong.
pub fn main(args: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let args = match CenterArgs::try_parse_from(args) {
        Ok(args) => args,
        Err(usage) => {
            // Help goes to stdout with 0, a fault to stderr with 2; a closed stream changes neither.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    match perform(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // Where stderr is gone nobody reads it.
            let _ = writeln!(std::io::stderr(), "ucron-center: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(command: CenterCommand) -> Result<()> {
    match command {
        CenterCommand::Init(args) => runtime()?.block_on(perform_init(args)),
        CenterCommand::Join(args) => runtime()?.block_on(perform_join(args)),
        CenterCommand::StepDown(args) => runtime()?.block_on(perform_step_down(&args)),
        CenterCommand::Run(args) => runtime()?.block_on(perform_run(args)),
        CenterCommand::Store(StoreCommand::Copy(args)) => runtime()?.block_on(perform_copy(args)),
        CenterCommand::Backup(args) => runtime()?.block_on(perform_backup(args)),
        CenterCommand::Restore(args) => runtime()?.block_on(perform_restore(args)),
    }
}

/// One thread for the loop and its links: deciding is quick, and the store has threads of its own.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

async fn perform_init(args: InitArgs) -> Result<()> {
    let ask = init_of(args)?;
    let made = init(&ask).await?;
    next_steps(&ask.dir, &made).context("cannot write to stdout")
}

fn init_of(args: InitArgs) -> Result<Init> {
    let store = StoreAsk {
        url: args.store,
        password_file: args
            .store_password_file
            .as_deref()
            .map(absolute)
            .transpose()?,
        password_env: args.store_password_env,
        tls: match args.store_tls.as_deref() {
            Some("on") => StoreTls::On,
            Some("off") => StoreTls::Off,
            _ => StoreTls::Auto,
        },
        ca: args.store_ca.as_deref().map(absolute).transpose()?,
        lease: None,
    };
    Ok(Init {
        dir: args.state,
        listen: args.listen,
        store,
        ca_key_file: args.ca_key_file.as_deref().map(absolute).transpose()?,
        timezone: args.timezone,
    })
}

async fn perform_join(args: JoinArgs) -> Result<()> {
    let token = read_token(args.token_file.as_deref())?;
    let ask = Joining {
        centers: args.center,
        token: Token::parse(&token)?,
        advertise: args.advertise,
        init: init_of(args.init)?,
    };
    join(&ask).await?;
    let dir = ask.init.dir.display();
    let told = format!(
        "The center is made, and stands by once it runs. Next:\n  ucron-center run --state {dir}"
    );
    writeln!(std::io::stdout(), "{told}").context("cannot write to stdout")
}

/// The token, from a private file or standard input.
fn read_token(file: Option<&Path>) -> Result<String> {
    if let Some(path) = file {
        return Ok(read_private(path)?);
    }
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(MAX_TOKEN);
    input
        .read_to_string(&mut text)
        .context("cannot read the token from stdin")?;
    Ok(text)
}

async fn perform_step_down(args: &StepDownArgs) -> Result<()> {
    let leader = step_down(&args.state).await?;
    let place = leader.addresses.first().unwrap_or(&leader.id);
    let told = format!("{place} leads with epoch {}", leader.epoch);
    writeln!(std::io::stdout(), "{told}").context("cannot write to stdout")
}

/// Settings count whatever directory the center is started in.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot use `{}`", path.display()))
}

async fn perform_copy(args: CopyArgs) -> Result<()> {
    let (sums, to) = copy(&args.state, &args.from, &args.to, args.replace).await?;
    let mut out = std::io::stdout().lock();
    let told = sums
        .iter()
        .try_for_each(|sum| writeln!(out, "{sum}"))
        .and_then(|()| {
            let dir = args.state.display();
            writeln!(out, "Copied, read again, and the same. Next:")?;
            writeln!(out, "  1. set `store = \"{to}\"` in {dir}/center.toml")?;
            writeln!(out, "  2. ucron-center run --state {dir}")
        });
    told.context("cannot write to stdout")
}

async fn perform_backup(args: BackupArgs) -> Result<()> {
    backup(&args.state, &args.file).await?;
    let shown = args.file.display();
    writeln!(std::io::stdout(), "written to {shown}").context("cannot write to stdout")
}

async fn perform_restore(args: RestoreArgs) -> Result<()> {
    let place = restore(&args.state, &args.file, args.replace).await?;
    writeln!(std::io::stdout(), "restored to {place}").context("cannot write to stdout")
}

fn next_steps(dir: &Path, made: &Initialised) -> std::io::Result<()> {
    let (dir, home) = (dir.display(), made.home.display());
    let address = made
        .addresses
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut out = std::io::stdout().lock();
    writeln!(out, "The center is made. Next:")?;
    writeln!(out, "  1. ucron-center run --state {dir}")?;
    writeln!(out, "  2. export UCRON_HOME={home}")?;
    writeln!(out, "  3. ucron group add web")?;
    writeln!(
        out,
        "  4. ucron token agent --group web | ucron-agent join {address} --state AGENT_DIR"
    )?;
    writeln!(out, "  5. ucron-agent run --state AGENT_DIR")?;
    writeln!(
        out,
        "  6. ucron add --group web --name hello --rule '* * * * *' --user USER -- echo hello"
    )
}

async fn perform_run(args: RunArgs) -> Result<()> {
    let settings = CenterSettings::load(&args.state, &args.flags())?;
    init_logs(settings.log, settings.log_format);
    let workers = Workers::new();
    stop_on_signals(&workers).context("cannot wait for signals")?;
    let (kept_told, kept) = watch::channel(keep(&settings));
    let (commands_told, commands) = watch::channel(NotifyCommands::of(&settings));
    let state = args.state.clone();
    let told = Told {
        kept: kept_told,
        commands: commands_told,
    };
    reload_on_hangup(&workers, args, settings.clone(), told).context("cannot wait for signals")?;
    run(&state, settings, kept, commands, workers).await?;
    Ok(())
}

/// Who hears of settings that count at once.
struct Told {
    kept: watch::Sender<Keep>,
    commands: watch::Sender<NotifyCommands>,
}

/// HUP reads the settings again: how long history is kept and whom to notify count at once, the rest at the next
/// start.
fn reload_on_hangup(
    workers: &Workers,
    args: RunArgs,
    mut settings: CenterSettings,
    told: Told,
) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let stop = workers.token().clone();
    workers.spawn("settings", async move {
        while let Some(Some(())) = stop.run_until_cancelled(hangup.recv()).await {
            match CenterSettings::load(&args.state, &args.flags()) {
                Err(fault) => warn!("the settings were not read again, the old ones stay: {fault}"),
                Ok(new) => {
                    let (now, commands) = (keep(&new), NotifyCommands::of(&new));
                    let rest = CenterSettings {
                        history: new.history,
                        history_runs: new.history_runs,
                        history_failures: new.history_failures,
                        notify: new.notify.clone(),
                        notify_group: new.notify_group.clone(),
                        notify_timeout: new.notify_timeout,
                        ..settings.clone()
                    };
                    if rest == new {
                        info!("the settings were read again");
                    } else {
                        warn!("the settings were read again; some count only at the next start");
                    }
                    settings = rest;
                    // Where nobody reads it the center is stopping.
                    let _ = told.kept.send(now);
                    let _ = told.commands.send(commands);
                }
            }
        }
    });
    Ok(())
}

/// TERM and INT stop the workers.
fn stop_on_signals(workers: &Workers) -> std::io::Result<()> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let token = workers.token().clone();
    let stop = workers.clone();
    workers.spawn("signals", async move {
        tokio::select! {
            _ = term.recv() => stop.stop(),
            _ = int.recv() => stop.stop(),
            () = token.cancelled() => {}
        }
    });
    Ok(())
}
