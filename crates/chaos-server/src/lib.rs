//! The HTTP service: composition, routes, who may call, metrics.
//!
//! Owns what only a running service has: the lock on the state folder, the token, the listener, the order in which
//! everything starts and ends. What happens in a run is the engine's; what is on the wire is [`chaos_api`]'s.

mod access;
mod app;
pub mod config;
mod error;
mod extract;
mod health;
pub mod limits;
mod listen;
pub mod lock;
mod metrics;
mod patient;
mod plan;
mod random;
mod routes;
mod start;
pub mod token;
mod views;

pub use config::FileConfig;
pub use error::ApiError;
pub use start::{Listen, RunningServer, ServerConfig, StartError, StoppedAtEnd, start};
