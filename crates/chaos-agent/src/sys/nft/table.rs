//! Our table as anybody finds it: whose marks are in it, and what can be removed without having made it.
//!
//! Every change is one atomic batch for the generation of the rule set that it was read from. It never keeps state
//! between calls: what is there is what the kernel says is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::encode::{self, FoundElement, FoundRule, RuleInTable, message};
use super::error::NftError;
use super::partition::Partition;
use super::plan::{self, Group, Hook, Shape};
use super::socket::{Batch, NftSocket};
use super::spec::InjectionName;

/// How often a change is tried while others change what it is based on.
const CHANGE_ATTEMPTS_MAX: u32 = 256;

/// How often a change is tried though the kernel misses what was read just before.
const REFUSALS_MAX: u32 = 4;

/// One element as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementReading {
    /// The name of its set.
    pub set: String,
    /// Its key, as the kernel stores it.
    pub key: Vec<u8>,
    /// Time until the kernel lets it go.
    pub remaining: Duration,
}

/// What the kernel holds under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Rules that look for its elements, shared with others of its shape.
    pub rules: usize,
    /// Live elements.
    pub elements: Vec<ElementReading>,
    /// Packets dropped since its lease was renewed last.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
}

impl Reading {
    /// Whether nothing at all is there under the name.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.elements.is_empty()
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

/// The rules of our table at one moment.
#[derive(Debug, Default)]
pub struct Rules {
    pub(super) groups: BTreeMap<Group, Vec<FoundRule>>,
}

impl Rules {
    /// Whether all rules are there that look for the elements of an installed partition.
    #[must_use]
    pub fn serve(&self, partition: &Partition) -> bool {
        let needed = plan::group(partition.spec(), 0).rules.len();
        partition
            .groups()
            .iter()
            .all(|group| self.groups.get(group).is_some_and(|found| found.len() == needed))
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

    pub(super) fn generation(&mut self) -> Result<u32, NftError> {
        let read = encode::read_generation;
        self.ask(message::GET_GENERATION, "read the generation of the rule set", read)
    }

    /// Reads what the kernel holds under a name.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn read(&mut self, name: &InjectionName) -> Result<Reading, NftError> {
        self.undisturbed("read a partition", |socket| socket.read_once(name))
    }

    fn read_once(&mut self, name: &InjectionName) -> Result<Reading, NftError> {
        let mut reading = Reading::default();
        for (_, found) in self.groups(None)? {
            let mut is_here = false;
            for set in &found.sets {
                for element in
                    self.elements_of(set)?.into_iter().filter(|one| one.owner.as_ref() == Some(name))
                {
                    is_here = true;
                    reading.packets = reading.packets.saturating_add(element.packets);
                    reading.bytes = reading.bytes.saturating_add(element.bytes);
                    let (set, key, remaining) = (set.clone(), element.key, element.remaining);
                    reading.elements.push(ElementReading { set, key, remaining });
                }
            }
            if is_here {
                reading.rules += found.rules.len();
            }
        }
        Ok(reading)
    }

    /// The names of all injections that have a live element in our table.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn list(&mut self) -> Result<BTreeSet<InjectionName>, NftError> {
        self.undisturbed("list partitions", |socket| {
            let mut names = BTreeSet::new();
            for (_, found) in socket.groups(None)? {
                for set in &found.sets {
                    names.extend(socket.elements_of(set)?.into_iter().filter_map(|element| element.owner));
                }
            }
            Ok(names)
        })
    }

