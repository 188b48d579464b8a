//! An undo that failed is told as proven: the journal says reverted while the kernel still has the fault.

use super::{Broken, SOUND};

pub(super) const VARIANT: Broken = Broken { name: "assumes_undone", assumes_undone: true, ..SOUND };
