//! A door to the private reader of event streams, for the fuzz targets: it hands bytes to the very reader that the client
//! uses, and gives back what it read as plain values.
//!
//! Owns nothing, and the product never calls it.

/// The messages (id, event, data) of a stream that arrives in these pieces.
///
/// # Errors
/// A message is too large.
pub fn messages<'b>(
    pieces: impl IntoIterator<Item = &'b [u8]>,
) -> Result<Vec<(Option<u64>, String, String)>, String> {
    crate::client::sse::messages(pieces)
}
