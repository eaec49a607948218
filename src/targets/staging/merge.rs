//! Merges the candidate entries of wheels and sources into one tree. Two candidates for one path need
//! equal bytes, or a rule that names the winner.

use std::iter;

use anyhow::{Result, bail};
use rayon::prelude::*;

use super::origins::Origins;
use super::rules::Rules;
use crate::base::words;
use crate::bundle::{Entry, Origin};
use crate::targets::staging::{Conflict, Winner};
use crate::wheel::Wheel;

/// A candidate entry of the staging tree.
pub(super) type Claim = Entry;

/// Most collisions that one error lists.
const LISTED: usize = 10;

/// Returns the entries of the tree, sorted by path.
pub(super) fn merge(
    mut claims: Vec<Claim>,
    conflicts: &[Conflict],
    wheels: &[Wheel],
) -> Result<Vec<Entry>> {
    // Wheels come before sources, so that of equal candidates the wheel's is taken.
    let order = |a: &Claim, b: &Claim| (&a.path, rank(&a.origin)).cmp(&(&b.path, rank(&b.origin)));
    // The files of one pattern come in this order, and each once.
    if claims.is_sorted_by(|a, b| a.path < b.path) {
        refuse_files_as_folders(&claims, wheels)?;
        return Ok(claims);
    }
    claims.par_sort_by(order);
    let rules = conflicts
        .iter()
        .map(|conflict| Ok((Rules::new([&conflict.path.value])?, conflict)))
        .collect::<Result<Vec<_>>>()?;
    let (mut entries, mut collisions) = (Vec::with_capacity(claims.len()), Vec::new());
    let mut claims = claims.into_iter().peekable();
    while let Some(claim) = claims.next() {
        if claims.peek().is_none_or(|next| next.path != claim.path) {
            entries.push(claim);
            continue;
        }
        let mut group = vec![claim];
        while let Some(claim) = claims.next_if(|next| next.path == group[0].path) {
            group.push(claim);
        }
        match settle(&group, &rules, wheels) {
            Ok(entry) => entries.push(entry),
            Err(collision) => collisions.push(collision),
        }
    }
    if !collisions.is_empty() {
        bail!("{}", describe(&collisions, entries.len() + collisions.len()));
    }
    refuse_files_as_folders(&entries, wheels)?;
    Ok(entries)
}

fn rank(origin: &Origin) -> (bool, usize, &str) {
    match origin {
        Origin::Wheel { wheel, member, .. } => (false, *wheel, member),
        Origin::Source(path) => (true, 0, path.as_str()),
    }
}

/// A path whose candidates differ.
struct Collision {
    path: String,
    owners: Vec<String>,
    /// A rule that does not apply, with the reason.
    note: Option<String>,
}

/// Returns the resulting entry of all candidates for one path.
fn settle(
    group: &[Claim],
    rules: &[(Rules, &Conflict)],
    wheels: &[Wheel],
) -> Result<Entry, Collision> {
    if let Some(entry) = agreed(group.iter()) {
        return Ok(entry);
    }
    let path = &group[0].path;
    let mut note = None;
    for (_, conflict) in rules.iter().filter(|(rule, _)| rule.cover(path)) {
        let winner = &conflict.keep.value;
        let winners = group.iter().filter(|claim| is_of(&claim.origin, winner, wheels));
        if let Some(entry) = agreed(winners.clone()) {
            return Ok(entry);
        }
        let name = match winner {
            Winner::Sources => "the sources",
            Winner::Wheel(project) => project,
        };
        let what = if winners.count() == 0 { "do not claim" } else { "disagree about" };
        note = Some(format!("a rule keeps {name}, which {what} it"));
    }
    let mut owners: Vec<String> =
        group.iter().map(|claim| Origins::name(wheels, &claim.origin).to_owned()).collect();
    owners.dedup();
    Err(Collision { path: path.to_string(), owners, note })
}

/// Returns the one entry of candidates with equal bytes, executable if any of them is.
fn agreed<'a>(mut claims: impl Iterator<Item = &'a Claim>) -> Option<Entry> {
    let mut entry = claims.next()?.clone();
    for claim in claims {
        if claim.digest != entry.digest {
            return None;
        }
        entry.executable |= claim.executable;
    }
    Some(entry)
}

fn is_of(origin: &Origin, winner: &Winner, wheels: &[Wheel]) -> bool {
    match (origin, winner) {
        (Origin::Source(_), Winner::Sources) => true,
        (Origin::Wheel { wheel, .. }, Winner::Wheel(project)) => {
            wheels[*wheel].name.normalised() == *project
        }
        _ => false,
    }
}

fn describe(collisions: &[Collision], paths: usize) -> String {
    let first = &collisions[0];
    let mut text = format!(
        "{} of {} claimed with different bytes:",
        collisions.len(),
        words::count(paths, "path") + if paths == 1 { " is" } else { " are" },
    );
    for Collision { path, owners, note } in collisions.iter().take(LISTED) {
        text += &format!("\n  `{path}` by {}", words::list(owners));
        if let Some(note) = note {
            text += &format!(" ({note})");
        }
    }
    if collisions.len() > LISTED {
        text += &format!("\n  and {} more", collisions.len() - LISTED);
    }
    text + &format!(
        "\nname the winner, as in `conflicts = [{{ path = \"{}\", keep = \"…\" }}]` with \
         \"sources\" \
         or a project's name, or leave one out",
        first.path
    )
}

fn refuse_files_as_folders(entries: &[Entry], wheels: &[Wheel]) -> Result<()> {
    let file_at = |path: &str| entries.binary_search_by(|entry| entry.path.as_str().cmp(path));
    let mut last = "";
    for entry in entries {
        let mut folders = entry.path.folders();
        let own = folders.next().unwrap_or_default();
        // Folders shared with the previous path have been checked.
        if own == last {
            continue;
        }
        last = own;
        if let Some(found) = iter::once(own).chain(folders).find_map(|folder| file_at(folder).ok())
        {
            let file = &entries[found];
            bail!(
                "`{}` is a file of `{}` and a folder of `{}`: leave one out with `exclude`",
                file.path,
                Origins::name(wheels, &file.origin),
                Origins::name(wheels, &entry.origin),
            );
        }
    }
    Ok(())
}
