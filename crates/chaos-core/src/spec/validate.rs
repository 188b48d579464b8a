//! Checks that need more than one field, or a bound that a type can't carry.
//!
//! Owns the limits of a document's parts. It never looks outside the document.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{DocumentError, Experiment, FaultItem, HostTarget, Probe, ProbeCheck, Target};
use crate::duration::Span;

const NAME_CHARS_MAX: usize = 63;
const FAULTS_MAX: usize = 16;
const PROBES_MAX: usize = 64;
const RAMP_STEPS_MAX: usize = 8;
const CONDITIONS_MAX: usize = 16;
const HOSTS_MAX: usize = 1000;
const ARGV_MAX: usize = 64;
const DURATION_MIN: Span = Span::milliseconds(100);
const EVERY_MIN: Span = Span::milliseconds(10);
const TIMEOUT_MAX: Span = Span::seconds(60);
const RATE_MAX: u32 = 10_000;

impl Experiment {
    /// Checks what the types don't.
    ///
    /// # Errors
    /// The first defect.
    pub fn validate(&self) -> Result<(), DocumentError> {
        check_name("metadata.name", &self.metadata.name)?;
        check_name("metadata.namespace", &self.metadata.namespace)?;
        let spec = &self.spec;
        check_target(&spec.target)?;
        check_faults(&spec.faults, spec.duration)?;
        check_span("spec.duration", spec.duration, DURATION_MIN, Span::MAX)?;
        check_probes(&spec.probes)?;
        if let Some(threshold) = spec.safety.threshold.filter(|value| !(0.0..=1.0).contains(value)) {
            return Err(DocumentError::at("spec.safety.threshold", "out of range")
                .value(threshold)
                .expected("0 to 1"));
        }
        check_ramp(spec)?;
        if spec.safety.stop_when.len() > CONDITIONS_MAX {
            return Err(DocumentError::at("spec.safety.stopWhen", "too many")
                .value(spec.safety.stop_when.len())
                .expected(format!("at most {CONDITIONS_MAX}")));
        }
        for (index, condition) in spec.safety.stop_when.iter().enumerate() {
            condition.validate(&format!("spec.safety.stopWhen[{index}]"))?;
        }
        spec.recovery.validate()
    }
}

/// A ramp grows, is the only thing that says how many, and its faults stay from their step to the end.
fn check_ramp(spec: &super::ExperimentSpec) -> Result<(), DocumentError> {
    let path = "spec.ramp";
    if spec.ramp.is_empty() {
        return Ok(());
    }
    if spec.ramp.len() > RAMP_STEPS_MAX {
        return Err(DocumentError::at(path, "too many steps")
            .value(spec.ramp.len())
            .expected(format!("at most {RAMP_STEPS_MAX}")));
    }
    if !spec.ramp.iter().zip(spec.ramp.iter().skip(1)).all(|(step, next)| step < next) {
        return Err(
            DocumentError::at(path, "a step does not grow").expected("growing shares: [10%, 25%, 50%]")
        );
    }
    if spec.target.select != super::Select::default() {
        return Err(DocumentError::at("spec.target.select", "a ramp says already how many")
            .expected("either ramp or select"));
    }
    for (index, item) in spec.faults.iter().enumerate() {
        let conflict = if item.after.is_some() {
            Some("after")
        } else if item.duration.is_some() {
            Some("duration")
        } else {
            item.fault.interval().map(|_| "interval")
        };
        if let Some(field) = conflict {
            return Err(DocumentError::at(
                format!("spec.faults[{index}]"),
                format!("{field} has no meaning with a ramp"),
            )
            .expected("faults that stay from their step to the end"));
        }
    }
    Ok(())
}

/// Is it a name as Kubernetes has them, so that the same document can live there?
fn check_name(path: &str, name: &str) -> Result<(), DocumentError> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.chars().all(|c| inner(c) || c == '-' || c == '.')
        && name.starts_with(inner)
        && name.ends_with(inner);
    if good {
        return Ok(());
    }
    Err(DocumentError::at(path, "not a name").value(format!("{name:?}")).expected(format!(
        "1 to {NAME_CHARS_MAX} lower-case letters, digits, - and ., starting and ending with a letter or digit"
    )))
}

fn check_span(path: &str, span: Span, least: Span, most: Span) -> Result<(), DocumentError> {
    if (least..=most).contains(&span) {
        return Ok(());
    }
    Err(DocumentError::at(path, "out of range").value(span).expected(format!("{least} to {most}")))
}

