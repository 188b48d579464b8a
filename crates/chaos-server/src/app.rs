//! What every route shares.
//!
//! Owns nothing but the handles: each part has its own owner.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chaos_api::ServerInfo;
use chaos_core::port::Owner;
use chaos_core::run::RunId;
use chaos_engine::Engine;
use chaos_probes::PrometheusSignals;
use chaos_store::SqlStore;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agents::Agents;
use crate::audit::Audit;
use crate::config::FileConfig;
use crate::health::HealthCache;
use crate::lever::LeverState;
use crate::limits::{REMEMBERED_RUNS_MAX, STREAMS_MAX};
use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::rate::{Limiter, Rates};
use crate::token::Token;
use crate::tokens::Tokens;

pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) agents: Agents,
    pub(crate) store: Arc<SqlStore>,
    pub(crate) config: FileConfig,
    /// The source of the configured signals.
    pub(crate) prometheus: Option<Arc<PrometheusSignals>>,
    pub(crate) owner: Owner,
    pub(crate) info: ServerInfo,
    /// The token of this machine.
    pub(crate) token: Token,
    /// The tokens of everybody else.
    pub(crate) tokens: Tokens,
    /// Names that this service is called by, beside those of this machine.
    pub(crate) names: Vec<String>,
    pub(crate) limiter: Limiter,
    pub(crate) audit: Audit,
    pub(crate) lever: Arc<LeverState>,
    pub(crate) state_dir: PathBuf,
    pub(crate) metrics: Metrics,
    pub(crate) health: HealthCache,
    pub(crate) pages: Pages,
    pub(crate) streams: Arc<Semaphore>,
    /// Held by whoever reads an incident to change it.
    pub(crate) incidents: tokio::sync::Mutex<()>,
    /// Calls that change something and go on to their end, whatever their callers do.
    pub(crate) calls: TaskTracker,
    /// Every run is undone and nothing will change any more: streams end.
    pub(crate) ended: CancellationToken,
    closing: AtomicBool,
    starts: Mutex<BTreeMap<RunId, u64>>,
}

/// The parts that start one after the other.
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    pub(crate) agents: Agents,
    pub(crate) store: Arc<SqlStore>,
    pub(crate) config: FileConfig,
    pub(crate) prometheus: Option<Arc<PrometheusSignals>>,
    pub(crate) owner: Owner,
    pub(crate) info: ServerInfo,
    pub(crate) token: Token,
    pub(crate) tokens: Tokens,
    pub(crate) names: Vec<String>,
    pub(crate) rates: Rates,
    pub(crate) lever: Arc<LeverState>,
    pub(crate) state_dir: PathBuf,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            engine: parts.engine,
            agents: parts.agents,
            audit: Audit::new(Arc::clone(&parts.store), parts.rates.audited_refusals),
            store: parts.store,
            config: parts.config,
            prometheus: parts.prometheus,
            owner: parts.owner,
            info: parts.info,
            token: parts.token,
            tokens: parts.tokens,
            names: parts.names,
            limiter: Limiter::new(parts.rates),
            lever: parts.lever,
            state_dir: parts.state_dir,
            metrics: Metrics::new(),
            health: HealthCache::default(),
            pages: Pages::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            incidents: tokio::sync::Mutex::default(),
            calls: TaskTracker::new(),
            ended: CancellationToken::new(),
            closing: AtomicBool::new(false),
            starts: Mutex::default(),
        }
    }

    /// No run is taken any more.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Remembers that every record of a run comes after this position.
    pub(crate) fn remember_start(&self, run: RunId, position: u64) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.len() >= REMEMBERED_RUNS_MAX {
            starts.clear(); // streams of older runs search from the beginning
        }
        starts.insert(run, position);
    }

    /// A position before the first record of a run.
    pub(crate) fn start_of(&self, run: &RunId) -> u64 {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).get(run).copied().unwrap_or(0)
    }
}
