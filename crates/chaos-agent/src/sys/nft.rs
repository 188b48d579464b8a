//! Network partitions in the kernel: our own small nf_tables speaker over netlink.
//!
//! There is one table of ours, `inet chaos`, per network namespace. Each injection owns sets in it,
//! whose elements carry a kernel timeout (the lease), and rules that drop only what is found in those
//! sets. So the kernel alone ends a partition whose makers are all dead; what is left then drops
//! nothing. Rules carry their injection's name in a comment, so any process finds and removes them.
//!
//! Owns that table and nothing else: it never touches another table, and never decides when a
//! partition begins or ends. Locally sent UDP that is dropped on its way out fails with `EPERM` at the
//! sender, as with any netfilter drop; TCP does not notice and keeps retrying.

mod encode;
mod error;
mod operations;
mod plan;
mod proof;
mod socket;
mod spec;
pub(super) mod wire;

pub use encode::TABLE;
pub use error::NftError;
pub use operations::{ElementReading, Lease, Reading, TableRemoval};
pub use proof::{Proof, ProofKind};
pub use socket::NftSocket;
pub use spec::{
    Cgroup, Cidr, Connection, Direction, InjectionName, Listener, NAME_CHARS_MAX, PEERS_MAX, PORT_RANGES_MAX,
    PartitionSpec, PortRange, ProcessSockets, Protocol, SOCKETS_MAX, Scope,
};

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod kernel_tests_shared;
#[cfg(test)]
mod kernel_tests_table;
#[cfg(test)]
mod test_net;
