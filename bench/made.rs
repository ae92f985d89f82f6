//! Made-up names, the same each time, for all benchmarks.

/// xorshift64.
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Ends of names, none of them with something to say in the gate.
pub const TOPS: &[&str] = &["com", "net", "org", "info", "top", "xyz", "ru", "kz"];

/// A name like those of real lists: two or three labels, 18 to 19 characters on average, one of `tops` at the end and
/// `front` before the label above it.
pub fn made_up(random: &mut Random, front: &str, tops: &[&str]) -> String {
    let top = tops[random.below(tops.len())];
    let three = random.below(2) == 0;
    let mut word = |least: usize, most: usize| -> String {
        let len = least + random.below(most - least + 1);
        (0..len).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
    };
    let text = format!("{front}{}.{top}", word(6, 18));
    if three { format!("{}.{text}", word(2, 6)) } else { text }
}
