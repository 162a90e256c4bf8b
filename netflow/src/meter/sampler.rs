//! Which packets are metered: one in N, at random (RFC 5475 §5.2.2.1, uniform probabilistic).

/// Draws how many packets are left out until the next one that is metered.
pub(super) struct Sampler {
    /// One in so many; 1 for every one.
    one_in: u32,
    /// Left out until the next one.
    skip: u32,
    state: u64,
}

impl Sampler {
    pub(super) fn new(one_in: u32, seed: u64) -> Self {
        let mut sampler = Self {
            one_in: one_in.max(1),
            skip: 0,
            state: seed | 1,
        };
        sampler.draw();
        sampler
    }

    #[inline(always)]
    pub(super) const fn takes_all(&self) -> bool {
        self.one_in == 1
    }

    /// Whether the next packet is metered.
    #[inline]
    pub(super) fn takes(&mut self) -> bool {
        if self.takes_all() {
            return true;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.draw();
        true
    }

    /// The gap to the next one is geometrically distributed, as if each packet were asked for itself.
    #[cold]
    fn draw(&mut self) {
        // xorshift64* (Vigna 2016): nobody is to guess the next one from the outside, and nobody sees more than the gaps.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        // In (0, 1].
        let uniform = (bits + 1) as f64 / (1u64 << 53) as f64;
        let passed_over = 1.0 - 1.0 / f64::from(self.one_in);
        self.skip = (uniform.ln() / passed_over.ln()) as u32;
    }
}
