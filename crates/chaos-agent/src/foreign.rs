//! Doors to the private readers of foreign bytes, for the fuzz targets: each hands bytes to the very reader that the
//! product uses, and gives back what it read as plain values.
//!
//! Owns nothing, and the product never calls it.

use std::net::SocketAddr;

use crate::holder::wire::{self, Command, Lines};
use crate::{host, sys};

/// The lines that a fault process cuts its control stream into, arriving in these pieces.
///
/// # Errors
/// A line is too long.
pub fn holder_lines<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Vec<Vec<u8>>, String> {
    let (mut lines, mut found) = (Lines::default(), Vec::new());
    for piece in pieces {
        found.extend(lines.push(piece)?);
    }
    Ok(found)
}

/// The line that says what a line for a fault process says; `None` when that is no command.
pub fn holder_command(line: &[u8]) -> Option<Vec<u8>> {
    let command: Command = serde_json::from_slice(line).ok()?;
    wire::line(&command).ok()
}

/// Reads a datagram of nf_tables answers in every way that one is read, and gives the bytes of names and keys found.
pub fn nft_answer(datagram: &[u8]) -> usize {
    sys::nft::read_every_way(datagram)
}

/// The sockets (this end, other end, state, inode) in a datagram of the kernel's socket listing.
pub fn socket_answer(datagram: &[u8]) -> Vec<(SocketAddr, SocketAddr, u8, u64)> {
    sys::proc::sockets::in_answer(datagram)
}

/// The sockets in a table below `/proc/PID/net`, as [`socket_answer`].
pub fn socket_table(text: &str) -> Vec<(SocketAddr, SocketAddr, u8, u64)> {
    sys::proc::sockets::in_table(text)
}

/// The `Restart=` of a unit file.
pub fn restart_setting(unit: &str) -> Option<String> {
    host::restart::restart_setting(unit)
}
