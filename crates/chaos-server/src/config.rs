//! The configuration of a service: target app, threshold, Prometheus, signals, rules, retention, server.
//!
//! Owns the format of the file (contract §3), strict like a document. Flags and variables are the command line's.

use std::path::Path;

use chaos_core::safety::{AlertMatch, ApprovalRule, BreakerPolicy, Caps, Policy, Slo, Windows};
use chaos_core::spec::{DEFAULT_THRESHOLD, DocumentError, ShortRequest, parse_value, plain_values};
use chaos_core::units::Percent;
use chaos_probes::SignalConfig;
use serde::{Deserialize, Serialize};

/// A configuration file; every field may be absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileConfig {
    /// App that is meant when nothing names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_app: Option<String>,
    /// Address of the server that commands talk to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Bearer token for it; a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// State folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<std::path::PathBuf>,
    /// Cluster that is meant; this build reaches none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Limits.
    #[serde(default, skip_serializing_if = "SafetyConfig::is_empty")]
    pub safety: SafetyConfig,
    /// How long runs are kept.
    #[serde(default, skip_serializing_if = "StoreConfig::is_empty")]
    pub store: StoreConfig,
    /// What probes of a server may do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub probes: ProbesRights,
}

/// `probes` of the configuration: what the probes of a server may start and reach, because whoever may write a document
/// would otherwise have the rights of its process. A command line measures with the rights of its user, whatever is here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbesRights {
    /// Programs that command probes may start, as the documents name them; none when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// They may reach link-local addresses, a cloud's metadata service among them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub link_local: bool,
}

/// `store` of the configuration: what is kept of finished runs. Without both, everything is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoreConfig {
    /// Runs of each experiment, the latest; at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_runs: Option<u32>,
    /// Days since the end of a run; at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
}

impl StoreConfig {
    /// Nothing is ever removed.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `safety` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SafetyConfig {
    /// Health score (0 to 1) below which nothing starts or goes on, unless a document says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Base URL of the Prometheus that signals and probes are read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<String>,
    /// Health signals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<SignalConfig>,
    /// When runs may be active.
    #[serde(default, skip_serializing_if = "is_default")]
    pub windows: Windows,
    /// What needs the consent of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRule>,
    /// How much may be hit at a time, over all runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub caps: Caps,
    /// Names that are never hit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<String>,
    /// Objectives whose budget experiments spend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slos: Vec<Slo>,
    /// Share of each error budget that experiments must leave; a quarter when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_reserve: Option<Percent>,
    /// Alerts that must not fire.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertMatch>,
    /// When repeated failures on a target keep others from it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub breaker: BreakerPolicy,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl SafetyConfig {
    /// The rules among it. Each is a field of its own here, because serde's flattening would take unknown fields.
    pub fn policy(&self) -> Policy {
        Policy {
            windows: self.windows.clone(),
            approvals: self.approvals.clone(),
            caps: self.caps.clone(),
            protected: self.protected.clone(),
            slos: self.slos.clone(),
            budget_reserve: self.budget_reserve,
            alerts: self.alerts.clone(),
            breaker: self.breaker.clone(),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It has a defect.
    #[error("the configuration {path} has a defect: {error}")]
    Defect {
        /// The file.
        path: String,
        /// The defect, with its place.
        error: Box<DocumentError>,
    },
}

impl FileConfig {
    /// Reads the text of a configuration.
    ///
    /// # Errors
    /// The first defect, with its path.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let mut values = plain_values(text)?;
        if values.len() > 1 {
            return Err(defect("", format!("{} documents", values.len()), "one configuration"));
        }
        let config: Self = parse_value(values.swap_remove(0))?;
        config.check()?;
        Ok(config)
    }

    /// Reads a file; `None` when it is not there.
    ///
    /// # Errors
    /// When it can't be read, or has a defect.
    pub fn read(path: &Path) -> Result<Option<Self>, ConfigError> {
        let shown = || path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map(Some)
                .map_err(|error| ConfigError::Defect { path: shown(), error: Box::new(error) }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConfigError::Read { path: shown(), source }),
        }
    }

