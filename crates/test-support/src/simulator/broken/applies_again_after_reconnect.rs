//! An agent forgets what it knows of when its link breaks, and takes the last order again: a fault is applied
//! twice, or after its undo.

use super::{Broken, SOUND};

pub(super) const VARIANT: Broken =
    Broken { name: "applies_again_after_reconnect", forgets_at_reconnect: true, ..SOUND };
