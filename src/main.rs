//! The `qalqan` binary; everything is in the library.

fn main() {}
