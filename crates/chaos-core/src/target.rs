//! What can be hit: instances of a target as a node saw them, and the seeded choice among them.
//!
//! Owns the identity of victims and selection. It never looks at a process table: an [`Inventory`] is handed in.

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{HostTarget, Select};

/// A process that can't be confused with a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ProcessRef {
    /// Process id in the PID namespace of the node agent.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot at which it started.
    pub start_time: u64,
}

/// Transport protocol of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP over IPv4 or IPv6.
    Udp,
}

/// A local address on which an instance accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ListeningPort {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Address it is bound to; unspecified means every address of its network namespace.
    pub address: std::net::IpAddr,
    /// Port number.
    pub port: u16,
}

/// One thing that a fault can hit: on a host a process with its descendants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// Unique and stable while the instance lives, e.g. `orchestrator/4711`, on another host `node-1:orchestrator/4711`.
    pub id: String,
    /// Name of its host; empty is the host of the service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Its root process.
    pub process: ProcessRef,
    /// Every process of it, the root first.
    pub processes: Vec<ProcessRef>,
    /// Command line of the root, shortened, for people.
    pub command: String,
    /// It runs and accepts on the ports it has.
    pub ready: bool,
    /// Somebody starts it again when it dies: a supervisor, a restarting unit or container.
    pub managed: bool,
    /// Where it accepts.
    #[serde(default)]
    pub ports: Vec<ListeningPort>,
    /// Inode of its network namespace.
    pub network_namespace: u64,
    /// It shares the network namespace of the node agent.
    pub shares_host_network: bool,
    /// Path of the cgroup that holds it and nothing else, relative to the hierarchy's root; `None` when it shares one.
    pub own_cgroup: Option<String>,
}

/// A process that matched the target and may never be hit, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Protected {
    /// The process.
    pub process: ProcessRef,
    /// Its name, for people.
    pub name: String,
    /// Why it is protected, e.g. `init` or `an ancestor of the caller`.
    pub reason: String,
}

/// What a node answered when asked for a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// Everything that matches and may be hit, ordered by id.
    pub instances: Vec<Instance>,
    /// What matches and is protected.
    #[serde(default)]
    pub protected: Vec<Protected>,
    /// The supervisor of the instances, when a root process of the app is one.
    #[serde(default)]
    pub supervisor: Option<ProcessRef>,
    /// Names of apps that were seen, at most [`Inventory::APPS_MAX`], for the message when nothing matches.
    #[serde(default)]
    pub apps: Vec<String>,
}

impl Inventory {
    /// Bound on [`Inventory::apps`].
    pub const APPS_MAX: usize = 40;
    /// Bound on [`Inventory::instances`]: a target that matches more is refused by the node.
    pub const INSTANCES_MAX: usize = 10_000;

    /// How many instances are ready.
    pub fn ready(&self) -> usize {
        self.ready_with_ports(0)
    }

    /// How many instances are ready and listen on at least so many ports: one that has just been started again runs
    /// before it listens.
    pub fn ready_with_ports(&self, ports_min: usize) -> usize {
        self.instances.iter().filter(|instance| instance.ready && instance.ports.len() >= ports_min).count()
    }

    /// The fewest ports that any ready instance listens on.
    pub fn ports_min(&self) -> usize {
        self.instances.iter().filter(|instance| instance.ready).map(|one| one.ports.len()).min().unwrap_or(0)
    }
}

/// Why nothing could be selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No instance matches the target.
    #[error("{}", nothing_matches(.target, .apps, .protected))]
    NothingMatches {
        /// The target in words.
        target: String,
        /// Apps that were seen.
        apps: Vec<String>,
        /// Matches that are protected.
        protected: Vec<Protected>,
    },
    /// A count larger than what is there.
    #[error("select asks for {wanted} instances, {found} match {target}")]
    TooFew {
        /// The target in words.
        target: String,
        /// What the document asks for.
        wanted: usize,
        /// What matched.
        found: usize,
    },
}

