//! `tcp`: whether a connection opens.
//!
//! Owns connecting. All addresses of a name are tried at one time and one that opens is enough. It never sends a byte.

use std::net::SocketAddr;
use std::time::Duration;

use chaos_core::spec::TcpProbe;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::measured::{Measured, milliseconds};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// A connection to be opened many times.
#[derive(Debug)]
pub(crate) struct TcpCheck {
    address: String,
}

impl TcpCheck {
    pub(crate) fn new(probe: &TcpProbe) -> Self {
        Self { address: probe.address.clone() }
    }

    /// Opens a connection and closes it.
    pub(crate) async fn measure(&self, limit: Duration) -> Measured {
        let begin = Instant::now();
        match timeout(limit, self.connect()).await {
            Ok(Ok(())) => Measured::passed(begin.elapsed()),
            Ok(Err(problem)) => Measured::failed(problem),
            Err(_) => Measured::failed(format!("no connection within {}", milliseconds(limit)))
                .took(begin.elapsed()),
        }
    }

    async fn connect(&self) -> Result<(), String> {
        let addresses =
            lookup_host(&self.address).await.map_err(|error| format!("cannot resolve the name: {error}"))?;
        let mut tries: FuturesUnordered<_> = addresses.take(ADDRESSES_MAX).map(open).collect();
        let mut problem = "the name has no address".to_owned();
        while let Some(tried) = tries.next().await {
            match tried {
                Ok(()) => return Ok(()),
                Err(error) => problem = error,
            }
        }
        Err(problem)
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
