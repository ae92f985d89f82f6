//! What is sent of a client: text, and a keyed hash by which distinct clients are counted.

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::row::push_text;
use crate::fetch::{FetchError, secret};
use crate::hits::Clients;
use crate::util::{Digest, Hasher, Zone};

/// Clients whose columns are remembered; each has one place.
const REMEMBERED: usize = 512;
/// A shorter text in `key_file` is no secret.
const SHORTEST_KEY: usize = 16;

/// The secret behind the hashes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    secret: Digest,
    /// By which people can see whether two servers have the same.
    pub(super) fingerprint: Box<str>,
}

impl Key {
    /// From `key_file`, or made up for this run.
    pub(super) fn read(file: Option<&Path>) -> Result<Self, FetchError> {
        let Some(path) = file else {
            // std seeds each thread's hashers with 128 bits from the system; that is this key's strength.
            let seed = RandomState::new();
            let bytes: Vec<u8> = (0..4_u8).flat_map(|part| seed.hash_one(part).to_be_bytes()).collect();
            return Ok(Self::of(&bytes));
        };
        let text = secret("key_file", path)?;
        if text.len() < SHORTEST_KEY {
            let why = format!("a key has at least {SHORTEST_KEY} characters; make one with: openssl rand -hex 32");
            return Err(FetchError::File { key: "key_file", path: path.to_owned(), why });
        }
        Ok(Self::of(text.as_bytes()))
    }

    /// From what nobody else knows.
    fn of(secret: &[u8]) -> Self {
        let fingerprint = format!("{:.16}", digest(&[b"qalqan key", secret]));
        Self { secret: digest(&[b"qalqan clients", secret]), fingerprint: fingerprint.into() }
    }

    /// That of a day: hashes of different days cannot be joined without the secret.
    fn of_day(&self, day: i64) -> Digest {
        digest(&[b"day", &self.secret.0, &day.to_be_bytes()])
    }
}

/// SHA-256 over parts whose number and, but for the last, length is fixed.
fn digest(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

/// Makes the columns `client` and `who`.
pub(super) struct Who {
    clients: Clients,
    key: Key,
    zone: Zone,
    /// The key of the day at hand, and its first and last second.
    day: (Digest, i64, i64),
    known: Box<[(Option<IpAddr>, Vec<u8>)]>,
}

impl Who {
    /// With nothing remembered.
    pub(super) fn new(clients: Clients, key: Key, zone: Zone) -> Self {
        Self { clients, key, zone, day: (Digest::ZERO, 1, 0), known: vec![(None, Vec::new()); REMEMBERED].into() }
    }

    /// Appends them for a client at a second since 1970.
    pub(super) fn push(&mut self, client: IpAddr, second: i64, out: &mut Vec<u8>) {
        if !(self.day.1..=self.day.2).contains(&second) {
            self.day = self.day_of(second);
            self.known.iter_mut().for_each(|known| known.0 = None);
        }
        let client = client.to_canonical();
        let (clients, key) = (self.clients, &self.day.0);
        let Some(known) = self.known.get_mut(place(client)) else { return };
        if known.0 != Some(client) {
            known.0 = Some(client);
            known.1.clear();
            columns(clients, key, client, &mut known.1);
        }
        out.extend_from_slice(&known.1);
    }

    /// The key of the day a second is in, by the operator's calendar, and the seconds it holds for.
    fn day_of(&self, second: i64) -> (Digest, i64, i64) {
        let (day, minutes) = self.zone.day(second.div_euclid(60));
        (self.key.of_day(day), minutes.start.saturating_mul(60), minutes.end.saturating_mul(60) - 1)
    }
}

/// The columns of a client.
fn columns(clients: Clients, key: &Digest, client: IpAddr, out: &mut Vec<u8>) {
    if clients == Clients::None {
        push_text("", out);
        out.extend_from_slice(&0_u64.to_le_bytes());
        return;
    }
    let who = match client {
        IpAddr::V4(v4) => digest(&[&key.0, &v4.octets()]),
        IpAddr::V6(v6) => digest(&[&key.0, &v6.octets()]),
    };
    let who = who.0.first_chunk().map_or(1, |bytes| u64::from_be_bytes(*bytes)).max(1);
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match (clients, client) {
        (Clients::None, _) => Ok(()),
        (Clients::Full, _) => write!(text, "{client}"),
        (Clients::Hash, _) => write!(text, "{who:016x}"),
        (Clients::Truncate, IpAddr::V4(v4)) => {
            write!(text, "{}/24", Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << 8)))
        }
        (Clients::Truncate, IpAddr::V6(v6)) => {
            write!(text, "{}/56", Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 72)))
        }
    };
    push_text(&text, out);
    out.extend_from_slice(&who.to_le_bytes());
}

