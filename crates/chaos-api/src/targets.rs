//! What could be hit, without touching it.
//!
//! Owns the shape of the preview.

use chaos_core::target::{Instance, Protected, Selection};
use chaos_core::units::Percent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What matches a target, and what a choice among it would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetsPreview {
    /// The target in words.
    pub target: String,
    /// Everything that matches and may be hit.
    pub instances: Vec<Instance>,
    /// Those that are ready.
    pub ready: usize,
    /// What matches and is never hit, with the reason.
    pub protected: Vec<Protected>,
    /// What `select` would draw with this seed; `null` when nothing can be drawn.
    pub selected: Option<Selection>,
    /// Why nothing can be drawn.
    pub problem: Option<String>,
    /// Instances that would be affected: chosen, or unready already.
    pub affected: usize,
    /// The cap on the affected share.
    pub max_affected: Percent,
    /// Instances that the cap allows to be affected.
    pub affected_max: usize,
    /// `affected` is within the cap.
    pub within_cap: bool,
    /// Apps that were seen on this host.
    pub apps: Vec<String>,
}
