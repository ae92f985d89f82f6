//! What holds for an address, by the longest of many address blocks that cover it.
//!
//! Blocks are flattened into ranges that do not overlap, each with the value of the longest block there. Their starts are
//! sorted, with every sixteenth of them once more in a level above, and so on until sixteen are left: a lookup reads
//! sixteen neighbours a level. A hundred thousand blocks are five levels and a megabyte (IPv4; four IPv6), of which a
//! lookup touches a cache line or two that are not hot; a handful is one level.

use std::net::IpAddr;

use super::Cidr;

/// Starts that are looked at together.
const FAN: usize = 16;

/// Address blocks and what holds for them.
#[derive(Clone, Debug)]
pub struct Prefixes<T> {
    v4: Ranges<u32, T>,
    v6: Ranges<u128, T>,
}

/// Addresses of one family.
#[derive(Clone, Debug)]
struct Ranges<K, T> {
    /// Starts of ranges, the first of them 0: all in the last level, every sixteenth of a level in the one before.
    levels: Box<[Box<[K]>]>,
    /// One a range.
    values: Box<[T]>,
    rest: T,
}

impl<T: Copy + PartialEq> Prefixes<T> {
    /// From blocks and their values; of equal blocks the first counts. Addresses in no block have `rest`.
    pub fn new(blocks: impl IntoIterator<Item = (Cidr, T)>, rest: T) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (block, value) in blocks {
            match block.address {
                IpAddr::V4(first) => {
                    let (first, hosts) = (first.to_bits(), u32::MAX.checked_shr(block.prefix.into()));
                    v4.push((first, first | hosts.unwrap_or(0), value));
                }
                IpAddr::V6(first) => {
                    let (first, hosts) = (first.to_bits(), u128::MAX.checked_shr(block.prefix.into()));
                    v6.push((first, first | hosts.unwrap_or(0), value));
                }
            }
        }
        Self { v4: Ranges::new(v4, rest), v6: Ranges::new(v6, rest) }
    }

    /// What holds for `client`. An IPv4-mapped address counts as IPv4.
    pub fn find(&self, client: IpAddr) -> T {
        match client.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes()
    }
}

impl<T: Copy + PartialEq + Default> Default for Prefixes<T> {
    fn default() -> Self {
        Self::new([], T::default())
    }
}

/// An address as a number.
trait Number: Copy + Ord + Default {
    /// The next address, if there is one.
    fn next(self) -> Option<Self>;
}

impl Number for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Number for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl<K: Number, T: Copy + PartialEq> Ranges<K, T> {
    /// From the first and the last address of blocks, of which two either lie one in the other or share nothing.
    fn new(mut blocks: Vec<(K, K, T)>, rest: T) -> Self {
        // Wider ones first, and stable: of equal ones the first given comes first.
        blocks.sort_by_key(|&(first, last, _)| (first, std::cmp::Reverse(last)));
        blocks.dedup_by_key(|&mut (first, last, _)| (first, last));
        let mut flat = Flat { starts: vec![K::default()], values: vec![rest] };
        // Blocks that the address at hand lies in, the widest first.
        let mut around: Vec<(K, T)> = Vec::new();
        for (first, last, value) in blocks {
            while let Some((end, _)) = around.pop_if(|(end, _)| *end < first) {
                flat.from(end.next(), around.last().map_or(rest, |&(_, value)| value));
            }
            flat.from(Some(first), value);
            around.push((last, value));
        }
        while let Some((end, _)) = around.pop() {
            flat.from(end.next(), around.last().map_or(rest, |&(_, value)| value));
        }
        let mut levels = vec![flat.starts.into_boxed_slice()];
        while let Some(below) = levels.last().filter(|level| level.len() > FAN) {
            let above = below.iter().copied().step_by(FAN).collect();
            levels.push(above);
        }
        levels.reverse();
        Self { levels: levels.into(), values: flat.values.into(), rest }
    }

    /// The value of the range that `key` lies in.
    fn find(&self, key: K) -> T {
        let mut at = 0;
        for level in &self.levels {
            let from = at * FAN;
            let starts = level.get(from..level.len().min(from + FAN)).unwrap_or_default();
            // The first of them is where the level above pointed to, which is not after `key`.
            at = from + starts.partition_point(|start| *start <= key).saturating_sub(1);
        }
        self.values.get(at).copied().unwrap_or(self.rest)
    }

    /// Heap bytes.
    fn bytes(&self) -> usize {
        let starts: usize = self.levels.iter().map(|level| size_of_val(&**level)).sum();
        starts + size_of_val(&*self.values)
    }
}

