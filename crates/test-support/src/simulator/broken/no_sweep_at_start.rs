//! An agent does not look for undo records at its start: what a dead fault process left stays for ever.

use super::{Broken, SOUND};

pub(super) const VARIANT: Broken = Broken { name: "no_sweep_at_start", sweeps_nothing: true, ..SOUND };
