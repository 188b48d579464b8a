//! A node does not notice that a fault process was killed: what the kernel does not end by itself stays, and
//! nobody says so.

use super::{Broken, SOUND};

pub(super) const VARIANT: Broken = Broken { name: "deaf_to_dead_holders", notices_no_death: true, ..SOUND };
