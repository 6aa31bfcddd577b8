//! Which of several replicas is asked: one, until it fails.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Url;

/// The replicas, in an order shuffled once, so that many processes spread out.
#[derive(Debug)]
pub(crate) struct Replicas {
    replicas: Vec<Replica>,
    current: AtomicUsize,
}

/// One replica.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) url: Url,
    known: Mutex<Option<Arc<KnownSettings>>>,
}

/// Those of the settings that we would send which the server has. Servers of many ages are in use, and
/// one that does not know a setting refuses the whole insert.
pub(crate) type KnownSettings = HashSet<String>;

/// A replica and its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chosen<'a> {
    pub(crate) replica: &'a Replica,
    index: usize,
}

impl Replicas {
    /// `urls` is not empty.
    pub(crate) fn shuffled(mut urls: Vec<Url>) -> Self {
        fastrand::shuffle(&mut urls);
        let replicas = urls.into_iter().map(|url| Replica { url, known: Mutex::new(None) }).collect();
        Self { replicas, current: AtomicUsize::new(0) }
    }

    pub(crate) fn current(&self) -> Chosen<'_> {
        let index = self.current.load(Ordering::Relaxed);
        Chosen { replica: &self.replicas[index], index }
    }

    /// Leaves `failed` for the next one. Of many requests that failed at once, one moves on.
    pub(crate) fn leave(&self, failed: Chosen<'_>) {
        let next = (failed.index + 1) % self.replicas.len();
        let moved = self.current.compare_exchange(failed.index, next, Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() && next != failed.index {
            let url = crate::options::Shown(&self.replicas[next].url);
            tracing::warn!(replica = %url, "next replica");
        }
    }
}

impl Replica {
    pub(crate) fn known(&self) -> Option<Arc<KnownSettings>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `None` forgets: the server may be another version than before.
    pub(crate) fn set_known(&self, known: Option<Arc<KnownSettings>>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_fail_together_leave_a_replica_once() {
        let urls = ["http://a", "http://b", "http://c"].map(|url| Url::parse(url).unwrap());
        let replicas = Replicas::shuffled(urls.to_vec());
        let (one, other) = (replicas.current(), replicas.current());
        replicas.leave(one);
        let second = replicas.current().index;
        replicas.leave(other);
        assert_eq!(replicas.current().index, second);
        replicas.leave(replicas.current());
        replicas.leave(replicas.current());
        assert_eq!(replicas.current().index, 0);
    }
}
