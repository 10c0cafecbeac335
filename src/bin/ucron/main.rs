//! The client: dashboard and commands. What it does is in `ucron::cli`; `ucron dev` stands beside this file.

use std::process::ExitCode;

use ucron::cli::fault::{Fault, FaultCode};
use ucron::cli::{self, Start};

fn main() -> ExitCode {
    match cli::start(std::env::args_os()) {
        Start::Over(exit) => exit,
        Start::Dev(_) => {
            let fault = Fault::new(FaultCode::Failed, "`ucron dev` is not part of this program");
            cli::complain(&[], &fault)
        }
    }
}
