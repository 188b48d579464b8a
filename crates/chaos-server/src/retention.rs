//! Forgets runs that are older than the configuration keeps them: at the start, then every hour.
//!
//! Owns when. What is old enough is the store's.

use std::sync::Arc;

use chaos_store::Retention;
use tokio::time::sleep;

use crate::app::App;
use crate::limits::RETENTION_EVERY;

/// Looks until everything is over.
pub(crate) async fn run(app: Arc<App>) {
    let config = &app.config.store;
    if config.is_empty() {
        return;
    }
    let retention = Retention { keep_runs_per_experiment: config.keep_runs, keep_days: config.keep_days };
    loop {
        match app.store.prune(&retention, app.clock().now()).await {
            Ok(pruned) => tracing::info!(?pruned, "looked for runs that are kept no longer"),
            Err(error) => tracing::error!("old runs are not forgotten: {error}"),
        }
        tokio::select! {
            biased;
            () = app.ended.cancelled() => return,
            () = sleep(RETENTION_EVERY) => {}
        }
    }
}