/// Ranges as they are made, in order.
struct Flat<K, T> {
    starts: Vec<K>,
    values: Vec<T>,
}

impl<K: Number, T: Copy + PartialEq> Flat<K, T> {
    /// From `start` on (`None`: behind the last address) it is this value, whatever was said of it before.
    fn from(&mut self, start: Option<K>, value: T) {
        let Some(start) = start else { return };
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// The value of the longest block that covers an address, by a look at each.
    fn twin(blocks: &[(Cidr, u16)], client: IpAddr) -> u16 {
        let client = client.to_canonical();
        let covering = blocks.iter().filter(|(block, _)| block.covers(client));
        // `max_by_key` gives the last of several.
        covering.rev().max_by_key(|(block, _)| block.prefix).map_or(0, |&(_, value)| value)
    }

    /// A block near others.
    fn some_block() -> impl Strategy<Value = Cidr> {
        let v4 = (0..=32_u8, prop_oneof![any::<u32>(), 0x0a00_0000..0x0a00_0400_u32, Just(u32::MAX), Just(0)])
            .prop_map(|(prefix, bits)| Cidr::around(Ipv4Addr::from_bits(bits).into(), prefix));
        let near = 0x2001_0db8_u128 << 96;
        let v6 = (0..=128_u8, prop_oneof![any::<u128>(), near..near + 1024, Just(u128::MAX), Just(0)])
            .prop_map(|(prefix, bits)| Cidr::around(Ipv6Addr::from_bits(bits).into(), prefix));
        prop_oneof![v4, v6]
    }

    /// Addresses of which some lie just in, and just outside, a block.
    fn edges(block: &Cidr) -> Vec<IpAddr> {
        match block.address {
            IpAddr::V4(first) => {
                let first = first.to_bits();
                let last = first | u32::MAX.checked_shr(block.prefix.into()).unwrap_or(0);
                let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
                all.map(|bits| Ipv4Addr::from_bits(bits).into()).to_vec()
            }
            IpAddr::V6(first) => {
                let first = first.to_bits();
                let last = first | u128::MAX.checked_shr(block.prefix.into()).unwrap_or(0);
                let all = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
                all.map(|bits| Ipv6Addr::from_bits(bits).into()).to_vec()
            }
        }
    }

    proptest! {
        #[test]
        fn finds_what_a_look_at_every_block_finds(
            blocks in prop::collection::vec((some_block(), 1..5_u16), 0..120),
            others in prop::collection::vec(any::<u128>(), 0..20),
        ) {
            let prefixes = Prefixes::new(blocks.iter().copied(), 0);
            let others = others.iter().flat_map(|&bits| -> [IpAddr; 2] {
                [Ipv6Addr::from_bits(bits).into(), Ipv4Addr::from_bits(bits as u32).into()]
            });
            for client in blocks.iter().flat_map(|(block, _)| edges(block)).chain(others) {
                prop_assert_eq!(prefixes.find(client), twin(&blocks, client), "{}", client);
                if let IpAddr::V4(v4) = client {
                    prop_assert_eq!(prefixes.find(v4.to_ipv6_mapped().into()), prefixes.find(client));
                }
            }
        }
    }

    #[test]
    fn a_hundred_thousand_blocks_are_found_each_and_take_a_few_megabytes() {
        const BLOCKS: u32 = 100_000;
        let v4 = |n: u32| Cidr::around(Ipv4Addr::from_bits(0x0a00_0000 + (n << 8)).into(), 25);
        let v6 = |n: u32| Cidr::around(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n) << 72).into(), 56);
        let blocks = (0..BLOCKS).flat_map(|n| [(v4(n), (n % 7) as u16 + 1), (v6(n), (n % 7) as u16 + 1)]);
        let prefixes = Prefixes::new(blocks, 0);
        for n in (0..BLOCKS).step_by(37) {
            let host = |bits: u32| -> IpAddr { Ipv4Addr::from_bits(0x0a00_0000 + (n << 8) + bits).into() };
            let value = (n % 7) as u16 + 1;
            assert_eq!((prefixes.find(host(127)), prefixes.find(host(128))), (value, 0));
            let host =
                |bits: u128| -> IpAddr { Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n) << 72 | bits).into() };
            // The next block begins 2^72 on, this one ends with its 2^72nd address.
            assert_eq!(prefixes.find(host(u128::MAX >> 56)), value);
        }
        assert!(prefixes.bytes() < 6 << 20, "{} bytes", prefixes.bytes());
    }
}
