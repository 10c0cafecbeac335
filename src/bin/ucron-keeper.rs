//! The keeper's program; its deeds are in the library.

use std::process::ExitCode;

use clap::Parser;
use ucron::exec::arguments;

fn main() -> ExitCode {
    arguments::main(arguments::Arguments::parse(), &[])
}
