//! The service as its callers see it: a real listener, a real journal, a scripted node.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "it/access.rs"]
mod access;
#[path = "it/agents.rs"]
mod agents;
#[path = "it/approvals.rs"]
mod approvals;
#[path = "it/audit.rs"]
mod audit;
#[path = "it/bounds.rs"]
mod bounds;
#[path = "it/disk.rs"]
mod disk;
#[path = "it/door.rs"]
mod door;
#[path = "it/ends.rs"]
mod ends;
#[path = "it/events.rs"]
mod events;
#[path = "it/health.rs"]
mod health;
#[path = "it/incidents.rs"]
mod incidents;
#[path = "it/lever.rs"]
mod lever;
#[path = "it/node.rs"]
mod node;
#[path = "it/problems.rs"]
mod problems;
#[path = "it/rates.rs"]
mod rates;
#[path = "it/retention.rs"]
mod retention;
#[path = "it/roles.rs"]
mod roles;
#[path = "it/routes.rs"]
mod routes;
#[path = "it/support.rs"]
mod support;
#[path = "it/tls.rs"]
mod tls;
#[path = "it/tokens.rs"]
mod tokens;
