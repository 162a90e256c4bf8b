//! Random choices that can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

/// A generator (xorshift64*, Vigna 2016) that says what it was started with.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from `$WEFT_SEED`, else from the clock, and prints the seed.
    #[expect(clippy::new_without_default, reason = "each one is another")]
    pub fn new() -> Self {
        let given = std::env::var("WEFT_SEED").ok();
        let given = given.map(|seed| seed.parse().expect("WEFT_SEED is a number"));
        let clock = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.expect("after 1970").as_nanos() as u64
        };
        let seed = given.unwrap_or_else(clock).max(1);
        println!("to repeat these choices: WEFT_SEED={seed}");
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    /// One of `choices`.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// So many octets.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 56) as u8).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// So many rounds of a test that can go on for longer: `$WEFT_SOAK` times as many as given.
pub fn rounds(plain: usize) -> usize {
    let soak = std::env::var("WEFT_SOAK").ok();
    plain * soak.map_or(1, |times| times.parse().expect("WEFT_SOAK is a number"))
}
