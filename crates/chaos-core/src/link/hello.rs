//! Who an agent is: its name, what its kernel can do, what it allows, what it holds.
//!
//! Owns these shapes and the check of what a stranger says of itself. It never examines a host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Epoch;
use crate::duration::Span;
use crate::run::{InjectionId, InjectionState, RunId};
use crate::spec::FaultKind;

/// The protocol that this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// What the host of the service itself is called where a name is needed; no other host may be called so.
pub const LOCAL_HOST: &str = "local";
/// The longest name of a host.
pub const HOST_NAME_CHARS_MAX: usize = 253;
/// The most injections that an agent knows of at a time.
pub const KNOWN_MAX: usize = 50_000;
/// The most names in each list of what an agent says of itself.
const NAMES_MAX: usize = 1000;
/// The longest text in what an agent says of itself.
const TEXT_CHARS_MAX: usize = 1000;

/// What an agent says first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// Who it is.
    pub introduction: Introduction,
    /// Which of its connections this is.
    pub epoch: Epoch,
    /// Every injection that it holds, or whose end no server has heard.
    pub injections: Vec<KnownInjection>,
}

/// An injection that an agent knows of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownInjection {
    /// Its run.
    pub run: RunId,
    /// The injection.
    pub injection: InjectionId,
    /// Where it is. Of a final one the report follows.
    pub state: InjectionState,
}

/// Who an agent is. It does not change as long as its process lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introduction {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// Name of its host; empty is the host of the service.
    pub host: String,
    /// Drawn once for its state folder: two machines that have the same name are still two.
    pub node: String,
    /// Version of the agent.
    pub version: String,
    /// What its kernel can do.
    pub examination: Examination,
    /// What it allows.
    pub limits: StatedLimits,
}

/// What an agent does at most, whatever it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatedLimits {
    /// The faults that it makes.
    pub faults: Vec<FaultKind>,
    /// The apps that may be hit; `null` is any.
    pub apps: Option<Vec<String>>,
    /// The longest duration of a fault.
    pub duration_max: Option<Span>,
    /// Names of the commands that a recovery may run.
    #[serde(default)]
    pub commands: Vec<String>,
}

/// Everything that was found out about a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Examination {
    /// Release of the running kernel.
    pub kernel: String,
    /// What was tried.
    pub facts: Vec<Fact>,
    /// What that means for each fault, in the order of the catalogue.
    pub faults: Vec<Ability>,
}

/// One ability of a kernel for the user that the agent runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Short name, e.g. `nf_tables`.
    pub name: String,
    /// It works there, for this user.
    pub available: bool,
    /// What was seen, or why it does not work.
    pub detail: String,
}

/// Whether a fault can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// On any target.
    Ok,
    /// On some targets, or less exactly.
    Degraded,
    /// Not at all.
    No,
}

/// What a host can do of one fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ability {
    /// The fault.
    pub fault: FaultKind,
    /// Whether it can be made.
    pub grade: Grade,
    /// By what means.
    pub engine: String,
    /// What is missing, or that nothing is.
    pub reason: String,
}

/// A host as a server sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostInfo {
    /// Its name; `local` is the host of the service.
    pub name: String,
    /// Its agent is connected.
    pub connected: bool,
    /// Since when it is, or is not.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// Version of its agent.
    pub version: String,
    /// What its kernel can do.
    pub examination: Examination,
    /// What it allows.
    pub limits: StatedLimits,
    /// Injections that have no end yet.
    pub held: usize,
}

/// What is wrong with what an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// It speaks another version.
    #[error("the agent speaks version {theirs} of the protocol, the server version {PROTOCOL_VERSION}")]
    Version {
        /// What it speaks.
        theirs: u32,
    },
    /// Its name is none.
    #[error(
        "not the name of a host: {name:?}; expected 1 to {HOST_NAME_CHARS_MAX} letters, digits, `.`, `-` and `_`, other than {LOCAL_HOST:?}"
    )]
    Name {
        /// What it calls itself.
        name: String,
    },
    /// It says too much.
    #[error("too much is said of {what}: {count}, at most {limit}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        count: usize,
        /// The limit.
        limit: usize,
    },
}

