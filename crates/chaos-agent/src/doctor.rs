//! What this host can do, fault by fault, and why not.
//!
//! Owns the judgement; the facts are tried by [`crate::sys::kernel`]. It changes nothing.

use chaos_core::link::{Ability, Examination, Fact, Grade};
use chaos_core::spec::FaultKind;

use crate::sys::capability::{self, Capability};
use crate::sys::cgroup::{Hierarchies, Layout};
use crate::sys::kernel::{self, Feature};

/// Tries what this host can do. Takes a few milliseconds.
#[must_use]
pub fn examine() -> Examination {
    let features = kernel::features();
    let layout = Hierarchies::detect().map_or(Layout::None, |hierarchies| hierarchies.layout());
    let faults =
        FaultKind::ALL.into_iter().map(|kind| ability(kind, &features, layout, capability::has)).collect();
    let fact = |feature: Feature| Fact {
        name: feature.name.to_owned(),
        available: feature.available,
        detail: feature.detail,
    };
    Examination { kernel: kernel::release(), facts: features.into_iter().map(fact).collect(), faults }
}

fn ability(
    kind: FaultKind,
    features: &[Feature],
    layout: Layout,
    has: impl Fn(Capability) -> bool,
) -> Ability {
    let missing = |name: &str| {
        let feature = features.iter().find(|feature| feature.name == name)?;
        (!feature.available).then(|| format!("{name}: {}", feature.detail))
    };
    let lacks = |capability: Capability, then: &str| {
        (!has(capability)).then(|| format!("without {} {then}", capability.name()))
    };
    let no_cgroup =
        || (layout == Layout::None).then(|| "no cgroups are mounted: load goes to the host".to_owned());
    let unwritable =
        || lacks(Capability::DacOverride, "a cgroup can be joined only where this user may write to it");
    let (engine, never, limited) = match kind {
        FaultKind::PodKill => (
            "pidfd signals",
            missing("pidfd"),
            lacks(Capability::Kill, "only this user's processes can be killed"),
        ),
        FaultKind::ProcessPause => (
            "ptrace seize",
            missing("pidfd").or_else(|| missing("ptrace")),
            lacks(Capability::SysPtrace, "only this user's processes can be paused"),
        ),
        FaultKind::CpuStress => {
            ("workers in the victim's cgroup", missing("pidfd"), no_cgroup().or_else(unwritable))
        }
        FaultKind::MemoryPressure => {
            ("a worker in the victim's cgroup", missing("pidfd"), no_cgroup().or_else(unwritable))
        }
        FaultKind::NetworkPartition => (
            "nf_tables sets with a kernel timeout",
            lacks(Capability::NetAdmin, "no packet can be dropped").or_else(|| missing("nf_tables")),
            matches!(layout, Layout::None | Layout::V1).then(|| {
                "no cgroup v2 tree: only targets that have a network namespace of their own".to_owned()
            }),
        ),
    };
    let (grade, reason) = match (never, limited) {
        (Some(reason), _) => (Grade::No, reason),
        (None, Some(reason)) => (Grade::Degraded, reason),
        (None, None) => (Grade::Ok, "nothing is missing".to_owned()),
    };
    Ability { fault: kind, grade, engine: engine.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_it_costs() {
        let all = |available| {
            ["pidfd", "ptrace", "nf_tables"]
                .map(|name| Feature { name, available, detail: "tried".to_owned() })
                .to_vec()
        };
        let check = |kind, available, layout, root: bool, grade, reason: &str| {
            let ability = ability(kind, &all(available), layout, |_| root);
            assert_eq!(ability.grade, grade, "{kind}: {}", ability.reason);
            assert!(ability.reason.contains(reason), "{kind}: {}", ability.reason);
        };
        for kind in FaultKind::ALL {
            check(kind, true, Layout::Hybrid, true, Grade::Ok, "nothing");
            check(kind, false, Layout::Hybrid, true, Grade::No, "tried");
        }
        check(FaultKind::NetworkPartition, true, Layout::V2, false, Grade::No, "CAP_NET_ADMIN");
        check(FaultKind::NetworkPartition, true, Layout::V1, true, Grade::Degraded, "cgroup v2");
        check(FaultKind::ProcessPause, true, Layout::V2, false, Grade::Degraded, "CAP_SYS_PTRACE");
        check(FaultKind::CpuStress, true, Layout::None, true, Grade::Degraded, "no cgroups");
    }
}
