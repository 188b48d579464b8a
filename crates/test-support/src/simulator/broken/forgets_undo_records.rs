//! A fault process says that its undo record is written, and does not write it: when it is killed nobody knows
//! what to undo.

use super::{Broken, SOUND};

pub(super) const VARIANT: Broken =
    Broken { name: "forgets_undo_records", forgets_undo_records: true, ..SOUND };
