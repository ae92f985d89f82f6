//! How operators talk to a running server: requests over a unix socket in `state_dir`; and how those who watch it look at
//! it: [`HttpBound`] answers HTTP with what [`metrics`] has to say.
//!
//! One JSON object a line goes in ([`Request`]), one comes back. [`Socket`] takes connections and hands requests to
//! the one who can answer them; [`ask`] is the other end, for the command line. Who may connect is decided by the
//! socket's file mode: its owner (and root), nobody else.

mod api;
mod client;
mod held;
mod http;
pub mod metrics;
mod place;
mod socket;

pub use api::{Asked, CanaryLine, FileLine, Flushed, ListLine, OrderAlert, Orders, Refused, Request, Status, Who};
pub use client::{AskError, ask};
pub use held::{DecidedLine, HeldLine, HeldList, HeldLists, MAX_RULED, RefusedLine, Ruled, Ruling, RulingVerb};
pub use http::{Health, Http, HttpBound, HttpError, HttpSettings, RefusalCounts, Refusals, Watched};
pub use place::SOCKET;
pub use socket::{Socket, SocketError};

#[cfg(test)]
mod tests;
