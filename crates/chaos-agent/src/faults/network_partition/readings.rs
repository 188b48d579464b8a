//! What the partitions of one fault process have in common: for each network namespace a socket to nf_tables and one
//! listing of its sockets, and one reading of the process table. A thousand partitions would else read all of a host
//! a thousand times.
//!
//! Owns how old a reading may be: whoever asks says since when. It never decides what follows from it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::faults::FaultError;
use crate::holder::monotonic;
use crate::sys::namespace::{Kind, Namespace};
use crate::sys::nft::{NftSocket, Rules, Shape};
use crate::sys::proc::sockets::SocketTable;
use crate::sys::proc::table::ProcessTable;
use crate::sys::{own_pid, proc};

/// Longest that a reading serves partitions that are planned one after the other.
const PLAN_AGE_MAX: Duration = Duration::from_secs(1);

/// Shared by all clones of it.
#[derive(Clone, Default)]
pub struct Readings(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    processes: Option<(Duration, Rc<ProcessTable>)>,
    networks: BTreeMap<u64, Weak<Network>>,
}

impl fmt::Debug for Readings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Readings").finish_non_exhaustive()
    }
}

impl Readings {
    /// The process table as it was at that time or later.
    pub(super) fn processes(&self, since: Duration) -> Result<Rc<ProcessTable>, FaultError> {
        reading(&mut self.0.borrow_mut().processes, since, || Ok(ProcessTable::read()?))
    }

    /// Lets a process table go that is too old for whoever will be planned next: it is large.
    pub(super) fn forget_old(&self) {
        let kept = &mut self.0.borrow_mut().processes;
        if kept.as_ref().is_some_and(|(read_at, _)| *read_at + PLAN_AGE_MAX < monotonic()) {
            *kept = None;
        }
    }

    /// What there is in a network namespace; entered once for all partitions in it.
    pub(super) fn network(&self, namespace: Namespace) -> Result<Rc<Network>, FaultError> {
        let mut inner = self.0.borrow_mut();
        let inode = namespace.inode();
        if let Some(network) = inner.networks.get(&inode).and_then(Weak::upgrade) {
            return Ok(network);
        }
        let network = Rc::new(Network::open(namespace)?);
        inner.networks.retain(|_, network| network.strong_count() > 0);
        inner.networks.insert(inode, Rc::downgrade(&network));
        Ok(network)
    }
}

/// Since when a reading serves a partition that was ordered at some time and is planned now.
pub(super) fn since_order(ordered_at: Duration) -> Duration {
    ordered_at.max(monotonic().saturating_sub(PLAN_AGE_MAX))
}

/// One network namespace.
pub(super) struct Network {
    /// None for the namespace of this process.
    namespace: Option<Namespace>,
    pub(super) nft: RefCell<NftSocket>,
    sockets: RefCell<Option<(Duration, Rc<SocketTable>)>>,
    rules: RefCell<Option<(Duration, Rc<Rules>)>>,
    /// How many partitions of this process use the rules of a shape.
    users: RefCell<BTreeMap<Shape, usize>>,
}

impl Network {
    /// Opens a socket there; the calling thread stays where it is.
    pub(super) fn open(namespace: Namespace) -> Result<Self, FaultError> {
        let is_own = proc::namespace_inode(own_pid(), Kind::Network.name())? == namespace.inode();
        let (namespace, nft) = match is_own {
            true => (None, NftSocket::open()?),
            false => {
                let nft = NftSocket::open_in(namespace.as_fd())?;
                (Some(namespace), nft)
            }
        };
        Ok(Self {
            namespace,
            nft: nft.into(),
            sockets: RefCell::default(),
            rules: RefCell::default(),
            users: RefCell::default(),
        })
    }

    /// Its descriptor, unless it is the namespace of this process.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.namespace.as_ref().map(AsFd::as_fd)
    }

    /// Its sockets as they were at that time or later, seen by a process that is in it.
    pub(super) fn sockets(&self, pid: i32, since: Duration) -> Result<Rc<SocketTable>, FaultError> {
        reading(&mut self.sockets.borrow_mut(), since, || Ok(SocketTable::read(pid)?))
    }

    /// The rules in our table as they were at that time or later.
    pub(super) fn rules(&self, since: Duration) -> Result<Rc<Rules>, FaultError> {
        reading(&mut self.rules.borrow_mut(), since, || Ok(self.nft.borrow_mut().list_rules()?))
    }

    /// One more partition uses the rules of a shape.
    pub(super) fn enter(&self, shape: &Shape) {
        *self.users.borrow_mut().entry(shape.clone()).or_default() += 1;
    }

    /// One partition less uses the rules of a shape.
    pub(super) fn leave(&self, shape: &Shape) {
        if let Some(users) = self.users.borrow_mut().get_mut(shape) {
            *users = users.saturating_sub(1);
        }
    }

    /// Removes the rules of a shape when nobody uses them any more, here or in other processes.
    pub(super) fn clear(&self, shape: &Shape) {
        if self.users.borrow().get(shape).is_none_or(|users| *users == 0) {
            // They drop nothing: what stays is removed with the next, or at the next start.
            let _ = self.nft.borrow_mut().remove_inert(Some(shape));
        }
    }
}

fn reading<T>(
    kept: &mut Option<(Duration, Rc<T>)>,
    since: Duration,
    read: impl FnOnce() -> Result<T, FaultError>,
) -> Result<Rc<T>, FaultError> {
    if let Some((_, reading)) = kept.as_ref().filter(|(read_at, _)| *read_at >= since) {
        return Ok(Rc::clone(reading));
    }
    let read_at = monotonic();
    let reading = Rc::new(read()?);
    *kept = Some((read_at, Rc::clone(&reading)));
    Ok(reading)
}
