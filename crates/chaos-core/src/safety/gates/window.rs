//! The windows of the policy: the whole run has to fit before it starts, and the moment while it is on.
//!
//! Owns the decision and its words. What is open when is [`Windows`](crate::safety::Windows)' own.

use jiff::{SignedDuration, Timestamp, Zoned};

use super::{Finding, Standing};
use crate::duration::Span;
use crate::safety::windows::{HORIZON_DAYS, Moment, UnknownZone};
use crate::safety::{Facts, Policy};
use crate::spec::ExperimentSpec;

/// What a run may take beside its baseline and its duration until every fault is undone: the proof that faults are
/// active, an undo one target after the other, and the undo of what is left.
pub const BESIDE_DURATION_MAX: Span = Span::seconds(90);

/// An opening that is nearer than this is told without its date.
const SAME_WEEK: SignedDuration = SignedDuration::from_hours(6 * 24);

/// Is it open until everything is undone again?
pub(super) fn before(policy: &Policy, facts: &Facts, spec: &ExperimentSpec) -> Option<Finding> {
    let needed = Span(spec.baseline.0 + spec.duration.0 + BESIDE_DURATION_MAX.0);
    judge(policy, facts.now, needed)
}

/// Is it open now?
pub(super) fn during(policy: &Policy, facts: &Facts) -> Option<Finding> {
    judge(policy, facts.now, Span::default())
}

fn judge(policy: &Policy, now: Timestamp, needed: Span) -> Option<Finding> {
    let windows = &policy.windows;
    if windows.is_empty() {
        return None;
    }
    let long = SignedDuration::try_from(needed.0).unwrap_or(SignedDuration::MAX);
    let unknown = |zone: UnknownZone| Finding::new(Standing::Unknown, zone.to_string());
    let moment = match windows.at(now, long) {
        Ok(moment) => moment,
        Err(zone) => return Some(unknown(zone)),
    };
    if moment == (Moment::Open { until: None }) {
        let message = match needed.0.is_zero() {
            true => "the window is open".to_owned(),
            false => format!("the window is open for the {needed} that the run needs at most"),
        };
        return Some(Finding::new(Standing::Passed, message).with("now", now).with("needed", needed));
    }
    let next = match windows.next_opening(now, long) {
        Ok(next) => next,
        Err(zone) => return Some(unknown(zone)),
    };
    let (problem, closes) = match moment {
        Moment::Denied { name } => (format!("inside of the blackout {name}"), None),
        Moment::Outside => ("outside of every allowed window".to_owned(), None),
        Moment::Open { until } => {
            let closes = until.map(|until| told(&until, now)).unwrap_or_default();
            (
                format!("the window closes {closes}, before the {needed} that the run needs at most"),
                Some(closes),
            )
        }
    };
    let opens = match &next {
        Some(next) => format!("next: {}", told(next, now)),
        None => format!("no opening within {HORIZON_DAYS} days is long enough"),
    };
    let finding = Finding::new(Standing::Refused, format!("{problem}; {opens}"));
    Some(
        finding
            .with("now", now)
            .with("needed", needed)
            .with("closes", closes)
            .with("next", next.map(|next| next.timestamp())),
    )
}

/// `Mon 09:00 Europe/Berlin`, with its date when that is more than a week away.
fn told(at: &Zoned, now: Timestamp) -> String {
    let format =
        if at.timestamp().duration_since(now) < SAME_WEEK { "%a %H:%M %Q" } else { "%a %F %H:%M %Q" };
    at.strftime(format).to_string()
}
