//! `cache.size` is what the cache takes of real memory, whatever is kept in it. Each kind of answers is measured in a
//! process of its own: everything that takes is the cache's.

use std::fs;
use std::process::Command;

use qalqan::cache::{Cache, Key, Settings};
use qalqan::name::Name;
use qalqan::util::UnixTime;
use qalqan::wire;

/// What `cache.size` says.
const SIZE: usize = 64 << 20;
/// Tells the process of its own what to measure.
const KIND: &str = "QALQAN_TEST_CACHE_KIND";

/// A kind of answers: how many are kept one after the other, and the `number`-th of them.
type Kind = (&'static str, u32, fn(u32) -> Kept);

/// An answer to be kept.
struct Kept {
    name: String,
    qtype: u16,
    rcode: u8,
    /// Section, type and data of each record.
    records: Vec<(usize, u16, Vec<u8>)>,
}

/// Each fills the cache several times over.
const KINDS: [Kind; 6] = [
    ("of many sizes", 600_000, |number| Kept::text(number, spread(number, 400))),
    ("small", 800_000, |number| Kept::address(format!("n{number}.example.test"), 1)),
    ("large", 60_000, |number| Kept::text(number, 1500 + spread(number, 6000))),
    ("negative", 700_000, |number| Kept {
        rcode: 3,
        records: vec![(1, 6, [vec![0; 18], vec![0, 0, 1, 0]].concat())],
        ..Kept::address(format!("gone-{number}.example.test"), 28)
    }),
    ("tiny", 1_200_000, |number| Kept::address(format!("{number:x}.t"), 1)),
    ("one name, all types", 600_000, |number| Kept {
        records: vec![(0, (number % 65_000 + 256) as u16, vec![7; 4])],
        ..Kept::address(format!("{:x}.t", number / 65_000), (number % 65_000 + 256) as u16)
    }),
];

impl Kept {
    /// A text of so many octets.
    fn text(number: u32, len: usize) -> Self {
        let mut data = vec![7; len];
        data.chunks_mut(256).for_each(|chunk| chunk[0] = (chunk.len() - 1) as u8);
        Self { name: format!("n{number}.example.test"), qtype: 16, rcode: 0, records: vec![(0, 16, data)] }
    }

    /// An address.
    fn address(name: String, qtype: u16) -> Self {
        Self { name, qtype, rcode: 0, records: vec![(0, 1, vec![192, 0, 2, 1])] }
    }

    /// Name on the wire and the message.
    fn message(&self) -> (Name, Vec<u8>) {
        let name = Name::parse(&self.name).expect("a name");
        let mut answer = wire::question(name.wire(), self.qtype);
        (answer[2], answer[3]) = (0x81, 0x80 | self.rcode);
        for (section, rtype, data) in &self.records {
            answer[7 + 2 * section] += 1;
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&rtype.to_be_bytes());
            answer.extend_from_slice(&[0, 1, 0, 0, 1, 0]);
            answer.extend_from_slice(&(data.len() as u16).to_be_bytes());
            answer.extend_from_slice(data);
        }
        (name, answer)
    }
}

/// A number below `end` without a pattern.
fn spread(number: u32, end: u32) -> usize {
    ((number.wrapping_mul(2_654_435_761) >> 16) % end) as usize
}

/// Octets of memory that belong to this process alone.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line of it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") * 1024
}

#[test]
fn the_size_is_kept_to_within_a_tenth_of_real_memory() {
    let program = std::env::current_exe().expect("this program");
    for (kind, _, _) in KINDS {
        let mut run = Command::new(&program);
        let run = run.args(["--exact", "--ignored", "--nocapture", "measures_one_kind"]).env(KIND, kind);
        let run = run.output().expect("it starts");
        let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success() && said.contains("of memory taken"), "{kind}: {said}");
        eprint!("{}", String::from_utf8_lossy(&run.stderr));
    }
}

#[test]
#[ignore = "runs in a process of its own, started by the test above"]
fn measures_one_kind() {
    let wanted = std::env::var(KIND).expect("the test above says which");
    let (_, count, make) = KINDS.into_iter().find(|(kind, _, _)| *kind == wanted).expect("one of them");
    let settings = Settings {
        size: SIZE,
        min_ttl: 0,
        max_ttl: 3600,
        max_negative_ttl: 3600,
        servfail_ttl: 5,
        stale: 3600,
        stale_after: std::time::Duration::from_millis(1800),
    };
    let before = resident();
    let cache = Cache::new(&settings).expect("a size");
    for number in 0..count {
        let kept = make(number);
        let (name, answer) = kept.message();
        let key =
            Key { name: name.wire(), qtype: kept.qtype, dnssec_ok: false, checking_disabled: false, excepted: false };
        assert!(cache.insert(&key, &answer, 0, 0, UnixTime(1)));
        if number % 5 == 0 {
            // Some are asked for again, so that both queues are in use.
            assert!(cache.insert(&key, &answer, 0, 0, UnixTime(1)));
        }
    }
    let fill = cache.fill();
    let taken = resident() - before;
    eprintln!("{wanted}: {fill:?}, {taken} octets of memory taken, {:.2} of the size", taken as f64 / SIZE as f64);
    assert!(fill.evicted > 0, "full");
    assert!(fill.bytes <= SIZE && fill.bytes > SIZE * 9 / 10, "{fill:?}");
    assert!(taken < SIZE * 11 / 10 && taken > SIZE * 9 / 10, "{taken} octets of memory for {SIZE}: {fill:?}");
}
