//! The HTTP service: composition, routes, who may call, metrics.
//!
//! Owns what only a running service has: the lock on the state folder, tokens, audit log and lever, the listener, the
//! order in which everything starts and ends. What happens in a run is the engine's; what is on the wire is [`chaos_api`]'s.

mod access;
mod agents;
mod app;
mod audit;
pub mod config;
mod error;
mod extract;
#[doc(hidden)]
pub mod foreign;
mod governance;
mod health;
mod incidents;
mod lever;
pub mod limits;
mod listen;
mod metrics;
mod pages;
mod patient;
mod plan;
mod random;
mod rate;
mod retention;
mod routes;
mod start;
pub mod tls;
pub mod token;
mod tokens;
pub mod upkeep;
mod views;

pub use chaos_agent::lock;
pub use config::FileConfig;
pub use error::ApiError;
pub use rate::{Rate, Rates};
pub use start::{Listen, RunningServer, ServerConfig, StartError, StoppedAtEnd, start};
