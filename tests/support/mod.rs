//! What process tests share.

pub mod clickhouse;
pub mod client;
pub mod mock;
pub mod server;
pub mod steady;
pub mod web;
