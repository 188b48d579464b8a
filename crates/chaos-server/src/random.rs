//! Randomness of the system.
//!
//! Owns the only reads of it: ids of runs, seeds of choices, tokens.

use std::fs::File;
use std::io::{self, Read};

use chaos_core::audit::hex;
use chaos_core::run::RunId;

/// Seeds stay below 2^53, so that every reader of JSON keeps them exactly.
const SEED_BITS: u32 = 53;

/// So many bytes that nobody can guess.
///
/// # Errors
/// When the system has no source of them.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A seed for a run that has none.
pub(crate) fn seed() -> io::Result<u64> {
    Ok(u64::from_le_bytes(bytes()?) >> (u64::BITS - SEED_BITS))
}

/// An id for a run.
pub(crate) fn run_id() -> io::Result<RunId> {
    Ok(RunId(hex(&bytes::<6>()?)))
}
