//! One partition in the kernel, by whoever makes it: installed, refreshed, extended, seen, taken away.
//!
//! Owns the marks of a partition and where they are. A mark has one owner: where another partition has the same one in
//! a group already, the next slot of the shape is used, so that neither can take away what is the other's. Every
//! change is based on what was read in the same generation of the rule set, and touches elements of its own name only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::encode::{self, CHUNK_ELEMENTS, FoundElement, message};
use super::error::NftError;
use super::plan::{self, Group, GroupPlan, Hook, Mark, Shape};
use super::socket::{Batch, NftSocket};
use super::spec::{InjectionName, PartitionSpec, ProcessSockets, Scope};
use super::table::{Rules, remove_elements, remove_rule};

/// Longest lease: one day.
const LEASE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Marks that are changed in one batch: few enough for it to be done before others have changed the rule set.
const MARKS_AT_ONCE: usize = 128;
/// Most partitions of one shape that mean the same socket.
pub const SLOTS_MAX: u16 = 1_024;
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

/// A partition and what its maker knows of it in the kernel.
#[derive(Debug)]
pub struct Partition {
    spec: PartitionSpec,
    shape: Shape,
    /// Its marks, and in which slot each is.
    placed: BTreeMap<Mark, u16>,
    /// The kernel did not say what became of a change, so more may be there than is known.
    uncertain: bool,
}

impl Partition {
    /// One that is not installed yet.
    ///
    /// # Errors
    /// [`NftError::Invalid`] when a named limit is exceeded.
    pub fn new(spec: PartitionSpec) -> Result<Self, NftError> {
        spec.check()?;
        let shape = Shape::of(&spec);
        Ok(Self { spec, shape, placed: BTreeMap::new(), uncertain: false })
    }

    /// What it is.
    #[must_use]
    pub fn spec(&self) -> &PartitionSpec {
        &self.spec
    }

    /// What its rules are: the same for all that share them.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Where its marks are.
    pub(super) fn groups(&self) -> BTreeSet<Group> {
        self.placed.values().map(|slot| self.group(*slot)).collect()
    }

    fn group(&self, slot: u16) -> Group {
        Group { shape: self.shape.clone(), slot }
    }

    pub(super) fn not_in_effect(&self, found: usize) -> NftError {
        let (injection, expected) = (self.spec.name.to_string(), self.placed.len().max(1));
        NftError::NotInEffect { injection, expected, found }
    }
}

/// Where a mark goes.
struct Place {
    slot: u16,
    /// It is there already, and its own.
    is_there: bool,
}

impl NftSocket {
    /// Installs a partition, and the rules that it needs where nobody has made them yet; what of it is there already
    /// has its lease begun anew. Up to a number of marks that covers all but the largest this is one atomic batch.
    ///
    /// # Errors
    /// [`NftError`]; what was made until then is for [`NftSocket::release`].
    pub fn install(&mut self, partition: &mut Partition, lease: Lease) -> Result<(), NftError> {
        let marks: Vec<Mark> = plan::marks(&partition.spec.scope).into_iter().collect();
        marks.chunks(MARKS_AT_ONCE).try_for_each(|some| self.put(partition, some, lease))
    }

    /// Starts the lease of every mark of an installed partition anew, without a gap, and reads back what is left of
    /// it: the smallest time of all, or none when the partition has none.
    ///
    /// # Errors
    /// [`NftError::NotInEffect`] when something of it is not there any more, be it that somebody removed it or that
    /// the lease had lapsed, or when reading back does not show every mark with the new lease.
    pub fn refresh(&mut self, partition: &mut Partition, lease: Lease) -> Result<Option<Duration>, NftError> {
        let there = self.see(partition)?.len();
        if there < partition.placed.len() {
            return Err(partition.not_in_effect(there));
        }
        let written = Instant::now();
        self.install(partition, lease)?;
        let found = self.see(partition)?;
        // Time that passed since the write is missing, and the kernel counts in ticks of up to 10 ms.
        let least = lease.length().saturating_sub(written.elapsed() + Duration::from_millis(20));
        let renewed = found.iter().filter(|element| element.remaining >= least).count();
        if renewed < partition.placed.len() {
            return Err(partition.not_in_effect(renewed));
        }
        Ok(found.iter().map(|element| element.remaining).min())
    }

