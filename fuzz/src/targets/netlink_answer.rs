//! Datagrams of the kernel: nf_tables answers and the listing of sockets.
//!
//! Promises: what is read is no larger than the datagram, whatever lengths it claims.

use chaos_agent::foreign;

/// Bytes of a `struct inet_diag_msg`.
const SOCKET_BYTES: usize = 72;

pub(crate) fn check(bytes: &[u8]) {
    // Names are read as rule, set and error text, and a byte that is no text becomes three.
    let read = foreign::nft_answer(bytes);
    assert!(read <= 9 * bytes.len(), "{read} bytes out of {}", bytes.len());
    let sockets = foreign::socket_answer(bytes);
    assert!(sockets.len() * SOCKET_BYTES <= bytes.len(), "{} sockets out of {}", sockets.len(), bytes.len());
}
