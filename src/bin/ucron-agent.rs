//! The agent's program; its deeds are in the library.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use ucron::agent::{Arguments, start};
use ucron::exec::KeeperProgram;

fn main() -> ExitCode {
    match start(Arguments::parse(), KeeperProgram::find()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is gone nobody reads it.
            let _ = writeln!(std::io::stderr(), "ucron-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
