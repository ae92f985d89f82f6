//! Statistics in one SQLite file.

pub mod read;
