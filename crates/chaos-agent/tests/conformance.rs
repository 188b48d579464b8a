//! Every fault keeps the promises of the design, on real processes and the real kernel, seen from the victim's side.

mod conformance {
    mod actor;
    mod crash;
    mod limits;
    mod lifecycle;
    mod network;
    mod scene;
    pub(crate) mod support;
}
