//! Numbers that take as many bits as the largest of them, no more.

/// A row of numbers of one width, bit to bit.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    bytes: Box<[u8]>,
    width: u32,
    len: usize,
}

/// Bytes a number is read with, whatever its width: that many stand behind the last one.
const WINDOW: usize = 8;

impl Packed {
    /// `len` zeros in whose places numbers up to `max` fit.
    pub fn zeros(len: usize, max: u32) -> Self {
        let width = u32::BITS - max.leading_zeros();
        let bytes = if width == 0 { 0 } else { (len * width as usize).div_ceil(8) + WINDOW };
        Self { bytes: vec![0; bytes].into_boxed_slice(), width, len }
    }

    /// `numbers` in their order.
    pub fn of(numbers: &[u32]) -> Self {
        let mut packed = Self::zeros(numbers.len(), numbers.iter().copied().max().unwrap_or(0));
        for (index, &number) in numbers.iter().enumerate() {
            packed.set(index, number);
        }
        packed
    }

    /// The number at `index`, which must be below [`Self::len`].
    #[inline]
    pub fn get(&self, index: usize) -> u32 {
        debug_assert!(index < self.len, "{index} of {}", self.len);
        if self.width == 0 {
            return 0;
        }
        let bit = index * self.width as usize;
        (window(&self.bytes, bit) & mask(self.width)) as u32
    }

    /// Changes the number at `index`; of a larger one than there is room for, only the low bits are kept.
    pub fn set(&mut self, index: usize, number: u32) {
        debug_assert!(index < self.len, "{index} of {}", self.len);
        if self.width == 0 {
            return;
        }
        let bit = index * self.width as usize;
        let (at, shift) = (bit / 8, bit % 8);
        let mask = mask(self.width);
        let word = u64::from_le_bytes(std::array::from_fn(|byte| self.bytes[at + byte]));
        let word = word & !(mask << shift) | (u64::from(number) & mask) << shift;
        self.bytes[at..at + WINDOW].copy_from_slice(&word.to_le_bytes());
    }

    /// How many numbers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No numbers.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// What stands from `bit` on: at least 57 bits.
fn window(bytes: &[u8], bit: usize) -> u64 {
    let at = bit / 8;
    let word: [u8; WINDOW] = bytes[at..at + WINDOW].try_into().unwrap_or_default();
    u64::from_le_bytes(word) >> (bit % 8)
}

/// As many low bits.
fn mask(width: u32) -> u64 {
    (1 << width) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A plain vector is the stupid twin.
        #[test]
        fn what_went_in_comes_out(
            width in 0..33_u32,
            numbers in proptest::collection::vec(any::<u32>(), 0..100),
            changed in any::<prop::sample::Index>(),
            to in any::<u32>(),
        ) {
            let cut = |number: u32| (u64::from(number) & mask(width)) as u32;
            let mut twin: Vec<u32> = numbers.into_iter().map(cut).collect();
            let mut packed = Packed::zeros(twin.len(), cut(u32::MAX));
            for (index, &number) in twin.iter().enumerate() {
                packed.set(index, number);
            }
            if !twin.is_empty() {
                let at = changed.index(twin.len());
                twin[at] = cut(to);
                packed.set(at, to);
            }
            let got: Vec<u32> = (0..packed.len()).map(|index| packed.get(index)).collect();
            prop_assert_eq!(&got, &twin);
            let again = Packed::of(&twin);
            prop_assert_eq!((0..again.len()).map(|index| again.get(index)).collect::<Vec<_>>(), twin);
        }
    }

    #[test]
    fn zeros_take_no_room() {
        assert_eq!(Packed::of(&[0; 1000]).bytes(), 0);
        assert_eq!(Packed::of(&[7; 1000]).bytes(), 375 + WINDOW);
    }
}
