//! A real Prometheus that scrapes a real server, and can be killed and started again.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use serde_json::json;

use crate::support::{Server, eventually, free_port, once};

const PROMETHEUS: &str = "/usr/bin/prometheus";
/// What the scraped server has to tell at first.
pub(crate) const METRICS: &str =
    "# TYPE requests_total counter\nrequests_total{code=\"200\"} 90\nrequests_total{code=\"500\"} 10\n";

/// Killed with the value.
pub(crate) struct RealPrometheus {
    pub(crate) url: String,
    metrics: Arc<Mutex<String>>,
    address: String,
    process: Option<Child>,
    folder: tempfile::TempDir,
    scraped: Server,
}

impl RealPrometheus {
    /// It scrapes each 200 ms, as job `demo`, and has these alerting rules (YAML, one a line). `None` where it is not
    /// installed.
    pub(crate) fn start(rules: &[&str]) -> Option<Self> {
        let mut prometheus = Self::prepare()?;
        prometheus.configure(&prometheus.scrape(), rules);
        prometheus.run();
        Some(prometheus)
    }

    /// It never scrapes anything.
    pub(crate) fn start_blind() -> Option<Self> {
        let mut prometheus = Self::prepare()?;
        prometheus.configure("", &[]);
        prometheus.run();
        Some(prometheus)
    }

    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    fn prepare() -> Option<Self> {
        if !Path::new(PROMETHEUS).exists() {
            eprintln!("skipped: {PROMETHEUS} is not installed");
            return None;
        }
        let metrics = Arc::new(Mutex::new(METRICS.to_owned()));
        let told = Arc::clone(&metrics);
        let tell = get(move || {
            let text = told.lock().expect("no panic").clone();
            async move { text }
        });
        let scraped = Server::start(Router::new().route("/metrics", tell));
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{address}");
        Some(Self { url, metrics, address, process: None, folder, scraped })
    }

    fn scrape(&self) -> String {
        let targets = format!("[ {{ targets: ['{}'] }} ]", self.scraped.address);
        format!("scrape_configs:\n- job_name: demo\n  static_configs: {targets}\n")
    }

    fn configure(&self, scrape: &str, rules: &[&str]) {
        let global =
            "global: { scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms }\n";
        let write = |name: &str, text: &str| fs::write(self.folder.path().join(name), text).expect("written");
        write("prometheus.yml", &format!("{global}rule_files: [ rules.yml ]\n{scrape}"));
        let rules: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
        let group =
            if rules.is_empty() { String::new() } else { format!("\n- name: all\n  rules:\n{rules}") };
        write("rules.yml", &format!("groups: {}", if group.is_empty() { "[]" } else { &group }));
    }

    fn run(&mut self) {
        let process = Command::new(PROMETHEUS)
            .arg(format!("--config.file={}", self.folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", self.folder.path().join("data").display()))
            .arg(format!("--web.listen-address={}", self.address))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        self.process = Some(process);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it once more, on the same address, with all that it knew.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        self.run();
    }

    /// Starts it once more; it scrapes nothing from then on.
    pub(crate) fn start_again_blind(&mut self, rules: &[&str]) {
        self.configure("", rules);
        self.start_again();
    }

    /// What the scraped server tells from now on.
    pub(crate) fn tell(&self, metrics: &str) {
        metrics.clone_into(&mut self.metrics.lock().expect("no panic"));
    }

    /// Waits until this query has a value; by a probe, which has no breaker that opens meanwhile.
    pub(crate) async fn until_it_knows(&self, query: &str) {
        let probe = json!({ "prometheus": { "url": self.url, "query": query }, "timeout": "5s" });
        eventually(query, async || once(probe.clone()).await.passed == 1).await;
    }
}

impl Drop for RealPrometheus {
    fn drop(&mut self) {
        self.kill();
    }
}
