//! The checks of a policy: what its types can't hold.
//!
//! Owns the limits of its parts. It never looks at a run.

use std::collections::BTreeSet;

use jiff::civil::{Date, Time};

use super::{AlertMatch, ApprovalRule, BreakerPolicy, Caps, Policy, Slo, Window};
use crate::duration::Span;
use crate::safety::windows;
use crate::spec::DocumentError;

/// The most windows that allow, and the most that deny.
const WINDOWS_MAX: usize = 64;
/// The most rules about approvals.
const APPROVAL_RULES_MAX: usize = 64;
/// The most people that one rule can ask for.
const APPROVERS_MAX: u32 = 10;
/// The most protected names.
const PROTECTED_MAX: usize = 256;
/// The most objectives: each is several queries.
const SLOS_MAX: usize = 32;
/// The longest window of an objective in days.
const SLO_DAYS_MAX: u32 = 90;
/// The most alerts.
const ALERTS_MAX: usize = 32;
/// The most labels of one alert.
const LABELS_MAX: usize = 16;
/// The most failures that a breaker can wait for.
const FAILURES_MAX: u32 = 100;
/// The longest name or pattern, in characters.
const NAME_CHARS_MAX: usize = 200;
/// The longest selector, in characters.
const SELECTOR_CHARS_MAX: usize = 2000;

type Check = Result<(), DocumentError>;

impl Policy {
    /// Checks what the types don't. Paths are those of the configuration file.
    ///
    /// # Errors
    /// The first defect.
    pub fn check(&self) -> Check {
        for (list, name) in [(&self.windows.allow, "allow"), (&self.windows.deny, "deny")] {
            each(&format!("safety.windows.{name}"), list, WINDOWS_MAX, check_window)?;
        }
        each("safety.approvals", &self.approvals, APPROVAL_RULES_MAX, check_rule)?;
        check_caps(&self.caps)?;
        each("safety.protected", &self.protected, PROTECTED_MAX, |path, name| check_name(path, name))?;
        each("safety.slos", &self.slos, SLOS_MAX, check_slo)?;
        let mut names = BTreeSet::new();
        if let Some(index) = self.slos.iter().position(|slo| !names.insert(&slo.name)) {
            let name = self.slos.get(index).map(|slo| slo.name.as_str()).unwrap_or_default();
            let path = format!("safety.slos[{index}].name");
            return Err(DocumentError::at(path, "stands twice").value(format!("{name:?}")));
        }
        each("safety.alerts", &self.alerts, ALERTS_MAX, check_alert)?;
        check_breaker(&self.breaker)
    }
}

/// A list that is not too long, and each entry of it.
fn each<T>(path: &str, list: &[T], most: usize, check: impl Fn(&str, &T) -> Check) -> Check {
    check_range(path, list.len(), 0, most)?;
    list.iter().enumerate().try_for_each(|(index, one)| check(&format!("{path}[{index}]"), one))
}

fn check_range<T: PartialOrd + std::fmt::Display>(path: &str, value: T, least: T, most: T) -> Check {
    if (&least..=&most).contains(&&value) {
        return Ok(());
    }
    Err(DocumentError::at(path, "out of range").value(value).expected(format!("{least} to {most}")))
}

fn check_text(path: &str, text: &str, most: usize, expected: &str) -> Check {
    if text.trim().is_empty() {
        return Err(DocumentError::at(path, "empty").expected(expected));
    }
    if text.chars().count() > most {
        let expected = format!("at most {most} characters");
        return Err(DocumentError::at(path, "too long").value(format!("{text:?}")).expected(expected));
    }
    Ok(())
}

fn check_name(path: &str, name: &str) -> Check {
    check_text(path, name, NAME_CHARS_MAX, "a name")
}

fn check_window(path: &str, window: &Window) -> Check {
    if let Some(name) = &window.name {
        check_name(&format!("{path}.name"), name)?;
    }
    if !windows::is_zone(&window.timezone) {
        let known = windows::zone_names();
        let error = DocumentError::at(format!("{path}.timezone"), "unknown time zone")
            .value(format!("{:?}", window.timezone))
            .nearest_of(&window.timezone, known.iter().map(String::as_str));
        let hint = error.nearest.is_some();
        return Err(if hint { error } else { error.expected("an IANA name such as Europe/Berlin") });
    }
    let from = window.from.unwrap_or(Time::midnight());
    if window.to == Some(from) {
        return Err(DocumentError::at(format!("{path}.to"), "the same as from: the window is empty")
            .value(from)
            .expected("another time, or none for the end of the day"));
    }
    let (Some(first), Some(last)) = (window.first, window.last) else { return Ok(()) };
    if last < first {
        return Err(DocumentError::at(format!("{path}.last"), "before first: the window is empty")
            .value(last)
            .expected(format!("{first} or later")));
    }
    if !begins(window, first, last) {
        return Err(DocumentError::at(format!("{path}.days"), "none of them lies between first and last")
            .value(format!("{first} to {last}")));
    }
    Ok(())
}

