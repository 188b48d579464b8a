//! Every fault keeps the promises of the design, on real processes and the real kernel, seen from the victim's side.

mod conformance {
    pub(crate) mod support;
    mod lifecycle;
}