    /// Removes everything under a name in one atomic batch, whoever made it, and the rules that nobody needs then. The
    /// table stays, because removing a table takes the kernel tens of milliseconds. Says whether anything was there.
    ///
    /// # Errors
    /// [`NftError`]; nothing was changed then.
    pub fn remove(&mut self, name: &InjectionName) -> Result<bool, NftError> {
        self.change("remove a partition", |socket, batch| {
            let mut any = false;
            for (_, found) in socket.groups(None)? {
                let (mut own, mut others) = (Vec::new(), false);
                for set in &found.sets {
                    let (mine, other): (Vec<_>, Vec<_>) = socket
                        .elements_of(set)?
                        .into_iter()
                        .partition(|one| one.owner.as_ref() == Some(name));
                    others |= !other.is_empty();
                    own.extend((!mine.is_empty()).then_some((set, mine)));
                }
                any |= !own.is_empty();
                if own.is_empty() {
                    continue;
                }
                for (set, mine) in own.iter().filter(|_| others) {
                    let keys: Vec<&[u8]> = mine.iter().map(|element| element.key.as_slice()).collect();
                    remove_elements(batch, set, &keys, name);
                }
                if !others {
                    found.remove_in(batch);
                }
            }
            Ok(any)
        })
    }

    /// Removes rules, all or those of one shape, that drop nothing because nobody has a live element in their sets;
    /// says how many groups of rules there were. What another process makes or takes up again at the same time stays.
    ///
    /// # Errors
    /// [`NftError::Contended`] when others never stop changing the rule set.
    pub fn remove_inert(&mut self, shape: Option<&Shape>) -> Result<usize, NftError> {
        self.change("remove inert rules", |socket, batch| {
            let mut inert = 0;
            for (_, found) in socket.groups(shape)? {
                if !socket.is_in_use(&found)? {
                    found.remove_in(batch);
                    inert += 1;
                }
            }
            Ok(inert)
        })
    }

    fn is_in_use(&mut self, group: &FoundGroup) -> Result<bool, NftError> {
        for set in &group.sets {
            if !self.elements_of(set)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes our table when nothing is in it. The kernel refuses if the rule set changed since it
    /// was read, so what another process installs at the same time is never lost.
    ///
    /// # Errors
    /// [`NftError::Contended`] when others never stop changing the rule set.
    pub fn remove_table_if_empty(&mut self) -> Result<TableRemoval, NftError> {
        self.change("remove the empty table", |socket, batch| {
            if !socket.table_exists()? {
                return Ok(TableRemoval::Absent);
            }
            if socket.has_rules()? || !socket.set_names()?.is_empty() {
                return Ok(TableRemoval::InUse);
            }
            batch.add(message::DEL_TABLE, 0, "remove the empty table", encode::table);
            Ok(TableRemoval::Removed)
        })
    }

    /// Reads, decides and commits, again and again until nobody has changed anything in between. `decide` is called
    /// for each attempt with a batch to fill.
    pub(super) fn change<T>(
        &mut self,
        attempted: &'static str,
        mut decide: impl FnMut(&mut Self, &mut Batch) -> Result<T, NftError>,
    ) -> Result<T, NftError> {
        let mut refusals = 0;
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let generation = self.generation()?;
            self.wait_for_changes()?;
            let mut batch = Batch::for_generation(generation);
            let outcome = decide(self, &mut batch)?;
            if batch.is_empty() {
                return Ok(outcome);
            }
            match self.commit(batch) {
                Ok(()) => return Ok(outcome),
                Err(error) if error.outdated() => {}
                // A mark may expire between reading and writing, which changes no generation.
                Err(error) if error.is_gone() && refusals < REFUSALS_MAX => refusals += 1,
                Err(error) => return Err(error),
            }
        }
        Err(NftError::Contended { attempted, attempts: CHANGE_ATTEMPTS_MAX })
    }

    /// Reads until nobody has changed the rule set meanwhile.
    fn undisturbed<T>(
        &mut self,
        attempted: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, NftError>,
    ) -> Result<T, NftError> {
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let generation = self.generation()?;
            self.wait_for_changes()?;
            let found = read(self)?;
            if self.generation()? == generation {
                return Ok(found);
            }
        }
        Err(NftError::Contended { attempted, attempts: CHANGE_ATTEMPTS_MAX })
    }

