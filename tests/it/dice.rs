//! Random numbers that are reproducible by their seed, and the length of a soak.

use std::io::Write;

/// splitmix64: small, and good enough to choose among a few.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 up to, not including, `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// Returns true once in so many times on average.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Amounts of the long runs with the feature `soak`, unless their variable is set.
const SOAK: [(&str, u64); 5] = [
    ("ZIPWRIGHT_SOAK_KILLS", 1_000),
    ("ZIPWRIGHT_SOAK_SEEDS", 90),
    ("ZIPWRIGHT_SOAK_FAULTS", 1),
    ("ZIPWRIGHT_SOAK_FUZZ", 25),
    ("ZIPWRIGHT_SOAK_WATCH", 1_000),
];

/// Returns a number from the environment: by how much a test is extended, or the seed that it
/// replays.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let soak = SOAK.iter().find(|(name, _)| cfg!(feature = "soak") && *name == variable);
    match std::env::var(variable) {
        Ok(text) => {
            Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not `{text}`")))
        }
        Err(_) => soak.map(|(_, amount)| *amount),
    }
}

/// Prints a note on skipped or completed work, also if the test passes.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
