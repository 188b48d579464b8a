//! The service does not renew leases: faults end long before their time although nothing is wrong.

use super::{Broken, SOUND};

pub(super) const VARIANT: Broken = Broken { name: "lease_not_renewed", renews_nothing: true, ..SOUND };
