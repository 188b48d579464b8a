//! Support for tests: the deterministic simulator.
//!
//! Owns no product code, and no product code imports it.

pub mod simulator;
