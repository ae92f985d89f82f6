//! Server cookies (RFC 7873) as all servers make them (RFC 9018): a client that was seen under its address before proves it.

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;

use rand::rngs::StdRng;
use rand::{Rng, make_rng};
use siphasher::sip::SipHasher24;

/// Octets of a client cookie.
pub const CLIENT_COOKIE: usize = 8;
/// Octets of a server cookie of version 1: version, three reserved, time, hash.
pub const SERVER_COOKIE: usize = 16;
/// A cookie lives for an hour (RFC 9018 section 4.3) …
const PAST: i32 = 3600;
/// … may be from a server whose clock goes before …
const FUTURE: i32 = 300;
/// … and is replaced after half its time.
const RENEW: i32 = 1800;
/// The version that all servers know.
const VERSION: u8 = 1;

/// What a query's cookie shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The client has no server cookie yet.
    New,
    /// A server that has one of our secrets made it for this address, not long ago.
    Valid,
    /// Such a server made it, but too long ago, or its time is still to come.
    Expired,
    /// No such server made it for this address.
    Wrong,
}

/// A secret of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// From its octets.
    pub fn new(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// From 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let mut octets = [0; 16];
        for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
            *octet = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(octets))
    }

    /// The secret of this process, by chance; the same at each call.
    pub fn of_this_process() -> Self {
        static OURS: OnceLock<Secret> = OnceLock::new();
        *OURS.get_or_init(|| {
            let mut octets = [0; 16];
            make_rng::<StdRng>().fill_bytes(&mut octets);
            Self(octets)
        })
    }

    /// The hash of everything before it in the cookie, and of the client's address.
    fn hash(&self, client: &[u8; CLIENT_COOKIE], front: &[u8; 8], address: IpAddr) -> [u8; 8] {
        let mut input = [0; CLIENT_COOKIE + 8 + 16];
        input[..8].copy_from_slice(client);
        input[8..16].copy_from_slice(front);
        let len = match address {
            IpAddr::V4(v4) => {
                input[16..20].copy_from_slice(&v4.octets());
                20
            }
            IpAddr::V6(v6) => {
                input[16..].copy_from_slice(&v6.octets());
                32
            }
        };
        SipHasher24::new_with_key(&self.0).hash(&input[..len]).to_le_bytes()
    }
}

/// Makes cookies, and knows those made with the same secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookies {
    current: Secret,
    other: Option<Secret>,
}

impl Cookies {
    /// Cookies are made with `current`; those made with `other`, which was or will be the current one, are good too.
    pub fn new(current: Secret, other: Option<Secret>) -> Self {
        Self { current, other }
    }

    /// A server cookie for this client.
    pub fn make(&self, client: &[u8; CLIENT_COOKIE], address: IpAddr, now: u32) -> [u8; SERVER_COOKIE] {
        let mut front = [VERSION, 0, 0, 0, 0, 0, 0, 0];
        front[4..].copy_from_slice(&now.to_be_bytes());
        let mut cookie = [0; SERVER_COOKIE];
        cookie[..8].copy_from_slice(&front);
        cookie[8..].copy_from_slice(&self.current.hash(client, &front, address.to_canonical()));
        cookie
    }

