//! Compatibility tags of wheels (PEP 425, PEP 600) that an interpreter accepts, in the order of
//! preference that pip has.

use std::collections::HashMap;

use crate::wheel_name::WheelName;

/// The accepted tags with their ranks; a lower rank is preferred.
#[derive(Clone, Debug)]
pub struct Tags {
    ranks: HashMap<String, usize>,
}

impl Tags {
    /// Returns the tags of CPython `major.minor` with this ABI (`cp313`, `cp313t`) on these platforms,
    /// the preferred platform first.
    pub fn of_cpython((major, minor): (u8, u8), abi: &str, platforms: &[String]) -> Self {
        let mut tags = Self { ranks: HashMap::new() };
        let own = format!("cp{major}{minor}");
        // Builds without the global lock load no wheel of the stable ABI.
        let has_stable_abi = major == 3 && !abi.ends_with('t');
        let mut add_all = |python: &str, abi: &str| {
            platforms.iter().for_each(|platform| tags.add(python, abi, platform));
        };
        add_all(&own, abi);
        if has_stable_abi {
            add_all(&own, "abi3");
        }
        add_all(&own, "none");
        if has_stable_abi {
            (2..minor).rev().for_each(|older| add_all(&format!("cp{major}{older}"), "abi3"));
        }
        let pythons: Vec<String> = [format!("py{major}{minor}"), format!("py{major}")]
            .into_iter()
            .chain((0..minor).rev().map(|older| format!("py{major}{older}")))
            .collect();
        pythons.iter().for_each(|python| add_all(python, "none"));
        tags.add(&own, "none", "any");
        pythons.iter().for_each(|python| tags.add(python, "none", "any"));
        tags
    }

    fn add(&mut self, python: &str, abi: &str, platform: &str) {
        let rank = self.ranks.len();
        self.ranks.entry(format!("{python}-{abi}-{platform}")).or_insert(rank);
    }

    /// Returns the rank of the best tag of a wheel; `None` if no tag is accepted.
    pub fn rank(&self, wheel: &WheelName) -> Option<usize> {
        let mut parts = wheel.tags.split('-');
        let [pythons, abis, platforms] = [(); 3].map(|()| parts.next().unwrap_or_default());
        let mut best = None;
        for python in pythons.split('.') {
            for abi in abis.split('.') {
                for platform in platforms.split('.') {
                    let tag = format!("{python}-{abi}-{platform}").to_ascii_lowercase();
                    let rank = self.ranks.get(&tag).copied();
                    best = best.into_iter().chain(rank).min();
                }
            }
        }
        best
    }
}

/// Returns the platform tags of Linux with glibc `2.glibc`, the most specific first.
pub fn linux_platforms(glibc: u8, machine: &str) -> Vec<String> {
    // Other machines came with glibc 2.17, so no wheel for them needs an older one.
    let oldest = if matches!(machine, "x86_64" | "i686") { 5 } else { 17 };
    let mut tags = Vec::new();
    for minor in (oldest..=glibc).rev() {
        tags.push(format!("manylinux_2_{minor}_{machine}"));
        let old_name = match minor {
            17 => "manylinux2014",
            12 => "manylinux2010",
            5 => "manylinux1",
            _ => continue,
        };
        tags.push(format!("{old_name}_{machine}"));
    }
    tags.push(format!("linux_{machine}"));
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(abi: &str, tags: &str) -> Option<usize> {
        let tags_of = Tags::of_cpython((3, 13), abi, &linux_platforms(34, "x86_64"));
        tags_of.rank(&WheelName::parse(&format!("a-1-{tags}.whl")).unwrap())
    }

    #[test]
    fn the_most_specific_wheel_is_preferred() {
        let ranks = [
            "cp313-cp313-manylinux_2_28_x86_64",
            "cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64",
            "cp313-abi3-manylinux_2_34_x86_64",
            "cp39-abi3-manylinux_2_34_x86_64",
            "py3-none-manylinux_2_17_x86_64",
            "cp313-none-any",
            "py2.py3-none-any",
            "py30-none-any",
        ]
        .map(|tags| rank("cp313", tags).unwrap());
        assert!(ranks.is_sorted(), "{ranks:?}");
    }

    #[test]
    fn wheels_for_others_are_not_accepted() {
        for tags in [
            "cp313-cp313-manylinux_2_35_x86_64",
            "cp313-cp313-manylinux_2_17_aarch64",
            "cp313-cp313-musllinux_1_2_x86_64",
            "cp312-cp312-manylinux_2_17_x86_64",
            "cp314-abi3-manylinux_2_17_x86_64",
            "py2-none-any",
        ] {
            assert_eq!(rank("cp313", tags), None, "{tags}");
        }
        assert_eq!(rank("cp313t", "cp39-abi3-manylinux_2_17_x86_64"), None);
        assert!(rank("cp313t", "cp313-cp313t-manylinux_2_17_x86_64").is_some());
    }
}