    /// Our groups, or those of one shape, by their rules and by the sets of their marks.
    fn groups(&mut self, shape: Option<&Shape>) -> Result<BTreeMap<Group, FoundGroup>, NftError> {
        let wanted = |group: &Group| shape.is_none_or(|shape| group.shape == *shape);
        let mut groups: BTreeMap<Group, FoundGroup> = BTreeMap::new();
        for (group, rules) in self.rules_now()?.groups.into_iter().filter(|(group, _)| wanted(group)) {
            groups.entry(group).or_default().rules = rules;
        }
        for set in self.set_names()? {
            let Some((group, keeps_marks)) = Group::of_set(&set).filter(|(group, _)| wanted(group)) else {
                continue;
            };
            let found = groups.entry(group).or_default();
            if keeps_marks { found.sets.push(set) } else { found.constants.push(set) }
        }
        Ok(groups)
    }

    /// Reads the rules of our table.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn list_rules(&mut self) -> Result<Rules, NftError> {
        self.undisturbed("list our rules", Self::rules_now)
    }

    /// The same, for a change that is only made when nobody has changed anything meanwhile.
    pub(super) fn rules_now(&mut self) -> Result<Rules, NftError> {
        let mut rules = Rules::default();
        for hook in [Hook::Input, Hook::Output] {
            for rule in self.rules_of(hook)? {
                rules.groups.entry(rule.group.clone()).or_default().push(rule);
            }
        }
        Ok(rules)
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

    /// Our rules in one chain. The kernel goes on with a long dump by counting rules, and counts those of a batch that is
    /// not committed yet, which change no generation. Within a chain they come last and shift nobody; in a dump of the
    /// whole table those of one chain shift the next, and its rules are told twice or never.
    fn rules_of(&mut self, hook: Hook) -> Result<Vec<FoundRule>, NftError> {
        let chain = |out: &mut super::wire::Attributes<'_>| encode::rules_of(out, hook);
        self.dump(message::GET_RULE, "list our rules", chain, |found, one| {
            if let Some(RuleInTable::Ours(rule)) = encode::read_rule(one) {
                found.push(rule);
            }
        })
    }

    /// Whether the table has any rule, in whatever chain and whoever made it.
    fn has_rules(&mut self) -> Result<bool, NftError> {
        let found =
            self.dump(message::GET_RULE, "look for rules in our table", encode::table, |found, one| {
                found.extend(encode::read_rule(one).map(drop));
            })?;
        Ok(!found.is_empty())
    }

    fn set_names(&mut self) -> Result<Vec<String>, NftError> {
        self.dump(message::GET_SET, "list our sets", encode::table, |found, one| {
            found.extend(encode::read_set_name(one));
        })
    }

    fn elements_of(&mut self, set: &str) -> Result<Vec<FoundElement>, NftError> {
        let name = |out: &mut super::wire::Attributes<'_>| encode::set_named(out, set);
        self.dump(message::GET_ELEMENTS, "list the elements of a set", name, |found, one| {
            found.extend(encode::read_elements(one));
        })
    }
}

/// What dumps found of one group.
#[derive(Debug, Default)]
struct FoundGroup {
    rules: Vec<FoundRule>,
    /// The sets of marks.
    sets: Vec<String>,
    /// Its other sets.
    constants: Vec<String>,
}

impl FoundGroup {
    /// Rules go first: a set that is looked into cannot be removed.
    fn remove_in(&self, batch: &mut Batch) {
        self.rules.iter().for_each(|rule| remove_rule(batch, rule));
        for set in self.sets.iter().chain(&self.constants) {
            let meaning = format!("remove the set {set}");
            batch.add(message::DEL_SET, 0, meaning, |out| encode::set_named(out, set));
        }
    }
}

pub(super) fn remove_rule(batch: &mut Batch, rule: &FoundRule) {
    let meaning = format!("remove rule {} of {} from the chain {}", rule.handle, rule.group, rule.chain);
    batch.add(message::DEL_RULE, 0, meaning, |out| encode::del_rule(out, rule));
}

pub(super) fn remove_elements(batch: &mut Batch, set: &str, keys: &[&[u8]], owner: &InjectionName) {
    for chunk in keys.chunks(encode::CHUNK_ELEMENTS) {
        let meaning = format!("take {} elements of {owner} out of the set {set}", chunk.len());
        batch.add(message::DEL_ELEMENTS, 0, meaning, |out| encode::keys(out, set, chunk));
    }
}
