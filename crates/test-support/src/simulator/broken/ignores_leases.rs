//! Fault processes never let a lease end: a fault goes on although nobody has been heard of for long.

use super::{Broken, SOUND};

pub(super) const VARIANT: Broken = Broken { name: "ignores_leases", ignores_leases: true, ..SOUND };
