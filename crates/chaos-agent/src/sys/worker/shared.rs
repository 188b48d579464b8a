//! One page of memory that a worker and its parent share, for the few numbers that the worker reports.

use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::super::SysError;

/// What the page holds; all zero is a valid start.
#[repr(C)]
struct Page {
    touched_bytes: AtomicU64,
    state: AtomicU32,
    errno: AtomicI32,
}

const WORKING: u32 = 1;
const FAILED: u32 = 2;

/// What a worker says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Born, at its gate.
    Starting,
    /// At work.
    Working,
    /// It could not begin, for this reason.
    Failed(Errno),
}

/// The mapping; shared over a fork.
#[derive(Debug)]
pub struct SharedState {
    page: NonNull<Page>,
}

const LENGTH: NonZeroUsize = NonZeroUsize::new(size_of::<Page>()).expect("the page is not empty");

impl SharedState {
    /// Maps a fresh page.
    ///
    /// # Errors
    /// The kernel has no memory for it.
    pub fn new() -> Result<Self, SysError> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new anonymous mapping at an address that the kernel chooses touches no memory of ours.
        let mapped = unsafe { mmap_anonymous(None, LENGTH, protection, MapFlags::MAP_SHARED) };
        let page = mapped.map_err(|errno| SysError::io("mapping the page of a worker", errno))?;
        Ok(Self { page: page.cast() })
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping lives as long as self, is aligned to a page, zeroed at birth (valid for atomics),
        // and both processes use it only by atomic operations.
        unsafe { self.page.as_ref() }
    }

    /// Bytes that the worker has touched.
    #[must_use]
    pub fn touched_bytes(&self) -> u64 {
        self.page().touched_bytes.load(Ordering::Acquire)
    }

    /// Where the worker is.
    #[must_use]
    pub fn state(&self) -> State {
        match self.page().state.load(Ordering::Acquire) {
            WORKING => State::Working,
            FAILED => State::Failed(Errno::from_raw(self.page().errno.load(Ordering::Acquire))),
            _ => State::Starting,
        }
    }

    pub(in crate::sys) fn set_touched(&self, bytes: u64) {
        self.page().touched_bytes.store(bytes, Ordering::Release);
    }

    pub(super) fn set_working(&self) {
        self.page().state.store(WORKING, Ordering::Release);
    }

    pub(super) fn set_failed(&self, errno: Errno) {
        self.page().errno.store(errno as i32, Ordering::Release);
        self.page().state.store(FAILED, Ordering::Release);
    }
}

impl Drop for SharedState {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` with this length and nobody else unmaps it.
        let _ = unsafe { munmap(self.page.cast(), LENGTH.get()) };
    }
}
