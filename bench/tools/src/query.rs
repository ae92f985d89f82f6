//! Queries made at start and answers judged.

use crate::args::Result;

/// What an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The sinkhole: 0.0.0.0.
    Blocked,
    /// An address that is not the sinkhole's.
    Passed,
}

/// A query ready to be sent but for its ID.
#[derive(Debug)]
pub struct Query {
    /// The message.
    pub wire: Vec<u8>,
    /// Where the question ends.
    pub question_end: usize,
    /// What must come back.
    pub expect: Expect,
    /// Whether the first label (twelve letters) is to be new each time.
    pub fresh: bool,
}

/// Letters of a label that is new each time.
pub const FRESH: usize = 12;

impl Query {
    /// A line of the file of names: `b NAME` blocked, `p NAME` passed, `m NAME` a new name below NAME each time.
    pub fn parse(line: &str, edns: bool) -> Result<Self> {
        let (kind, name) = line.split_once(' ').ok_or("a line is not: b|p|m NAME")?;
        let (expect, fresh) = match kind {
            "b" => (Expect::Blocked, false),
            "p" => (Expect::Passed, false),
            "m" => (Expect::Passed, true),
            _ => return Err(format!("{line}: begins with neither b, p nor m").into()),
        };
        let mut wire = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
        if fresh {
            wire.push(FRESH as u8);
            wire.extend([b'a'; FRESH]);
        }
        for label in name.split('.') {
            wire.push(u8::try_from(label.len())?);
            wire.extend(label.as_bytes());
        }
        wire.extend([0, 0, 1, 0, 1]);
        let question_end = wire.len();
        if edns {
            wire.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
        }
        Ok(Self { wire, question_end, expect, fresh })
    }

    /// Whether `answer` is what is expected. An echo is taken as it comes, as the yardstick judges nothing.
    pub fn fits(&self, answer: &[u8]) -> bool {
        let [_, _, high, low, _, _, count_high, count_low, ..] = answer else { return false };
        if high & 0x80 == 0 || low & 0x0f != 0 || (*count_high, *count_low) == (0, 0) {
            return false;
        }
        // Owner names of answers are pointers or the name again; an alias would not fit, and none is expected.
        let Some(rest) = answer.get(self.question_end..) else { return false };
        let owner = match rest.first() {
            Some(length) if length & 0xc0 == 0xc0 => 2,
            _ => self.question_end - 16,
        };
        match rest.get(owner..owner + 14) {
            Some([0, 1, 0, 1, _, _, _, _, 0, 4, a, b, c, d]) => {
                (self.expect == Expect::Blocked) == ([*a, *b, *c, *d] == [0; 4])
            }
            _ => false,
        }
    }
}

/// Writes a number as letters, for a name never asked before.
pub fn freshen(label: &mut [u8], mut number: u64) {
    for letter in label.iter_mut().rev() {
        *letter = b'a' + (number % 26) as u8;
        number /= 26;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to `query` with one address.
    fn answer(query: &Query, address: [u8; 4]) -> Vec<u8> {
        let mut answer = query.wire[..query.question_end].to_vec();
        answer[2] |= 0x80;
        answer[7] = 1;
        answer[11] = 0;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4]);
        answer.extend(address);
        answer
    }

    #[test]
    fn answers_are_judged() {
        let blocked = Query::parse("b www.example.com", true).unwrap();
        let passed = Query::parse("p www.example.com", true).unwrap();
        assert!(blocked.fits(&answer(&blocked, [0; 4])));
        assert!(!blocked.fits(&answer(&blocked, [192, 0, 2, 1])));
        assert!(passed.fits(&answer(&passed, [192, 0, 2, 1])));
        assert!(!passed.fits(&answer(&passed, [0; 4])));
        let mut refused = answer(&passed, [192, 0, 2, 1]);
        refused[3] = 5;
        assert!(!passed.fits(&refused));
        assert!(!passed.fits(&passed.wire), "a query is no answer");
        assert!(!passed.fits(&[]));
    }

    #[test]
    fn fresh_labels_differ() {
        let (mut one, mut two) = ([0; FRESH], [0; FRESH]);
        freshen(&mut one, 675);
        freshen(&mut two, 676);
        assert_eq!(&one[9..], b"azz");
        assert_eq!(&two[9..], b"baa");
    }
}
