//! The `attune` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    attune::cli::main(std::env::args_os())
}
