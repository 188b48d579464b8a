//! What a node does at most, whatever it is asked for. Its own configuration says so, not the order.

use std::collections::BTreeMap;
use std::time::Duration;

use chaos_core::port::{InjectOrder, NodeError};
use chaos_core::spec::FaultKind;
use chaos_core::target::{Instance, ProcessRef};

use super::machine::Machine;
use crate::host::HostError;

/// Most injections of one order.
pub const ORDER_INJECTIONS_MAX: usize = 10_000;
/// Most injections that a node answers for at a time, those counted whose undo failed.
pub const INJECTIONS_MAX: usize = 50_000;
/// Shortest lease: a shorter one would be over before anybody could renew it.
pub const LEASE_MIN: Duration = Duration::from_millis(500);
/// Longest lease: how long faults may outlast the silence of whoever ordered them.
pub const LEASE_MAX: Duration = Duration::from_secs(60);
/// Most commands that run at a time.
pub const COMMANDS_IN_FLIGHT_MAX: usize = 4;

/// What a node does at most.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest duration of a fault.
    pub duration_max: Duration,
    /// The faults that it makes.
    pub faults: Vec<FaultKind>,
    /// The apps that may be hit, called as in `target.host.app`; none is any.
    pub apps: Option<Vec<String>>,
    /// The commands that a recovery may run: name, then program and arguments.
    pub commands: BTreeMap<String, Vec<String>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            duration_max: chaos_core::duration::Span::MAX.0,
            faults: FaultKind::ALL.to_vec(),
            apps: None,
            commands: BTreeMap::new(),
        }
    }
}

impl Limits {
    /// What an order says of itself. The error is why it is refused.
    pub(super) fn check(&self, order: &InjectOrder, open: usize) -> Result<(), String> {
        if order.injections.len() > ORDER_INJECTIONS_MAX {
            return Err(format!("{} injections, at most {ORDER_INJECTIONS_MAX}", order.injections.len()));
        }
        if open.saturating_add(order.injections.len()) > INJECTIONS_MAX {
            return Err(format!(
                "{open} injections are held or could not be undone, at most {INJECTIONS_MAX}"
            ));
        }
        check_lease(order.lease)?;
        for injection in &order.injections {
            let kind = injection.fault.kind();
            if !self.faults.contains(&kind) {
                return Err(format!("{kind} is not allowed here"));
            }
            if injection.duration > self.duration_max {
                let (asked, limit) = (injection.duration, self.duration_max);
                return Err(format!("{asked:?} is longer than the limit of {limit:?}"));
            }
        }
        Ok(())
    }

    /// The command of a name. The error names those that there are.
    pub(super) fn command(&self, name: &str) -> Result<&[String], String> {
        self.commands.get(name).map(Vec::as_slice).ok_or_else(|| {
            if self.commands.is_empty() {
                return format!("no command {name:?} here: none is configured");
            }
            let known: Vec<&str> = self.commands.keys().map(String::as_str).collect();
            format!("no command {name:?} here; configured are {}", known.join(", "))
        })
    }
}

/// That a lease is one that this side can keep. The error is why it is refused.
pub(crate) fn check_lease(lease: Duration) -> Result<(), String> {
    if (LEASE_MIN..=LEASE_MAX).contains(&lease) {
        return Ok(());
    }
    Err(format!("a lease of {lease:?}, expected {LEASE_MIN:?} to {LEASE_MAX:?}"))
}

/// That all of these instances are of apps that may be hit, whatever they are called in the order. What has ended
/// meanwhile is nobody's and can't be hit.
pub(super) fn check_apps(
    machine: &dyn Machine,
    apps: &[String],
    instances: &[Instance],
) -> Result<(), NodeError> {
    let unknown = |error: HostError| NodeError::Inventory {
        target: format!("the apps that may be hit here ({})", apps.join(", ")),
        reason: error.to_string(),
    };
    let allowed = machine.processes_of_apps(apps).map_err(unknown)?;
    let is_other =
        |process: &&ProcessRef| !allowed.contains(process) && machine.remains().is_taken(process.pid);
    for instance in instances {
        let mut processes = std::iter::once(&instance.process).chain(&instance.processes);
        if let Some(other) = processes.find(is_other) {
            let (pid, id, apps) = (other.pid, &instance.id, apps.join(", "));
            let reason = format!("process {pid} of {id} is of no app that may be hit here ({apps})");
            return Err(NodeError::Refused { reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_is_refused_with_the_names_of_those_that_there_are() {
        let mut limits = Limits::default();
        assert_eq!(limits.command("x").unwrap_err(), "no command \"x\" here: none is configured");
        limits.commands = ["b", "a"].map(|name| (name.to_owned(), vec!["true".to_owned()])).into();
        assert_eq!(limits.command("x").unwrap_err(), "no command \"x\" here; configured are a, b");
        assert_eq!(limits.command("a").unwrap(), ["true"]);
    }

    #[test]
    fn an_order_whose_lease_is_over_at_once_or_never_is_refused() {
        let limits = Limits::default();
        let check = |lease| limits.check(&InjectOrder { lease, ..crate::scripted::order(1) }, 0);
        for lease in [Duration::ZERO, Duration::from_millis(499), Duration::from_secs(61), Duration::MAX] {
            assert!(check(lease).unwrap_err().ends_with("expected 500ms to 60s"), "{lease:?}");
        }
        for lease in [LEASE_MIN, LEASE_MAX] {
            assert_eq!(check(lease), Ok(()));
        }
    }
}
