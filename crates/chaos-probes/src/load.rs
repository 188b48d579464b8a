//! `load`: requests at a fixed rate, whatever the answers do.
//!
//! Owns what is special about load: request n is due at `begin + n / rate`, and its latency counts from then, also
//! when it is sent later. That is what a user who came at that moment waits, and it makes a pause of the server show
//! in all the requests that fall into it (coordinated omission is corrected by not omitting anything). Sending and
//! judging is [`crate::http`]'s.

use std::time::Duration;

use chaos_core::spec::LoadProbe;
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use crate::client::Clients;
use crate::http::HttpCheck;
use crate::measured::Measured;

/// The most requests of one load probe that may wait for their answers at one time; one more fails as overrun.
pub const LOAD_IN_FLIGHT_MAX: usize = 10_000;
/// A single measurement of load is what falls into a tenth of a second.
const BURSTS_PER_SECOND: u32 = 10;

/// Requests of a single measurement at `rate` a second.
pub(crate) fn burst(rate: u32) -> u64 {
    u64::from((rate / BURSTS_PER_SECOND).max(1))
}

/// Load made ready to be sent.
#[derive(Debug)]
pub(crate) struct LoadCheck(HttpCheck);

impl LoadCheck {
    pub(crate) fn new(probe: &LoadProbe, clients: &Clients) -> Result<Self, String> {
        HttpCheck::build(probe.method, &probe.url, HeaderMap::new(), None, &probe.expect, clients).map(Self)
    }

    /// Sends one request that was due at `due`. Its timeout counts from when it is sent.
    pub(crate) async fn measure(&self, due: Instant, timeout: Duration) -> Measured {
        self.0.measure(due, timeout).await
    }
}
