//! qalqan (Kazakh for "shield"): a DNS-level blocking resolver.

pub mod config;
pub mod engine;
pub mod event;
pub mod hits;
pub mod limit;
pub mod list;
pub mod local;
pub mod name;
pub mod net;
pub mod policy;
pub mod reload;
pub mod rule;
pub mod serve;
pub mod set;
pub mod snapshot;
pub mod stats;
pub mod system;
pub mod upstream;
pub mod util;
pub mod wire;
