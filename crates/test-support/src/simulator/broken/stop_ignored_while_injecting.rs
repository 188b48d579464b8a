//! An undo that comes while the fault is still being applied gets lost: the stop has to wait, and the fault
//! stays.

use super::{Broken, SOUND};

pub(super) const VARIANT: Broken =
    Broken { name: "stop_ignored_while_injecting", ignores_early_stops: true, ..SOUND };
