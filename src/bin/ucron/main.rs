//! The client: dashboard and commands. What it does is in `ucron::cli`; `ucron dev` stands beside this file, and
//! starts this executable again as center, agent and keeper.

mod dev;
mod pages;
mod start;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use ucron::cli::{self, Start};
use ucron::exec::KeeperProgram;
use ucron::{agent, center, exec, tui};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    match args.get(1).and_then(|first| first.to_str()) {
        Some(dev::CENTER) => center::main(without_first(args)),
        Some(dev::AGENT) => be_agent(without_first(args)),
        Some(dev::KEEPER) => {
            let arguments = exec::arguments::Arguments::parse_from(without_first(args));
            exec::arguments::main(arguments, &[dev::KEEPER.into()])
        }
        _ => match cli::start(args) {
            Start::Over(exit) => exit,
            Start::Dashboard(global) => tui::run(&tui::Options::of(global)),
            Start::Dev(args) => dev::main(args.keep),
            Start::Gen(args) => pages::main(&args),
        },
    }
}

fn without_first(mut args: Vec<OsString>) -> Vec<OsString> {
    args.remove(1);
    args
}

fn be_agent(args: Vec<OsString>) -> ExitCode {
    let started = KeeperProgram::own([dev::KEEPER.into()])
        .map_err(|fault| fault.to_string())
        .and_then(|keeper| {
            agent::start(agent::Arguments::parse_from(args), keeper)
                .map_err(|fault| fault.to_string())
        });
    match started {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // Where stderr is gone nobody reads it.
            let _ = writeln!(std::io::stderr(), "ucron agent: {fault}");
            ExitCode::FAILURE
        }
    }
}
