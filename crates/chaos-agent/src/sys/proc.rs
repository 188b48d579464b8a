//! Bounded readers of `/proc`: one process at a time here, the whole table in [`table`], sockets in
//! [`sockets`]. It reads only; it never signals, traces or changes a process.

pub mod sockets;
pub mod table;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroup::CgroupPaths;
use super::{Identity, SysError};

/// Largest file of one process that is read whole, in bytes (a command line can reach 128 KiB per argument).
pub const PROCESS_FILE_BYTES_MAX: usize = 1 << 20;
/// Most threads of one process that are listed.
pub const THREADS_MAX: usize = 65_536;
/// `PF_KTHREAD` of the kernel's task flags.
const KERNEL_THREAD_FLAG: u32 = 0x0020_0000;
/// `PF_EXITING` of the kernel's task flags.
const EXITING_FLAG: u32 = 4;

/// The fields of `/proc/<pid>/stat` that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Process or thread id.
    pub pid: i32,
    /// Name of the task, at most 15 bytes.
    pub comm: String,
    /// State letter: `R S D T t Z X I`.
    pub state: char,
    /// Parent process.
    pub parent: i32,
    /// Task flags of the kernel.
    pub flags: u32,
    /// Time in user mode, in clock ticks.
    pub user_ticks: u64,
    /// Time in kernel mode, in clock ticks.
    pub system_ticks: u64,
    /// Number of threads.
    pub threads: u64,
    /// Start after boot, in clock ticks: with the pid, the identity of a process.
    pub start_time: u64,
    /// Resident pages.
    pub resident_pages: u64,
}

impl Stat {
    /// True for a thread of the kernel itself.
    #[must_use]
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & KERNEL_THREAD_FLAG != 0
    }

    /// True when the process has ended and only its status is left.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// True from the moment at which the process can't go back to its program.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        self.is_dead() || self.flags & EXITING_FLAG != 0
    }

    /// Parses the text of a `stat` file; the name may hold spaces and brackets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let open = text.find('(')?;
        let close = text.rfind(')')?;
        let pid = text.get(..open)?.trim().parse().ok()?;
        let comm = text.get(open + 1..close)?.to_owned();
        let fields: Vec<&str> = text.get(close + 1..)?.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        Some(Self {
            pid,
            comm,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            flags: fields.get(6)?.parse().ok()?,
            user_ticks: number(11)?,
            system_ticks: number(12)?,
            threads: number(17)?,
            start_time: number(19)?,
            resident_pages: fields.get(21)?.parse::<i64>().ok()?.max(0).unsigned_abs(),
        })
    }
}

/// The fields of `/proc/<pid>/status` that are used here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The process that a thread belongs to.
    pub process: i32,
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub effective_uid: u32,
    /// Process that traces this one, 0 for none.
    pub tracer: i32,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Number of threads.
    pub threads: u64,
    /// Effective capabilities, one bit each.
    pub effective_capabilities: u64,
    /// Pending signals of the thread and of its process, one bit each (signal n is bit n-1).
    pub pending_signals: u64,
    /// The process' id in each pid namespace, outermost first.
    pub namespace_pids: Vec<i32>,
}

impl Status {
    /// Parses the text of a `status` file; unknown lines are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let mut words = value.split_ascii_whitespace();
            let first = words.next().unwrap_or_default();
            match key {
                "Uid" => {
                    status.uid = first.parse().unwrap_or(u32::MAX);
                    status.effective_uid =
                        words.next().and_then(|word| word.parse().ok()).unwrap_or(u32::MAX);
                }
                "Tgid" => status.process = first.parse().unwrap_or(0),
                "TracerPid" => status.tracer = first.parse().unwrap_or(0),
                "VmRSS" => status.resident_bytes = first.parse::<u64>().unwrap_or(0).saturating_mul(1024),
                "Threads" => status.threads = first.parse().unwrap_or(0),
                "CapEff" => status.effective_capabilities = u64::from_str_radix(first, 16).unwrap_or(0),
                "SigPnd" | "ShdPnd" => status.pending_signals |= u64::from_str_radix(first, 16).unwrap_or(0),
                "NSpid" => {
                    status.namespace_pids =
                        value.split_ascii_whitespace().filter_map(|w| w.parse().ok()).collect();
                }
                _ => {}
            }
        }
        status
    }
}

/// Reads a file whole, refusing one above `limit_bytes`.
///
/// # Errors
/// The file can't be read, or is larger than the limit.
pub fn read_bounded(path: &Path, limit_bytes: usize) -> Result<Vec<u8>, SysError> {
    let attempted = || format!("reading {}", path.display());
    let file = File::open(path).map_err(|source| SysError::io(attempted(), source))?;
    let mut bytes = Vec::with_capacity(4096.min(limit_bytes));
    let limit = u64::try_from(limit_bytes).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| SysError::io(attempted(), source))?;
    if bytes.len() > limit_bytes {
        return Err(SysError::TooLarge { path: path.to_owned(), limit_bytes });
    }
    Ok(bytes)
}

