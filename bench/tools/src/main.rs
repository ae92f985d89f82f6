//! What `bench/compare.py` measures with: `echo` (the yardstick), `upstream` (a server that knows every name)
//! and `load` (asks, counts, checks and takes times). Each takes `--key value` pairs; see its module.
#![deny(unsafe_op_in_unsafe_fn)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool of the command line")]

mod args;
mod batch;
mod clock;
mod echo;
mod histogram;
mod load;
mod query;
mod upstream;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let tool = words.next().unwrap_or_default();
    let done = args::Args::parse(words).and_then(|args| match tool.as_str() {
        "echo" => echo::run(&args),
        "upstream" => upstream::run(&args),
        "load" => load::run(&args),
        _ => Err("usage: bench-tools echo|upstream|load [--key value …]".into()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-tools {tool}: {error}");
            ExitCode::from(2)
        }
    }
}