/// Does any day between two dates begin it? After a week there is nothing new.
fn begins(window: &Window, first: Date, last: Date) -> bool {
    let dates = first.series(jiff::Span::new().days(1)).take(7).take_while(|date| *date <= last);
    let on = |date: Date| window.days.iter().any(|day| day.weekday() == date.weekday());
    window.days.is_empty() || dates.into_iter().any(on)
}

fn check_rule(path: &str, rule: &ApprovalRule) -> Check {
    for (field, text) in [("namespace", &rule.namespace), ("target", &rule.target)] {
        if let Some(text) = text {
            check_name(&format!("{path}.{field}"), text)?;
        }
    }
    check_range(&format!("{path}.approvers"), rule.approvers, 1, APPROVERS_MAX)?;
    check_range(&format!("{path}.validFor"), rule.valid_for, Span::seconds(1), Span::MAX)
}

fn check_caps(caps: &Caps) -> Check {
    let Caps { run, app, namespace, total } = caps;
    for (field, cap) in [("run", run), ("app", app), ("namespace", namespace), ("total", total)] {
        if *cap == Some(0) {
            return Err(DocumentError::at(format!("safety.caps.{field}"), "would let nothing start")
                .value(0)
                .expected("1 or more; the lever or a window keeps everything from starting"));
        }
    }
    Ok(())
}

fn check_slo(path: &str, slo: &Slo) -> Check {
    check_name(&format!("{path}.name"), &slo.name)?;
    if slo.objective.value() >= 100.0 {
        return Err(DocumentError::at(format!("{path}.objective"), "leaves no budget")
            .value(slo.objective)
            .expected("below 100%"));
    }
    check_range(&format!("{path}.windowDays"), slo.window_days, 1, SLO_DAYS_MAX)?;
    for (field, selector) in [("errors", &slo.errors), ("total", &slo.total)] {
        let path = format!("{path}.{field}");
        let expected = "the selector of a counter, such as http_requests_total";
        check_text(&path, selector, SELECTOR_CHARS_MAX, expected)?;
        if selector.trim_end().ends_with([']', ')']) {
            return Err(DocumentError::at(path, "not a plain selector")
                .value(format!("{selector:?}"))
                .expected("a selector without range and without rate(): both are added"));
        }
    }
    Ok(())
}

fn check_alert(path: &str, AlertMatch(labels): &AlertMatch) -> Check {
    if labels.is_empty() {
        return Err(DocumentError::at(path, "no label: it would match every alert")
            .expected("labels such as { severity: critical }"));
    }
    check_range(path, labels.len(), 1, LABELS_MAX)?;
    labels.iter().try_for_each(|(name, value)| {
        check_name(path, name)?;
        check_name(&format!("{path}.{name}"), value)
    })
}

