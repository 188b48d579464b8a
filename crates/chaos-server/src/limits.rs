//! Every limit of the service, by name.
//!
//! Owns the numbers. It never enforces one.

use std::time::Duration;

/// The largest request body.
pub const BODY_BYTES_MAX: usize = chaos_core::spec::DOCUMENT_BYTES_MAX;
/// How long a request body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request head may take to arrive; also how long an idle connection is kept.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest request head.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// How long a caller may leave what is sent to it unread.
pub const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may take to be made; longer than the deadline of any undo.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);
/// Connections at a time; the next one waits.
pub const CONNECTIONS_MAX: usize = 1024;
/// Connections at a time from one address of another machine; the next one is closed.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 128;
/// Agents at a time, those that are about to say who they are counted; the next one is refused. Fewer where fewer files
/// may be open.
pub const AGENTS_MAX: usize = chaos_engine::hub::HOSTS_MAX + NEW_AGENTS_MAX;
/// Agents at a time that have not said who they are; the next one is refused. Agents that live say it at once, so a
/// thousand that come back at the same moment pass within a few tries.
pub const NEW_AGENTS_MAX: usize = 256;
/// Event streams at a time; the next one is refused.
pub const STREAMS_MAX: usize = 64;
/// Events that a stream reads from the journal at a time.
pub const STREAM_PAGE: u32 = 200;
/// Silence of a stream after which it says that it is still there.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long an answer to a start waits for the gates, unless it is asked to wait otherwise.
pub const GATES_WAIT: Duration = Duration::from_secs(5);
/// The longest that it can be asked to wait.
pub const GATES_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long connections may take to end when the service does.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a delete waits for the outcome of a run that it stopped.
pub const OUTCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a measured health score is handed out again.
pub const HEALTH_FRESH: Duration = Duration::from_secs(1);
/// How long measuring it may take: longer than an agent may take to answer.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that must be free below the state folder for the service to be ready.
pub const FREE_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// Rows of a page when a request does not say.
pub const PAGE_ROWS: u32 = 100;
/// The most rows of a page.
pub const PAGE_ROWS_MAX: u32 = chaos_store::PAGE_MAX;
/// Runs whose first position is remembered, so that their streams need not search for it.
pub const REMEMBERED_RUNS_MAX: usize = 4096;
/// Series of probe metrics; beyond it the oldest are forgotten all at once.
pub const PROBE_SERIES_MAX: usize = 1000;
/// The longest reason that is taken.
pub const REASON_CHARS_MAX: usize = chaos_core::safety::REASON_CHARS_MAX;
/// The longest note on an incident.
pub const NOTE_CHARS_MAX: usize = 10_000;
/// The longest value that an audit entry keeps of a call.
pub const AUDIT_VALUE_CHARS_MAX: usize = 500;
/// How long an emergency call waits for its audit entry after it was carried out.
pub const AUDIT_GRACE: Duration = Duration::from_secs(1);
/// How long engaging the lever waits for the disk before it stops every run all the same.
pub const LEVER_DISK_WAIT: Duration = Duration::from_millis(250);
/// How long it waits for the disk after that, before it says that the lever may not survive a restart.
pub const LEVER_DISK_TIMEOUT: Duration = Duration::from_secs(5);
/// Tokens that are taken at a time.
pub const TOKENS_MAX: usize = 1000;
/// How long a token may be made to last: ten years.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);
/// How long a consent counts when it does not say.
pub const APPROVAL_LIFETIME: Duration = Duration::from_secs(86_400);
/// Callers and addresses whose requests are counted; beyond it all of them begin anew.
pub const COUNTED_CALLERS_MAX: usize = 10_000;
/// Time between two looks whether runs are old enough to be forgotten.
pub const RETENTION_EVERY: Duration = Duration::from_secs(3600);
/// How long a page of experiments is handed out again while nothing changes.
pub const LIST_FRESH: Duration = Duration::from_secs(1);
/// The same for a page with a run that is not finished, whose time goes on.
pub const LIST_FRESH_RUNNING: Duration = Duration::from_millis(100);
/// Bytes of pages that are kept for that.
pub const LIST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
