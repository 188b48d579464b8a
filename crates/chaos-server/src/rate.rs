//! How often somebody may call: token buckets, one for each kind of call and caller.
//!
//! Owns the buckets and the rates. It never knows a route, and never decides what a refusal says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::COUNTED_CALLERS_MAX;

/// So many at once, and so many a second from then on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// At once.
    pub burst: f64,
    /// A second.
    pub per_second: f64,
}

/// The rate of each kind of call. Liveness, readiness, and emergency calls of known callers have none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Reads of one caller, or of one address of this machine.
    pub reads: Rate,
    /// Writes of one caller.
    pub writes: Rate,
    /// Calls from one address of another machine that need no token or have none.
    pub open: Rate,
    /// Wrong tokens from one address.
    pub wrong_tokens: Rate,
    /// Times that somebody unknown on this machine engages the lever.
    pub unknown_engages: Rate,
    /// Refused calls of anybody that are written to the audit log.
    pub audited_refusals: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            reads: Rate { burst: 100_000.0, per_second: 50_000.0 },
            writes: Rate { burst: 20_000.0, per_second: 2_000.0 },
            open: Rate { burst: 200.0, per_second: 100.0 },
            wrong_tokens: Rate { burst: 100.0, per_second: 2.0 },
            unknown_engages: Rate { burst: 10.0, per_second: 1.0 },
            audited_refusals: Rate { burst: 100.0, per_second: 1.0 / 60.0 },
        }
    }
}

/// A bucket that fills by itself and loses one with each call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { level: rate.burst, at: now }
    }

    /// Takes one, or says how long until there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * rate.per_second).min(rate.burst);
        self.at = now;
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.level) / rate.per_second;
        Err(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
    }
}

/// Kinds of calls that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Read,
    Write,
    Open,
    WrongToken,
    UnknownEngage,
}

/// Whose calls are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// A known caller by name.
    Name(String),
    /// An address; of the sixth version of the protocol the half that belongs to one network.
    Address(IpAddr),
    /// Somebody on this machine over a socket in the file system.
    Socket,
}

impl Who {
    pub(crate) fn at(address: Option<IpAddr>) -> Self {
        match address {
            None => Self::Socket,
            Some(IpAddr::V6(six)) if !six.is_loopback() => {
                Self::Address(IpAddr::V6((six.to_bits() >> 64 << 64).into()))
            }
            Some(other) => Self::Address(other),
        }
    }
}

/// Counts everybody's calls.
pub(crate) struct Limiter {
    rates: Rates,
    buckets: Mutex<BTreeMap<(Kind, Who), Bucket>>,
}

impl Limiter {
    pub(crate) fn new(rates: Rates) -> Self {
        Self { rates, buckets: Mutex::default() }
    }

    /// Counts a call, or says how long to wait.
    pub(crate) fn take(&self, kind: Kind, who: Who, now: Instant) -> Result<(), Duration> {
        let rate = match kind {
            Kind::Read => self.rates.reads,
            Kind::Write => self.rates.writes,
            Kind::Open => self.rates.open,
            Kind::WrongToken => self.rates.wrong_tokens,
            Kind::UnknownEngage => self.rates.unknown_engages,
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= COUNTED_CALLERS_MAX {
            buckets.clear(); // everybody has a full bucket again, which is kinder than to shut anybody out
        }
        buckets.entry((kind, who)).or_insert_with(|| Bucket::full(rate, now)).take(rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let rate = Rate { burst: 3.0, per_second: 2.0 };
        let begin = Instant::now();
        let mut bucket = Bucket::full(rate, begin);
        assert_eq!((0..5).filter(|_| bucket.take(rate, begin).is_ok()).count(), 3);
        assert_eq!(bucket.take(rate, begin), Err(Duration::from_millis(500)));
        let later = begin + Duration::from_secs(1);
        assert_eq!((0..5).filter(|_| bucket.take(rate, later).is_ok()).count(), 2);
        let much_later = begin + Duration::from_secs(3600);
        assert_eq!((0..9).filter(|_| bucket.take(rate, much_later).is_ok()).count(), 3);
    }

    #[test]
    fn callers_and_kinds_are_counted_apart_and_networks_together() {
        let one = Rate { burst: 1.0, per_second: 0.001 };
        let limiter = Limiter::new(Rates { reads: one, writes: one, ..Rates::default() });
        let (now, name) = (Instant::now(), |name: &str| Who::Name(name.to_owned()));
        assert!(limiter.take(Kind::Read, name("ada"), now).is_ok());
        assert!(limiter.take(Kind::Read, name("ada"), now).is_err());
        assert!(limiter.take(Kind::Write, name("ada"), now).is_ok());
        assert!(limiter.take(Kind::Read, name("bob"), now).is_ok());
        let at = |text: &str| Who::at(Some(text.parse().expect("an address")));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
    }

    #[test]
    fn many_callers_don_t_fill_the_memory() {
        let limiter = Limiter::new(Rates::default());
        let now = Instant::now();
        for number in 0..=COUNTED_CALLERS_MAX {
            assert!(limiter.take(Kind::Read, Who::Name(number.to_string()), now).is_ok());
        }
        assert!(limiter.buckets.lock().expect("not poisoned").len() <= COUNTED_CALLERS_MAX);
    }
}
