//! An entry of `spec.faults`: one fault key and, beside it, optional `name`, `after`, `duration`.
//!
//! Owns this one shape, read by hand because a fault's name is a key among others. It never checks parameters.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Fault, FaultKind};
use crate::duration::Span;

/// One fault of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultItem {
    /// The fault.
    pub fault: Fault,
    /// Name that `after` of another may refer to.
    pub name: Option<String>,
    /// Starts when the fault of that name has been active for its own duration and is reverted.
    pub after: Option<String>,
    /// Its own duration, from its own proven activation; else the experiment's.
    pub duration: Option<Span>,
}

const FIELDS: [&str; 3] = ["name", "after", "duration"];
const KNOWN: &[&str] = &[
    "pod_kill",
    "process_pause",
    "cpu_stress",
    "memory_pressure",
    "network_partition",
    "name",
    "after",
    "duration",
];

impl<'de> Deserialize<'de> for FaultItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = FaultItem;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one fault, such as pod_kill: {}, with optional name, after, duration")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FaultItem, A::Error> {
        let (mut fault, mut name, mut after, mut duration) = (None, None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "name" => name = Some(map.next_value()?),
                "after" => after = Some(map.next_value()?),
                "duration" => duration = Some(map.next_value()?),
                kind => {
                    let kind = FaultKind::parse(kind).ok_or_else(|| A::Error::unknown_field(kind, KNOWN))?;
                    if fault.is_some() {
                        return Err(A::Error::custom("more than one fault; write one list item for each"));
                    }
                    fault = Some(match kind {
                        FaultKind::PodKill => Fault::PodKill(map.next_value()?),
                        FaultKind::ProcessPause => Fault::ProcessPause(map.next_value()?),
                        FaultKind::CpuStress => Fault::CpuStress(map.next_value()?),
                        FaultKind::MemoryPressure => Fault::MemoryPressure(map.next_value()?),
                        FaultKind::NetworkPartition => Fault::NetworkPartition(map.next_value()?),
                    });
                }
            }
        }
        let fault = fault.ok_or_else(|| A::Error::custom("no fault; write one, such as pod_kill: {}"))?;
        Ok(FaultItem { fault, name, after, duration })
    }
}

impl Serialize for FaultItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.fault {
            Fault::PodKill(parameters) => map.serialize_entry("pod_kill", parameters)?,
            Fault::ProcessPause(parameters) => map.serialize_entry("process_pause", parameters)?,
            Fault::CpuStress(parameters) => map.serialize_entry("cpu_stress", parameters)?,
            Fault::MemoryPressure(parameters) => map.serialize_entry("memory_pressure", parameters)?,
            Fault::NetworkPartition(parameters) => map.serialize_entry("network_partition", parameters)?,
        }
        if let Some(name) = &self.name {
            map.serialize_entry("name", name)?;
        }
        if let Some(after) = &self.after {
            map.serialize_entry("after", after)?;
        }
        if let Some(duration) = &self.duration {
            map.serialize_entry("duration", duration)?;
        }
        map.end()
    }
}

impl JsonSchema for FaultItem {
    fn schema_name() -> Cow<'static, str> {
        "FaultItem".into()
    }

    /// The schema of [`Fault`], each of whose alternatives may also have the fields beside it.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let duration = generator.subschema_for::<Span>();
        let mut schema = Fault::json_schema(generator);
        let name =
            serde_json::json!({ "type": "string", "description": "A name, for `after` and messages." });
        let alternatives = schema.get_mut("oneOf").and_then(|one_of| one_of.as_array_mut());
        for alternative in alternatives.into_iter().flatten() {
            if let Some(properties) = alternative.get_mut("properties").and_then(|p| p.as_object_mut()) {
                for field in FIELDS {
                    let value = if field == "duration" { duration.clone().to_value() } else { name.clone() };
                    properties.insert(field.to_owned(), value);
                }
            }
        }
        schema
            .insert("description".into(), "One fault and, beside it, optional name, after, duration.".into());
        schema
    }
}
