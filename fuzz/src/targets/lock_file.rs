//! The lock of a state folder, which says who owns it and where that is reached.
//!
//! Promises: what is read can be written and read again, and so can the address in it.

use chaos_api::Endpoint;
use chaos_server::lock::OwnerInfo;

use super::survives_json;

pub(crate) fn check(bytes: &[u8]) {
    let Ok(owner) = serde_json::from_slice::<OwnerInfo>(bytes) else { return };
    survives_json(&owner);
    if let Ok(endpoint) = owner.address.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
}