/// Where a client is remembered. Who chooses addresses can only make himself be made anew each time.
fn place(client: IpAddr) -> usize {
    let bits = match client {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ v6.to_bits() as u64,
    };
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - REMEMBERED.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_795_521_600;

    fn who(clients: Clients, key: &Key) -> Who {
        Who::new(clients, key.clone(), Zone::utc())
    }

    /// Text and hash.
    fn shown(who: &mut Who, client: &str, second: i64) -> (String, u64) {
        let mut out = Vec::new();
        who.push(client.parse().expect("an address"), second, &mut out);
        let (text, hash) = out.split_at(out.len() - 8);
        assert_eq!(usize::from(text[0]), text.len() - 1);
        (String::from_utf8(text[1..].to_vec()).expect("text"), u64::from_le_bytes(hash.try_into().expect("eight")))
    }

    fn key_of(text: &str) -> Result<Key, FetchError> {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("key"), text).expect("written");
        Key::read(Some(&dir.path().join("key")))
    }

    #[test]
    fn as_much_is_sent_as_allowed() {
        let key = Key::read(None).expect("made up");
        let of = |clients, client| shown(&mut who(clients, &key), client, NOON);
        assert_eq!(of(Clients::Full, "::ffff:192.0.2.77").0, "192.0.2.77");
        assert_eq!(of(Clients::Truncate, "192.0.2.77").0, "192.0.2.0/24");
        assert_eq!(of(Clients::Truncate, "2001:db8:1:2ff:3::4").0, "2001:db8:1:200::/56");
        assert_eq!(of(Clients::None, "192.0.2.77"), (String::new(), 0));
        let (text, hash) = of(Clients::Hash, "192.0.2.77");
        assert_eq!(text, format!("{hash:016x}"));
        assert_eq!(hash, of(Clients::Truncate, "192.0.2.77").1, "of the whole address in every mode");
        assert_ne!(hash, of(Clients::Truncate, "192.0.2.78").1);
    }

    #[test]
    fn a_fleet_with_one_key_agrees_and_another_day_is_another_hash() {
        let key = key_of("0123456789abcdef\n").expect("a key");
        let same = key_of("0123456789abcdef").expect("a key");
        assert!(key == same && key.fingerprint.len() == 16);
        let mut one = who(Clients::Full, &key);
        let hash = shown(&mut one, "192.0.2.1", NOON).1;
        assert_eq!(shown(&mut who(Clients::Hash, &same), "192.0.2.1", NOON + 3600).1, hash);
        assert_ne!(shown(&mut one, "192.0.2.1", NOON + 86_400).1, hash);
        assert_eq!(shown(&mut one, "192.0.2.1", NOON).1, hash, "a clock set back");
        let other = Key::read(None).expect("made up");
        assert_ne!(other.fingerprint, key.fingerprint);
        assert_ne!(shown(&mut who(Clients::Full, &other), "192.0.2.1", NOON).1, hash);
        assert!(key_of("short").is_err_and(|error| error.to_string().contains("16 characters")));
        assert!(key_of("").is_err());
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let key = key_of("0123456789abcdef").expect("a key");
        let mut far = Who::new(Clients::Full, key, Zone::find("+05:00").expect("a zone"));
        // 2026-11-24T19:00:00Z is midnight there.
        let midnight = NOON + 7 * 3600;
        let before = shown(&mut far, "192.0.2.1", midnight - 1).1;
        assert_eq!(shown(&mut far, "192.0.2.1", NOON).1, before);
        assert_ne!(shown(&mut far, "192.0.2.1", midnight).1, before);
        for second in [i64::MIN, -1, i64::MAX] {
            shown(&mut far, "192.0.2.1", second);
        }
    }
}
