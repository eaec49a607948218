//! Runs work on several items at once, limited by the job slots. It has its own threads: the pool
//! for data-parallel work must not wait for processes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;

use zipwright_engine::make::Pool;

/// Returns the results of `work`, in the order of `items`. The first thread uses the caller's slot;
/// each further thread takes a slot of its own and returns it when no item is left. After a
/// failure, no further item is started.
pub fn parallel_map<T: Sync, R: Send>(
    pool: Option<&Pool>,
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let run = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            results.lock().expect("BUG: no holder of this lock panics").push((at, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..items.len() {
            let Some(token) = pool.and_then(Pool::try_acquire) else { break };
            scope.spawn(|| {
                run();
                drop(token);
            });
        }
        run();
    });
    let mut results = results.into_inner().expect("BUG: as above");
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_slots_go_back() {
        let pool = Pool::private(3).unwrap();
        let own = pool.try_acquire().unwrap();
        let items: Vec<usize> = (0..20).collect();
        let twice = parallel_map(Some(&pool), &items, |item| Ok(item * 2)).unwrap();
        assert_eq!(twice, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        let free: Vec<_> = std::iter::from_fn(|| pool.try_acquire()).collect();
        assert_eq!(free.len(), 2);
        drop(own);
    }

    #[test]
    fn a_failure_begins_nothing_new() {
        let begun = AtomicUsize::new(0);
        let failed = parallel_map(None, &[1, 2, 3], |_| -> Result<()> {
            begun.fetch_add(1, Ordering::Relaxed);
            anyhow::bail!("no")
        });
        assert!(failed.is_err());
        assert_eq!(begun.into_inner(), 1);
    }
}
