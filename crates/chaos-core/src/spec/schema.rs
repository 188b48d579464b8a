//! The JSON Schema of the document, generated from the types.
//!
//! Owns nothing but the call. It never describes a field by hand.

use super::Experiment;

/// JSON Schema (2020-12) of [`Experiment`].
pub fn document_schema() -> serde_json::Value {
    schemars::schema_for!(Experiment).to_value()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_fault_of_the_catalogue_is_in_the_schema() {
        let text = super::document_schema().to_string();
        for kind in crate::spec::FaultKind::ALL {
            assert!(text.contains(&format!("\"{kind}\"")), "{kind}");
        }
    }

    #[test]
    fn the_keys_that_a_fault_item_takes_are_those_of_the_catalogue() {
        let error = crate::spec::parse_value::<crate::spec::FaultItem>(serde_json::json!({ "nothing": {} }));
        let expected = error.expect_err("unknown").expected.unwrap_or_default();
        for kind in crate::spec::FaultKind::ALL {
            assert!(expected.contains(kind.name()), "{kind} in {expected}");
        }
    }
}
