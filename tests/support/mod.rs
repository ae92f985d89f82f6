//! What process tests share.

pub mod clickhouse;
pub mod client;
pub mod encrypted;
pub mod http;
pub mod mock;
pub mod server;
pub mod statistics;
pub mod steady;
pub mod web;
