//! The short request form: an experiment from a handful of flags or JSON fields.
//!
//! Owns its translation into a full document. It never starts anything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ApiVersion, DocumentError, Experiment, ExperimentSpec, FaultItem, FaultKind, HostTarget, Kind, Metadata,
    Recovery, Safety, Select, Target, parse_value,
};
use crate::duration::Span;
use crate::text::nearest;
use crate::units::Percent;

/// `{"name","type","target_app","namespace","duration","percent","safety_threshold","parameters":{…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShortRequest {
    /// Name of the experiment.
    pub name: String,
    /// Fault, e.g. `pod_kill`.
    #[serde(rename = "type")]
    pub kind: String,
    /// App on this host; `orchestrator` when neither this nor the configuration names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_app: Option<String>,
    /// Namespace; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// Share of the instances; one instance when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percent>,
    /// Health score below which nothing starts or goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_threshold: Option<f64>,
    /// Parameters of the fault.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
}

impl ShortRequest {
    /// The app that is meant when nothing names one.
    pub const DEFAULT_APP: &'static str = "orchestrator";

    /// The full document.
    ///
    /// # Errors
    /// As for a document, with the paths of the short form where they differ.
    pub fn into_experiment(self) -> Result<Experiment, DocumentError> {
        let kind = FaultKind::parse(&self.kind).ok_or_else(|| self.unknown_type())?;
        let parameters = Value::Object(self.parameters);
        let item: FaultItem =
            parse_value(serde_json::json!({ kind.name(): parameters })).map_err(|mut error| {
                error.path = error.path.replacen(kind.name(), "parameters", 1);
                error
            })?;
        let safety = Safety { threshold: self.safety_threshold, ..Safety::default() };
        let app = self.target_app.unwrap_or_else(|| Self::DEFAULT_APP.to_owned());
        let experiment = Experiment {
            api_version: ApiVersion::V1,
            kind: Kind::Experiment,
            metadata: Metadata {
                name: self.name,
                namespace: self.namespace.unwrap_or_else(|| "default".to_owned()),
                labels: Default::default(),
                annotations: Default::default(),
            },
            spec: ExperimentSpec {
                hypothesis: None,
                target: Target {
                    host: Some(HostTarget::App(app)),
                    hosts: Vec::new(),
                    kubernetes: None,
                    select: self.percent.map_or(Select::One, Select::Percent),
                    seed: None,
                },
                faults: vec![item],
                duration: self.duration.unwrap_or_else(super::default_duration),
                ramp: Vec::new(),
                revert: super::RevertMode::default(),
                baseline: Span::default(),
                probes: Vec::new(),
                safety,
                recovery: Recovery::default(),
            },
        };
        experiment.validate()?;
        Ok(experiment)
    }

    fn unknown_type(&self) -> DocumentError {
        let names = FaultKind::ALL.map(FaultKind::name);
        let mut error = DocumentError::at("type", "unknown fault")
            .value(format!("{:?}", self.kind))
            .expected(format!("one of {}", names.join(", ")));
        error.nearest = nearest(&self.kind, names).map(Into::into);
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(value: Value) -> Result<Experiment, DocumentError> {
        parse_value::<ShortRequest>(value)?.into_experiment()
    }

    #[test]
    fn a_short_request_becomes_a_full_document() {
        let experiment = request(serde_json::json!({
            "name": "n", "type": "cpu_stress", "duration": 10, "percent": 50, "parameters": { "load": "60%" },
        }))
        .expect("valid");
        assert_eq!(experiment.spec.target.host, Some(HostTarget::App("orchestrator".into())));
        assert_eq!(experiment.spec.duration, Span::seconds(10));
        assert_eq!(experiment.type_name(), "cpu_stress");
    }

    #[test]
    fn an_unknown_type_or_parameter_names_the_nearest() {
        let text = |value| request(value).expect_err("defective").to_string();
        assert_eq!(
            text(serde_json::json!({ "name": "n", "type": "pod-kil" })),
            "type: unknown fault: \"pod-kil\"; expected one of pod_kill, process_pause, cpu_stress, memory_pressure, network_partition; did you mean \"pod_kill\"?"
        );
        assert_eq!(
            text(serde_json::json!({ "name": "n", "type": "cpu_stress", "parameters": { "laod": 1 } })),
            "parameters.laod: unknown field \"laod\"; expected one of load, cores; did you mean \"load\"?"
        );
    }
}