fn check_target(target: &Target) -> Result<(), DocumentError> {
    let path = "spec.target";
    if target.hosts.len() > HOSTS_MAX {
        return Err(DocumentError::at("spec.target.hosts", "too many")
            .value(target.hosts.len())
            .expected(format!("at most {HOSTS_MAX}")));
    }
    if let Some(index) = target.hosts.iter().position(|host| host.trim().is_empty()) {
        return Err(
            DocumentError::at(format!("spec.target.hosts[{index}]"), "empty").expected("a host's name")
        );
    }
    match (&target.host, &target.kubernetes) {
        (Some(_), Some(_)) => {
            Err(DocumentError::at(path, "two platforms: host, kubernetes").expected("exactly one"))
        }
        (None, None) => Err(DocumentError::at(path, "no platform").expected("one of host")),
        (None, Some(_)) => {
            Err(DocumentError::at("spec.target.kubernetes", "this build can't reach a cluster yet")
                .expected("host"))
        }
        (Some(host), None) => check_host(host),
    }
}

fn check_host(host: &HostTarget) -> Result<(), DocumentError> {
    let path = |key: &str| format!("spec.target.host.{key}");
    let not_empty = |key: &str, text: &str| {
        if text.trim().is_empty() {
            Err(DocumentError::at(path(key), "empty").expected("a name"))
        } else {
            Ok(())
        }
    };
    match host {
        HostTarget::App(name) => not_empty("app", name),
        HostTarget::Unit(name) => not_empty("unit", name),
        HostTarget::Cgroup(name) => {
            not_empty("cgroup", name)?;
            if name.split('/').any(|part| part == "..") {
                return Err(
                    DocumentError::at(path("cgroup"), "leaves the hierarchy").value(format!("{name:?}"))
                );
            }
            Ok(())
        }
        HostTarget::Container(id) if id.len() < 8 || !id.chars().all(|c| c.is_ascii_hexdigit()) => {
            Err(DocumentError::at(path("container"), "not a container id")
                .value(format!("{id:?}"))
                .expected("at least 8 hexadecimal digits of it"))
        }
        HostTarget::Pid(pid) if *pid < 2 => {
            Err(DocumentError::at(path("pid"), "never a target").value(pid).expected("2 or more"))
        }
        HostTarget::Process(process) if *process == super::ProcessMatch::default() => {
            Err(DocumentError::at(path("process"), "matches everything")
                .expected("at least one of name, cmdline, user, port"))
        }
        HostTarget::Container(_) | HostTarget::Pid(_) | HostTarget::Process(_) => Ok(()),
    }
}

fn check_faults(faults: &[FaultItem], whole: Span) -> Result<(), DocumentError> {
    if faults.is_empty() || faults.len() > FAULTS_MAX {
        return Err(DocumentError::at("spec.faults", "out of range")
            .value(faults.len())
            .expected(format!("1 to {FAULTS_MAX} faults")));
    }
    let mut names = BTreeSet::new();
    for (index, item) in faults.iter().enumerate() {
        let path = format!("spec.faults[{index}]");
        item.fault.validate(&format!("{path}.{}", item.fault.kind()))?;
        if let Some(duration) = item.duration {
            check_span(&format!("{path}.duration"), duration, DURATION_MIN, whole)?;
        }
        if let Some(name) = &item.name {
            check_name(&format!("{path}.name"), name)?;
            if !names.insert(name.as_str()) {
                return Err(
                    DocumentError::at(format!("{path}.name"), "stands twice").value(format!("{name:?}"))
                );
            }
        }
        if item.after.is_some() {
            check_order(faults, index, whole)?;
        }
    }
    Ok(())
}

/// Follows `after` back to a fault that waits for nothing, adding up how long that takes.
fn check_order(faults: &[FaultItem], index: usize, whole: Span) -> Result<(), DocumentError> {
    let path = format!("spec.faults[{index}].after");
    let (mut at, mut starts_after, mut steps) = (index, Duration::ZERO, 0);
    while let Some(after) = &faults[at].after {
        let named = |item: &&FaultItem| item.name.as_deref() == Some(after);
        let Some(position) = faults.iter().position(|item| named(&item)) else {
            let names = faults.iter().filter_map(|item| item.name.as_deref());
            return Err(DocumentError::at(path, "no fault has that name")
                .value(format!("{after:?}"))
                .nearest_of(after, names));
        };
        steps += 1;
        if steps > faults.len() {
            return Err(DocumentError::at(path, "waits for itself").value(format!("{after:?}")));
        }
        at = position;
        let ends_at_once =
            matches!(&faults[at].fault, super::Fault::PodKill(kill) if kill.interval.is_none());
        match faults[at].duration {
            Some(duration) => starts_after += duration.0,
            None if ends_at_once => {}
            None => {
                return Err(DocumentError::at(
                    path,
                    format!("{after:?} has no duration of its own, so it never ends first"),
                )
                .expected("a duration beside that fault"));
            }
        }
    }
    if starts_after >= whole.0 {
        return Err(DocumentError::at(path, "would start after the experiment's end")
            .value(Span(starts_after))
            .expected(format!("less than {whole}")));
    }
    Ok(())
}

