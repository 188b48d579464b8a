//! Which addresses a probe may reach, and the way from a name to them.
//!
//! Owns the rule, and every look-up of a name that a probe makes: what is dialled is what was checked, so that a name
//! that changes its address between two look-ups gains nothing. It never connects.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 16;
/// Where clouds serve what their machines may do, credentials included; the link-local ones are refused as such.
const METADATA: [IpAddr; 4] = [
    // Alibaba Cloud and Azure.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Amazon and Google.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)),
];
/// The first 96 bits of an IPv6 address behind which a translator reaches the IPv4 address of the last 32.
const TRANSLATED: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// Which addresses probes may reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AddressPolicy {
    /// Every address.
    Any,
    /// None that is link-local, of a cloud's metadata service, multicast, broadcast or unspecified.
    #[default]
    NoLinkLocal,
}

impl AddressPolicy {
    /// What speaks against this address.
    fn objection(self, address: IpAddr) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::NoLinkLocal => kind_that_is_refused(meant(address)),
        }
    }
}

/// The address that is reached: IPv4 written as IPv6 is IPv4.
fn meant(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) if six.segments().starts_with(&TRANSLATED) => {
            let [.., a, b, c, d] = six.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        other => other,
    }
}

fn kind_that_is_refused(address: IpAddr) -> Option<&'static str> {
    let (link_local, broadcast) = match address {
        IpAddr::V4(four) => (four.is_link_local(), four.is_broadcast()),
        IpAddr::V6(six) => (six.is_unicast_link_local(), false),
    };
    if link_local {
        Some("a link-local address")
    } else if METADATA.contains(&address) {
        Some("a metadata address of a cloud")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if broadcast {
        Some("the broadcast address")
    } else if address.is_unspecified() {
        Some("the unspecified address")
    } else {
        None
    }
}

/// Why a name has no address that may be dialled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotResolved {
    /// Nobody knows the name.
    #[error(transparent)]
    Unknown(#[from] io::Error),
    /// It is known and refused.
    #[error("{0}")]
    Refused(String),
}

/// Looks up `host:port`.
type LookUp = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Looks names up and leaves out what the policy refuses.
#[derive(Clone)]
pub(crate) struct Resolver {
    policy: AddressPolicy,
    look_up: LookUp,
}

impl Resolver {
    /// Asks the system.
    pub(crate) fn new(policy: AddressPolicy) -> Self {
        let look_up = |target: String| {
            async move { Ok(tokio::net::lookup_host(target).await?.take(ADDRESSES_MAX).collect()) }.boxed()
        };
        Self { policy, look_up: Arc::new(look_up) }
    }

    /// The addresses of `host:port` that may be dialled; those that may not are left out, and it is refused when none
    /// is left.
    pub(crate) async fn addresses(&self, target: String) -> Result<Vec<SocketAddr>, NotResolved> {
        let found = (self.look_up)(target).await?;
        let refused = found.iter().find_map(|address| self.refusal(address.ip()));
        let allowed: Vec<SocketAddr> =
            found.into_iter().filter(|address| self.policy.objection(address.ip()).is_none()).collect();
        match refused {
            Some(refusal) if allowed.is_empty() => Err(NotResolved::Refused(refusal)),
            _ => Ok(allowed),
        }
    }

    /// Refuses a URL whose host is an address that may not be dialled: nobody looks that up.
    pub(crate) fn check(&self, url: &Url) -> Result<(), String> {
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match host.parse().ok().and_then(|address| self.refusal(address)) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    fn refusal(&self, address: IpAddr) -> Option<String> {
        let kind = self.policy.objection(address)?;
        Some(format!("refused: {address} is {kind}, which probes may not reach"))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        async move {
            // The port is put in by whoever dials.
            let addresses = resolver.addresses(format!("{}:0", name.as_str())).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
