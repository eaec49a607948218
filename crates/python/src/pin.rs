//! Requirements pinned by version and hash, and the file of an index that pip chooses for one.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::lock::build_number;
use crate::name::normalise;
use crate::requirement::Requirement;
use crate::simple::Offer;
use crate::target::Target;
use crate::version::{Specifier, Version};
use crate::wheel_name::WheelName;

/// `NAME[EXTRAS]==VERSION` with the SHA-256 of each allowed file.
#[derive(Clone, Debug)]
pub struct Pin {
    /// Normalised.
    pub name: String,
    pub extras: Vec<String>,
    /// As written.
    pub version: String,
    specifier: Specifier,
    /// In lowercase hex.
    hashes: BTreeSet<String>,
}

/// The file for a pin among those of all indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    File(&'a Offer),
    /// No file of this project and version fits the target.
    Nothing,
    /// Only pip can decide: a file has no hash, or no hash is allowed, or two files are as good.
    Unclear,
}

impl Pin {
    /// Returns the pin if the requirement names one version, and has no URL.
    pub fn new(requirement: &Requirement, hashes: BTreeSet<String>) -> Option<Self> {
        let [specifier] = requirement.specifiers.as_slice() else { return None };
        if requirement.url.is_some() || hashes.is_empty() {
            return None;
        }
        Some(Self {
            name: normalise(&requirement.name),
            extras: requirement.extras.clone(),
            version: specifier.exact()?.to_owned(),
            specifier: specifier.clone(),
            hashes,
        })
    }

    /// Returns whether a file has the name of this project and version.
    pub fn has_name(&self, file_name: &str) -> bool {
        version_of(file_name, &self.name)
            .is_some_and(|version| self.specifier.allows(&version.to_string()))
    }

    /// Returns the file that pip prefers for the target: a wheel by its tags, else a source
    /// distribution; a yanked one only if there is no other.
    pub fn choose<'a>(&self, offers: &'a [Offer], target: &Target) -> Choice<'a> {
        let mut usable = Vec::new();
        for offer in offers {
            let Some(order) = self.order(offer, target) else { continue };
            // pip ignores a value that it cannot read.
            let requires = offer.requires_python.as_deref().unwrap_or_default();
            if !Specifier::all_allow(requires, &target.python).unwrap_or(true) {
                continue;
            }
            usable.push((order, offer));
        }
        if usable.is_empty() {
            return Choice::Nothing;
        }
        if usable.iter().any(|(_, offer)| offer.sha256.is_none()) {
            return Choice::Unclear;
        }
        usable.retain(|(_, offer)| {
            offer.sha256.as_ref().is_some_and(|sha256| self.hashes.contains(sha256))
        });
        let Some((best, chosen)) = usable.iter().max_by(|one, other| one.0.cmp(&other.0)) else {
            return Choice::Unclear;
        };
        let mut equals = usable.iter().filter(|(order, _)| order == best);
        match equals.all(|(_, offer)| offer.sha256 == chosen.sha256) {
            true => Choice::File(chosen),
            false => Choice::Unclear,
        }
    }

    /// Returns how pip orders a file, the best one last; `None` if it does not fit.
    fn order(&self, offer: &Offer, target: &Target) -> Option<impl Ord + use<>> {
        let version = version_of(&offer.name, &self.name)?;
        if !self.specifier.allows(&version.to_string()) {
            return None;
        }
        let wheel = WheelName::parse(&offer.name).ok();
        let rank = match &wheel {
            Some(wheel) => Some(Reverse(target.tags.rank(wheel)?)),
            None => None,
        };
        let build = wheel.as_ref().and_then(build_number);
        Some((!offer.yanked, version, rank, build))
    }
}

