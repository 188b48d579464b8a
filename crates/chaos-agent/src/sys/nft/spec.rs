//! What to cut off: the pure description of one partition.
//!
//! Owns the vocabulary (direction, peers, ports, sockets of a process) and its limits. It never
//! touches the kernel and never knows how a match is encoded.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::error::NftError;

/// Most characters of an injection's name.
pub const NAME_CHARS_MAX: usize = 20;
/// Most peers of one partition.
pub const PEERS_MAX: usize = 4_096;
/// Most port ranges of one partition.
pub const PORT_RANGES_MAX: usize = 1_024;
/// Most listeners plus connections of one partition.
pub const SOCKETS_MAX: usize = 32_768;

fn invalid(reason: impl Into<String>) -> NftError {
    NftError::Invalid { reason: reason.into() }
}

/// The name under which an injection's sets and rules are found again by any process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InjectionName(String);

impl InjectionName {
    /// Accepts 1 to [`NAME_CHARS_MAX`] of `A-Z a-z 0-9 _ -`.
    ///
    /// # Errors
    /// [`NftError::Invalid`] for anything else.
    pub fn new(name: impl Into<String>) -> Result<Self, NftError> {
        let name = name.into();
        let fits = (1..=NAME_CHARS_MAX).contains(&name.len());
        if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
            Ok(Self(name))
        } else {
            Err(invalid(format!(
                "an injection is named by 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 _ -, not {name:?}"
            )))
        }
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InjectionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Which way packets are dropped, seen from the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Packets that arrive at the victim.
    In,
    /// Packets that the victim sends.
    Out,
    /// Either way.
    Both,
}

/// A block of addresses. IPv4-mapped IPv6 blocks become IPv4, since that is what is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// A block; bits behind the prefix are cleared.
    ///
    /// # Errors
    /// [`NftError::Invalid`] when the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, NftError> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix > bits {
            return Err(invalid(format!("{address}/{prefix}: the prefix is at most {bits}")));
        }
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
            && prefix >= 96
        {
            return Self::new(IpAddr::V4(v4), prefix - 96);
        }
        let address = match address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(prefix))),
        };
        Ok(Self { address, prefix })
    }

    /// The first address of the block.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.address
    }

    /// The last address of the block.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | !mask_v4(self.prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | !mask_v6(self.prefix))),
        }
    }

    /// Whether an address is in the block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.first() <= address && address <= self.last()
    }

    /// Whether every address of the block is a loopback address.
    #[must_use]
    pub fn names_loopback(&self) -> bool {
        self.first().is_loopback() && self.last().is_loopback()
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Cidr {
    type Err = NftError;

    /// Reads `address` or `address/prefix`.
    fn from_str(text: &str) -> Result<Self, NftError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr =
            address.parse().map_err(|_| invalid(format!("{text:?} is not an address or a CIDR block")))?;
        match prefix {
            None => Ok(Self::from(address)),
            Some(prefix) => {
                let prefix =
                    prefix.parse().map_err(|_| invalid(format!("{text:?} has no valid prefix length")))?;
                Self::new(address, prefix)
            }
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

/// Ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// A range.
    ///
    /// # Errors
    /// [`NftError::Invalid`] when it is empty.
    pub fn new(first: u16, last: u16) -> Result<Self, NftError> {
        if first > last {
            return Err(invalid(format!("port range {first}-{last} is empty")));
        }
        Ok(Self { first, last })
    }

    /// The lowest port.
    #[must_use]
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The highest port.
    #[must_use]
    pub fn last(&self) -> u16 {
        self.last
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The number in the IP header.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// A port the victim listens on (for UDP: is bound to).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Its protocol.
    pub protocol: Protocol,
    /// The local address, or none when bound to all of them.
    pub address: Option<IpAddr>,
    /// The local port.
    pub port: u16,
}

/// An established connection of the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Its protocol.
    pub protocol: Protocol,
    /// The victim's end.
    pub local: SocketAddr,
    /// The other end; of the same address family.
    pub remote: SocketAddr,
}

/// A cgroup of the v2 tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cgroup {
    /// Its id: the inode number of its directory.
    pub id: u64,
    /// Its depth below the root of the tree (the root is 0), as nf_tables counts it.
    pub level: u8,
}

/// How the sockets of a victim that shares its network namespace are recognised.
///
/// Sockets keep the cgroup they were made in, so the cgroup finds what the victim opens from now on
/// and the other two find what it has open already. SYN-ACKs are sent before a full socket exists
/// and are found through the listener only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessSockets {
    /// Its listening ports.
    pub listeners: Vec<Listener>,
    /// Its established connections.
    pub connections: Vec<Connection>,
    /// Its cgroup, when it does not share that as well.
    pub cgroup: Option<Cgroup>,
}

