//! Network partitions in the kernel: our own small nf_tables speaker over netlink.
//!
//! There is one table of ours, `inet chaos`, per network namespace. Rules in it drop only what is found in sets whose
//! elements carry a kernel timeout (the lease), so the kernel alone ends a partition whose makers are all dead; what
//! is left then drops nothing. Rules and sets belong to a shape (direction, peers, ports, kind of victim), a partition
//! to its elements: a thousand partitions of one shape are a thousand elements behind a handful of rules, and taking
//! one away takes the kernel some ten microseconds. Elements carry their injection's name in a comment, so any process
//! finds and removes them.
//!
//! Owns that table and nothing else: it never touches another table, and never decides when a
//! partition begins or ends. Locally sent UDP that is dropped on its way out fails with `EPERM` at the
//! sender, as with any netfilter drop; TCP does not notice and keeps retrying.

mod encode;
mod error;
mod partition;
mod plan;
mod proof;
mod socket;
mod spec;
mod table;
pub(super) mod wire;

pub use encode::TABLE;
pub(crate) use encode::read_every_way;
pub use error::NftError;
pub use partition::{Lease, Partition, SLOTS_MAX};
pub use plan::Shape;
pub use proof::{Proof, ProofKind};
pub use socket::NftSocket;
pub use spec::{
    Cgroup, Cidr, Connection, Direction, InjectionName, Listener, NAME_CHARS_MAX, PEERS_MAX, PORT_RANGES_MAX,
    PartitionSpec, PortRange, ProcessSockets, Protocol, SOCKETS_MAX, Scope,
};
pub use table::{ElementReading, Reading, Rules, TableRemoval};

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod kernel_tests_groups;
#[cfg(test)]
mod kernel_tests_shared;
#[cfg(test)]
mod kernel_tests_table;
#[cfg(test)]
mod test_net;
