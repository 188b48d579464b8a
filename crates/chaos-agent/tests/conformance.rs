//! Every fault keeps the promises of the design, on real processes and the real kernel, seen from the victim's side.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance {
    mod actor;
    mod crash;
    mod lifecycle;
    mod limits;
    mod network;
    mod scene;
    pub(crate) mod support;
}