fn check_probes(probes: &[Probe]) -> Result<(), DocumentError> {
    if probes.len() > PROBES_MAX {
        return Err(DocumentError::at("spec.probes", "too many")
            .value(probes.len())
            .expected(format!("at most {PROBES_MAX}")));
    }
    let mut names = BTreeSet::new();
    for (index, probe) in probes.iter().enumerate() {
        let path = format!("spec.probes[{index}]");
        check_name(&format!("{path}.name"), &probe.name)?;
        if !names.insert(probe.name.as_str()) {
            return Err(
                DocumentError::at(format!("{path}.name"), "stands twice").value(format!("{:?}", probe.name))
            );
        }
        if probe.kubernetes.is_some() {
            return Err(DocumentError::at(
                format!("{path}.kubernetes"),
                "this build can't reach a cluster yet",
            ));
        }
        let Some(check) = probe.check() else {
            let given: Vec<&str> = probe.checks().map(|check| check.name()).collect();
            return Err(DocumentError::at(&path, format!("{} checks", given.len()))
                .value(format!("[{}]", given.join(", ")))
                .expected("exactly one of http, tcp, command, prometheus, load"));
        };
        check_span(&format!("{path}.every"), probe.every, EVERY_MIN, Span::MAX)?;
        check_span(&format!("{path}.timeout"), probe.timeout, Span::milliseconds(1), TIMEOUT_MAX)?;
        if probe.during.is_empty() {
            return Err(DocumentError::at(format!("{path}.during"), "empty")
                .expected("one or more of before, chaos, after, always"));
        }
        check_tolerance(&path, probe)?;
        check_details(&format!("{path}.{}", check.name()), check)?;
    }
    Ok(())
}

fn check_tolerance(path: &str, probe: &Probe) -> Result<(), DocumentError> {
    let Some(bounds) = probe.tolerance.value else {
        if probe.prometheus.is_some() {
            return Err(DocumentError::at(
                format!("{path}.tolerance.value"),
                "required by a prometheus probe",
            )
            .expected("min, max or both"));
        }
        return Ok(());
    };
    let path = format!("{path}.tolerance.value");
    match (bounds.min, bounds.max) {
        (None, None) => Err(DocumentError::at(path, "no bound").expected("min, max or both")),
        (Some(min), Some(max)) if min > max => {
            Err(DocumentError::at(path, "min is above max").value(format!("{min} > {max}")))
        }
        _ => Ok(()),
    }
}

fn check_details(path: &str, check: ProbeCheck<'_>) -> Result<(), DocumentError> {
    match check {
        ProbeCheck::Http(http) => check_url(&format!("{path}.url"), &http.url),
        ProbeCheck::Load(load) => {
            if !(1..=RATE_MAX).contains(&load.rate) {
                return Err(DocumentError::at(format!("{path}.rate"), "out of range")
                    .value(load.rate)
                    .expected(format!("1 to {RATE_MAX} requests a second")));
            }
            check_url(&format!("{path}.url"), &load.url)
        }
        ProbeCheck::Prometheus(prometheus) => {
            prometheus.url.as_ref().map_or(Ok(()), |url| check_url(&format!("{path}.url"), url))
        }
        ProbeCheck::Tcp(tcp) => {
            let port = tcp.address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|port| port == 0) {
                return Err(DocumentError::at(format!("{path}.address"), "not an address")
                    .value(format!("{:?}", tcp.address))
                    .expected("host:port"));
            }
            Ok(())
        }
        ProbeCheck::Command(command) => {
            if command.argv.is_empty() || command.argv.len() > ARGV_MAX {
                return Err(DocumentError::at(format!("{path}.argv"), "out of range")
                    .value(command.argv.len())
                    .expected(format!("a program and its arguments, 1 to {ARGV_MAX} words")));
            }
            Ok(())
        }
    }
}

fn check_url(path: &str, url: &str) -> Result<(), DocumentError> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match host {
        Some(host) if host.contains('@') => {
            Err(DocumentError::at(path, "has credentials in it").expected("a URL without user and password"))
        }
        Some(host) if !host.is_empty() => Ok(()),
        _ => Err(DocumentError::at(path, "not a URL")
            .value(format!("{url:?}"))
            .expected("http://… or https://…")),
    }
}
