//! What can be done with partitions: install, refresh, extend, read, list, remove.
//!
//! Every change is one atomic batch. It never keeps state between calls: what is there is what the
//! kernel says is there.

use std::collections::BTreeSet;
use std::time::Duration;

use super::encode::{self, CHUNK_ELEMENTS, FoundRule, RuleInTable, message};
use super::error::NftError;
use super::plan::{self, Hook, Plan, SetPlan};
use super::socket::{Batch, NftSocket};
use super::spec::{InjectionName, PartitionSpec, ProcessSockets};

/// Longest lease: one day.
const LEASE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a change is tried while others change what it is based on.
const CHANGE_ATTEMPTS_MAX: u32 = 16;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;
const APPEND: u16 = 0x800;

/// How long elements stay without being refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease(Duration);

impl Lease {
    /// A lease of whole milliseconds, from 1 ms to a day.
    ///
    /// # Errors
    /// [`NftError::Invalid`] outside of that.
    pub fn new(length: Duration) -> Result<Self, NftError> {
        if length < Duration::from_millis(1) || length > LEASE_MAX {
            let reason = format!("a lease is 1 ms to {} s long, not {length:?}", LEASE_MAX.as_secs());
            return Err(NftError::Invalid { reason });
        }
        Ok(Self(length))
    }

    /// Its length.
    #[must_use]
    pub fn length(self) -> Duration {
        self.0
    }

    fn milliseconds(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

/// One element as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementReading {
    /// The name of its set.
    pub set: String,
    /// Its key (the lower end of a range), as the kernel stores it.
    pub key: Vec<u8>,
    /// Time until the kernel lets it go.
    pub remaining: Duration,
}

/// What the kernel holds under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Rules.
    pub rules: usize,
    /// Sets, which stay when their elements have expired.
    pub sets: usize,
    /// Live elements.
    pub elements: Vec<ElementReading>,
    /// Packets dropped so far.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
}

impl Reading {
    /// Whether nothing at all is there under the name.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.rules == 0 && self.sets == 0
    }

    /// Whether packets can still be dropped.
    #[must_use]
    pub fn is_in_effect(&self) -> bool {
        self.rules > 0 && !self.elements.is_empty()
    }

    /// The time until the first element expires; none without elements.
    #[must_use]
    pub fn remaining_min(&self) -> Option<Duration> {
        self.elements.iter().map(|element| element.remaining).min()
    }
}

/// What came of removing the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableRemoval {
    /// It was empty and is gone.
    Removed,
    /// It was not there.
    Absent,
    /// It holds rules or sets and stays.
    InUse,
}

impl NftSocket {
    /// Asks whether nf_tables answers at all, and changes nothing.
    ///
    /// # Errors
    /// [`NftError`] with what the kernel said instead.
    pub fn check_available(&mut self) -> Result<(), NftError> {
        self.generation().map(drop)
    }

    fn generation(&mut self) -> Result<u32, NftError> {
        let read = encode::read_generation;
        self.ask(message::GET_GENERATION, "read the generation of the rule set", read)
    }