/// Reads a text file whole, refusing one above `limit_bytes`; foreign bytes become replacement characters.
///
/// # Errors
/// The file can't be read, or is larger than the limit.
pub fn read_text(path: &Path, limit_bytes: usize) -> Result<String, SysError> {
    read_bounded(path, limit_bytes).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn process_file(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

fn read_process(pid: i32, name: &str) -> Result<String, SysError> {
    read_text(&process_file(pid, name), PROCESS_FILE_BYTES_MAX).map_err(|error| gone(pid, error))
}

/// "No such file" under `/proc/<pid>` means that the process ended.
fn gone(pid: i32, error: SysError) -> SysError {
    if error.is_gone() { SysError::Gone { pid } } else { error }
}

/// Reads `/proc/<pid>/stat`.
///
/// # Errors
/// The process is gone, or the file is malformed.
pub fn stat(pid: i32) -> Result<Stat, SysError> {
    let text = read_process(pid, "stat")?;
    Stat::parse(&text).ok_or_else(|| malformed(pid, "stat", &text))
}

/// Reads `/proc/<pid>/task/<tid>/stat`.
///
/// # Errors
/// The thread is gone, or the file is malformed.
pub fn thread_stat(pid: i32, tid: i32) -> Result<Stat, SysError> {
    let text = read_process(pid, &format!("task/{tid}/stat"))?;
    Stat::parse(&text).ok_or_else(|| malformed(pid, "task stat", &text))
}

fn malformed(pid: i32, name: &str, text: &str) -> SysError {
    SysError::Malformed { path: process_file(pid, name), what: text.chars().take(80).collect() }
}

/// Reads `/proc/<pid>/status`.
///
/// # Errors
/// The process is gone.
pub fn status(pid: i32) -> Result<Status, SysError> {
    read_process(pid, "status").map(|text| Status::parse(&text))
}

/// The thread that traces a thread of a process, 0 for none.
#[must_use]
pub fn thread_tracer(pid: i32, tid: i32) -> i32 {
    read_process(pid, &format!("task/{tid}/status")).map_or(0, |text| Status::parse(&text).tracer)
}

/// The identity of a running process.
///
/// # Errors
/// The process is gone; a zombie counts as gone.
pub fn identity(pid: i32) -> Result<Identity, SysError> {
    let stat = stat(pid)?;
    if stat.is_dead() {
        return Err(SysError::Gone { pid });
    }
    Ok(Identity { pid, start_time: stat.start_time })
}

/// True when the very process still runs: the pid exists, is not a zombie and has the same start time.
#[must_use]
pub fn runs(identity: Identity) -> bool {
    stat(identity.pid).is_ok_and(|stat| stat.start_time == identity.start_time && !stat.is_dead())
}

/// Resident memory of a process that it shares with nobody, in bytes. Unlike the sizes in `status`, which lag behind
/// by some pages, it is counted when asked for.
///
/// # Errors
/// The process is gone, or this kernel keeps no such count.
pub fn private_bytes(pid: i32) -> Result<u64, SysError> {
    let text = read_process(pid, "smaps_rollup")?;
    let kibibytes = text.lines().find_map(|line| {
        line.strip_prefix("Private_Dirty:")?.split_ascii_whitespace().next()?.parse::<u64>().ok()
    });
    kibibytes.map(|number| number.saturating_mul(1024)).ok_or_else(|| malformed(pid, "smaps_rollup", &text))
}

/// The pids of all processes, in the order of `/proc`.
///
/// # Errors
/// `/proc` can't be listed.
pub fn pids() -> Result<Vec<i32>, SysError> {
    let entries = std::fs::read_dir("/proc").map_err(|source| SysError::io("listing /proc", source))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The arguments of a process; empty for a kernel thread or a zombie.
///
/// # Errors
/// The process is gone, or its arguments are larger than the limit.
pub fn command_line(pid: i32) -> Result<Vec<String>, SysError> {
    let bytes =
        read_bounded(&process_file(pid, "cmdline"), PROCESS_FILE_BYTES_MAX).map_err(|e| gone(pid, e))?;
    Ok(split_arguments(&bytes))
}

fn split_arguments(bytes: &[u8]) -> Vec<String> {
    let trimmed = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if trimmed.is_empty() {
        return Vec::new();
    }
    trimmed.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// The executable of a process, without the kernel's ` (deleted)` mark; none for a kernel thread.
///
/// # Errors
/// The process is gone or belongs to somebody else.
pub fn executable(pid: i32) -> Result<PathBuf, SysError> {
    let link = std::fs::read_link(process_file(pid, "exe")).map_err(|source| {
        gone(pid, SysError::io(format!("reading the executable of process {pid}"), source))
    })?;
    let text = link.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| link.clone(), PathBuf::from))
}

/// The cgroups of a process.
///
/// # Errors
/// The process is gone.
pub fn cgroups(pid: i32) -> Result<CgroupPaths, SysError> {
    read_process(pid, "cgroup").map(|text| CgroupPaths::parse(&text))
}

/// The inode of a namespace of a process (`net`, `pid`, `mnt`, `user`, …), which identifies it.
///
/// # Errors
/// The process is gone or belongs to somebody else.
pub fn namespace_inode(pid: i32, kind: &str) -> Result<u64, SysError> {
    let attempted = || format!("reading the {kind} namespace of process {pid}");
    let path = process_file(pid, &format!("ns/{kind}"));
    let link = std::fs::read_link(&path).map_err(|source| gone(pid, SysError::io(attempted(), source)))?;
    // `net:[4026531840]`
    let inode = link.to_str().and_then(|text| text.split_once(":[")?.1.strip_suffix(']')?.parse().ok());
    inode.ok_or_else(|| SysError::Malformed { path, what: link.display().to_string() })
}

/// The thread ids of a process, in ascending order.
///
/// # Errors
/// The process is gone.
pub fn threads(pid: i32) -> Result<Vec<i32>, SysError> {
    let directory = process_file(pid, "task");
    let failed =
        |source: io::Error| gone(pid, SysError::io(format!("listing the threads of process {pid}"), source));
    let mut tids = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(failed)?.take(THREADS_MAX) {
        let Ok(entry) = entry else { break };
        if let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            tids.push(tid);
        }
    }
    if tids.is_empty() {
        return Err(SysError::Gone { pid });
    }
    tids.sort_unstable();
    Ok(tids)
}

/// The children of a process as its threads list them; none when the process is gone or this kernel keeps no such
/// lists. A child may be missed while another one ends.
#[must_use]
pub fn children(pid: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for tid in threads(pid).ok()? {
        match read_process(pid, &format!("task/{tid}/children")) {
            Ok(text) => {
                found.extend(text.split_ascii_whitespace().filter_map(|word| word.parse::<i32>().ok()))
            }
            // A thread that ended meanwhile has handed its children on.
            Err(_) if tid != pid => {}
            Err(_) => return None,
        }
    }
    Some(found)
}

/// Time that a thread has spent on a CPU, exact to the nanosecond once it sleeps or is stopped; the kernel
/// books a running thread only at its next tick.
///
/// # Errors
/// The thread is gone, or this kernel keeps no schedule statistics.
pub fn thread_cpu_time(pid: i32, tid: i32) -> Result<Duration, SysError> {
    parse_schedstat(pid, &read_process(pid, &format!("task/{tid}/schedstat"))?)
}

/// Time that all threads of a process that live now have spent on a CPU.
///
/// # Errors
/// The process is gone, or this kernel keeps no schedule statistics.
pub fn process_cpu_time(pid: i32) -> Result<Duration, SysError> {
    let mut total = Duration::ZERO;
    for tid in threads(pid)? {
        match thread_cpu_time(pid, tid) {
            Ok(time) => total += time,
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

fn parse_schedstat(pid: i32, text: &str) -> Result<Duration, SysError> {
    text.split_ascii_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .map(Duration::from_nanos)
        .ok_or_else(|| malformed(pid, "schedstat", text))
}

/// The memory of the host, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What can be had without swapping, as the kernel estimates it.
    pub available_bytes: u64,
}

/// Reads `/proc/meminfo`.
///
/// # Errors
/// It can't be read or lacks a line.
pub fn memory() -> Result<Memory, SysError> {
    let path = Path::new("/proc/meminfo");
    let text = read_text(path, PROCESS_FILE_BYTES_MAX)?;
    let kibibytes = |name: &str| -> Option<u64> {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.split_ascii_whitespace().next()?.parse().ok()
    };
    let (Some(total), Some(available)) = (kibibytes("MemTotal"), kibibytes("MemAvailable")) else {
        return Err(SysError::Malformed {
            path: path.to_owned(),
            what: "no MemTotal or MemAvailable".to_owned(),
        });
    };
    Ok(Memory { total_bytes: total.saturating_mul(1024), available_bytes: available.saturating_mul(1024) })
}

/// Clock ticks per second of the times in `stat`.
#[must_use]
pub fn ticks_per_second() -> u64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    u64::try_from(ticks).unwrap_or(100)
}

/// Bytes in a page of memory.
#[must_use]
pub fn page_bytes() -> usize {
    let bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    usize::try_from(bytes).unwrap_or(4096)
}

/// The boot clock in ticks, comparable with the start time of a process.
#[must_use]
pub fn boot_clock_ticks() -> u64 {
    let now =
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos() * u128::from(ticks_per_second()) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
