//! All open sockets of one network namespace as they were at one moment, for whoever looks at many processes of it:
//! the kernel walks over every socket of a host for each listing. It reads only.

use std::collections::HashMap;

use super::{Entry, Protocol, Sockets, States, held_by, listed};
use crate::sys::{SysError, proc};

/// A listing of the sockets of a network namespace.
#[derive(Debug)]
pub struct SocketTable {
    namespace: u64,
    by_inode: HashMap<u64, (Protocol, Entry)>,
}

impl SocketTable {
    /// Lists the sockets of the namespace that a process is in.
    ///
    /// # Errors
    /// The process has ended or its sockets can't be listed.
    pub fn read(pid: i32) -> Result<Self, SysError> {
        let namespace = proc::namespace_inode(pid, "net")?;
        let entries = listed(namespace, pid, States::Open)?.into_iter();
        Ok(Self { namespace, by_inode: entries.map(|one| (one.1.inode, one)).collect() })
    }

    /// The inode of the namespace.
    #[must_use]
    pub fn namespace(&self) -> u64 {
        self.namespace
    }

    /// The listed sockets that a group of processes holds now. Processes that are gone are passed over.
    ///
    /// # Errors
    /// The descriptors of a living process can't be read.
    pub fn held_by(&self, pids: &[i32]) -> Result<Sockets, SysError> {
        let mut found = Sockets::default();
        for pid in pids {
            let Some((_, inodes)) = held_by(*pid)?.filter(|(namespace, _)| *namespace == self.namespace)
            else {
                continue;
            };
            for (protocol, entry) in inodes.iter().filter_map(|inode| self.by_inode.get(inode)) {
                found.add(*protocol, entry);
            }
        }
        found.sort();
        Ok(found)
    }
}
