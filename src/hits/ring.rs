//! A ring between one worker and the writer: hits as words of 64 bits, without a lock and without an allocation a hit.
//!
//! A hit of a name of 20 octets takes 56 octets here, so what two threads hand over through the processor's caches is a
//! line a hit. One end writes words and then moves `head`, the other reads them and then moves `tail`; words are atomics
//! only because two threads touch them, and their order comes from these two positions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;

use crate::event::{AnswerKind, Hit, Outcome, Transport};
use crate::name::MAX_WIRE;

/// Words in front of the names: time, the packed fields, generation, client (IPv6 takes one more).
const FRONT: usize = 4;
/// Words a name can take.
const NAME: usize = MAX_WIRE.div_ceil(8);
/// Stands for the answer of an exception, which is always the ordinary one.
const EXCEPTED: u64 = 15;
/// The low bits of the time's word that say how the query came; milliseconds of a million years have room above.
const TRANSPORT: u32 = 8;

/// The high bits of the generation's word that say which group the client is of: a million reloads a second for years
/// have room below.
const GROUP_AT: u32 = 48;

/// Bits of the packed word, above the RR type and the name's length.
mod bit {
    pub const SHADOW: u64 = 1 << 25;
    pub const V6: u64 = 1 << 26;
    pub const TARGET: u64 = 1 << 27;
    pub const ANSWER_AT: u32 = 28;
    pub const RULE_AT: u32 = 32;
    /// No set has so many rules that one would need this bit.
    pub const ALONE: u64 = 1 << 63;
}

/// What both ends hold.
#[derive(Debug)]
struct Ring {
    words: Box<[AtomicU64]>,
    /// Words written since the start.
    head: Apart,
    /// Words read since the start.
    tail: Apart,
    /// No hit comes any more.
    ended: AtomicBool,
    /// No hit is taken any more.
    closed: AtomicBool,
}

/// A position in a cache line of its own, or the two ends would slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(AtomicU64);

/// The worker's end.
#[derive(Debug)]
pub(super) struct Producer {
    ring: Arc<Ring>,
    head: u64,
    /// What the other end had read when that was looked at last.
    tail: u64,
    /// Where to look whether the writer should be woken.
    wake_at: u64,
    writer: Option<Thread>,
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Consumer {
    ring: Arc<Ring>,
    tail: u64,
}

/// Room for the names of the hit that was read last.
#[derive(Debug)]
pub(super) struct Scratch {
    name: [u8; 8 * NAME],
    target: [u8; 8 * NAME],
}

/// A ring of `words` (made a power of two). `writer` is woken when it is a quarter full.
pub(super) fn ring(words: usize, writer: Option<Thread>) -> (Producer, Consumer) {
    let ring = Arc::new(Ring {
        words: (0..words.next_power_of_two()).map(|_| AtomicU64::new(0)).collect(),
        head: Apart::default(),
        tail: Apart::default(),
        ended: AtomicBool::new(false),
        closed: AtomicBool::new(false),
    });
    let wake_at = ring.quarter();
    (Producer { ring: Arc::clone(&ring), head: 0, tail: 0, wake_at, writer }, Consumer { ring, tail: 0 })
}

impl Ring {
    /// The word at a position.
    fn word(&self, at: u64) -> &AtomicU64 {
        &self.words[at as usize & (self.words.len() - 1)]
    }

    /// How many words are a quarter of it.
    fn quarter(&self) -> u64 {
        self.words.len() as u64 / 4
    }
}

impl Producer {
    /// Hands a hit over; false if there is no room for it or nobody takes it any more.
    pub(super) fn push(&mut self, hit: &Hit<'_>) -> bool {
        let name = cut(hit.name);
        let target = hit.target.map(cut);
        let needed = FRONT + 1 + name.len().div_ceil(8) + target.map_or(0, |target| 1 + target.len().div_ceil(8));
        let room = |tail: u64| self.ring.words.len() as u64 - (self.head - tail) >= needed as u64;
        if !room(self.tail) {
            let tail = self.ring.tail.0.load(Ordering::Acquire);
            if !room(tail) {
                return false;
            }
            self.tail = tail;
        }
        if self.ring.closed.load(Ordering::Acquire) {
            return false;
        }
        let mut at = self.head;
        let mut put = |word: u64| {
            self.ring.word(at).store(word, Ordering::Relaxed);
            at += 1;
        };
        put((hit.unix_ms << TRANSPORT) as u64 | hit.transport as u64);
        put(packed(hit, name.len()));
        put(hit.generation | u64::from(hit.group) << GROUP_AT);
        match hit.client {
            IpAddr::V4(v4) => put(v4.to_bits().into()),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                put((bits >> 64) as u64);
                put(bits as u64);
            }
        }
        put_bytes(name, &mut put);
        if let Some(target) = target {
            put(target.len() as u64);
            put_bytes(target, &mut put);
        }
        self.head = at;
        self.ring.head.0.store(at, Ordering::Release);
        if at >= self.wake_at {
            self.wake();
        }
        true
    }

