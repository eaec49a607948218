//! The content of a zip: what each call of `zip` takes from the folders as they are then.

use std::path::Path;

use super::deed::Members;
use super::simulation::Simulation;
use super::tree::{Part, Tree};

#[derive(Clone, Debug, Default)]
pub(super) struct Zip {
    pub(super) tree: Tree,
    /// The folder that is zipped, if it is one that rules fill.
    pub(super) folder: Option<String>,
    /// The folder of the bundle that contains the tree.
    pub(super) below: Option<String>,
    pub(super) rule: usize,
}

/// A call of `zip`.
#[derive(Clone, Debug)]
pub(super) struct Call {
    tree: Tree,
    folder: Option<String>,
    below: Option<String>,
    /// Whether rules fill the folder.
    is_filled: bool,
}

impl Call {
    /// `zipped` is the folder that is zipped, and its place in the bundle. `None` if the members cannot
    /// be expressed.
    pub(super) fn new(
        simulation: &Simulation,
        members: &Members,
        zipped: Option<(String, Option<String>)>,
        exclude: &[String],
    ) -> Option<Self> {
        let Some((folder, below)) = zipped else {
            let mut tree = simulation.members(members)?;
            tree.exclude.extend(exclude.iter().cloned());
            return Some(Self { tree, folder: None, below: None, is_filled: false });
        };
        let mut tree = simulation.members(&Members::Folder(folder.clone()))?;
        let is_filled = simulation.is_filled(&folder);
        let mut call = Self { tree: Tree::default(), folder: Some(folder), below, is_filled };
        match &call.below {
            // Patterns of zip are relative to the folder around it.
            Some(below) if !exclude.iter().all(|glob| glob.starts_with("**/")) => {
                tree = Tree::of(Part::Tree(Box::new(tree), format!("{below}/")));
                call.below = None;
            }
            _ => {}
        }
        tree.exclude.extend(exclude.iter().cloned());
        call.tree = tree;
        Some(call)
    }
}

impl Zip {
    /// `zip` adds to a file that is there, also without `-g`.
    pub(super) fn of(mut calls: Vec<Call>, rule: usize, root: &Path) -> Self {
        let of_folder = |call: &&Call| call.folder.is_some();
        let folder = calls.iter().filter(of_folder).find(|call| call.is_filled);
        let folder = folder.or(calls.iter().find(of_folder)).and_then(|call| call.folder.clone());
        let mut zip = Self { folder, rule, ..Self::default() };
        if let [call] = calls.as_mut_slice() {
            zip.below = call.below.take();
        }
        for Call { tree, below, .. } in calls {
            let tree = match below {
                Some(below) => Tree::of(Part::Tree(Box::new(tree), format!("{below}/"))),
                None => tree,
            };
            zip.tree.merge(tree, root);
        }
        // A folder of the bundle with all of it, as layers have.
        if zip.below.is_none()
            && zip.tree.exclude.is_empty()
            && let [Part::Tree(tree, to)] = zip.tree.parts.as_slice()
            && to != "."
        {
            zip.below = Some(to.trim_end_matches('/').to_owned());
            zip.tree = (**tree).clone();
        }
        zip
    }
}