    /// Makes an installed partition of [`Scope::Process`] recognise its victim by these sockets: those that appeared
    /// are added with a lease, those that are gone are taken out. A cgroup stays at its level.
    ///
    /// # Errors
    /// [`NftError::Invalid`] when a named limit is exceeded or other rules would be needed; [`NftError`] otherwise:
    /// what was made until then is for [`NftSocket::release`].
    pub fn follow(
        &mut self,
        partition: &mut Partition,
        sockets: ProcessSockets,
        lease: Lease,
    ) -> Result<(), NftError> {
        let spec = PartitionSpec { scope: Scope::Process(sockets), ..partition.spec.clone() };
        spec.check()?;
        if Shape::of(&spec) != partition.shape {
            return Err(NftError::Invalid { reason: format!("{} would need other rules", spec.name) });
        }
        partition.spec = spec;
        let wanted = plan::marks(&partition.spec.scope);
        let gone: Vec<Mark> =
            partition.placed.keys().filter(|mark| !wanted.contains(*mark)).cloned().collect();
        gone.chunks(MARKS_AT_ONCE).try_for_each(|some| self.take(partition, some).map(drop))?;
        partition.placed.retain(|mark, _| wanted.contains(mark));
        let new: Vec<Mark> = wanted.into_iter().filter(|mark| !partition.placed.contains_key(mark)).collect();
        new.chunks(MARKS_AT_ONCE).try_for_each(|some| self.put(partition, some, lease))
    }

    /// Takes a partition away. Says whether anything of it was there. The rules stay for others of its shape, see
    /// [`NftSocket::remove_inert`].
    ///
    /// # Errors
    /// [`NftError`]; calling again takes away what is left.
    pub fn release(&mut self, partition: &mut Partition) -> Result<bool, NftError> {
        if partition.uncertain {
            let removed = self.remove(&partition.spec.name)?;
            partition.uncertain = false;
            return Ok(removed);
        }
        let marks: Vec<Mark> = partition.placed.keys().cloned().collect();
        let mut any = false;
        for some in marks.chunks(MARKS_AT_ONCE) {
            any |= self.take(partition, some)?;
        }
        Ok(any)
    }

    /// How many marks of a partition are live.
    ///
    /// # Errors
    /// [`NftError`].
    pub fn live_marks(&mut self, partition: &Partition) -> Result<usize, NftError> {
        if partition.uncertain {
            return Ok(self.read(&partition.spec.name)?.elements.len());
        }
        Ok(self.see(partition)?.len())
    }

    /// Packets that a partition has dropped since it was refreshed last.
    ///
    /// # Errors
    /// [`NftError::NotInEffect`] when it has no live mark.
    pub fn dropped(&mut self, partition: &Partition) -> Result<u64, NftError> {
        let found = self.see(partition)?;
        if found.is_empty() {
            return Err(partition.not_in_effect(0));
        }
        Ok(found.iter().fold(0, |sum, element| element.packets.saturating_add(sum)))
    }