fn nothing_matches(target: &str, apps: &[String], protected: &[Protected]) -> String {
    let mut text = format!("nothing matches {target}");
    if let Some(first) = protected.first() {
        text += &format!(" but what is protected ({} {}: {})", first.name, first.process.pid, first.reason);
    }
    if apps.is_empty() {
        text + "; no app was seen"
    } else {
        text + &format!("; apps seen: {}", apps.join(", "))
    }
}

/// What was drawn, and what that means for the target as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Selection {
    /// The seed that was used: the same seed on the same inventory draws the same instances.
    pub seed: u64,
    /// Ids of the chosen instances, in the order drawn.
    pub chosen: Vec<String>,
    /// Instances that match.
    pub total: usize,
    /// Chosen or already unready.
    pub affected: usize,
    /// Ready instances that stay untouched.
    pub untouched_ready: usize,
}

impl Selection {
    /// Affected share of the whole, 0..=1.
    pub fn affected_ratio(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.affected as f64 / self.total as f64 }
    }
}

/// Draws instances by the seed. Ready instances are drawn before unready ones, and what is already unready counts as
/// affected, so that half of four with one down draws one more, not two.
///
/// `draw` numbers repeated draws of one run (0 for the first): each is an independent draw of the same seed.
///
/// # Errors
/// [`SelectionError`] when nothing matches or a fixed count is larger than what is there.
pub fn select(
    target: &HostTarget,
    select: Select,
    inventory: &Inventory,
    seed: u64,
    draw: u32,
) -> Result<Selection, SelectionError> {
    let total = inventory.instances.len();
    if total == 0 {
        return Err(SelectionError::NothingMatches {
            target: target.to_string(),
            apps: inventory.apps.clone(),
            protected: inventory.protected.clone(),
        });
    }
    let mut random = generator(seed, draw);
    let unready = total - inventory.ready();
    let wanted = match select {
        Select::One => 1,
        Select::All => total,
        Select::Count(count) if count as usize > total => {
            return Err(SelectionError::TooFew {
                target: target.to_string(),
                wanted: count as usize,
                found: total,
            });
        }
        Select::Count(count) => count as usize,
        Select::Percent(percent) => at_least_one(percent.of(total), unready),
        Select::UpToPercent(percent) => {
            let most = at_least_one(percent.of(total), unready);
            1 + below(&mut random, most)
        }
    };
    let mut ids: Vec<(bool, &str)> = inventory.instances.iter().map(|i| (!i.ready, i.id.as_str())).collect();
    ids.sort_unstable_by_key(|(_, id)| *id);
    shuffle(&mut random, &mut ids);
    ids.sort_by_key(|(unready, _)| *unready); // stable: keeps the drawn order among equals
    let chosen: Vec<String> = ids.into_iter().take(wanted).map(|(_, id)| id.to_owned()).collect();
    let chosen_set: BTreeSet<&str> = chosen.iter().map(String::as_str).collect();
    let affected =
        inventory.instances.iter().filter(|i| !i.ready || chosen_set.contains(i.id.as_str())).count();
    let untouched_ready =
        inventory.instances.iter().filter(|i| i.ready && !chosen_set.contains(i.id.as_str())).count();
    Ok(Selection { seed, chosen, total, affected, untouched_ready })
}

/// A share never rounds to nothing, and what is already down is part of it.
fn at_least_one(share: usize, unready: usize) -> usize {
    share.max(1).saturating_sub(unready).max(1)
}

fn generator(seed: u64, draw: u32) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(u64::from(draw));
    generator
}

/// A number in `0..bound`, by rejection, so that no value is favoured. `bound` is at least 1.
fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    let bound = bound.max(1) as u64;
    let zone = u64::MAX - u64::MAX % bound;
    loop {
        let drawn = random.next_u64();
        if drawn < zone {
            return (drawn % bound) as usize;
        }
    }
}