    /// Wakes the writer if it has left too much lying: a system call once in thousands of hits.
    #[cold]
    fn wake(&mut self) {
        let quarter = self.ring.quarter();
        self.tail = self.ring.tail.0.load(Ordering::Acquire);
        self.wake_at = self.tail + quarter;
        if self.head >= self.wake_at {
            self.wake_at = self.head + quarter;
            if let Some(writer) = &self.writer {
                writer.unpark();
            }
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.ring.ended.store(true, Ordering::Release);
    }
}

impl Consumer {
    /// Shows `take` what stands in the ring now, oldest first, and says of how many hits. `None`: it is empty and
    /// stays so.
    pub(super) fn drain(&mut self, scratch: &mut Scratch, mut take: impl FnMut(&Hit<'_>)) -> Option<usize> {
        // Looked at before the head: what the worker sent before it ended is seen then.
        let ended = self.ring.ended.load(Ordering::Acquire);
        let head = self.ring.head.0.load(Ordering::Acquire);
        let mut taken = 0;
        while self.tail < head {
            take(&self.read(scratch));
            self.ring.tail.0.store(self.tail, Ordering::Release);
            taken += 1;
        }
        (taken > 0 || !ended).then_some(taken)
    }

    /// Takes nothing any more; shows what is left.
    pub(super) fn close(&mut self, scratch: &mut Scratch, take: impl FnMut(&Hit<'_>)) {
        self.ring.closed.store(true, Ordering::Release);
        self.drain(scratch, take);
    }

    /// The hit at the tail, which is moved behind it.
    fn read<'s>(&mut self, scratch: &'s mut Scratch) -> Hit<'s> {
        let mut at = self.tail;
        let mut get = || {
            let word = self.ring.word(at).load(Ordering::Relaxed);
            at += 1;
            word
        };
        let time = get();
        let transport = Transport::ALL.get((time & ((1 << TRANSPORT) - 1)) as usize);
        let packed = get();
        let generation = get();
        let group = (generation >> GROUP_AT) as u16;
        let client = match packed & bit::V6 {
            0 => Ipv4Addr::from_bits(get() as u32).into(),
            _ => Ipv6Addr::from_bits(u128::from(get()) << 64 | u128::from(get())).into(),
        };
        let name = get_bytes((packed >> 16) as u8, &mut scratch.name, &mut get);
        let target = (packed & bit::TARGET != 0).then(|| {
            let len = get() as u8;
            get_bytes(len, &mut scratch.target, &mut get)
        });
        self.tail = at;
        let answer = packed >> bit::ANSWER_AT & 0xf;
        let outcome = match (answer, packed & bit::SHADOW) {
            (EXCEPTED, _) => Outcome::Excepted,
            (_, 0) => Outcome::Blocked,
            _ => Outcome::Shadow,
        };
        Hit {
            unix_ms: time as i64 >> TRANSPORT,
            generation: generation & ((1 << GROUP_AT) - 1),
            client,
            group,
            transport: transport.copied().unwrap_or(Transport::Udp),
            qtype: packed as u16,
            outcome,
            answer: AnswerKind::ALL.get(answer as usize).copied().unwrap_or(AnswerKind::Passed),
            rule: ((packed & !bit::ALONE) >> bit::RULE_AT) as u32,
            alone: packed & bit::ALONE != 0,
            name,
            target,
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.ring.closed.store(true, Ordering::Release);
    }
}

impl Scratch {
    /// Nothing read yet.
    pub(super) fn new() -> Self {
        Self { name: [0; 8 * NAME], target: [0; 8 * NAME] }
    }
}

/// RR type, length of the name, flags, answer, rule.
fn packed(hit: &Hit<'_>, name_len: usize) -> u64 {
    let flag = |set: bool, bit: u64| if set { bit } else { 0 };
    let answer = if hit.outcome == Outcome::Excepted { EXCEPTED } else { hit.answer as u64 };
    u64::from(hit.qtype)
        | (name_len as u64) << 16
        | flag(hit.outcome == Outcome::Shadow, bit::SHADOW)
        | flag(hit.client.is_ipv6(), bit::V6)
        | flag(hit.target.is_some(), bit::TARGET)
        | flag(hit.alone, bit::ALONE)
        | answer << bit::ANSWER_AT
        | u64::from(hit.rule) << bit::RULE_AT & !bit::ALONE
}

/// A name is never longer; a slice that is must not spoil the ring.
fn cut(name: &[u8]) -> &[u8] {
    name.get(..MAX_WIRE).unwrap_or(name)
}

/// Octets as words, the last one filled up with zeros.
fn put_bytes(bytes: &[u8], put: &mut impl FnMut(u64)) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for chunk in whole {
        put(u64::from_ne_bytes(*chunk));
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        put(u64::from_ne_bytes(last));
    }
}

/// The other way round.
fn get_bytes<'s>(len: u8, into: &'s mut [u8; 8 * NAME], get: &mut impl FnMut() -> u64) -> &'s [u8] {
    let len = usize::from(len);
    for chunk in into.as_chunks_mut::<8>().0.iter_mut().take(len.div_ceil(8)) {
        *chunk = get().to_ne_bytes();
    }
    &into[..len]
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// A hit that owns its names.
    #[derive(Clone, Debug)]
    struct Owned {
        numbers: (i64, u64, u16, u32),
        client: IpAddr,
        flags: (usize, Outcome, usize, bool),
        name: Vec<u8>,
        target: Option<Vec<u8>>,
    }

    impl Owned {
        fn hit(&self) -> Hit<'_> {
            Hit {
                unix_ms: self.numbers.0,
                generation: self.numbers.1 >> 16,
                client: self.client,
                group: self.numbers.1 as u16,
                transport: Transport::ALL[self.flags.0],
                qtype: self.numbers.2,
                outcome: self.flags.1,
                answer: AnswerKind::ALL[self.flags.2],
                rule: self.numbers.3,
                alone: self.flags.3,
                name: &self.name,
                target: self.target.as_deref(),
            }
        }
    }

    fn any_hit() -> impl Strategy<Value = Owned> {
        let client = prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))),
            any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits))),
        ];
        let name = || prop::collection::vec(any::<u8>(), 1..=MAX_WIRE);
        (
            (-1_i64 << 55..1 << 55, any::<u64>(), any::<u16>(), 0..1_u32 << 31),
            client,
            (0..Transport::ALL.len(), 0..Outcome::ALL.len(), 0..AnswerKind::ALL.len(), any::<bool>()),
            name(),
            prop::option::of(name()),
        )
            .prop_map(|(numbers, client, (transport, outcome, answer, alone), name, target)| {
                let outcome = Outcome::ALL[outcome];
                let answer = if outcome == Outcome::Excepted { AnswerKind::Passed as usize } else { answer };
                Owned { numbers, client, flags: (transport, outcome, answer, alone), name, target }
            })
    }

    proptest! {
        #[test]
        fn what_is_taken_comes_out_as_it_went_in(
            steps in prop::collection::vec(prop_oneof![4 => any_hit().prop_map(Some), 1 => Just(None)], 1..60),
        ) {
            let (mut producer, mut consumer) = ring(256, None);
            let mut scratch = Scratch::new();
            let mut twin = VecDeque::new();
            let mut compare = |twin: &mut VecDeque<Owned>, consumer: &mut Consumer| {
                let expected: Vec<_> = twin.drain(..).collect();
                let mut at = 0;
                let taken = consumer.drain(&mut scratch, |hit| {
                    assert_eq!(format!("{hit:?}"), format!("{:?}", expected[at].hit()));
                    at += 1;
                });
                assert_eq!((taken, at), (Some(expected.len()), expected.len()));
            };
            for step in steps {
                match step {
                    Some(hit) if producer.push(&hit.hit()) => twin.push_back(hit),
                    // The longest hit takes 71 words: only a ring that is filled does not take it.
                    Some(_) => prop_assert!(twin.len() > 2),
                    None => compare(&mut twin, &mut consumer),
                }
            }
            compare(&mut twin, &mut consumer);
        }
    }

    #[test]
    fn two_threads_lose_nothing_and_each_learns_that_the_other_is_gone() {
        let (mut producer, mut consumer) = ring(1 << 10, Some(std::thread::current()));
        let worker = std::thread::spawn(move || {
            let mut hit = Owned {
                numbers: (0, 1, 1, 7),
                client: [192, 0, 2, 1].into(),
                flags: (0, Outcome::Blocked, 0, true),
                name: b"\x07example\0".to_vec(),
                target: None,
            };
            while hit.numbers.0 < 100_000 {
                if producer.push(&hit.hit()) {
                    hit.numbers.0 += 1;
                } else {
                    std::thread::yield_now();
                }
            }
        });
        let mut scratch = Scratch::new();
        let mut next = 0;
        while let Some(taken) = consumer.drain(&mut scratch, |hit| {
            assert_eq!((hit.unix_ms, hit.name), (next, &b"\x07example\0"[..]));
            next += 1;
        }) {
            if taken == 0 {
                std::thread::yield_now();
            }
        }
        worker.join().expect("the worker");
        assert_eq!(next, 100_000);
        let (mut producer, consumer) = ring(64, None);
        drop(consumer);
        let hit = Owned {
            numbers: (0, 1, 1, 0),
            client: [192, 0, 2, 1].into(),
            flags: (0, Outcome::Blocked, 0, true),
            name: vec![0],
            target: None,
        };
        assert!(!producer.push(&hit.hit()));
    }
}
