//! `tcp`: whether a connection opens.
//!
//! Owns connecting. All addresses of a name are tried at one time and one that opens is enough. It never sends a byte,
//! and a name whose addresses are refused is no data.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use chaos_core::spec::TcpProbe;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::address::{NotResolved, Resolver};
use crate::measured::{Measured, milliseconds};

/// A connection to be opened many times.
pub(crate) struct TcpCheck {
    address: String,
    resolver: Resolver,
}

impl fmt::Debug for TcpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpCheck").field(&self.address).finish()
    }
}

impl TcpCheck {
    pub(crate) fn new(probe: &TcpProbe, resolver: &Resolver) -> Self {
        Self { address: probe.address.clone(), resolver: resolver.clone() }
    }

    /// Opens a connection and closes it.
    pub(crate) async fn measure(&self, limit: Duration) -> Measured {
        let begin = Instant::now();
        match timeout(limit, self.connect()).await {
            Ok(Ok(())) => Measured::passed(begin.elapsed()),
            Ok(Err(measured)) => measured,
            Err(_) => Measured::failed(format!("no connection within {}", milliseconds(limit)))
                .took(begin.elapsed()),
        }
    }

    async fn connect(&self) -> Result<(), Measured> {
        let addresses = self.resolver.addresses(self.address.clone()).await.map_err(|error| match error {
            NotResolved::Unknown(error) => Measured::failed(format!("cannot resolve the name: {error}")),
            NotResolved::Refused(refusal) => Measured::no_data(refusal),
        })?;
        let mut tries: FuturesUnordered<_> = addresses.into_iter().map(open).collect();
        let mut problem = "the name has no address".to_owned();
        while let Some(tried) = tries.next().await {
            match tried {
                Ok(()) => return Ok(()),
                Err(error) => problem = error,
            }
        }
        Err(Measured::failed(problem))
    }
}

async fn open(address: SocketAddr) -> Result<(), String> {
    let stream =
        TcpStream::connect(address).await.map_err(|error| format!("cannot connect to {address}: {error}"))?;
    // Where nobody listens on a port of the ephemeral range, the kernel may draw that very port for our end and
    // connect us to ourselves.
    match stream.local_addr() {
        Ok(local) if local == address => Err(format!("cannot connect to {address}: nobody listens")),
        _ => Ok(()),
    }
}
