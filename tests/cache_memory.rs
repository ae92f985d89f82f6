//! `cache.size` is what the cache takes of real memory. A process of its own: everything it takes is the cache's.

use std::fs;

use qalqan::cache::{Cache, Key, Settings};
use qalqan::name::Name;
use qalqan::util::UnixTime;
use qalqan::wire;

/// Octets of memory that belong to this process alone.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("a line of it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number") * 1024
}

#[test]
fn the_size_is_kept_to_within_a_tenth_of_real_memory() {
    const SIZE: usize = 64 << 20;
    let settings = Settings {
        size: SIZE,
        min_ttl: 0,
        max_ttl: 3600,
        max_negative_ttl: 3600,
        servfail_ttl: 5,
        stale: 3600,
        stale_after: std::time::Duration::from_millis(1800),
    };
    let cache = Cache::new(&settings).expect("a size");
    let before = resident();
    for number in 0..600_000_u32 {
        let name = Name::parse(&format!("n{number}.example.test")).expect("a name");
        let mut answer = wire::question(name.wire(), 16);
        (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
        answer.extend_from_slice(&[0xc0, 12, 0, 16, 0, 1, 0, 0, 1, 0]);
        // Of many sizes, as answers are.
        let len = (number.wrapping_mul(2_654_435_761) >> 16) % 400;
        answer.extend_from_slice(&(len as u16).to_be_bytes());
        answer.resize(answer.len() + len as usize, 7);
        let key = Key { name: name.wire(), qtype: 16, dnssec_ok: false, checking_disabled: false, excepted: false };
        assert!(cache.insert(&key, &answer, 0, 0, UnixTime(1)));
        if number % 5 == 0 {
            // Some are asked for again, so that both queues are in use.
            assert!(cache.insert(&key, &answer, 0, 0, UnixTime(1)));
        }
    }
    let fill = cache.fill();
    assert!(fill.bytes <= SIZE && fill.bytes > SIZE * 9 / 10, "{fill:?}");
    let taken = resident() - before;
    eprintln!("{fill:?}, {taken} octets of memory taken");
    assert!(taken < SIZE * 11 / 10 && taken > SIZE * 7 / 10, "{taken} octets of memory for {SIZE}: {fill:?}");
}