    /// Installs a partition in one atomic batch, and the table and chains with it where needed. What
    /// is there already under the same name is replaced.
    ///
    /// # Errors
    /// [`NftError`]; nothing was changed then.
    pub fn install(&mut self, spec: &PartitionSpec, lease: Lease) -> Result<(), NftError> {
        let plan = plan::plan(spec)?;
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let found = self.find(&plan.name)?;
            match self.install_over(&plan, lease, &found) {
                // Someone else changed what is under this name between reading and writing.
                Err(error) if error.is_about_presence() && self.find(&plan.name)? != found => {}
                outcome => return outcome,
            }
        }
        Err(NftError::Contended { attempted: "install a partition", attempts: CHANGE_ATTEMPTS_MAX })
    }

    fn install_over(&mut self, plan: &Plan, lease: Lease, old: &Found) -> Result<(), NftError> {
        let mut batch = self.batch(None);
        let meaning = format!("make the table inet {}", encode::TABLE);
        batch.add(message::NEW_TABLE, CREATE, meaning, encode::table);
        for hook in Hook::ALL {
            let meaning = format!("make the chain {}", encode::chain_name(hook));
            batch.add(message::NEW_CHAIN, CREATE, meaning, |out| encode::chain(out, hook));
        }
        old.remove_in(&mut batch);
        for (id, set) in (1_u32..).zip(&plan.sets) {
            let meaning = format!("make the set {}", set.name);
            batch.add(message::NEW_SET, CREATE | EXCLUSIVE, meaning, |out| encode::new_set(out, set, id));
            add_elements(&mut batch, set, lease);
        }
        for rule in &plan.rules {
            let meaning =
                format!("add a rule of {} to the chain {}", plan.name, encode::chain_name(rule.hook));
            batch.add(message::NEW_RULE, CREATE | APPEND, meaning, |out| {
                encode::new_rule(out, &plan.name, rule)
            });
        }
        self.commit(batch)
    }

    /// Starts the lease of every element of a partition anew, in one transaction without a gap, and
    /// reads back what is left of it: the smallest time of all elements, or none when the partition
    /// has no elements. Elements that `spec` no longer has are dropped, new ones are added; what it
    /// consists of otherwise (direction, whether there are peers, ports, a cgroup) must be as installed.
    /// A lease that lapsed before is taken up again.
    ///
    /// # Errors
    /// [`NftError::is_gone`] when the partition was removed meanwhile; [`NftError::NotInEffect`] when
    /// reading back does not show every element with the new lease.
    pub fn refresh(&mut self, spec: &PartitionSpec, lease: Lease) -> Result<Option<Duration>, NftError> {
        let plan = plan::plan(spec)?;
        let mut batch = self.batch(None);
        for set in &plan.sets {
            let meaning = format!("empty the set {}", set.name);
            batch.add(message::DEL_ELEMENTS, 0, meaning, |out| encode::set_named(out, &set.name));
            add_elements(&mut batch, set, lease);
        }
        let written = std::time::Instant::now();
        self.commit(batch)?;
        let mut found = Vec::new();
        for set in &plan.sets {
            found.extend(self.elements_of(&set.name)?);
        }
        // Time that passed since the write is missing, and the kernel counts in ticks of up to 10 ms.
        let least = lease.length().saturating_sub(written.elapsed() + Duration::from_millis(20));
        let renewed = found.iter().filter(|element| element.remaining >= least).count();
        if renewed < plan.elements() {
            let injection = plan.name.to_string();
            return Err(NftError::NotInEffect { injection, expected: plan.elements(), found: renewed });
        }
        Ok(found.iter().map(|element| element.remaining).min())
    }

    /// Adds sockets that appeared while a partition of [`super::Scope::Process`] is held. A cgroup
    /// can only be added to a partition that was installed with one.
    ///
    /// # Errors
    /// [`NftError::is_gone`] when the partition was removed meanwhile.
    pub fn add_elements(
        &mut self,
        name: &InjectionName,
        sockets: &ProcessSockets,
        lease: Lease,
    ) -> Result<(), NftError> {
        sockets.check()?;
        let mut batch = self.batch(None);
        for set in plan::socket_sets(name, sockets) {
            add_elements(&mut batch, &set, lease);
        }
        if batch.is_empty() { Ok(()) } else { self.commit(batch) }
    }

    /// Removes everything under a name in one atomic batch, whoever made it. The table stays, because
    /// removing a table takes the kernel tens of milliseconds. Says whether anything was there.
    ///
    /// # Errors
    /// [`NftError`]; nothing was changed then.
    pub fn remove(&mut self, name: &InjectionName) -> Result<bool, NftError> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let found = self.find(name)?;
            let mut batch = self.batch(None);
            found.remove_in(&mut batch);
            if batch.is_empty() {
                return Ok(false);
            }
            match self.commit(batch) {
                // Someone else removed a part of it between reading and removing: read again.
                Err(error) if error.is_gone() => {}
                outcome => return outcome.map(|()| true),
            }
        }
        Err(NftError::Contended { attempted: "remove a partition", attempts: CHANGE_ATTEMPTS_MAX })
    }

    /// Reads what the kernel holds under a name.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn read(&mut self, name: &InjectionName) -> Result<Reading, NftError> {
        let found = self.find(name)?;
        let mut elements = Vec::new();
        for set in &found.sets {
            elements.extend(self.elements_of(set)?);
        }
        Ok(Reading {
            rules: found.rules.len(),
            sets: found.sets.len(),
            elements,
            packets: found.rules.iter().map(|rule| rule.packets).sum(),
            bytes: found.rules.iter().map(|rule| rule.bytes).sum(),
        })
    }

    /// Packets dropped so far under a name.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn packets(&mut self, name: &InjectionName) -> Result<u64, NftError> {
        let rules = self.rules()?;
        Ok(ours(rules).filter(|rule| rule.owner == *name).map(|rule| rule.packets).sum())
    }

    /// Whether rules are there under a name.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn has_rules(&mut self, name: &InjectionName) -> Result<bool, NftError> {
        Ok(ours(self.rules()?).any(|rule| rule.owner == *name))
    }

    /// Removes what is under a name when none of its elements is live, so that it drops nothing; says whether it did.
    /// What another process makes or takes up again at the same time stays: the kernel refuses if the rule set changed
    /// since it was read.
    ///
    /// # Errors
    /// [`NftError::Contended`] when others never stop changing the rule set.
    pub fn remove_expired(&mut self, name: &InjectionName) -> Result<bool, NftError> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let generation = self.generation()?;
            let found = self.find(name)?;
            for set in &found.sets {
                if !self.elements_of(set)?.is_empty() {
                    return Ok(false);
                }
            }
            let mut batch = self.batch(Some(generation));
            found.remove_in(&mut batch);
            if batch.is_empty() {
                return Ok(false);
            }
            match self.commit(batch) {
                Err(error) if error.outdated() || error.is_gone() => {}
                outcome => return outcome.map(|()| true),
            }
        }
        Err(NftError::Contended { attempted: "remove an expired partition", attempts: CHANGE_ATTEMPTS_MAX })
    }

    /// The names of all injections that have a rule or a set in our table.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn list(&mut self) -> Result<BTreeSet<InjectionName>, NftError> {
        let mut names: BTreeSet<_> = ours(self.rules()?).map(|rule| rule.owner).collect();
        names.extend(self.set_names()?.iter().filter_map(|set| plan::set_owner(set)));
        Ok(names)
    }

    /// Removes our table when nothing is in it. The kernel refuses if the rule set changed since it
    /// was read, so what another process installs at the same time is never lost.
    ///
    /// # Errors
    /// [`NftError::Contended`] when others never stop changing the rule set.
    pub fn remove_table_if_empty(&mut self) -> Result<TableRemoval, NftError> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let generation = self.generation()?;
            if !self.table_exists()? {
                return Ok(TableRemoval::Absent);
            }
            if !self.rules()?.is_empty() || !self.set_names()?.is_empty() {
                return Ok(TableRemoval::InUse);
            }
            let mut batch = self.batch(Some(generation));
            batch.add(message::DEL_TABLE, 0, "remove the empty table", encode::table);
            match self.commit(batch) {
                Err(error) if error.outdated() || error.is_gone() => {}
                outcome => return outcome.map(|()| TableRemoval::Removed),
            }
        }
        Err(NftError::Contended { attempted: "remove the empty table", attempts: CHANGE_ATTEMPTS_MAX })
    }

    fn find(&mut self, name: &InjectionName) -> Result<Found, NftError> {
        let rules = ours(self.rules()?).filter(|rule| rule.owner == *name).collect();
        let sets = self.set_names()?;
        let sets = sets.into_iter().filter(|set| plan::set_owner(set).as_ref() == Some(name)).collect();
        Ok(Found { rules, sets })
    }

    fn table_exists(&mut self) -> Result<bool, NftError> {
        let found = self.dump(
            message::GET_TABLE,
            "list tables",
            |_| {},
            |found, one| {
                found.extend(encode::is_in_our_table(one).then_some(()));
            },
        )?;
        Ok(!found.is_empty())
    }

    fn rules(&mut self) -> Result<Vec<RuleInTable>, NftError> {
        self.dump(message::GET_RULE, "list our rules", encode::table, |found, one| {
            found.extend(encode::read_rule(one));
        })
    }

    fn set_names(&mut self) -> Result<Vec<String>, NftError> {
        self.dump(message::GET_SET, "list our sets", encode::table, |found, one| {
            found.extend(encode::read_set_name(one));
        })
    }

    fn elements_of(&mut self, set: &str) -> Result<Vec<ElementReading>, NftError> {
        let name = |out: &mut super::wire::Attributes<'_>| encode::set_named(out, set);
        self.dump(message::GET_ELEMENTS, "list the elements of a set", name, |found, one| {
            let elements = encode::read_elements(one).into_iter();
            found.extend(elements.map(|(key, remaining)| ElementReading {
                set: set.to_owned(),
                key,
                remaining,
            }));
        })
    }
}

