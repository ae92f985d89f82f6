//! What a certificate says of itself: for which names, from when until when, and with which key.

use data_encoding::BASE64;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

use crate::util::{Digest, UnixTime};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// The certificate that is shown, without those above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The DNS names it is for, in its order.
    pub names: Vec<String>,
    /// Valid from …
    pub from: UnixTime,
    /// … until.
    pub until: UnixTime,
    /// SHA-256 of its public key, in base64: what clients pin (RFC 7858 appendix A).
    pub pin: String,
}

/// Whether it can be used at a moment, from well to badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// For more than two weeks.
    Good,
    /// For two weeks or less.
    EndsSoon,
    /// For three days or less.
    EndsNow,
    /// Not yet.
    NotYet,
    /// No more.
    Expired,
}

impl Leaf {
    /// Reads DER.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(der: &[u8]) -> Result<Self, x509_cert::der::Error> {
        let certificate = Certificate::from_der(der)?;
        let body = certificate.tbs_certificate();
        let names = body.get_extension::<SubjectAltName>()?.map(|(_, names)| names.0).unwrap_or_default();
        let dns = names.iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
            _ => None,
        });
        let seconds = |time: Time| UnixTime(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX));
        let key = Digest::of(&body.subject_public_key_info().to_der()?);
        Ok(Self {
            names: dns.collect(),
            from: seconds(body.validity().not_before),
            until: seconds(body.validity().not_after),
            pin: BASE64.encode(&key.0),
        })
    }

    /// The first name it is for that is one, not a pattern of many.
    pub fn name(&self) -> Option<&str> {
        self.names.iter().map(String::as_str).find(|name| !name.contains('*'))
    }

    /// How it stands at a moment.
    pub fn standing(&self, now: UnixTime) -> Standing {
        match self.until.0.saturating_sub(now.0) {
            left if left < 0 => Standing::Expired,
            _ if now < self.from => Standing::NotYet,
            left if left <= 3 * DAY => Standing::EndsNow,
            left if left <= 14 * DAY => Standing::EndsSoon,
            _ => Standing::Good,
        }
    }

    /// Whole days it is valid yet; negative: has not been valid for.
    pub fn days(&self, now: UnixTime) -> i64 {
        self.until.0.saturating_sub(now.0).div_euclid(DAY)
    }

    /// What is to be said of it, if anything.
    pub fn remark(&self, now: UnixTime) -> Option<String> {
        let (until, from) = (day(self.until), day(self.from));
        match self.standing(now) {
            Standing::Good => None,
            Standing::EndsSoon | Standing::EndsNow => match self.days(now) {
                0 => Some(format!("the certificate expires within a day, on {until}: renew it")),
                1 => Some(format!("the certificate expires in 1 day, on {until}: renew it")),
                days => Some(format!("the certificate expires in {days} days, on {until}: renew it")),
            },
            Standing::NotYet => {
                Some(format!("the certificate is not valid before {from}: clients refuse it until then"))
            }
            Standing::Expired => Some(format!("the certificate expired on {until}: clients refuse it; renew it")),
        }
    }
}

/// A moment as a day, or as seconds where there is no such day.
fn day(time: UnixTime) -> String {
    match jiff::Timestamp::from_second(time.0) {
        Ok(moment) => moment.strftime("%Y-%m-%d").to_string(),
        Err(_) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_stands_well_until_two_weeks_before_its_end() {
        let leaf = Leaf { names: Vec::new(), from: UnixTime(1_000), until: UnixTime(100 * DAY), pin: String::new() };
        for (now, standing, says) in [
            (999, Standing::NotYet, Some("not valid before 1970-01-01")),
            (1_000, Standing::Good, None),
            (86 * DAY - 1, Standing::Good, None),
            (86 * DAY, Standing::EndsSoon, Some("in 14 days, on 1970-04-11")),
            (97 * DAY, Standing::EndsNow, Some("in 3 days")),
            (99 * DAY, Standing::EndsNow, Some("in 1 day,")),
            (99 * DAY + 1, Standing::EndsNow, Some("within a day")),
            (100 * DAY, Standing::EndsNow, Some("within a day")),
            (100 * DAY + 1, Standing::Expired, Some("expired on 1970-04-11")),
            (i64::MAX, Standing::Expired, Some("expired")),
        ] {
            let now = UnixTime(now);
            assert_eq!(leaf.standing(now), standing, "{now}");
            let remark = leaf.remark(now);
            assert_eq!(remark.is_some(), says.is_some(), "{now}: {remark:?}");
            assert!(says.is_none_or(|says| remark.as_ref().is_some_and(|it| it.contains(says))), "{now}: {remark:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        for der in [&b""[..], b"0", &[0x30, 0x82, 0xff, 0xff], &[0x30; 100]] {
            assert!(Leaf::read(der).is_err());
        }
    }
}