impl Hello {
    /// Checks what a stranger says of itself; `here` is true for the host of the service, the only one without a name.
    ///
    /// # Errors
    /// The first defect.
    pub fn check(&self, here: bool) -> Result<(), HelloError> {
        let Introduction { protocol, host, .. } = &self.introduction;
        if *protocol != PROTOCOL_VERSION {
            return Err(HelloError::Version { theirs: *protocol });
        }
        let named = if here { host.is_empty() } else { is_host_name(host) };
        if !named {
            let name = host.chars().take(HOST_NAME_CHARS_MAX).collect();
            return Err(HelloError::Name { name });
        }
        self.introduction.check_sizes()?;
        within("its injections", self.injections.len(), KNOWN_MAX)
    }
}

impl Introduction {
    fn check_sizes(&self) -> Result<(), HelloError> {
        let Examination { kernel, facts, faults } = &self.examination;
        let StatedLimits { faults: allowed, apps, commands, .. } = &self.limits;
        let apps = apps.as_deref().unwrap_or_default();
        let lists = [facts.len(), faults.len(), allowed.len(), apps.len(), commands.len()];
        within("its abilities and limits", lists.into_iter().max().unwrap_or(0), NAMES_MAX)?;
        let texts = [&self.node, &self.version, kernel];
        let texts = texts.into_iter().chain(facts.iter().flat_map(|fact| [&fact.name, &fact.detail]));
        let texts = texts.chain(faults.iter().flat_map(|ability| [&ability.engine, &ability.reason]));
        let longest = texts.chain(apps).chain(commands).map(String::len).max();
        within("one thing", longest.unwrap_or(0), TEXT_CHARS_MAX)
    }
}

fn within(what: &'static str, count: usize, limit: usize) -> Result<(), HelloError> {
    if count > limit { Err(HelloError::TooMuch { what, count, limit }) } else { Ok(()) }
}

/// A name can't be mistaken for another host's, nor for a part of an instance's id.
fn is_host_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=HOST_NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(allowed) && name != LOCAL_HOST
}

/// What differs between hosts, apart from what is the same of most: fault, grade, engine, reason.
impl fmt::Display for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {}", self.kernel)?;
        for Fact { name, available, detail } in &self.facts {
            write!(f, "\n{:3} {name}: {detail}", if *available { "yes" } else { "no" })?;
        }
        for Ability { fault, grade, engine, reason } in &self.faults {
            write!(f, "\n{fault}: {} ({engine}): {reason}", grade.name())?;
        }
        Ok(())
    }
}

impl Grade {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::No => "no",
        }
    }
}

/// The injections of a hello by id.
pub(super) fn by_id(injections: &[KnownInjection]) -> BTreeMap<&InjectionId, &KnownInjection> {
    injections.iter().map(|known| (&known.injection, known)).collect()
}

/// The runs of these injections, each once.
pub(super) fn by_run<'a>(
    injections: impl IntoIterator<Item = (&'a RunId, &'a InjectionId)>,
) -> BTreeMap<RunId, BTreeSet<InjectionId>> {
    let mut runs: BTreeMap<RunId, BTreeSet<InjectionId>> = BTreeMap::new();
    for (run, injection) in injections {
        runs.entry(run.clone()).or_default().insert(injection.clone());
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::introduction;

    fn hello(host: &str) -> Hello {
        Hello { introduction: introduction(host), epoch: Epoch::default(), injections: Vec::new() }
    }

    #[test]
    fn only_the_host_of_the_service_has_no_name() {
        assert_eq!(hello("").check(true), Ok(()));
        assert!(hello("").check(false).is_err());
        assert!(hello("node-1").check(true).is_err());
        assert_eq!(hello("node-1.example.org").check(false), Ok(()));
        for name in ["local", "a:b", "a/b", "a b", "ä", &"x".repeat(254)] {
            let error = hello(name).check(false).expect_err(name);
            assert!(error.to_string().starts_with("not the name of a host"), "{error}");
        }
    }

    #[test]
    fn what_a_stranger_says_of_itself_is_bounded() {
        let mut long = hello("a");
        long.introduction.version = "x".repeat(TEXT_CHARS_MAX + 1);
        assert!(matches!(long.check(false), Err(HelloError::TooMuch { .. })));
        let mut many = hello("a");
        many.introduction.limits.apps = Some(vec![String::new(); NAMES_MAX + 1]);
        assert!(matches!(many.check(false), Err(HelloError::TooMuch { .. })));
        let known = KnownInjection {
            run: RunId("r".into()),
            injection: InjectionId("r-0".into()),
            state: InjectionState::Active,
        };
        let crowded = Hello { injections: vec![known; KNOWN_MAX + 1], ..hello("a") };
        assert!(matches!(crowded.check(false), Err(HelloError::TooMuch { .. })));
    }
}
