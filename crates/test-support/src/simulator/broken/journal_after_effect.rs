//! The journal says that records are on disk a little before they are: effects come first, and a crash loses the
//! intent.

use super::{Broken, SOUND};

pub(super) const VARIANT: Broken = Broken { name: "journal_after_effect", journals_late: true, ..SOUND };
