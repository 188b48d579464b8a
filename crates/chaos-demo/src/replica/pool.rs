//! Owns the worker pool: a bounded queue and the threads that empty it. It never waits for room.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

/// Threads that work.
const WORKERS: usize = 2;
/// Jobs that may wait; one more is refused.
const QUEUE: usize = 64;
/// Processor time of one job: small when the replica is well, and visibly longer in wall time when it
/// has to share its core.
const JOB_CPU: Duration = Duration::from_millis(1);
/// Memory of one job. Above the allocator's threshold for mapping, so that each job faults fresh pages in
/// and memory pressure shows.
const JOB_MEMORY: usize = 1 << 20;
/// A cache line: the stride at which the memory is touched.
const STRIDE: usize = 64;

/// What became of a job.
pub(super) struct Done {
    /// Time in the queue.
    pub(super) waited: Duration,
    /// Wall time of the work itself.
    pub(super) worked: Duration,
    /// Keeps the work from being optimised away.
    pub(super) checksum: u64,
}

struct Job {
    queued: Instant,
    done: oneshot::Sender<Done>,
}

#[derive(Default)]
struct Gauges {
    depth: AtomicUsize,
    latest_wait_us: AtomicU64,
}

/// The way in.
pub(super) struct Pool {
    queue: SyncSender<Job>,
    gauges: Arc<Gauges>,
}

impl Pool {
    /// Starts the threads; they end when the pool is dropped and the queue is empty.
    pub(super) fn start() -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let gauges = Arc::new(Gauges::default());
        for number in 0..WORKERS {
            let (jobs, gauges) = (Arc::clone(&jobs), Arc::clone(&gauges));
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .stack_size(128 << 10)
                .spawn(move || labour(&jobs, &gauges))?;
        }
        Ok(Self { queue, gauges })
    }

    /// Queues one job; `None` when the queue is full.
    pub(super) fn submit(&self) -> Option<oneshot::Receiver<Done>> {
        let (done, outcome) = oneshot::channel();
        // Counted first: a worker may take the job before `try_send` returns.
        self.gauges.depth.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(Job { queued: Instant::now(), done }).is_ok() {
            return Some(outcome);
        }
        self.gauges.depth.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Jobs in the queue now.
    pub(super) fn depth(&self) -> usize {
        self.gauges.depth.load(Ordering::Relaxed)
    }

    /// How long the latest job had to wait.
    pub(super) fn latest_wait(&self) -> Duration {
        Duration::from_micros(self.gauges.latest_wait_us.load(Ordering::Relaxed))
    }
}

fn labour(jobs: &Mutex<Receiver<Job>>, gauges: &Gauges) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let waited = job.queued.elapsed();
        gauges.depth.fetch_sub(1, Ordering::Relaxed);
        gauges.latest_wait_us.store(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        // Whoever asked has given up: don't work for nobody.
        if job.done.is_closed() {
            continue;
        }
        let started = Instant::now();
        let checksum = work();
        let _ = job.done.send(Done { waited, worked: started.elapsed(), checksum });
    }
}

/// Touches its memory over and over until the thread has used [`JOB_CPU`]; always at least once.
fn work() -> u64 {
    let began = thread_time();
    let mut memory = vec![0_u8; JOB_MEMORY];
    let mut sum = 0_u64;
    loop {
        for cell in memory.iter_mut().step_by(STRIDE) {
            *cell = cell.wrapping_add(1);
            sum = sum.rotate_left(5).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(*cell);
        }
        // Without such a clock every job is one pass.
        let spent = thread_time().zip(began).map_or(JOB_CPU, |(now, began)| now.saturating_sub(began));
        if spent >= JOB_CPU {
            return sum;
        }
    }
}

/// Processor time of this thread.
fn thread_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_every_accepted_job_is_done() {
        let pool = Pool::start().expect("threads");
        let mut accepted = Vec::new();
        let refused = loop {
            match pool.submit() {
                Some(job) => accepted.push(job),
                None => break true,
            }
            assert!(accepted.len() < 100_000, "the queue has no bound");
        };
        assert!(refused && pool.depth() <= QUEUE + 1);
        for job in accepted {
            let done = job.blocking_recv().expect("accepted jobs are done");
            assert!(done.worked >= JOB_CPU / 2, "{:?}", done.worked);
        }
        assert_eq!(pool.depth(), 0);
        assert!(pool.latest_wait() > Duration::ZERO);
    }
}
