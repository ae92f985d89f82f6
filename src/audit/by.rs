//! Who did it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Text;

/// Who or what made something happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum By {
    /// Somebody on the command line: the system's user.
    Cli(Text),
    /// Somebody over the API: the token's name.
    Api(Text),
    /// A file that changed: its path as the operator wrote it.
    File(Text),
    /// A source that was fetched: its address.
    Feed(Text),
    /// A date that came.
    Clock,
    /// qalqan itself.
    System,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cli(name) => write!(f, "cli {name}"),
            Self::Api(name) => write!(f, "api {name}"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Feed(name) => write!(f, "feed {name}"),
            Self::Clock => f.write_str("clock"),
            Self::System => f.write_str("system"),
        }
    }
}
