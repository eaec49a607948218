//! Cooperation with `make`: the flags and variables of `MAKEFLAGS`, the nesting level, and shared
//! job slots.
//!
//! A leaf: knows nothing of targets, and reads no environment variable by itself.

pub mod flags;
pub mod jobserver;
mod wire;
mod words;

pub use flags::{Auth, Flags, Jobs};
pub use jobserver::{Pool, Token};
pub use words::Variable;

/// Returns the number of makes above this process, from the text of `MAKELEVEL`. Invalid text is 0,
/// as in make.
pub fn level(text: Option<&str>) -> u32 {
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Returns `MAKELEVEL` for the programs that this process starts.
pub fn level_for_children(level: u32) -> String {
    level.saturating_add(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_counts_up_and_rubbish_starts_at_zero() {
        assert_eq!(level(None), 0);
        assert_eq!(level(Some("2")), 2);
        for rubbish in ["", "x", "-1", "99999999999999999999"] {
            assert_eq!(level(Some(rubbish)), 0);
        }
        assert_eq!(level_for_children(2), "3");
        assert_eq!(level_for_children(u32::MAX), u32::MAX.to_string());
    }
}
