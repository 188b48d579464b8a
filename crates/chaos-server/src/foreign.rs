//! Doors to the private readers of request bodies, for the fuzz targets: each hands a text to the very reader that the
//! routes use.
//!
//! Owns nothing, and the product never calls it.

use chaos_api::{Problem, StopRequest};
use chaos_core::spec::Experiment;

use crate::config::FileConfig;

/// The one experiment of a body, document or short form.
///
/// # Errors
/// The problem that is answered.
pub fn experiment(
    text: &str,
    namespace: Option<&str>,
    config: &FileConfig,
) -> Result<Experiment, Box<Problem>> {
    crate::plan::document(text, namespace, config).map_err(|error| error.0)
}

/// The body of a stop.
///
/// # Errors
/// The problem that is answered.
pub fn stop_request(text: &str) -> Result<StopRequest, Box<Problem>> {
    crate::extract::Text(text.into()).parse().map_err(|error| error.0)
}
