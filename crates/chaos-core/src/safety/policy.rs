//! What an installation allows: the `safety` part of the configuration, beyond threshold and signals.
//!
//! Owns the shapes, their defaults and their checks. What follows from them in a given moment is the gates'.

mod check;

use jiff::civil::{Date, Time, Weekday};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::spec::FaultKind;
use crate::units::Percent;

/// Rules for every run. The default allows everything but what repeats its failures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// When runs may be active.
    #[serde(default, skip_serializing_if = "is_default")]
    pub windows: Windows,
    /// What needs the consent of others. Each rule that matches counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRule>,
    /// How much may be hit at a time, over all runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub caps: Caps,
    /// Names (of apps, units, containers, executables) that are never hit; `*` stands for any run of characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<String>,
    /// Objectives whose budget experiments spend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slos: Vec<Slo>,
    /// Share of each error budget that experiments must leave; a quarter when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_reserve: Option<Percent>,
    /// Alerts that must not fire, each a set of labels; any match blocks a start and stops a run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertMatch>,
    /// When repeated failures on a target keep others from it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub breaker: BreakerPolicy,
}

impl Policy {
    /// Share of each error budget that experiments must leave, 0 to 1.
    pub fn budget_reserve(&self) -> f64 {
        self.budget_reserve.map_or(0.25, Percent::ratio)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Times when runs may be active: within one of `allow` (any time when there is none) and outside of every `deny`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Windows {
    /// Only within one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Window>,
    /// Never within one of these: blackouts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Window>,
}

/// A recurring or a single stretch of time. Fields that are given must all match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// What it is, for people, e.g. `christmas freeze`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Days of the week on which it begins, e.g. `[mon, tue]`; every day when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub days: Vec<Day>,
    /// Time of day at which it begins, `09:00`; midnight when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub from: Option<Time>,
    /// Time of day at which it ends, exclusive; earlier than `from` means the next day; the day's end when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub to: Option<Time>,
    /// First date on which it can begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub first: Option<Date>,
    /// Last date on which it can begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub last: Option<Date>,
    /// IANA name of the time zone.
    #[serde(default = "utc")]
    pub timezone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// A day of the week as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// The day of the calendar.
    pub fn weekday(self) -> Weekday {
        match self {
            Self::Mon => Weekday::Monday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
            Self::Thu => Weekday::Thursday,
            Self::Fri => Weekday::Friday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
        }
    }
}

/// What needs consent: an experiment that matches every given field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRule {
    /// Its namespace; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// One of its faults is one of these; any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultKind>,
    /// The name that its target has (app, unit, container), with `*`; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many people, none of whom asks for the run.
    #[serde(default = "one")]
    pub approvers: u32,
    /// How long a consent counts.
    #[serde(default = "day")]
    pub valid_for: Span,
}

fn one() -> u32 {
    1
}

fn day() -> Span {
    Span::seconds(24 * 3600)
}

/// Instances that may be hit at the same time; absent is no bound. A run that draws again counts with everything it has
/// chosen so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caps {
    /// By one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<usize>,
    /// Of one target, by all runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<usize>,
    /// By all runs of a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<usize>,
    /// In all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
}

/// A service level objective: the share of events that shall be good, over days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slo {
    /// Its name.
    pub name: String,
    /// The share that shall be good, e.g. `99.9%`; below 100 %.
    pub objective: Percent,
    /// Over how many days.
    #[serde(default = "thirty")]
    pub window_days: u32,
    /// Selector of the counter of bad events, e.g. `http_requests_total{code=~"5.."}`. It has to be there, at 0, also
    /// while nothing goes wrong: no data is never good news.
    pub errors: String,
    /// Selector of the counter of all events.
    pub total: String,
}

fn thirty() -> u32 {
    30
}

/// Labels that an alert must have; `alertname` is one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AlertMatch(pub std::collections::BTreeMap<String, String>);

/// When repeated failures keep runs from a target: `failures` in a row, the last within `openFor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BreakerPolicy {
    /// Runs in a row that a guardrail ended or that could not be carried out or undone; 0 switches it off.
    #[serde(default = "five")]
    pub failures: u32,
    /// How long nothing starts then; after that one run may try.
    #[serde(default = "ten_minutes")]
    pub open_for: Span,
}

fn five() -> u32 {
    5
}

fn ten_minutes() -> Span {
    Span::seconds(600)
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: five(), open_for: ten_minutes() }
    }
}
