//! The client: dashboard and commands. What it does is in `ucron::cli`; `ucron dev` stands beside this file.

use std::process::ExitCode;

use ucron::cli::{self, Start};
use ucron::tui;

fn main() -> ExitCode {
    match cli::start(std::env::args_os()) {
        Start::Over(exit) => exit,
        Start::Dashboard(global) => tui::run(&tui::Options::of(global)),
        Start::Dev(_args) => ExitCode::FAILURE,
    }
}
