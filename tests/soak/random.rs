//! The same steps for the same seed.

#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// xorshift64*
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of several, by weight.
    pub fn pick<'a>(&mut self, all: &[(&'a str, u64)]) -> &'a str {
        let mut rest = self.below(all.iter().map(|(_, weight)| weight).sum());
        for (what, weight) in all {
            match rest.checked_sub(*weight) {
                Some(left) => rest = left,
                None => return what,
            }
        }
        ""
    }
}