    /// Puts marks where they are or where there is room, with a new lease, in one batch.
    fn put(&mut self, partition: &mut Partition, marks: &[Mark], lease: Lease) -> Result<(), NftError> {
        let known = &*partition;
        let places = self.change("install a partition", |socket, batch| {
            let places = socket.places(known, marks, batch)?;
            let used: BTreeSet<u16> = places.iter().map(|place| place.slot).collect();
            for slot in used {
                let here = || places.iter().zip(marks).filter(|(place, _)| place.slot == slot);
                let (group, owner) = (known.group(slot), &known.spec.name);
                for (set, keys) in by_set(&group, here().filter(|(place, _)| place.is_there)) {
                    remove_elements(batch, &set, &keys, owner);
                }
                for (set, keys) in by_set(&group, here()) {
                    add_marks(batch, &set, &keys, owner, lease);
                }
            }
            Ok(places)
        });
        match places {
            Ok(places) => {
                partition.placed.extend(marks.iter().cloned().zip(places.iter().map(|place| place.slot)));
                Ok(())
            }
            Err(error) => {
                partition.uncertain |= error.leaves_doubt();
                Err(error)
            }
        }
    }

    /// Takes marks out that are there, in one batch. Says whether there were any.
    fn take(&mut self, partition: &Partition, marks: &[Mark]) -> Result<bool, NftError> {
        let name = &partition.spec.name;
        self.change("remove a partition", |socket, batch| {
            let places = marks.iter().filter_map(|mark| Some((*partition.placed.get(mark)?, mark)));
            let places: Vec<(u16, &Mark)> = places.collect();
            let found = socket.elements_at(partition, &places)?;
            let mut own: BTreeMap<u16, Vec<&Mark>> = BTreeMap::new();
            for ((slot, mark), _) in places.iter().zip(found).filter(|(_, found)| is_of(found.as_ref(), name))
            {
                own.entry(*slot).or_default().push(mark);
            }
            for (slot, marks) in &own {
                let marks = marks.iter().map(|mark| ((), *mark));
                for (set, keys) in by_set(&partition.group(*slot), marks) {
                    remove_elements(batch, &set, &keys, name);
                }
            }
            Ok(!own.is_empty())
        })
    }

    /// The marks of a partition that are live.
    fn see(&mut self, partition: &Partition) -> Result<Vec<FoundElement>, NftError> {
        let places: Vec<(u16, &Mark)> = partition.placed.iter().map(|(mark, slot)| (*slot, mark)).collect();
        let found = self.elements_at(partition, &places)?.into_iter().flatten();
        Ok(found.filter(|element| element.owner.as_ref() == Some(&partition.spec.name)).collect())
    }

    /// For each mark, where it is its own or else nobody's. What is not there yet is made in the batch.
    fn places(
        &mut self,
        partition: &Partition,
        marks: &[Mark],
        batch: &mut Batch,
    ) -> Result<Vec<Place>, NftError> {
        let name = &partition.spec.name;
        let mut places: BTreeMap<&Mark, Place> = BTreeMap::new();
        let known = marks.iter().filter_map(|mark| Some((*partition.placed.get(mark)?, mark)));
        let known: Vec<(u16, &Mark)> = known.collect();
        for ((slot, mark), found) in known.iter().zip(self.elements_at(partition, &known)?) {
            if is_of(found.as_ref(), name) {
                places.insert(mark, Place { slot: *slot, is_there: true });
            }
        }
        if places.len() == marks.len() {
            return Ok(marks.iter().filter_map(|mark| places.remove(mark)).collect());
        }
        let rules = self.rules_now()?;
        for slot in 0..SLOTS_MAX {
            let left: Vec<(u16, &Mark)> =
                marks.iter().filter(|mark| !places.contains_key(mark)).map(|mark| (slot, mark)).collect();
            if left.is_empty() {
                break;
            }
            let found = match rules.groups.contains_key(&partition.group(slot)) {
                true => self.elements_at(partition, &left)?,
                false => left.iter().map(|_| None).collect(),
            };
            for ((_, mark), found) in left.into_iter().zip(found) {
                let is_there = is_of(found.as_ref(), name);
                if is_there || found.is_none() {
                    places.insert(mark, Place { slot, is_there });
                }
            }
        }
        make_groups(batch, &partition.spec, places.values().map(|place| place.slot).collect(), &rules);
        let full = || NftError::Invalid { reason: format!("{SLOTS_MAX} partitions mean the same socket") };
        marks.iter().map(|mark| places.remove(mark).ok_or_else(full)).collect()
    }

