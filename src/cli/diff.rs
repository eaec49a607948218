//! `zipwright diff A B`: why two bundles, wheels or folders differ.

use super::args::{Common, Diff};
use super::{DIFFERENT, Failure, SUCCESS, print, print_json};
use crate::diff::{self, Verdict};

pub(super) fn run(common: &Common, diff: &Diff) -> Result<u8, Failure> {
    let comparison = diff::compare(&diff.a, &diff.b)?;
    if common.json {
        print_json(&comparison.to_json())?;
    } else {
        let (a, b) = (diff.a.display().to_string(), diff.b.display().to_string());
        print(diff::lines(&comparison, &a, &b).join("\n"))?;
    }
    Ok(if comparison.verdict == Verdict::Identical { SUCCESS } else { DIFFERENT })
}
