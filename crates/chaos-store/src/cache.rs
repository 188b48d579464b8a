//! Pages of the list of experiments that were read since the latest change.
//!
//! Owns when a page is still true: as long as this process, which is the one that writes, has changed nothing that
//! lists show. A page is read once however many ask for it at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chaos_core::port::StoreError;
use tokio::sync::OnceCell;

use crate::page::{ExperimentCursor, ExperimentLine, Page};

/// A page of the list.
pub(crate) type Lines = Arc<Page<ExperimentLine, ExperimentCursor>>;

/// Pages kept; at the next one all are forgotten.
const PAGES_MAX: usize = 256;
/// The most rows of a page that is kept; a longer one is read each time.
pub(crate) const PAGE_ROWS_MAX: usize = 100;
/// How long a page is kept at most: another process may write to the same file, though none should.
const AGE_MAX: Duration = Duration::from_secs(1);

/// What a page was asked for.
pub(crate) type Question = String;

#[derive(Debug, Default)]
pub(crate) struct Lists {
    version: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    version: u64,
    pages: BTreeMap<Question, (Instant, Arc<OnceCell<Lines>>)>,
}

impl Lists {
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What lists show may have changed.
    pub(crate) fn changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The page, read by `read` unless it is known.
    pub(crate) async fn page(
        &self,
        question: Question,
        read: impl Future<Output = Result<Lines, StoreError>>,
    ) -> Result<Lines, StoreError> {
        let cell = self.cell(question);
        cell.get_or_try_init(|| read).await.cloned()
    }

    /// The version is taken before the page is read: what changes meanwhile makes the page an old one at once.
    fn cell(&self, question: Question) -> Arc<OnceCell<Lines>> {
        let (version, now) = (self.version(), Instant::now());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.version != version || kept.pages.len() >= PAGES_MAX {
            kept.pages.clear();
            kept.version = version;
        }
        let entry = kept.pages.entry(question).or_insert_with(|| (now, Arc::default()));
        if now.duration_since(entry.0) > AGE_MAX {
            *entry = (now, Arc::default());
        }
        Arc::clone(&entry.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(lists: &Lists, question: &str, reads: &AtomicU64) -> Lines {
        let read = async {
            reads.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Arc::new(Page { items: Vec::new(), next: None }))
        };
        lists.page(question.to_owned(), read).await.unwrap()
    }

    #[tokio::test]
    async fn a_page_is_read_once_until_something_changes() {
        let (lists, reads) = (Lists::default(), AtomicU64::new(0));
        let (one, two) = tokio::join!(ask(&lists, "a", &reads), ask(&lists, "a", &reads));
        assert!(Arc::ptr_eq(&one, &two));
        ask(&lists, "b", &reads).await;
        assert_eq!(reads.load(Ordering::SeqCst), 2);
        lists.changed();
        assert!(!Arc::ptr_eq(&one, &ask(&lists, "a", &reads).await));
    }

    #[tokio::test]
    async fn a_page_that_was_being_read_during_a_change_is_not_kept() {
        let (lists, reads) = (Lists::default(), AtomicU64::new(0));
        let read = async {
            lists.changed();
            Ok(Arc::new(Page { items: Vec::new(), next: None }))
        };
        lists.page("a".to_owned(), read).await.unwrap();
        ask(&lists, "a", &reads).await;
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn no_more_pages_are_kept_than_the_limit() {
        let (lists, reads) = (Lists::default(), AtomicU64::new(0));
        for number in 0..3 * PAGES_MAX {
            ask(&lists, &number.to_string(), &reads).await;
            assert!(lists.kept.lock().unwrap().pages.len() <= PAGES_MAX);
        }
    }

    #[tokio::test]
    async fn a_page_that_could_not_be_read_is_asked_for_again() {
        let (lists, reads) = (Lists::default(), AtomicU64::new(0));
        let failed = async { Err(crate::error::failed("read", "no")) };
        assert!(lists.page("a".to_owned(), failed).await.is_err());
        ask(&lists, "a", &reads).await;
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }
}
