//! How many connections each address has.
//!
//! Owns the count. Addresses of this machine are not counted: whoever is here can do worse.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::CONNECTIONS_PER_ADDRESS_MAX;

/// Connections by address.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One connection; dropping it gives its place back.
#[derive(Debug)]
pub(super) struct Guest {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    /// A place, unless this address has as many as it may.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Guest> {
        if !address.is_loopback() {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(address).or_default();
            if *count >= CONNECTIONS_PER_ADDRESS_MAX {
                return None;
            }
            *count += 1;
        }
        Some(Guest { crowd: self.clone(), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_so_many_places_and_gives_them_back() {
        let crowd = Crowd::default();
        let address: IpAddr = "192.0.2.1".parse().expect("an address");
        let mut guests: Vec<Guest> = std::iter::from_fn(|| crowd.enter(address)).collect();
        assert_eq!(guests.len(), CONNECTIONS_PER_ADDRESS_MAX);
        assert!(crowd.enter("192.0.2.2".parse().expect("an address")).is_some());
        guests.pop();
        assert!(crowd.enter(address).is_some());
        guests.clear();
        assert!(crowd.0.lock().expect("not poisoned").is_empty());
        let here: Vec<Option<Guest>> =
            (0..2 * CONNECTIONS_PER_ADDRESS_MAX).map(|_| crowd.enter(IpAddr::from([127, 0, 0, 1]))).collect();
        assert!(here.iter().all(Option::is_some));
    }
}
