//! The shell around the dashboard: the terminal, the session, the clock. Inputs come from there, effects go there;
//! what they mean is decided in `update`.

mod link;
mod shell;
mod terminal;
mod watchdog;

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::args::Global;
use crate::cli::fault::{Fault, FaultCode};
use crate::cli::home;
use crate::rule::Zone;
use crate::tui::view::{self, View};
use crate::workers::Workers;

/// How long workers may take to end when the dashboard is left.
const DRAIN: Duration = Duration::from_millis(200);
/// The exit code of a panic, as the runtime has it.
const PANICKED: u8 = 101;

/// What the dashboard is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The client home; the fault where there is none.
    home: Result<PathBuf, Fault>,
    /// How long to try to reach a center at the start.
    timeout: Duration,
    /// The zone of times shown.
    zone: Zone,
    /// What draws it.
    view: View,
}

impl Options {
    /// What the command line said.
    pub fn of(global: Global) -> Self {
        Self {
            home: home::existing(&global),
            timeout: global.connect_timeout,
            zone: match global.timezone {
                Some(zone) => zone,
                None if global.utc => Zone::utc(),
                None => Zone::local(),
            },
            view: view::draw,
        }
    }

    /// The client home in this directory, all else as usual.
    pub fn at(home: &Path) -> Self {
        Self {
            home: Ok(home.to_owned()),
            timeout: Duration::from_secs(5),
            zone: Zone::local(),
            view: view::draw,
        }
    }

    /// The same, drawn by another view.
    pub fn drawn_by(self, view: View) -> Self {
        Self { view, ..self }
    }
}

/// Opens the dashboard on the terminal and returns when it is left: 0 where the operator left it, 130 on INT,
/// 143 on TERM, 129 where the terminal is gone, 101 after a panic, else the code of what was wrong at the start. The
/// terminal is as it was before. Must be called outside of any runtime.
pub fn run(options: &Options) -> ExitCode {
    let done = catch_unwind(AssertUnwindSafe(|| open(options)));
    if let Some(panics) = terminal::panics() {
        // The terminal is the caller's again: now the message can be read.
        let _ = writeln!(
            io::stderr(),
            "ucron: the dashboard failed, which is a defect\n{panics}"
        );
    }
    match done {
        Ok(Ok(exit)) => ExitCode::from(exit),
        Ok(Err(fault)) => {
            complain(&fault);
            ExitCode::from(fault.code.exit_code())
        }
        Err(_) => ExitCode::from(PANICKED),
    }
}

fn complain(fault: &Fault) {
    // Where stderr is gone too nobody is left to tell.
    let _ = writeln!(io::stderr(), "ucron: {}", fault.message);
    if let Some(hint) = &fault.hint {
        let _ = writeln!(io::stderr(), "hint: {hint}");
    }
}

fn open(options: &Options) -> Result<u8, Fault> {
    let home = options.home.clone()?;
    let cannot = |error: io::Error| {
        Fault::new(
            FaultCode::Failed,
            format!("cannot open the dashboard: {error}"),
        )
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(cannot)?;
    let exit = runtime.block_on(async {
        let workers = Workers::new();
        // The first attempt is made before the screen is taken: what is wrong then is told as by any command.
        let session = link::connect(&home, options.timeout, &workers).await?;
        let exit = shell::run(options, &home, session, &workers)
            .await
            .map_err(cannot);
        workers.drain(DRAIN).await;
        exit
    });
    // A thread that waits for a key would keep the process.
    runtime.shutdown_background();
    exit
}
