//! Pages of experiments as they were sent last: while nothing changes, they are sent again without being made again.
//!
//! Owns when a page still holds. It never reads the store.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::HeaderMap;

use crate::limits::LIST_BYTES_MAX;

/// A page.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// The version of what lists show, read before it was made.
    pub(crate) version: u64,
    /// When it was made.
    pub(crate) made: Instant,
    /// How long it holds at most: time goes on for runs that are not finished.
    pub(crate) fresh: Duration,
    /// Headers beside its type.
    pub(crate) headers: HeaderMap,
    /// JSON.
    pub(crate) body: Bytes,
}

/// The pages that still hold, by their queries.
#[derive(Default)]
pub(crate) struct Pages {
    kept: Mutex<BTreeMap<String, Page>>,
}

impl Pages {
    /// The page of a query, if it still holds.
    pub(crate) fn find(&self, query: &str, version: u64, now: Instant) -> Option<Page> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let holds =
            |page: &&Page| page.version == version && now.saturating_duration_since(page.made) < page.fresh;
        kept.get(query).filter(holds).cloned()
    }

    /// Keeps a page, in the place of those that hold no more when there is too much.
    pub(crate) fn keep(&self, query: &str, page: Page) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |query: &str, page: &Page| query.len() + page.body.len();
        let total: usize = kept.iter().map(|(query, page)| size(query, page)).sum();
        if total + size(query, &page) > LIST_BYTES_MAX {
            kept.clear();
        }
        if size(query, &page) <= LIST_BYTES_MAX {
            kept.insert(query.to_owned(), page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(now: Instant, size: usize) -> Page {
        Page {
            version: 1,
            made: now,
            fresh: Duration::from_secs(1),
            headers: HeaderMap::new(),
            body: Bytes::from(vec![b'x'; size]),
        }
    }

    #[test]
    fn a_page_holds_until_something_changes_or_its_time_is_over() {
        let (pages, now) = (Pages::default(), Instant::now());
        pages.keep("limit=1", page(now, 3));
        assert!(pages.find("limit=1", 1, now).is_some());
        assert!(pages.find("limit=2", 1, now).is_none());
        assert!(pages.find("limit=1", 2, now).is_none());
        assert!(pages.find("limit=1", 1, now + Duration::from_secs(1)).is_none());
    }

    #[test]
    fn pages_take_no_more_room_than_they_may() {
        let (pages, now) = (Pages::default(), Instant::now());
        for number in 0..9 {
            pages.keep(&number.to_string(), page(now, LIST_BYTES_MAX / 4));
        }
        pages.keep("huge", page(now, LIST_BYTES_MAX));
        let kept = pages.kept.lock().expect("not poisoned");
        assert!(kept.values().map(|page| page.body.len()).sum::<usize>() <= LIST_BYTES_MAX);
    }
}
