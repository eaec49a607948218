//! The changes of all commits to their parents: comparing their trees is nearly all of the work, so
//! several processes of git do it.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use anyhow::{Result, bail};

use super::git::Repository;
use super::graph::{Graph, Pair};
use crate::base::parallel;

/// Fewest pairs of commits that another process is started for.
const LEAST: usize = 256;

/// Most processes: each has to read the objects anew that git stores as differences to others.
const MOST: usize = 8;

/// Number of parts that each process gets. The trees of early commits are smaller, so the parts of one
/// process are spread over the history.
const PARTS: usize = 4;

/// Number of compared pairs that may wait for their turn.
const AHEAD: usize = 1024;

/// Calls `each` with every pair of commits of the graph, in its order, and the lines of their changes
/// as `git diff-tree --name-status` prints them.
pub(super) fn read(
    repository: &Repository,
    graph: &Graph,
    renames: bool,
    mut each: impl FnMut(Pair, &[String]),
) -> Result<()> {
    let pairs = graph.pairs();
    let processes = parallel::cores().min(MOST).min(pairs.len().div_ceil(LEAST)).max(1);
    let length = pairs.len().div_ceil(processes * PARTS).max(1);
    let input = |first: usize| -> String {
        let parts = pairs.chunks(length).skip(first).step_by(processes);
        parts.flatten().map(|pair| line(graph, *pair)).collect()
    };
    thread::scope(|scope| {
        let mut readers = Vec::with_capacity(processes);
        for first in 0..processes {
            let (sender, receiver) = sync_channel(AHEAD);
            let input = input(first);
            let reader = scope.spawn(move || compare(repository, input, renames, &sender));
            readers.push((receiver, reader));
        }
        let mut left = pairs.len();
        'all: for (at, part) in pairs.chunks(length).enumerate() {
            for pair in part {
                // The reader may have failed.
                let Ok(lines) = readers[at % processes].0.recv() else { break 'all };
                each(*pair, &lines);
                left -= 1;
            }
        }
        for (receiver, reader) in readers {
            drop(receiver);
            reader.join().expect("BUG: reading differences does not panic")?;
        }
        if left > 0 {
            bail!("`git diff-tree` left out {left} of {} comparisons", pairs.len());
        }
        Ok(())
    })
}

fn line(graph: &Graph, (commit, parent): Pair) -> String {
    match parent {
        Some(parent) => format!("{} {}\n", graph.name(commit), graph.name(parent)),
        None => format!("{}\n", graph.name(commit)),
    }
}

/// Sends the lines of each pair of the input.
fn compare(
    repository: &Repository,
    input: String,
    renames: bool,
    sender: &SyncSender<Vec<String>>,
) -> Result<()> {
    let mut lines: Option<Vec<String>> = None;
    // If the receiver has ended, an error ended it.
    let send = |lines| _ = sender.send(lines);
    repository.changes(input, renames, &mut |line| match &mut lines {
        Some(lines) if line.contains('\t') => lines.push(line.to_owned()),
        _ => lines.replace(Vec::new()).into_iter().for_each(send),
    })?;
    lines.into_iter().for_each(send);
    Ok(())
}
