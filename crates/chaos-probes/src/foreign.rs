//! Doors to the private readers of foreign answers, for the fuzz targets: each hands bytes to the very reader that the
//! probes use.
//!
//! Owns nothing, and the product never calls it.

use chaos_core::spec::HttpExpect;
use reqwest::StatusCode;

/// The one number in an answer of a Prometheus with this status.
///
/// # Errors
/// Why there is none, in words.
pub fn prometheus_answer(status: u16, body: &[u8]) -> Result<f64, String> {
    let status = StatusCode::from_u16(status).map_err(|error| error.to_string())?;
    crate::prometheus::one_value(status, body).map_err(|error| error.to_string())
}

/// The number in an HTTP answer of status 200 without headers, if the expectation selects one.
///
/// # Errors
/// What is not as expected, or why it can't be expected.
pub fn http_answer(expect: &HttpExpect, body: &[u8]) -> Result<Option<f64>, String> {
    crate::http::judge_body(expect, body)
}
