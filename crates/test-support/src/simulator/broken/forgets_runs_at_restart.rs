//! A service that starts does not take up the runs of the one that died: their journals never end.

use super::{Broken, SOUND};

pub(super) const VARIANT: Broken = Broken { name: "forgets_runs_at_restart", forgets_runs: true, ..SOUND };
