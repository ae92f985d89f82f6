//! A rank list: the domains so many people use that a block of one is more likely a mistake.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use foldhash::fast::RandomState;

use super::suffix::registrable;
use crate::name::NameBuf;

/// No line of a rank list is longer.
const MAX_LINE: u64 = 4096;
/// A file with so many lines before the names wanted are together is no rank list.
const MAX_LINES: usize = 20_000_000;

/// The registrable domains of the first names of a rank list, each with the rank of its first name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Popular {
    ranks: HashMap<Box<[u8]>, u32, RandomState>,
    names: u32,
}

impl Popular {
    /// Reads `1,google.com`, `1;google.com` or `google.com`, one a line and the most popular first, until `top` names are
    /// together. A header, comments and what is no name are passed over.
    ///
    /// # Errors
    /// The file cannot be read, is no text, or holds no name.
    pub fn read(mut from: impl BufRead, top: u32) -> io::Result<Self> {
        let mut popular = Self::default();
        let mut line = Vec::new();
        let mut name = NameBuf::new();
        for _ in 0..MAX_LINES {
            if popular.names >= top {
                break;
            }
            line.clear();
            if from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.contains(&0) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not text; unpack it if it is an archive"));
            }
            let Some(text) = str::from_utf8(&line).ok().map(|text| text.trim_start_matches('\u{feff}')) else {
                continue;
            };
            let field = text.trim().rsplit([',', ';', '\t']).next().unwrap_or_default().trim_matches(['"', ' ']);
            // `domain` as the head of a column, and the top-level domains some rank lists have, are no domains.
            if field.starts_with('#') || !field.contains('.') || name.parse(field).is_err() {
                continue;
            }
            popular.names += 1;
            if let Some(domain) = registrable(name.wire()) {
                popular.ranks.entry(domain.into()).or_insert(popular.names);
            }
        }
        if popular.names == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "no name in it; a line is `1,example.com` or `example.com`",
            ));
        }
        Ok(popular)
    }

    /// The rank of a registrable domain, from 1.
    pub(super) fn rank(&self, domain: &[u8]) -> Option<u32> {
        self.ranks.get(domain).copied()
    }

    /// How many names of the file were taken.
    pub fn names(&self) -> u32 {
        self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(text: &str, top: u32, name: &str) -> Option<u32> {
        let name = crate::name::Name::parse(name).expect("a name");
        Popular::read(text.as_bytes(), top).expect("a rank list").rank(name.wire())
    }

    #[test]
    fn every_way_to_write_a_rank_list() {
        let tranco = "1,google.com\r\n2,mail.ru\r\n3,www.example.co.uk\r\n";
        assert_eq!(rank(tranco, 10, "mail.ru"), Some(2));
        assert_eq!(rank(tranco, 10, "example.co.uk"), Some(3));
        assert_eq!(rank(tranco, 2, "example.co.uk"), None, "only the top counts");
        let umbrella = "1,com\n2,api.netflix.com\n3,netflix.com\n4,myshopify.com\n";
        assert_eq!(rank(umbrella, 10, "netflix.com"), Some(1), "top-level domains are not counted");
        assert_eq!(rank(umbrella, 10, "myshopify.com"), None, "a public suffix is nobody's domain");
        let plain = "\u{feff}# Top\n\nGoogle.com\nбиржа.example\n\u{0}";
        assert!(Popular::read(plain.as_bytes(), 10).is_err());
        assert_eq!(rank(&plain[..plain.len() - 1], 10, "xn--80abph4b.example"), Some(2));
        assert_eq!(rank("rank;domain\n\"1\";\"a.example\"\n", 10, "a.example"), Some(1));
    }

    #[test]
    fn what_is_no_rank_list_is_refused_in_bounds() {
        let long = "x".repeat(100_000);
        for text in ["", "\n\n", "domain\n", "<html>\n<body>no such page</body>\n", "PK\u{3}\u{4}\0\0", &long] {
            assert!(Popular::read(text.as_bytes(), 10).is_err(), "{}", &text[..text.len().min(20)]);
        }
    }

    #[test]
    fn a_million_lines_keep_only_the_top() {
        let lines = (1..=1_000_000).map(|rank| format!("{rank},d{rank}.example\n")).collect::<String>();
        let popular = Popular::read(lines.as_bytes(), 10_000).expect("a rank list");
        assert_eq!((popular.ranks.len(), popular.names()), (10_000, 10_000));
    }
}