    /// Checks what the types don't.
    ///
    /// # Errors
    /// The first defect.
    pub fn check(&self) -> Result<(), DocumentError> {
        if let Some(threshold) = self.safety.threshold.filter(|value| !(0.0..=1.0).contains(value)) {
            return Err(DocumentError {
                value: Some(threshold.to_string().into()),
                ..defect("safety.threshold", "out of range".to_owned(), "0 to 1")
            });
        }
        self.safety.policy().check()?;
        let from_prometheus = [
            ("signals", self.safety.signals.len()),
            ("slos", self.safety.slos.len()),
            ("alerts", self.safety.alerts.len()),
        ];
        if self.safety.prometheus.is_none()
            && let Some((name, _)) = from_prometheus.iter().find(|(_, number)| *number > 0)
        {
            return Err(defect(
                &format!("safety.{name}"),
                format!("{name} without a Prometheus to read them from"),
                "safety.prometheus, a URL such as http://127.0.0.1:9090",
            ));
        }
        for (path, value) in
            [("store.keepRuns", self.store.keep_runs), ("store.keepDays", self.store.keep_days)]
        {
            if value == Some(0) {
                let zero = DocumentError {
                    value: Some("0".into()),
                    ..defect(path, "out of range".into(), "at least 1")
                };
                return Err(zero);
            }
        }
        Ok(())
    }

    /// App that is meant when nothing names one.
    pub fn target_app(&self) -> &str {
        self.target_app.as_deref().unwrap_or(ShortRequest::DEFAULT_APP)
    }

    /// Threshold of what names none.
    pub fn threshold(&self) -> f64 {
        self.safety.threshold.unwrap_or(DEFAULT_THRESHOLD)
    }
}

fn defect(path: &str, problem: String, expected: &str) -> DocumentError {
    DocumentError {
        document: 0,
        path: path.to_owned(),
        value: None,
        problem,
        expected: Some(expected.into()),
        nearest: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_the_contract_is_read() {
        let config = FileConfig::parse(
            "
targetApp: orchestrator
safety:
  threshold: 0.8
  prometheus: http://127.0.0.1:9090
  signals:
    - { name: error-ratio, query: 'sum(rate(a[1m])) / sum(rate(b[1m]))', good: 0.01, bad: 0.10, weight: 2, critical: true }
    - { name: up, query: 'avg(up{job=\"orchestrator\"})', good: 1, bad: 0.5 }
",
        )
        .expect("valid");
        assert_eq!(config.safety.signals.len(), 2);
        assert_eq!(config.safety.signals[1].weight, 1.0);
        assert_eq!((config.target_app(), config.threshold()), ("orchestrator", 0.8));
    }

    #[test]
    fn a_defect_has_its_path_and_the_nearest_name() {
        let text = |text: &str| FileConfig::parse(text).expect_err("defective").to_string();
        assert!(text("safety: { treshold: 1 }").contains("did you mean \"threshold\"?"));
        assert_eq!(text("safety: { threshold: 2 }"), "safety.threshold: out of range: 2; expected 0 to 1");
        assert!(
            text("safety: { signals: [ { name: a, query: b, good: 1, bad: 0 } ] }")
                .starts_with("safety.signals: signals without")
        );
    }

    #[test]
    fn rules_are_fields_of_safety_and_defects_name_their_place() {
        let rules = "safety:
  windows: { deny: [ { name: freeze, first: 2026-12-20, last: 2027-01-02 } ] }
  approvals: [ { namespace: prod, approvers: 2 } ]
  caps: { total: 10 }
  protected: [ 'vault*' ]
  budgetReserve: 50%
  breaker: { failures: 3 }
store: { keepRuns: 100, keepDays: 30 }
";
        let config = FileConfig::parse(rules).expect("valid");
        let policy = config.safety.policy();
        assert_eq!((policy.approvals[0].approvers, policy.caps.total), (2, Some(10)));
        assert_eq!((policy.budget_reserve(), policy.breaker.failures), (0.5, 3));
        assert_eq!((config.store.keep_runs, config.store.keep_days), (Some(100), Some(30)));
        let back = serde_json::to_value(&config).expect("JSON");
        assert_eq!(FileConfig::parse(&back.to_string()).expect("valid"), config);
        let text = |text: &str| FileConfig::parse(text).expect_err("defective").to_string();
        assert!(text("safety: { caps: { totl: 1 } }").starts_with("safety.caps.totl: unknown field"));
        assert!(text("safety: { windows: { allow: [ { timezone: Mars } ] } }").starts_with("safety.windows"));
        assert!(text("store: { keepDays: 0 }").starts_with("store.keepDays: out of range"));
        assert!(
            text("safety: { alerts: [ { severity: critical } ] }")
                .starts_with("safety.alerts: alerts without")
        );
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(FileConfig::parse("# nothing\n").expect("valid"), FileConfig::default());
    }
}