    /// What the server cookie that came with a query shows, and the one to answer with: the same while it is young.
    pub fn judge(
        &self,
        client: &[u8; CLIENT_COOKIE],
        server: &[u8],
        address: IpAddr,
        now: u32,
    ) -> (Standing, [u8; SERVER_COOKIE]) {
        let renewed = || self.make(client, address, now);
        if server.is_empty() {
            return (Standing::New, renewed());
        }
        let Ok(server) = <&[u8; SERVER_COOKIE]>::try_from(server) else { return (Standing::Wrong, renewed()) };
        // The reserved octets belong to what is hashed, whatever they are (RFC 9018 section 4.2).
        let (Some(front), Some(hash)) = (server.first_chunk::<8>(), server.last_chunk::<8>()) else {
            return (Standing::Wrong, renewed());
        };
        let ours = |secret: &Secret| secret.hash(client, front, address.to_canonical()) == *hash;
        if front[0] != VERSION || !(ours(&self.current) || self.other.as_ref().is_some_and(ours)) {
            return (Standing::Wrong, renewed());
        }
        // Serial numbers (RFC 1982): right also when the seconds of 32 bits begin anew.
        let age = now.wrapping_sub(u32::from_be_bytes([front[4], front[5], front[6], front[7]])) as i32;
        if !(-FUTURE..=PAST).contains(&age) {
            return (Standing::Expired, renewed());
        }
        (Standing::Valid, if age <= RENEW { *server } else { renewed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Octets written in hexadecimal.
    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
        digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
    }

    fn secret(text: &str) -> Secret {
        Secret::parse(text).expect("32 digits")
    }

    /// A whole cookie as it came, judged, and the whole cookie to answer with.
    fn judge(cookies: Cookies, cookie: &str, client: &str, now: u32) -> (Standing, String) {
        let bytes = hex(cookie);
        let (own, server) = bytes.split_first_chunk::<8>().expect("a client cookie");
        let (standing, made) = cookies.judge(own, server, client.parse().expect("an address"), now);
        (standing, [&own[..], &made].concat().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// RFC 9018 appendix A.
    #[test]
    fn the_vectors_of_the_standard() {
        let one = Cookies::new(secret("e5e973e5a6b2a43f48e7dc849e37bfcf"), None);
        let first = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
        let client = "198.51.100.100";
        // A.1: a new cookie; A.2: the same client forty minutes later.
        let new = judge(one, "2464c4abcf10c957", client, 1_559_731_985);
        assert_eq!(new, (Standing::New, first.into()));
        let renewed = "2464c4abcf10c957010000005cf7a871d4a564a1442aca77";
        assert_eq!(judge(one, first, client, 1_559_734_385), (Standing::Valid, renewed.into()));
        // A.3: reserved octets that are not zero; the cookie is right but, two hours old, no longer good.
        let reserved = "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5";
        let renewed = "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e";
        assert_eq!(judge(one, reserved, "203.0.113.203", 1_559_734_700), (Standing::Expired, renewed.into()));
        let then = judge(one, reserved, "203.0.113.203", 0x5cf7_8f71);
        assert_eq!(then, (Standing::Valid, reserved.into()), "sent back as it is while it is young");
        // A.4: IPv6, and another secret since.
        let both =
            Cookies::new(secret("445536bcd2513298075a5d379663c962"), Some(secret("dd3bdf9344b678b185a6f5cb60fca715")));
        let (client, old) = ("2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8");
        assert_eq!(judge(both, old, client, 1_559_741_961), (Standing::Valid, old.into()));
        let renewed = "22681ab97d52c298010000005cf7c609a6bb79d16625507a";
        assert_eq!(judge(both, "22681ab97d52c298", client, 1_559_741_961), (Standing::New, renewed.into()));
        assert_eq!(judge(one, old, client, 1_559_741_961).0, Standing::Wrong, "neither secret is that one");
    }

    #[test]
    fn a_cookie_is_good_for_its_time_its_client_and_its_address() {
        let cookies = Cookies::new(Secret::new([7; 16]), None);
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for made in [1_700_000_000, 100, u32::MAX - 5] {
            let cookie = cookies.make(&[1; 8], address("192.0.2.1"), made);
            let at = |seconds: u32| cookies.judge(&[1; 8], &cookie, address("192.0.2.1"), made.wrapping_add(seconds));
            for seconds in [0, 1800, 300_u32.wrapping_neg()] {
                assert_eq!(at(seconds), (Standing::Valid, cookie), "made {made}, {seconds} later");
            }
            for seconds in [1801, 3600] {
                let (standing, renewed) = at(seconds);
                assert!(standing == Standing::Valid && renewed != cookie, "made {made}, {seconds} later");
            }
            for seconds in [3601, 301_u32.wrapping_neg(), 1 << 31] {
                let (standing, renewed) = at(seconds);
                assert!(standing == Standing::Expired && renewed != cookie, "made {made}, {seconds} later");
            }
        }
        let cookie = cookies.make(&[1; 8], address("192.0.2.1"), 100);
        let standing =
            |client: &[u8; 8], cookie: &[u8], text: &str| cookies.judge(client, cookie, address(text), 100).0;
        assert_eq!(standing(&[1; 8], &cookie, "::ffff:192.0.2.1"), Standing::Valid, "one address, one cookie");
        assert_eq!(standing(&[2; 8], &cookie, "192.0.2.1"), Standing::Wrong);
        assert_eq!(standing(&[1; 8], &cookie, "192.0.2.2"), Standing::Wrong);
        assert_eq!(standing(&[1; 8], &cookie, "2001:db8::1"), Standing::Wrong);
        assert_eq!(standing(&[1; 8], &cookie[..15], "192.0.2.1"), Standing::Wrong);
        assert_eq!(standing(&[1; 8], &[], "192.0.2.1"), Standing::New);
    }

    #[test]
    fn a_secret_is_32_digits_and_not_shown() {
        assert_eq!(
            Secret::parse("000102030405060708090a0b0c0d0e0F"),
            Some(Secret::new(std::array::from_fn(|at| at as u8)))
        );
        for wrong in [
            "",
            "00",
            "g00102030405060708090a0b0c0d0e0f",
            "+00102030405060708090a0b0c0d0e0f",
            "ä0102030405060708090a0b0c0d0e0f",
        ] {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Secret::of_this_process(), Secret::of_this_process());
        assert_ne!(Secret::of_this_process(), Secret::new([0; 16]));
        assert_eq!(format!("{:?}", Secret::new([1; 16])), "Secret(…)");
    }

    proptest! {
        #[test]
        fn one_changed_bit_makes_it_wrong(bit in 0..128_usize, now in any::<u32>(), client in any::<[u8; 8]>()) {
            let cookies = Cookies::new(Secret::new([9; 16]), Some(Secret::new([8; 16])));
            let address = IpAddr::from([192, 0, 2, 1]);
            let mut cookie = cookies.make(&client, address, now);
            prop_assert_eq!(cookies.judge(&client, &cookie, address, now), (Standing::Valid, cookie));
            cookie[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(cookies.judge(&client, &cookie, address, now).0, Standing::Wrong);
        }
    }
}
