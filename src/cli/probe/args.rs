//! What `probe` is asked, as clap reads it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::args::{ConfigArg, record_type};
use crate::event::Transport;

/// Shown by `probe --help`.
pub const EXAMPLES: &str = "\
Examples:
  qalqan probe                                            every enforced name, at the addresses of the configuration
  qalqan probe --sample 1000 --seed 7 --receipt probe.json
  qalqan probe --list orders --order 25-01-25/4 --transport both --rate 5000
  qalqan probe --server 192.0.2.53 --expect any-block --sinkhole 198.51.100.1 --control example.org
  printf 'a.example\\nb.example\\n' | qalqan probe --names -
  qalqan probe --watch new.example                        how long until it is blocked

Names, rules and answers are those a server would have that is started now with this configuration, from the same
files. Names that exceptions let pass, shadow lists and orders not in force are not asked. A name that covers what is
below it is asked itself and with a random label in front.

Exit status: 0 everything asked is blocked as expected, 1 something is not, 2 not all could be asked.";

/// What counts as right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExpectArg {
    /// The answer this configuration gives: response code, addresses, extended error
    Config,
    /// Any block, also what looks like one: NXDOMAIN, no records, REFUSED, a sinkhole, extended error 15, 16 or 17
    AnyBlock,
}

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TransportArg {
    /// UDP; TCP when an answer is truncated
    Udp,
    /// TCP
    Tcp,
    /// Everything over UDP, then everything over TCP
    Both,
}

impl TransportArg {
    /// One after another.
    pub fn all(self) -> &'static [Transport] {
        match self {
            Self::Udp => &[Transport::Udp],
            Self::Tcp => &[Transport::Tcp],
            Self::Both => &[Transport::Udp, Transport::Tcp],
        }
    }
}

/// What `probe` is asked.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Ask this server; may be repeated [default: where the configuration listens; port 53 if none is given]
    #[arg(long = "server", value_name = "ADDR", value_parser = server)]
    pub servers: Vec<SocketAddr>,
    /// Ask the names in this file (`-`: standard input) instead, one a line, as in a `domains` list
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lists", "orders"])]
    pub names: Option<PathBuf>,
    /// Ask only what this list holds; may be repeated
    #[arg(long = "list", value_name = "NAME")]
    pub lists: Vec<String>,
    /// Ask only what rests on this order; may be repeated
    #[arg(long = "order", value_name = "ID")]
    pub orders: Vec<String>,
    /// Ask so many patterns, chosen at random, instead of all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sample: Option<u64>,
    /// Of the sample and of the random labels, to ask the same again [default: another each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u32>,
    /// Refuse to ask more names than this
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    pub max: u64,
    /// Record types, by name or number
    #[arg(long, value_name = "TYPES", value_delimiter = ',', default_value = "A,AAAA,HTTPS", value_parser = asked_type)]
    pub types: Vec<u16>,
    /// Over what
    #[arg(long, value_enum, default_value = "udp", hide_possible_values = false)]
    pub transport: TransportArg,
    /// What counts as right
    #[arg(long, value_enum, default_value = "config")]
    pub expect: ExpectArg,
    /// These addresses are a block too, beside those of the configuration, 0.0.0.0 and ::
    #[arg(long = "sinkhole", value_name = "ADDR", value_delimiter = ',')]
    pub sinkholes: Vec<IpAddr>,
    /// First make sure that this name is not blocked: a server that answers nothing would pass for one that blocks all
    #[arg(long, value_name = "NAME")]
    pub control: Option<String>,
    /// Questions a second
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Unanswered questions at once
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub in_flight: u16,
    /// Wait so long for an answer
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub timeout: Duration,
    /// Ask so often before giving up
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub tries: u8,
    /// Print so many failures of each kind
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub failures: usize,
    /// Ask only this name, every 20 ms until it is blocked, and say how long that took
    #[arg(long, value_name = "NAME", conflicts_with_all = ["names", "lists", "orders", "sample", "receipt", "control"])]
    pub watch: Option<String>,
    /// Watch no longer than this
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = time)]
    pub watch_for: Duration,
    /// Write the receipt to this file, whole
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArg,
    /// Print the receipt as JSON
    #[arg(long)]
    pub json: bool,
}

/// An argument that cannot be used.
#[derive(Debug)]
pub struct Unusable(&'static str);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unusable {}

/// An address, port 53 if it has none.
fn server(text: &str) -> Result<SocketAddr, Unusable> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = text.parse().or_else(|_| bare.parse().map(|ip| SocketAddr::new(ip, 53)));
    match address {
        Ok(address) if address.port() > 0 => Ok(address),
        _ => Err(Unusable("not an address; write it like 192.0.2.53, 127.0.0.1:5353 or [::1]:53")),
    }
}

/// `500ms`, `2s`, `1m`
fn time(text: &str) -> Result<Duration, Unusable> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits) {
        Some("ms") => 1,
        Some("s") => 1000,
        Some("m") => 60_000,
        _ => 0,
    };
    let time = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    match time {
        Some(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => Err(Unusable("not a time; write it like 500ms, 2s or 1m, up to a day")),
    }
}

/// A type that can be asked for.
fn asked_type(text: &str) -> Result<u16, Unusable> {
    match record_type(text) {
        // OPT, and transfers: no server answers them as it answers names.
        Ok(0 | 41 | 249..=252) => Err(Unusable("not a type of records that names have")),
        Ok(rtype) => Ok(rtype),
        Err(_) => Err(Unusable("not a record type; write a name like AAAA, HTTPS or TXT, or a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_times_and_types_as_people_write_them() {
        let shown = |text: &str| server(text).map(|address| address.to_string()).ok();
        assert_eq!(shown("192.0.2.1").as_deref(), Some("192.0.2.1:53"));
        assert_eq!(shown("::1").as_deref(), Some("[::1]:53"));
        assert_eq!(shown("[::1]").as_deref(), Some("[::1]:53"));
        assert_eq!(shown("[::1]:5353").as_deref(), Some("[::1]:5353"));
        assert!(["", "localhost", "192.0.2.1:0", "192.0.2.1:x", "1.2.3"].iter().all(|text| server(text).is_err()));
        let times = ["500ms", "2s", "1m"].map(|text| time(text).map(|time| time.as_millis()).ok());
        assert_eq!(times, [Some(500), Some(2000), Some(60_000)]);
        assert!(
            ["", "1", "0s", "s", "2h", "-1s", "1.5s", "99999999999999999999s", "2d"].iter().all(|t| time(t).is_err())
        );
        assert_eq!(asked_type("https").ok(), Some(65));
        assert!(["OPT", "AXFR", "0", "x"].iter().all(|text| asked_type(text).is_err()));
    }
}
