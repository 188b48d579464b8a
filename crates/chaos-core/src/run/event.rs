//! What can happen to a run, and what is done about it, as data.
//!
//! Owns the shapes that the journal keeps. What leads to what is [`super::step`]'s.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tolerance::ProbeSample;
use super::types::{InjectionId, Stop};
use super::verdict::Failure;
use crate::duration::Span;
use crate::port::{Evidence, InjectionReport};
use crate::safety::{Decision, Health};
use crate::spec::ProbePhase;
use crate::target::{Instance, Selection};

/// What happened to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It left the queue.
    Started,
    /// The target was resolved, health measured, the gates asked.
    Resolved(Box<Resolution>),
    /// It can't be carried out.
    Failed(Failure),
    /// Measurements of a probe.
    Probed(ProbeSample),
    /// Every `before` probe was measured for as long as asked.
    BaselineEnded,
    /// A node reports a change.
    Injection(InjectionReport),
    /// A timer went off.
    Elapsed(Timer),
    /// Another draw for a fault that repeats.
    Redrawn {
        /// Entry of `spec.faults`.
        item: usize,
        /// What was drawn; empty when the gates leave no room.
        chosen: Vec<Instance>,
    },
    /// Health was measured.
    Health {
        /// Score and signals.
        health: Health,
        /// Ready instances of the target now.
        ready: usize,
    },
    /// The gates that are also asked during a run were asked.
    Guarded(Vec<Decision>),
    /// A recovery action was tried.
    Acted(ActionOutcome),
    /// The service that drove it was gone; another took it up.
    Adopted {
        /// Injections that their hosts still hold.
        held: Vec<InjectionId>,
    },
    /// It shall end now.
    StopRequested(Stop),
}

/// How a recovery action went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionOutcome {
    /// Entry of `spec.recovery.actions`.
    pub action: usize,
    /// What was read to say that it worked.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// Why it did not.
    #[serde(default)]
    pub error: Option<String>,
}

/// Everything that was found out before a start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resolution {
    /// Ids of the instances that match.
    pub matching: Vec<String>,
    /// How many of them are ready.
    pub ready: usize,
    /// The fewest ports that any ready one listens on: a new instance with fewer is still starting.
    #[serde(default)]
    pub ports_min: usize,
    /// What was drawn.
    pub selection: Selection,
    /// The drawn instances.
    pub chosen: Vec<Instance>,
    /// Score and signals.
    pub health: Health,
    /// What the gates said.
    pub decisions: Vec<Decision>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Resolve the target, measure health, ask the gates; answer [`Event::Resolved`] or [`Event::Failed`].
    Resolve,
    /// Measure every probe of this phase, and no longer those of another; `once`: a single sample of each, then
    /// [`Event::BaselineEnded`].
    Measure {
        /// The phase.
        phase: ProbePhase,
        /// A single sample of each.
        once: bool,
    },
    /// Measure nothing any more.
    StopMeasuring,
    /// Measure health and ask the gates that may change every so often, until [`Effect::Finish`]; answer
    /// [`Event::Health`] and [`Event::Guarded`].
    WatchHealth {
        /// Time between two samples.
        every: Span,
    },
    /// Send [`Event::Elapsed`] after this time.
    SetTimer {
        /// Which.
        timer: Timer,
        /// How long.
        after: Span,
    },
    /// Ask the node to start these.
    Inject(Vec<InjectionId>),
    /// Ask the node to undo these.
    Revert(Vec<InjectionId>),
    /// Draw again; answer [`Event::Redrawn`].
    Redraw {
        /// Entry of `spec.faults`.
        item: usize,
        /// Number of the draw, from 1.
        draw: u32,
    },
    /// Try a recovery action; answer [`Event::Acted`].
    Act {
        /// Entry of `spec.recovery.actions`.
        action: usize,
    },
    /// There is an outcome: stop everything that belongs to the run.
    Finish,
}

/// Timers of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// The baseline was long enough.
    Baseline,
    /// Nothing became active in time.
    Injecting,
    /// The experiment's duration is over.
    Run,
    /// The own duration of an entry of `spec.faults` is over.
    Item(usize),
    /// An entry repeats.
    Repeat(usize),
    /// The next step of the ramp begins.
    Ramp(usize),
    /// The undo takes too long.
    Revert,
    /// Undoing one target after the other takes too long.
    Stepwise,
    /// An undo that failed is tried again.
    Retry,
    /// Recovery takes too long.
    Recovery,
}

impl Event {
    /// Its name, for people.
    pub fn name(&self) -> String {
        match self {
            Self::Started => "started".into(),
            Self::Resolved(_) => "resolved".into(),
            Self::Failed(failure) => format!("failed ({failure:?})"),
            Self::Probed(sample) => format!("probed {}", sample.probe),
            Self::BaselineEnded => "baseline ended".into(),
            Self::Injection(report) => format!("injection {} {}", report.injection, report.state),
            Self::Elapsed(timer) => format!("elapsed {timer:?}"),
            Self::Redrawn { item, .. } => format!("redrawn {item}"),
            Self::Health { .. } => "health".into(),
            Self::Guarded(_) => "guarded".into(),
            Self::Acted(outcome) => format!("acted {}", outcome.action),
            Self::Adopted { .. } => "adopted".into(),
            Self::StopRequested(stop) => format!("stop requested by {:?}", stop.cause),
        }
    }
}
