//! The work itself, in the forked child: a CPU load held by the thread's own clock, and memory that is touched
//! at a rate and kept. It runs until it is killed.

use std::num::NonZeroUsize;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

use super::super::proc::page_bytes;
use super::Job;
use super::shared::SharedState;

/// Length of one slice of work and sleep.
const PERIOD: Duration = Duration::from_millis(5);
/// CPU time that may be caught up after others had the core; more is forgiven, so that no long burst follows.
const BACKLOG_MAX: Duration = Duration::from_millis(500);
/// Arithmetic between two looks at the clock: some 10 µs.
const SPINS: u32 = 4_000;
/// Memory touched between two reports when there is no rate.
const CHUNK_BYTES: usize = 1 << 20;
/// Holds at and above this size use huge pages: the resident amount may then be up to 2 MiB ahead.
const HUGE_FROM_BYTES: usize = 64 << 20;
/// How often held memory is touched again, so that it is not the first to be swapped out.
const REFRESH: Duration = Duration::from_secs(1);

/// A share of one core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuLoad {
    /// Above 0, at most 1.
    pub share: f64,
}

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryHold {
    /// Bytes to hold in the end; rounded up to pages.
    pub bytes: usize,
    /// Growth in bytes per second; none means as fast as the kernel gives it.
    pub bytes_per_second: Option<u64>,
}

pub(super) fn work(job: Job, shared: &SharedState) {
    match job {
        Job::Cpu(load) => burn(load.share, shared),
        Job::Memory(hold) => {
            let errno = hold_memory(hold, shared);
            shared.set_failed(errno);
        }
    }
}

fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

fn used() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

fn sleep_until(time: Duration) {
    while clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &time.into())
        == Err(Errno::EINTR)
    {}
}

/// Each period burns until the thread's CPU clock says what the wall clock asks for at the period's end. Both
/// targets are absolute, so neither sleeping late nor the cost of looking at clocks adds up.
fn burn(share: f64, shared: &SharedState) {
    shared.set_working();
    let mut begun = now();
    let mut base = used();
    let mut end = begun;
    loop {
        end += PERIOD;
        let due = base + (end - begun).mul_f64(share);
        let mut spent = used();
        if due.saturating_sub(spent) > BACKLOG_MAX {
            // Start the account anew with just the backlog that is allowed.
            begun = end;
            base = spent + BACKLOG_MAX;
        }
        // The wall clock bounds the slice: at a full load, or behind others, it never sleeps.
        while spent < due && now() < end {
            spin();
            spent = used();
        }
        if spent >= due {
            sleep_until(end);
        }
        // Behind by whole periods (suspended, throttled): go on from now; the CPU account keeps the debt.
        let current = now();
        if current > end + PERIOD {
            end = current;
        }
    }
}

fn spin() {
    let mut value = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..SPINS {
        value = std::hint::black_box(value.rotate_left(7).wrapping_mul(0x2545_F491_4F6C_DD1D));
    }
}

/// Returns only when the memory can't be had.
fn hold_memory(hold: MemoryHold, shared: &SharedState) -> Errno {
    let page = page_bytes();
    let Some(length) = hold.bytes.checked_next_multiple_of(page).and_then(NonZeroUsize::new) else {
        return Errno::EINVAL;
    };
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address that the kernel chooses touches no memory of ours.
    let memory = match unsafe { mmap_anonymous(None, length, protection, flags) } {
        Ok(memory) => memory.cast::<u64>(),
        Err(errno) => return errno,
    };
    // Huge pages are given back some thirty times faster, so the undo of a large hold is quick; in a small
    // one they would make the amount wrong. The kernel falls back to small pages by itself.
    let advice =
        if length.get() >= HUGE_FROM_BYTES { MmapAdvise::MADV_HUGEPAGE } else { MmapAdvise::MADV_NOHUGEPAGE };
    // SAFETY: advice on exactly the mapping made above.
    let _ = unsafe { madvise(memory.cast(), length.get(), advice) };
    let touch = |from: usize, to: usize, stamp: u64| {
        for offset in (from..to).step_by(page) {
            // SAFETY: offset is a multiple of the page below the length of the mapping, hence aligned and inside.
            unsafe { memory.byte_add(offset).write_volatile(stamp ^ (offset as u64)) };
        }
    };
    shared.set_working();
    let begun = now();
    let mut touched = 0;
    while touched < length.get() {
        let target = match hold.bytes_per_second {
            None => touched + CHUNK_BYTES,
            // At least a page at a time, at most what the clock asks for.
            Some(rate) => {
                let due = (now() - begun + PERIOD).as_nanos() * u128::from(rate) / 1_000_000_000;
                usize::try_from(due).unwrap_or(usize::MAX) / page * page
            }
        };
        let target = target.clamp(touched, length.get()).next_multiple_of(page).min(length.get());
        // In chunks, so that the report keeps up also at a very high rate.
        while touched < target {
            let next = (touched + CHUNK_BYTES).min(target);
            touch(touched, next, 1);
            touched = next;
            shared.set_touched(touched as u64);
        }
        if hold.bytes_per_second.is_some() && touched < length.get() {
            sleep_until(now() + PERIOD);
        }
    }
    let mut stamp = 2;
    loop {
        sleep_until(now() + REFRESH);
        touch(0, touched, stamp);
        stamp += 1;
    }
}
