//! The catalogue of faults as the API shows it.
//!
//! Owns nothing of it: every word is generated from [`chaos_core::spec::FaultKind`] and the types of the parameters.

use chaos_core::spec::{
    CpuStress, Fault, FaultKind, MemoryPressure, NetworkPartition, PodKill, ProcessPause, Undo,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One fault that this build can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultDescription {
    /// Its name in documents.
    pub name: String,
    /// What it does to the victim.
    pub summary: String,
    /// What is read to prove that it acts.
    pub proof: String,
    /// Who ends it when everything of ours is dead.
    pub undo: Undo,
    /// What is needed to do it.
    pub needs: String,
    /// Its parameters.
    pub parameters: Vec<ParameterDescription>,
    /// The parameters with every default filled in, as in a document.
    pub defaults: Value,
    /// JSON Schema of the parameters.
    pub schema: Value,
}

/// One parameter of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParameterDescription {
    /// Name in the document.
    pub name: String,
    /// What may be written.
    pub values: String,
    /// What holds when it is absent.
    pub default: String,
    /// What it does.
    pub summary: String,
}

impl FaultDescription {
    /// What there is to say of a fault.
    pub fn of(kind: FaultKind) -> Self {
        let info = kind.info();
        let parameters = info.parameters.iter().map(|parameter| ParameterDescription {
            name: parameter.name.to_owned(),
            values: parameter.values.to_owned(),
            default: parameter.default.to_owned(),
            summary: parameter.summary.to_owned(),
        });
        Self {
            name: kind.name().to_owned(),
            summary: info.summary.to_owned(),
            proof: info.proof.to_owned(),
            undo: info.undo,
            needs: info.needs.to_owned(),
            parameters: parameters.collect(),
            defaults: defaults(&kind.with_defaults()),
            schema: schema(kind),
        }
    }
}

/// Every fault of this build.
pub fn catalogue() -> Vec<FaultDescription> {
    FaultKind::ALL.into_iter().map(FaultDescription::of).collect()
}

/// Parameters without the tag around them.
fn defaults(fault: &Fault) -> Value {
    let tagged = serde_json::to_value(fault).unwrap_or_default();
    tagged.get(fault.kind().name()).cloned().unwrap_or_default()
}

fn schema(kind: FaultKind) -> Value {
    let schema = match kind {
        FaultKind::PodKill => schemars::schema_for!(PodKill),
        FaultKind::ProcessPause => schemars::schema_for!(ProcessPause),
        FaultKind::CpuStress => schemars::schema_for!(CpuStress),
        FaultKind::MemoryPressure => schemars::schema_for!(MemoryPressure),
        FaultKind::NetworkPartition => schemars::schema_for!(NetworkPartition),
    };
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_defaults_and_the_schema_of_its_parameters() {
        for fault in catalogue() {
            assert!(fault.defaults.is_object(), "{}: {}", fault.name, fault.defaults);
            let properties = fault.schema.get("properties").and_then(Value::as_object);
            for parameter in &fault.parameters {
                let known = properties.is_some_and(|all| all.contains_key(&parameter.name));
                assert!(known, "{}: {} is in {}", fault.name, parameter.name, fault.schema);
            }
        }
    }
}