/// What is cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The whole network namespace, which is the victim's own. Traffic on its loopback interface
    /// stays untouched unless a peer names a loopback address (`127.0.0.0/8`, `::1`, or a part);
    /// IPv6 neighbour and router discovery stays untouched, as ARP does, and so does what the
    /// namespace forwards for others.
    Namespace,
    /// Some sockets in a namespace shared with others; their loopback traffic is included.
    Process(ProcessSockets),
}

/// One partition, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Under which name it is found again.
    pub name: InjectionName,
    /// Which way packets are dropped.
    pub direction: Direction,
    /// Whose packets.
    pub scope: Scope,
    /// Only to and from these; empty means anyone.
    pub peers: Vec<Cidr>,
    /// Only TCP, UDP and SCTP with the source or the destination port in one of these; empty means
    /// every protocol, ICMP included.
    pub ports: Vec<PortRange>,
}

impl PartitionSpec {
    /// Checks the named limits.
    ///
    /// # Errors
    /// [`NftError::Invalid`] naming the limit.
    pub fn check(&self) -> Result<(), NftError> {
        if self.peers.len() > PEERS_MAX {
            return Err(invalid(format!("{} peers, at most {PEERS_MAX}", self.peers.len())));
        }
        if self.ports.len() > PORT_RANGES_MAX {
            return Err(invalid(format!("{} port ranges, at most {PORT_RANGES_MAX}", self.ports.len())));
        }
        match &self.scope {
            Scope::Namespace => Ok(()),
            Scope::Process(sockets) => sockets.check(),
        }
    }
}

impl ProcessSockets {
    /// Checks the named limit, and that the ends of each connection are of one family.
    pub(super) fn check(&self) -> Result<(), NftError> {
        let sockets = self.listeners.len() + self.connections.len();
        if sockets > SOCKETS_MAX {
            return Err(invalid(format!("{sockets} sockets, at most {SOCKETS_MAX}")));
        }
        for Connection { local, remote, .. } in &self.connections {
            if local.ip().to_canonical().is_ipv4() != remote.ip().to_canonical().is_ipv4() {
                return Err(invalid(format!("connection {local} to {remote} mixes address families")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        assert!(InjectionName::new("01ab-cd_EF").is_ok());
        for wrong in ["", "a b", "a;b", "ä", "123456789012345678901"] {
            assert!(InjectionName::new(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_block_keeps_its_network_and_its_ends() {
        let check = |text: &str, shown: &str, last: &str| {
            let block: Cidr = text.parse().unwrap();
            assert_eq!(block.to_string(), shown);
            assert_eq!(block.last().to_string(), last);
        };
        check("10.1.2.3/8", "10.0.0.0/8", "10.255.255.255");
        check("0.0.0.0/0", "0.0.0.0/0", "255.255.255.255");
        check("192.0.2.7", "192.0.2.7/32", "192.0.2.7");
        check("::/0", "::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        check("2001:db8::1/64", "2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff");
        check("::ffff:10.1.2.3/104", "10.0.0.0/8", "10.255.255.255");
        check("::ffff:10.1.2.3", "10.1.2.3/32", "10.1.2.3");
        for wrong in ["10.0.0.0/33", "::/129", "10.0.0", "10.0.0.0/", "/8", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_block_within_loopback_names_loopback() {
        let names = |text: &str| text.parse::<Cidr>().unwrap().names_loopback();
        assert!(names("127.0.0.1") && names("127.0.0.0/8") && names("::1"));
        assert!(!names("0.0.0.0/0") && !names("126.0.0.0/7") && !names("::/127"));
    }

    #[test]
    fn a_block_contains_its_addresses_in_either_notation() {
        let block: Cidr = "10.0.0.0/8".parse().unwrap();
        assert!(block.contains("10.9.9.9".parse().unwrap()));
        assert!(block.contains("::ffff:10.9.9.9".parse().unwrap()));
        assert!(!block.contains("11.0.0.0".parse().unwrap()));
        assert!(!block.contains("::1".parse().unwrap()));
    }
}