    fn elements_at(
        &mut self,
        partition: &Partition,
        places: &[(u16, &Mark)],
    ) -> Result<Vec<Option<FoundElement>>, NftError> {
        self.ask_each(
            message::GET_ELEMENTS,
            "look for elements of our sets",
            places,
            |out, (slot, mark)| {
                encode::keys(out, &partition.group(*slot).set_name(mark.kind), &[mark.key.as_slice()]);
            },
            |answer| encode::read_elements(answer).pop(),
        )
    }
}

fn is_of(element: Option<&FoundElement>, name: &InjectionName) -> bool {
    element.is_some_and(|element| element.owner.as_ref() == Some(name))
}

/// The keys of marks by the set that they go to.
fn by_set<'a, T>(
    group: &Group,
    marks: impl Iterator<Item = (T, &'a Mark)>,
) -> BTreeMap<String, Vec<&'a [u8]>> {
    let mut sets: BTreeMap<String, Vec<&[u8]>> = BTreeMap::new();
    for (_, mark) in marks {
        sets.entry(group.set_name(mark.kind)).or_default().push(&mark.key);
    }
    sets
}

/// Makes the groups of these slots that are not there or not whole, and the table and chains with them.
fn make_groups(batch: &mut Batch, spec: &PartitionSpec, slots: BTreeSet<u16>, rules: &Rules) {
    let mut sets = 0;
    for slot in slots {
        let plan = plan::group(spec, slot);
        let found = rules.groups.get(&plan.group).map(Vec::as_slice).unwrap_or_default();
        if found.len() == plan.rules.len() {
            continue;
        }
        if sets == 0 {
            make_table(batch);
        }
        found.iter().for_each(|rule| remove_rule(batch, rule));
        make_group(batch, &plan, &mut sets);
    }
}

fn make_table(batch: &mut Batch) {
    let meaning = format!("make the table inet {}", encode::TABLE);
    batch.add(message::NEW_TABLE, CREATE, meaning, encode::table);
    for hook in Hook::ALL {
        let meaning = format!("make the chain {}", encode::chain_name(hook));
        batch.add(message::NEW_CHAIN, CREATE, meaning, |out| encode::chain(out, hook));
    }
}

/// `sets` counts the sets of a batch, which need different numbers.
fn make_group(batch: &mut Batch, plan: &GroupPlan, sets: &mut u32) {
    for set in &plan.sets {
        *sets += 1;
        let meaning = format!("make the set {}", set.name);
        batch.add(message::NEW_SET, CREATE, meaning, |out| encode::new_set(out, set, *sets));
        for chunk in set.constant.iter().flat_map(|ranges| ranges.chunks(CHUNK_ELEMENTS)) {
            let meaning = format!("put {} ranges into the set {}", chunk.len(), set.name);
            batch.add(message::NEW_ELEMENTS, CREATE, meaning, |out| encode::new_ranges(out, set, chunk));
        }
    }
    for rule in &plan.rules {
        let meaning = format!("add a rule of {} to the chain {}", plan.group, encode::chain_name(rule.hook));
        batch.add(message::NEW_RULE, CREATE | APPEND, meaning, |out| {
            encode::new_rule(out, &plan.group, rule);
        });
    }
}

fn add_marks(batch: &mut Batch, set: &str, keys: &[&[u8]], owner: &InjectionName, lease: Lease) {
    for chunk in keys.chunks(CHUNK_ELEMENTS) {
        let meaning = format!("put {} elements of {owner} into the set {set}", chunk.len());
        let lease_ms = lease.milliseconds();
        batch.add(message::NEW_ELEMENTS, CREATE | EXCLUSIVE, meaning, |out| {
            encode::new_marks(out, set, chunk, owner, lease_ms);
        });
    }
}