fn check_breaker(breaker: &BreakerPolicy) -> Check {
    check_range("safety.breaker.failures", breaker.failures, 0, FAILURES_MAX)?;
    check_range("safety.breaker.openFor", breaker.open_for, Span::seconds(1), Span::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole message of the first defect, as it is written in a configuration file.
    fn defect(safety: &str) -> Option<String> {
        let policy: Policy = serde_saphyr::from_str(safety).expect("a policy");
        policy.check().err().map(|error| error.to_string())
    }

    #[test]
    fn a_defect_is_told_with_its_place_and_what_was_meant() {
        let slo = |fields: &str| {
            format!("slos: [{{ name: a, objective: 99%, errors: e, total: t }}, {{ {fields} }}]")
        };
        for (safety, expected) in [
            (
                "windows: { deny: [{}, { timezone: Europe/Berln }] }",
                r#"safety.windows.deny[1].timezone: unknown time zone: "Europe/Berln"; did you mean "Europe/Berlin"?"#,
            ),
            (
                "windows: { allow: [{ timezone: Middle-earth/Shire }] }",
                r#"safety.windows.allow[0].timezone: unknown time zone: "Middle-earth/Shire"; expected an IANA name such as Europe/Berlin"#,
            ),
            (
                "windows: { allow: [{ from: '09:00', to: '09:00' }] }",
                "safety.windows.allow[0].to: the same as from: the window is empty: 09:00:00; expected another time, or none for the end of the day",
            ),
            (
                "windows: { allow: [{ to: '00:00' }] }",
                "safety.windows.allow[0].to: the same as from: the window is empty: 00:00:00; expected another time, or none for the end of the day",
            ),
            (
                "windows: { allow: [{ first: 2026-12-24, last: 2026-12-23 }] }",
                "safety.windows.allow[0].last: before first: the window is empty: 2026-12-23; expected 2026-12-24 or later",
            ),
            (
                "windows: { deny: [{ days: [mon], first: 2026-12-22, last: 2026-12-27 }] }",
                "safety.windows.deny[0].days: none of them lies between first and last: 2026-12-22 to 2026-12-27",
            ),
            (
                "approvals: [{ approvers: 0 }]",
                "safety.approvals[0].approvers: out of range: 0; expected 1 to 10",
            ),
            ("approvals: [{ target: ' ' }]", "safety.approvals[0].target: empty; expected a name"),
            (
                "approvals: [{ validFor: 0s }]",
                "safety.approvals[0].validFor: out of range: 0s; expected 1s to 168h",
            ),
            (
                "caps: { namespace: 0 }",
                "safety.caps.namespace: would let nothing start: 0; expected 1 or more; the lever or a window keeps everything from starting",
            ),
            ("protected: [sshd, '']", "safety.protected[1]: empty; expected a name"),
            (
                &slo("name: a, objective: 99%, errors: e, total: t"),
                r#"safety.slos[1].name: stands twice: "a""#,
            ),
            (
                &slo("name: b, objective: 100%, errors: e, total: t"),
                "safety.slos[1].objective: leaves no budget: 100%; expected below 100%",
            ),
            (
                &slo("name: b, objective: 99%, errors: e, total: t, windowDays: 0"),
                "safety.slos[1].windowDays: out of range: 0; expected 1 to 90",
            ),
            (
                &slo("name: b, objective: 99%, errors: 'rate(e[5m])', total: t"),
                r#"safety.slos[1].errors: not a plain selector: "rate(e[5m])"; expected a selector without range and without rate(): both are added"#,
            ),
            (
                "alerts: [{}]",
                "safety.alerts[0]: no label: it would match every alert; expected labels such as { severity: critical }",
            ),
            ("breaker: { failures: 101 }", "safety.breaker.failures: out of range: 101; expected 0 to 100"),
            ("breaker: { openFor: 0s }", "safety.breaker.openFor: out of range: 0s; expected 1s to 168h"),
        ] {
            assert_eq!(defect(safety).as_deref(), Some(expected), "{safety}");
        }
    }

    #[test]
    fn what_is_sound_passes() {
        for safety in [
            "{}",
            "windows: { allow: [{ days: [mon, tue], from: '22:00', to: '06:00', timezone: America/New_York }] }",
            "windows: { deny: [{ name: freeze, first: 2026-12-24, last: 2026-12-24 }, { to: '09:00' }] }",
            "windows: { deny: [{ days: [sun], first: 2026-12-21, last: 2026-12-27 }] }",
            "breaker: { failures: 0 }",
            "alerts: [{ severity: critical }]",
        ] {
            assert_eq!(defect(safety), None, "{safety}");
        }
    }

    #[test]
    fn every_list_has_a_bound() {
        let policy = |fill: &dyn Fn(&mut Policy)| {
            let mut policy = Policy::default();
            fill(&mut policy);
            policy.check().map_err(|error| error.path)
        };
        let names = |count| vec!["a".to_owned(); count];
        assert_eq!(policy(&|one| one.protected = names(PROTECTED_MAX)), Ok(()));
        assert_eq!(policy(&|one| one.protected = names(PROTECTED_MAX + 1)), Err("safety.protected".into()));
        let alert = AlertMatch([("a".to_owned(), "b".to_owned())].into());
        let alerts = |count| vec![alert.clone(); count];
        assert_eq!(policy(&|one| one.alerts = alerts(ALERTS_MAX)), Ok(()));
        assert_eq!(policy(&|one| one.alerts = alerts(ALERTS_MAX + 1)), Err("safety.alerts".into()));
    }
}
