//! Small things every layer may use: snapshot hand-over, time as a value, days of a time zone, throttled logging, packed
//! numbers, SHA-256, files written whole, guesses at misspelt words.

mod digest;
mod handover;
mod near;
mod packed;
mod slug;
mod throttle;
mod whole;
mod zone;

pub use digest::{BadDigest, Digest, Hasher};
pub use handover::{Handover, Reader};
pub use near::nearest;
pub use packed::Packed;
pub use slug::slug;
pub use throttle::Throttle;
pub use whole::{TEMPORARY, write_whole};
pub use zone::{Days, Zone, ZoneError};

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z; what order dates are compared in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

/// In UTC as people read it; of a day's first second only the day, which is how dates without a time are meant.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => {
                let text = time.to_string();
                f.pad(text.strip_suffix("T00:00:00Z").unwrap_or(&text))
            }
            Err(_) => self.0.fmt(f),
        }
    }
}

/// A moment read once a batch and then handed down as a value, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix_ms: i64,
}

impl Now {
    /// Reads the system clock. Not for the code that decides a query: that gets its time from the caller.
    pub fn read() -> Self {
        let unix_ms = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Self { unix_ms }
    }

    /// The same moment in whole seconds.
    pub fn seconds(self) -> UnixTime {
        UnixTime(self.unix_ms.div_euclid(1000))
    }
}
