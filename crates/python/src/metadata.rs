//! The metadata of a distribution (`METADATA`), and whether a set of distributions has everything
//! that its members require.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use crate::name::normalise;
use crate::requirement::Requirement;
use crate::target::Target;
use crate::version::Specifier;

/// The fields of a `METADATA` file that say what a distribution is and needs (PEP 345, PEP 566).
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Normalised.
    pub name: String,
    pub version: String,
    pub requires_python: Option<String>,
    pub requires: Vec<Requirement>,
    /// The first requirement that cannot be read. pip of before version 24.1 ignored such ones.
    pub unreadable: Option<String>,
}

impl Metadata {
    /// Reads the headers. Fails if there is no name or version.
    pub fn parse(text: &str) -> Result<Self> {
        let head = || text.lines().take_while(|line| !line.is_empty());
        let field = |name: &'static str| {
            head().filter_map(move |line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let name = field("Name").next().context("the metadata has no `Name`")?;
        let version = field("Version").next().context("the metadata has no `Version`")?;
        let requires = field("Requires-Dist").map(|need| (need, Requirement::parse(need)));
        let (read, unreadable): (Vec<_>, Vec<_>) = requires.partition(|(_, read)| read.is_ok());
        Ok(Self {
            name: normalise(name),
            version: version.into(),
            requires_python: field("Requires-Python").next().map(String::from),
            requires: read.into_iter().filter_map(|(_, read)| read.ok()).collect(),
            unreadable: unreadable.first().map(|(need, _)| (*need).to_owned()),
        })
    }
}

/// Returns the first requirement that no member of the set satisfies, in words; `None` if the set is
/// complete for the target. `extras` has those that are wanted of members, by name.
pub fn lack(
    members: &[Metadata],
    extras: &BTreeMap<String, Vec<String>>,
    target: &Target,
) -> Result<Option<String>> {
    if let Some((name, need)) =
        members.iter().find_map(|member| Some((&member.name, member.unreadable.as_ref()?)))
    {
        bail!("{name} requires `{need}`, which is not a requirement");
    }
    let versions: BTreeMap<&str, &str> =
        members.iter().map(|member| (member.name.as_str(), member.version.as_str())).collect();
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, extras) in extras {
        let extras = extras.iter().map(|extra| normalise(extra));
        wanted.entry(normalise(name)).or_default().extend(extras);
    }
    loop {
        let before: usize = wanted.values().map(BTreeSet::len).sum();
        for member in members {
            let own: Vec<String> =
                wanted.get(&member.name).into_iter().flatten().cloned().collect();
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            for need in &member.requires {
                if !need.applies(&target.environment, &own)? {
                    continue;
                }
                let name = normalise(&need.name);
                let version = versions.get(name.as_str());
                if need.url.is_some() || !version.is_some_and(|version| need.allows(version)) {
                    return Ok(Some(format!("{} requires {}", member.name, need.name)));
                }
                wanted.entry(name).or_default().extend(need.extras.iter().map(|it| normalise(it)));
            }
        }
        // An extra may require another one.
        if wanted.values().map(BTreeSet::len).sum::<usize>() == before {
            break;
        }
    }
    for member in members {
        let requires = member.requires_python.as_deref().unwrap_or_default();
        if !Specifier::all_allow(requires, &target.python)? {
            return Ok(Some(format!("{} requires Python {requires}", member.name)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;
    use crate::runtime::Runtime;

    fn metadata(head: &str) -> Metadata {
        Metadata::parse(&format!("Metadata-Version: 2.1\n{head}\n\nRequires-Dist: text\n")).unwrap()
    }

    fn lacking(members: &[Metadata], extra: &str) -> Option<String> {
        let target = Target::of_runtime(Runtime { major: 3, minor: 13, arch: Arch::Arm64 });
        let extras = BTreeMap::from([("a".to_string(), vec![extra.to_string()])]);
        lack(members, &extras, &target).unwrap()
    }

    #[test]
    fn a_set_is_complete_if_every_requirement_is_met() {
        let a = metadata(
            "Name: A\nVersion: 1\nRequires-Dist: b[x]>=2\nRequires-Dist: d; extra == 'more'\n\
             Requires-Dist: e; python_version < '3'",
        );
        let b = metadata("Name: b\nVersion: 2\nRequires-Dist: c; extra == \"x\"");
        let c = metadata("Name: C\nVersion: 1rc1\nRequires-Python: >=3.8");
        let all = [a.clone(), b.clone(), c.clone()];
        assert_eq!(lacking(&all, ""), None);
        assert_eq!(lacking(&all, "More").as_deref(), Some("a requires d"));
        assert_eq!(lacking(&[a.clone(), b.clone()], "").as_deref(), Some("b requires c"));
        let old = Metadata { version: "1.9".into(), ..b.clone() };
        assert_eq!(lacking(&[a.clone(), old, c.clone()], "").as_deref(), Some("a requires b"));
        let python = Metadata { requires_python: Some("<3.13".into()), ..c };
        let expected = Some("c requires Python <3.13".to_string());
        assert_eq!(lacking(&[a, b, python], ""), expected);
        assert!(Metadata::parse("Name: a\n").is_err());
        let odd = Metadata::parse("Name: a\nVersion: 1\nRequires-Dist: ???\n").unwrap();
        assert_eq!(odd.unreadable.as_deref(), Some("???"));
        let target = Target::of_runtime(Runtime { major: 3, minor: 13, arch: Arch::Arm64 });
        assert!(lack(&[odd], &BTreeMap::new(), &target).is_err());
    }
}
