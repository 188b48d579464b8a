//! The node agent: fault processes, undo records, host targets.
//!
//! Owns everything that changes this host and the way back. A fault is made by a small process of its own
//! ([`holder`]) from one file per fault ([`faults`]), written down before it is made ([`undo`]), held as a lease, and
//! undone by that process, by the node that started it ([`local`]), by the next start ([`sweep`]), or by the kernel.
//! Nothing outside of [`sys`] holds unsafe code.

pub mod faults;
pub mod holder;
pub mod host;
pub mod local;
pub mod sweep;
pub mod sys;
pub mod undo;