/// Returns the version in the name of a wheel or source distribution of this project.
fn version_of(file_name: &str, project: &str) -> Option<Version> {
    if let Ok(wheel) = WheelName::parse(file_name) {
        let version = wheel.version.replace('_', "-");
        return (wheel.normalised() == project).then(|| Version::parse(&version).ok())?;
    }
    let stem = [".tar.gz", ".zip"].iter().find_map(|end| file_name.strip_suffix(end))?;
    let mut dashes = stem.match_indices('-').map(|(at, _)| at);
    let at = dashes.find(|at| normalise(&stem[..*at]) == project)?;
    Version::parse(&stem[at + 1..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::runtime::Runtime;

    fn pin(text: &str) -> Option<Pin> {
        let hashes = ["aa", "bb", "cc"].map(String::from);
        Pin::new(&Requirement::parse(text).unwrap(), hashes.into())
    }

    fn offer(name: &str, sha256: &str) -> Offer {
        let sha256 = Some(sha256).filter(|text| !text.is_empty()).map(String::from);
        Offer { name: name.into(), url: format!("https://h/{name}"), sha256, ..Offer::default() }
    }

    fn chosen(offers: &[Offer]) -> String {
        let target = Target::of_runtime(Runtime { major: 3, minor: 13, arch: Arch::Arm64 });
        match pin("a.b==1.0").unwrap().choose(offers, &target) {
            Choice::File(offer) => offer.name.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_pin_has_one_version() {
        let pinned = pin("A_b[x,y] == 1.0").unwrap();
        assert_eq!((pinned.name.as_str(), pinned.version.as_str()), ("a-b", "1.0"));
        assert_eq!(pinned.extras, ["x", "y"]);
        for text in ["a", "a>=1", "a==1.*", "a===1", "a==1,!=2", "a @ https://h/a.whl"] {
            assert!(pin(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_file_that_pip_prefers_is_chosen() {
        let sdist = offer("a_b-1.0.tar.gz", "cc");
        let any = offer("a_b-1.0-py3-none-any.whl", "aa");
        let own = offer("a_b-1.0-cp313-cp313-manylinux_2_17_aarch64.whl", "bb");
        let foreign = offer("a_b-1.0-cp313-cp313-manylinux_2_17_x86_64.whl", "cc");
        let other = offer("a_b-1.1-py3-none-any.whl", "aa");
        let longer = offer("a_b-c-1.0.tar.gz", "cc");
        let all = [&sdist, &own, &any, &foreign, &other, &longer].map(Offer::clone);
        assert_eq!(chosen(&all), own.name);
        assert_eq!(chosen(&[sdist.clone(), any.clone()]), any.name);
        assert_eq!(chosen(&[sdist.clone(), foreign.clone(), longer]), sdist.name);
        let built = offer("a_b-1.0-2-py3-none-any.whl", "cc");
        assert_eq!(chosen(&[built.clone(), any.clone()]), built.name);
        let yanked = Offer { yanked: true, ..own };
        assert_eq!(chosen(&[yanked.clone(), any.clone()]), any.name);
        assert_eq!(chosen(std::slice::from_ref(&yanked)), yanked.name);
        let old = Offer { requires_python: Some("<3.13".into()), ..built };
        assert_eq!(chosen(&[old.clone(), any.clone()]), any.name);
        let unreadable = Offer { requires_python: Some("three".into()), ..old };
        assert_eq!(chosen(&[unreadable.clone(), any]), unreadable.name);
        assert_eq!(chosen(&[foreign, other]), "Nothing");
    }

    #[test]
    fn a_choice_that_hashes_do_not_make_is_left_to_pip() {
        let any = offer("a_b-1.0-py3-none-any.whl", "aa");
        let same = offer("a.b-1.0-py3-none-any.whl", "aa");
        assert_eq!(chosen(&[any.clone(), same]), any.name.replace("a_b", "a.b"));
        let twin = offer("a.b-1.0-py3-none-any.whl", "bb");
        assert_eq!(chosen(&[any.clone(), twin]), "Unclear");
        assert_eq!(chosen(&[any, offer("a_b-1.0.tar.gz", "")]), "Unclear");
        assert_eq!(chosen(&[offer("a_b-1.0-py3-none-any.whl", "00")]), "Unclear");
    }
}
