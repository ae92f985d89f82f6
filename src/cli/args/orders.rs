//! `orders` as clap reads it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ArgGroup, Subcommand};

use super::ConfigArg;

/// Shown by `orders --help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  qalqan orders                            all of them: state, names, dates, lists
  qalqan orders show 25-01-25/4            everything that is known of one
  qalqan orders for www.example.com        what a name rests on, and when its block lifts
  qalqan orders expiring --within 7d
  qalqan orders overdue                    deadline passed, and something of it not enforced
  qalqan orders --json | jq 'select(.state == \"pending\") | .id'

An order is told by its number and its authority, in however many files and lists it stands.
It is looked at as a server started now would, as `why` does, whether or not one runs.

Exit status: 0 all is well; 1 an order is due or overdue; 2 no such order, not a name, or the
server would not start.";

/// Shown by `orders show --help`.
const SHOW_EXAMPLES: &str = "\
Examples:
  qalqan orders show 25-01-25/4
  qalqan orders show 7 --authority \"Court of Examples\" --all
  qalqan orders show 7 --all --json | jq -r '.names_shown[].rule' > names.txt

Exit status: 0 shown; 1 it is due or overdue; 2 no such order, or the server would not start.";

/// Shown by `orders for --help`.
const FOR_EXAMPLES: &str = "\
Examples:
  qalqan orders for www.example.com
  qalqan orders for example.com example.net --json

A name is blocked until the last order in force ends; one that begins before counts, too.

Exit status: 0 told, 2 not a name, or the server would not start.";

/// Shown by `orders expiring --help`.
const EXPIRING_EXAMPLES: &str = "\
Examples:
  qalqan orders expiring
  qalqan orders expiring --within 7d --json

Exit status: 0, whatever ends; 2 the server would not start.";

/// Shown by `orders overdue --help`.
const OVERDUE_EXAMPLES: &str = "\
Examples:
  qalqan orders overdue || mail -s 'orders overdue' noc@isp.example

An order is overdue when its deadline has passed and something of it is not enforced: its list is
in shadow mode, an allow entry takes a name back, an entry is no usable name, its file is refused,
or it is not effective yet.

Exit status: 0 none is overdue, 1 some are, 2 the server would not start.";

/// What `orders` is asked.
#[derive(Debug, ArgGroup)]
pub(in crate::cli) struct OrdersArgs {
    /// What to do; without it, all orders are listed
    #[command(subcommand)]
    pub(in crate::cli) verb: Option<OrdersVerb>,
    /// Only orders of this authority
    #[arg(long, value_name = "NAME", global = true)]
    pub(in crate::cli) authority: Option<String>,
    /// Show all orders or names, not only the first
    #[arg(long, global = true)]
    pub(in crate::cli) all: bool,
    /// As JSON, one object a line and order (or name)
    #[arg(long, global = true)]
    pub(in crate::cli) json: bool,
    /// Configuration file [default: config.toml in this folder, else /etc/qalqan/config.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl OrdersArgs {
    /// Which configuration.
    pub(in crate::cli) fn config(&self) -> ConfigArg {
        ConfigArg { config: self.config.clone() }
    }
}

/// What to do with the orders.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum OrdersVerb {
    /// Show everything that is known of an order
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The authority's own number
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Show the orders that names rest on, and when their blocks lift
    #[command(after_help = FOR_EXAMPLES)]
    For {
        /// Domain names, in any script
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// List orders that end soon
    #[command(after_help = EXPIRING_EXAMPLES)]
    Expiring {
        /// How soon: 12h, 7d
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = within)]
        within: Duration,
    },
    /// List orders whose deadline has passed while something of them is not enforced
    #[command(after_help = OVERDUE_EXAMPLES)]
    Overdue,
}

/// `30d`, `12h`, `90m`, `30s`.
fn within(text: &str) -> Result<Duration, BadTime> {
    let split = text.len().checked_sub(1).filter(|&at| text.is_char_boundary(at)).ok_or(BadTime)?;
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(BadTime),
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadTime);
    }
    let number: u64 = number.parse().map_err(|_| BadTime)?;
    // A date that far is none, and adding it to now must not overflow.
    number.checked_mul(unit).filter(|&seconds| seconds <= 1000 * 366 * 86_400).map(Duration::from_secs).ok_or(BadTime)
}

/// Not a time.
#[derive(Debug, PartialEq, Eq)]
struct BadTime;

impl fmt::Display for BadTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a time of up to a thousand years; write a whole number and a unit: 30s, 90m, 12h, 30d")
    }
}

impl std::error::Error for BadTime {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_number_and_a_unit() {
        let seconds = |text| within(text).map(|time| time.as_secs());
        assert_eq!([seconds("30d"), seconds("0s"), seconds("90m")], [Ok(2_592_000), Ok(0), Ok(5400)]);
        for text in ["", "d", "30", "-1d", "+1d", "1.5h", "30д", "9999999999999999999d", "400000d", " 1d"] {
            assert_eq!(seconds(text), Err(BadTime), "{text}");
        }
    }
}
