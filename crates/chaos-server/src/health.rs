//! Health of the system, measured when it is asked for, at most once a second however many ask.
//!
//! Owns the last measurement. The score is the core's, the measuring the engine's.

use std::time::Instant;

use chaos_api::{BreakerState, ProblemCode, SystemHealth};
use chaos_core::spec::HostTarget;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::app::App;
use crate::error::ApiError;
use crate::limits::{HEALTH_FRESH, HEALTH_TIMEOUT};
use crate::plan::target_of;

/// The last measurement of the configured app. Whoever asks while another measures waits for that one's answer.
#[derive(Default)]
pub(crate) struct HealthCache(Mutex<Option<(Instant, SystemHealth)>>);

impl App {
    /// Health of the configured app.
    pub(crate) async fn system_health(&self) -> Result<SystemHealth, ApiError> {
        let mut last = self.health.0.lock().await;
        if let Some((at, health)) = last.as_ref()
            && at.elapsed() < HEALTH_FRESH
        {
            return Ok(health.clone());
        }
        let health = self.measure_health(self.config.target_app().to_owned()).await?;
        *last = Some((Instant::now(), health.clone()));
        Ok(health)
    }

    /// Health of any app, measured now.
    pub(crate) async fn measure_health(&self, app: String) -> Result<SystemHealth, ApiError> {
        let host = HostTarget::App(app);
        let words = host.to_string();
        let target = target_of(host, Vec::new());
        let health = timeout(HEALTH_TIMEOUT, self.engine.health(&target)).await.map_err(|_| {
            ApiError::new(
                ProblemCode::GatewayTimeout,
                format!("no health within {}s", HEALTH_TIMEOUT.as_secs()),
            )
        })?;
        Ok(SystemHealth::of(health, self.config.threshold(), words, self.breaker()))
    }

    /// What the circuit breaker of the configured signals is doing; closed without any.
    fn breaker(&self) -> BreakerState {
        match self.prometheus.as_ref().map(|signals| signals.breaker()) {
            None | Some(chaos_probes::BreakerState::Closed) => BreakerState::Closed,
            Some(chaos_probes::BreakerState::Open) => BreakerState::Open,
            Some(chaos_probes::BreakerState::HalfOpen) => BreakerState::HalfOpen,
        }
    }
}