/// Fisher and Yates, written out so that a seed means the same in every version of every library.
fn shuffle<T>(random: &mut ChaCha8Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(random, last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Percent;
    use proptest::prelude::*;

    fn inventory(ready: usize, unready: usize) -> Inventory {
        let instances = (0..ready + unready)
            .map(|n| Instance {
                id: format!("app/{n:04}"),
                process: ProcessRef { pid: n as i32 + 10, start_time: 1 },
                processes: vec![ProcessRef { pid: n as i32 + 10, start_time: 1 }],
                command: "app".into(),
                ready: n < ready,
                managed: true,
                ports: vec![],
                network_namespace: 1,
                shares_host_network: true,
                own_cgroup: None,
                host: String::new(),
            })
            .collect();
        Inventory { instances, ..Inventory::default() }
    }

    fn app() -> HostTarget {
        HostTarget::App("app".into())
    }

    fn drawn(how: Select, ready: usize, unready: usize) -> usize {
        select(&app(), how, &inventory(ready, unready), 7, 0).expect("something matches").chosen.len()
    }

    #[test]
    fn shares_round_down_but_never_to_nothing() {
        let percent = |p| Select::Percent(Percent::new(p).expect("in range"));
        assert_eq!(drawn(percent(50.0), 5, 0), 2);
        assert_eq!(drawn(percent(1.0), 5, 0), 1);
        assert_eq!(drawn(percent(100.0), 5, 0), 5);
        assert_eq!(drawn(Select::One, 5, 0), 1);
        assert_eq!(drawn(Select::All, 5, 0), 5);
        assert_eq!(drawn(Select::Count(3), 5, 0), 3);
    }

    #[test]
    fn what_is_already_unready_counts_as_affected() {
        let half = Select::Percent(Percent::new(50.0).expect("in range"));
        let selection = select(&app(), half, &inventory(3, 1), 7, 0).expect("something matches");
        assert_eq!((selection.chosen.len(), selection.affected, selection.untouched_ready), (1, 2, 2));
    }

    #[test]
    fn a_count_larger_than_what_is_there_is_refused() {
        let error = select(&app(), Select::Count(6), &inventory(5, 0), 7, 0).expect_err("too many");
        assert_eq!(error.to_string(), "select asks for 6 instances, 5 match app \"app\"");
    }

    #[test]
    fn an_empty_selection_names_the_apps_that_were_seen() {
        let empty = Inventory { apps: vec!["nginx".into(), "redis".into()], ..Inventory::default() };
        let error = select(&app(), Select::One, &empty, 7, 0).expect_err("nothing there");
        assert_eq!(error.to_string(), "nothing matches app \"app\"; apps seen: nginx, redis");
    }

    #[test]
    fn a_known_seed_draws_the_same_instances_in_every_version() {
        let selection = select(&app(), Select::Count(3), &inventory(6, 0), 42, 0).expect("something matches");
        let again = select(&app(), Select::Count(3), &inventory(6, 0), 42, 1).expect("something matches");
        assert_eq!(selection.chosen, ["app/0004", "app/0005", "app/0001"]);
        assert_ne!(selection.chosen, again.chosen, "another draw of the seed is another choice");
    }

    proptest! {
        #[test]
        fn any_selection_is_replayable_unique_and_within_what_was_asked(
            ready in 0usize..40, unready in 0usize..10, seed: u64, draw in 0u32..5, percent in 0.1f64..100.0,
        ) {
            prop_assume!(ready + unready > 0);
            let percent = Percent::new(percent).expect("in range");
            let inventory = inventory(ready, unready);
            for how in [Select::One, Select::All, Select::Percent(percent), Select::UpToPercent(percent)] {
                let first = select(&app(), how, &inventory, seed, draw).expect("something matches");
                let second = select(&app(), how, &inventory, seed, draw).expect("something matches");
                prop_assert_eq!(&first, &second);
                let unique: BTreeSet<_> = first.chosen.iter().collect();
                prop_assert_eq!(unique.len(), first.chosen.len());
                prop_assert!(!first.chosen.is_empty());
                if let Select::Percent(_) | Select::UpToPercent(_) = how {
                    prop_assert!(first.chosen.len() <= percent.of(first.total).max(1));
                }
            }
        }
    }
}
