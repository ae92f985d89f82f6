//! qalqan (Kazakh for "shield"): a DNS-level blocking resolver.

pub mod config;
pub mod event;
pub mod hits;
pub mod limit;
pub mod list;
pub mod local;
pub mod name;
pub mod policy;
pub mod reload;
pub mod rule;
pub mod serve;
pub mod system;
pub mod upstream;
pub mod util;
