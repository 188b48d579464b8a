//! A snapshot of the whole process table in one pass. It is a picture of one moment: whoever acts on a
//! process afterwards must check its identity again (see [`crate::sys::pidfd`]).

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;

use super::super::cgroup::CgroupPaths;
use super::super::{Identity, SysError};

/// Most processes in one snapshot.
pub const PROCESSES_MAX: usize = 131_072;

/// One process as it was when the snapshot was taken. What costs a look of its own is read when it is asked for, which
/// few are: it may then be that of a later process with the same pid, so an action checks the identity as always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Pid and start time.
    pub identity: Identity,
    /// Parent process.
    pub parent: i32,
    /// Name of the task, at most 15 bytes.
    pub comm: String,
    /// State letter of `stat`.
    pub state: char,
    /// True for a thread of the kernel.
    pub kernel_thread: bool,
    executable: OnceCell<Option<String>>,
    arguments: OnceCell<Vec<String>>,
    cgroups: OnceCell<CgroupPaths>,
}

impl Process {
    /// Last part of the executable's path, when it can be read.
    #[must_use]
    pub fn executable(&self) -> Option<&str> {
        let read = || {
            let path = super::executable(self.identity.pid).ok()?;
            Some(path.file_name()?.to_string_lossy().into_owned())
        };
        self.executable.get_or_init(|| if self.kernel_thread { None } else { read() }).as_deref()
    }

    /// The arguments, empty for a thread of the kernel and where they are larger than the limit.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        self.arguments.get_or_init(|| match self.kernel_thread {
            true => Vec::new(),
            false => super::command_line(self.identity.pid).unwrap_or_default(),
        })
    }

    /// The user it runs as (the effective one); 0 also for one that hides itself from its user.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        // The owner of its folder: ten times cheaper than the status file.
        std::fs::metadata(format!("/proc/{}", self.identity.pid)).ok().map(|metadata| metadata.uid())
    }

    /// The cgroups by controller; none for a thread of the kernel.
    #[must_use]
    pub fn cgroups(&self) -> &CgroupPaths {
        self.cgroups.get_or_init(|| match self.kernel_thread {
            true => CgroupPaths::default(),
            false => super::cgroups(self.identity.pid).unwrap_or_default(),
        })
    }

    /// One that is only thought of: nothing of it is read from the system.
    #[cfg(test)]
    pub(crate) fn imagined(pid: i32, parent: i32, name: &str, kernel_thread: bool, cgroup: &str) -> Self {
        let arguments = vec![format!("/usr/bin/{name}"), "--flag".to_owned()];
        Self {
            identity: Identity { pid, start_time: u64::from(pid.unsigned_abs()) },
            parent,
            comm: name.to_owned(),
            state: 'S',
            kernel_thread,
            executable: OnceCell::from(Some(name.to_owned())),
            arguments: OnceCell::from(arguments),
            cgroups: OnceCell::from(CgroupPaths::parse(&format!("0::{cgroup}"))),
        }
    }

    /// Last part of `argv[0]`, without the dash of a login shell or the colon of a self-made title.
    #[must_use]
    pub fn argument_name(&self) -> Option<&str> {
        let first = self.arguments().first()?.split_ascii_whitespace().next()?;
        let name = first.rsplit('/').next()?.trim_start_matches('-').trim_end_matches(':');
        (!name.is_empty()).then_some(name)
    }

    /// The command line with blanks between the arguments.
    #[must_use]
    pub fn command_line(&self) -> String {
        self.arguments().join(" ")
    }

    /// Inode of the network namespace, read now: few processes of a table are asked, and it is dear.
    #[must_use]
    pub fn network_namespace(&self) -> Option<u64> {
        super::namespace_inode(self.identity.pid, "net").ok()
    }

    /// Inode of the pid namespace, read now.
    #[must_use]
    pub fn pid_namespace(&self) -> Option<u64> {
        super::namespace_inode(self.identity.pid, "pid").ok()
    }

    /// True when it has ended and only its status is left.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// All processes at one moment.
#[derive(Debug, Clone, Default)]
pub struct ProcessTable {
    processes: BTreeMap<i32, Process>,
    children: BTreeMap<i32, Vec<i32>>,
}

impl ProcessTable {
    /// Reads the table. Processes that end meanwhile are left out.
    ///
    /// # Errors
    /// `/proc` can't be listed, or holds more than [`PROCESSES_MAX`] processes.
    pub fn read() -> Result<Self, SysError> {
        let failed = |source| SysError::io("listing /proc", source);
        let mut processes = Vec::new();
        for entry in std::fs::read_dir("/proc").map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            if processes.len() >= PROCESSES_MAX {
                return Err(SysError::TooLarge { path: "/proc".into(), limit_bytes: PROCESSES_MAX });
            }
            processes.extend(read_process(pid));
        }
        Ok(Self::from_processes(processes))
    }

    /// Builds a table from processes that are known already.
    #[must_use]
    pub fn from_processes(list: impl IntoIterator<Item = Process>) -> Self {
        let mut table = Self::default();
        for process in list {
            table.children.entry(process.parent).or_default().push(process.identity.pid);
            table.processes.insert(process.identity.pid, process);
        }
        table
    }

    /// The process with a pid.
    #[must_use]
    pub fn get(&self, pid: i32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// All processes in ascending order of pid.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// Number of processes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// True when there is none, which no running kernel shows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// The children of a process.
    #[must_use]
    pub fn children(&self, pid: i32) -> &[i32] {
        self.children.get(&pid).map_or(&[], Vec::as_slice)
    }

    /// The process itself and everything below it, in ascending order of depth.
    #[must_use]
    pub fn with_descendants(&self, pid: i32) -> Vec<i32> {
        let mut found = vec![pid];
        let mut seen = BTreeSet::from([pid]);
        let mut next = 0;
        while let Some(current) = found.get(next).copied() {
            next += 1;
            for child in self.children(current) {
                if seen.insert(*child) {
                    found.push(*child);
                }
            }
        }
        found
    }

    /// The ancestors of a process from its parent up to the root, bounded by the size of the table.
    #[must_use]
    pub fn ancestors(&self, pid: i32) -> Vec<i32> {
        let mut found = Vec::new();
        let mut current = self.get(pid).map(|process| process.parent);
        while let Some(parent) = current.filter(|parent| *parent > 0 && !found.contains(parent)) {
            found.push(parent);
            current = self.get(parent).map(|process| process.parent);
        }
        found
    }
}

/// One process, or none when it ended while it was read.
#[must_use]
pub fn read_process(pid: i32) -> Option<Process> {
    let stat = super::stat(pid).ok()?;
    Some(Process {
        identity: Identity { pid, start_time: stat.start_time },
        parent: stat.parent,
        kernel_thread: stat.is_kernel_thread(),
        comm: stat.comm,
        state: stat.state,
        executable: OnceCell::new(),
        arguments: OnceCell::new(),
        cgroups: OnceCell::new(),
    })
}
