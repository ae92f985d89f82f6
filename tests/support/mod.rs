//! What process tests share.

pub mod mock;
