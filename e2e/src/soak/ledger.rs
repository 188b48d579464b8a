//! What a soak has seen: kills by fault, residues by kind, times to heal; and the lines that say so.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::snapshot::Difference;
use crate::world::Healing;

/// More residues than this end a soak.
const RESIDUES_MAX: usize = 50;
/// So much of a difference is shown where it is no residue.
const TEXT_MAX: usize = 120;

fn listed(counts: &BTreeMap<String, u32>) -> String {
    let each: Vec<String> = counts.iter().map(|(what, count)| format!("{count} × {what}")).collect();
    each.join(", ")
}

/// When a difference was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When {
    /// Nothing was started again yet: the kernel and the living had to do it alone.
    BeforeRecover,
    /// After `recover`, or the next start.
    AfterRecover,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    kills: BTreeMap<String, u32>,
    /// The same kills by what was killed.
    killed: BTreeMap<String, u32>,
    /// Links that were cut or stopped, by how.
    cuts: BTreeMap<String, u32>,
    healed: Vec<Duration>,
    /// How long a fault outlasted its link.
    outlasted: Vec<Duration>,
    slowest: String,
    residues: Vec<String>,
    /// How many of them were there before and after the next start.
    before_after: (u32, u32),
    /// By what `recover` had to remove, which is no residue: records and inert rules.
    swept: BTreeMap<String, u32>,
}

impl Ledger {
    /// Something was killed during a fault.
    pub(super) fn kill(&mut self, fault: &str, killed: impl ToString) {
        *self.kills.entry(fault.to_owned()).or_default() += 1;
        *self.killed.entry(killed.to_string()).or_default() += 1;
    }

    /// A link was interrupted.
    pub(super) fn cut(&mut self, how: &str) {
        *self.cuts.entry(how.to_owned()).or_default() += 1;
    }

    pub(super) fn kills(&self) -> u32 {
        self.kills.values().sum()
    }

    pub(super) fn healed(&mut self, case: &str, healing: &Healing) {
        if self.healed.iter().all(|took| *took < healing.took) {
            let last: Vec<String> =
                healing.last.iter().map(|one| one.to_string().chars().take(TEXT_MAX).collect()).collect();
            self.slowest = format!("{case}; the last to go: {}", last.join("; "));
        }
        self.healed.push(healing.took);
    }

    /// A fault whose link was cut was undone after so long.
    pub(super) fn outlasted(&mut self, took: Duration) {
        self.outlasted.push(took);
    }

    pub(super) fn swept(&mut self, differences: &[Difference]) {
        for difference in differences {
            *self.swept.entry(difference.kind.to_string()).or_default() += 1;
        }
    }

    #[expect(clippy::print_stdout, reason = "the soak talks to whoever runs it")]
    pub(super) fn residue(&mut self, case: &str, when: When, differences: &[Difference]) {
        for difference in differences {
            let (count, when) = match when {
                When::BeforeRecover => (&mut self.before_after.0, "before recover"),
                When::AfterRecover => (&mut self.before_after.1, "after recover"),
            };
            *count += 1;
            let line = format!("{case}: {when}: {difference}");
            println!("residue: {line}");
            self.residues.push(line);
        }
    }

    #[expect(clippy::print_stdout, reason = "the soak talks to whoever runs it")]
    pub(super) fn fault(&mut self, case: &str, what: &str) {
        println!("residue: {case}: {what}");
        self.residues.push(format!("{case}: {what}"));
    }

    /// An error when there is so much wrong that more would tell nothing new.
    pub(super) fn check(&self) -> Result<()> {
        if self.residues.len() > RESIDUES_MAX {
            bail!("{} residues: the soak gives up", self.residues.len());
        }
        Ok(())
    }

    pub(super) fn residues(&self) -> usize {
        self.residues.len()
    }

    /// Prints everything; the last line is the count.
    #[expect(clippy::print_stdout, reason = "the soak talks to whoever runs it")]
    pub(super) fn close(mut self) -> ExitCode {
        for (fault, kills) in &self.kills {
            println!("{fault}: {kills} kills");
        }
        println!("killed: {}", listed(&self.killed));
        if !self.cuts.is_empty() {
            println!("links: {}", listed(&self.cuts));
        }
        for (kind, count) in &self.swept {
            println!("for recover to sweep: {count} × {kind}");
        }
        let (before, after) = self.before_after;
        println!("residues before recover: {before}; after it: {after}");
        self.healed.sort_unstable();
        let at = |share: f64| {
            let index = (self.healed.len().saturating_sub(1) as f64 * share).round() as usize;
            self.healed.get(index).copied().unwrap_or_default().as_millis()
        };
        println!("time to heal: p50 {} ms, p99 {} ms, max {} ms", at(0.5), at(0.99), at(1.0));
        println!("slowest to heal: {}", self.slowest);
        for took in &self.outlasted {
            println!("undone {:.1} s after its link was cut", took.as_secs_f64());
        }
        println!("soak: {} kills, {} residues", self.kills(), self.residues.len());
        if self.residues.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
