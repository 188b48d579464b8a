//! Deliberately broken variants, each of which the simulator must catch; if it doesn't, it proves nothing.
//!
//! Owns the list. A variant is the shipping code in a world, or behind a port, that makes it behave as if it had the
//! defect; one file for each says which defect that is.

mod applies_again_after_reconnect;
mod assumes_undone;
mod deaf_to_dead_holders;
mod forgets_runs_at_restart;
mod forgets_undo_records;
mod ignores_leases;
mod journal_after_effect;
mod lease_not_renewed;
mod no_sweep_at_start;
mod stop_ignored_while_injecting;

/// Which defects there are. The default is none: the product as it ships.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Broken {
    /// Its name.
    pub name: &'static str,
    /// The journal says that records are on disk before they are.
    pub(super) journals_late: bool,
    /// Undo records are not written.
    pub(super) forgets_undo_records: bool,
    /// Leases are not renewed.
    pub(super) renews_nothing: bool,
    /// Fault processes never let a lease end.
    pub(super) ignores_leases: bool,
    /// An undo that comes while a fault is being applied is lost.
    pub(super) ignores_early_stops: bool,
    /// An undo is taken as done without a look.
    pub(super) assumes_undone: bool,
    /// A service does not take up the runs of the one before.
    pub(super) forgets_runs: bool,
    /// An agent does not sweep at its start.
    pub(super) sweeps_nothing: bool,
    /// A node does not notice that a fault process was killed.
    pub(super) notices_no_death: bool,
    /// An agent forgets what it holds when its link breaks, and takes the last order again.
    pub(super) forgets_at_reconnect: bool,
}

/// Nothing is broken on purpose.
pub const SOUND: Broken = Broken {
    name: "sound",
    journals_late: false,
    forgets_undo_records: false,
    renews_nothing: false,
    ignores_leases: false,
    ignores_early_stops: false,
    assumes_undone: false,
    forgets_runs: false,
    sweeps_nothing: false,
    notices_no_death: false,
    forgets_at_reconnect: false,
};

/// Every variant.
pub const ALL: [Broken; 10] = [
    journal_after_effect::VARIANT,
    forgets_undo_records::VARIANT,
    lease_not_renewed::VARIANT,
    ignores_leases::VARIANT,
    stop_ignored_while_injecting::VARIANT,
    assumes_undone::VARIANT,
    forgets_runs_at_restart::VARIANT,
    no_sweep_at_start::VARIANT,
    deaf_to_dead_holders::VARIANT,
    applies_again_after_reconnect::VARIANT,
];
