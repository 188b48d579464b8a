//! Probes and signals against real servers, programs and a real Prometheus.

#[path = "real/alerts.rs"]
mod alerts;
#[path = "real/command.rs"]
mod command;
#[path = "real/http.rs"]
mod http;
#[path = "real/load.rs"]
mod load;
#[path = "real/prometheus.rs"]
mod prometheus;
#[path = "real/questions.rs"]
mod questions;
#[path = "real/real_prometheus.rs"]
mod real_prometheus;
#[path = "real/schedule.rs"]
mod schedule;
#[path = "real/signals.rs"]
mod signals;
#[path = "real/support.rs"]
mod support;
#[path = "real/tcp.rs"]
mod tcp;
