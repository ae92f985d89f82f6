//! The `qalqan` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    qalqan::cli::run()
}
