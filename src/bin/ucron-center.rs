//! The center's program; its deeds are in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ucron::center::main(std::env::args_os())
}
