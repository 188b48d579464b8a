//! The service as its callers see it: a real listener, a real journal, a scripted node.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "it/access.rs"]
mod access;
#[path = "it/bounds.rs"]
mod bounds;
#[path = "it/ends.rs"]
mod ends;
#[path = "it/events.rs"]
mod events;
#[path = "it/health.rs"]
mod health;
#[path = "it/node.rs"]
mod node;
#[path = "it/problems.rs"]
mod problems;
#[path = "it/routes.rs"]
mod routes;
#[path = "it/support.rs"]
mod support;