/// What a dump found under one name.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    rules: Vec<FoundRule>,
    sets: Vec<String>,
}

impl Found {
    /// Rules go first: a set that is looked into cannot be removed.
    fn remove_in(&self, batch: &mut Batch) {
        for rule in &self.rules {
            let meaning =
                format!("remove rule {} of {} from the chain {}", rule.handle, rule.owner, rule.chain);
            batch.add(message::DEL_RULE, 0, meaning, |out| encode::del_rule(out, rule));
        }
        for set in &self.sets {
            let meaning = format!("remove the set {set}");
            batch.add(message::DEL_SET, 0, meaning, |out| encode::set_named(out, set));
        }
    }
}

fn ours(rules: Vec<RuleInTable>) -> impl Iterator<Item = FoundRule> {
    rules.into_iter().filter_map(|rule| match rule {
        RuleInTable::Ours(rule) => Some(rule),
        RuleInTable::Foreign => None,
    })
}

fn add_elements(batch: &mut Batch, set: &SetPlan, lease: Lease) {
    for chunk in set.elements.chunks(CHUNK_ELEMENTS) {
        let meaning = format!("put {} elements into the set {}", chunk.len(), set.name);
        let lease_ms = lease.milliseconds();
        batch.add(message::NEW_ELEMENTS, CREATE, meaning, |out| {
            encode::new_elements(out, set, chunk, lease_ms)
        });
    }
}
