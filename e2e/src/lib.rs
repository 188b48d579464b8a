//! Tests of real parts together, and what they share.
//!
//! Owns rooms (namespaces for one test), snapshots (what could be left behind), the sample systems to be hit, and the
//! soak. It is never shipped, and no crate of the product depends on it.

pub mod node;
pub mod room;
pub mod snapshot;
pub mod soak;
pub mod terminal;
pub mod trace;
pub mod wire;
pub mod world;
