//! `chaos serve`: the server, until a signal ends it.

use std::net::SocketAddr;
use std::path::PathBuf;

use chaos_core::port::{InjectionReport, Owner};
use chaos_server::tls::TlsConfig;
use chaos_server::{Listen, RunningServer, ServerConfig};
use clap::Args;

use crate::config::Settings;
use crate::connect;
use crate::exit::{Failure, REVERT_INCOMPLETE};
use crate::output::{Output, complain};
use crate::show;
use crate::signals::Signals;

/// What the help says of it.
pub(crate) const LONG: &str = "\
Runs the server: the API, the engine, the journals of the state folder. It listens on this host only unless told \
otherwise, and writing needs a token; the command line of this host finds the state folder's by itself, `chaos token` \
makes others. Agents of other hosts connect to it (`chaos agent`). What a server that died left is taken up again where \
a host still holds it, else undone. SIGTERM or Ctrl-C stops every run, reverts every fault, then ends.

With DATABASE_URL (postgres://…) journals are kept in PostgreSQL.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos serve
  chaos serve --listen 127.0.0.1:9000
  chaos serve --listen 0.0.0.0:8081 --tls --name chaos.example.org
  curl -s 127.0.0.1:8081/api/v1/system/health";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Where to listen; what others can reach needs TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081", value_parser = address)]
    listen: SocketAddr,
    /// Speak TLS with a certificate of our own authority, made below the state folder
    #[arg(long, conflicts_with_all = ["tls_cert", "insecure_http"])]
    tls: bool,
    /// Speak TLS with this certificate (PEM), followed by those that lead to its authority
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "insecure_http")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Listen without TLS although others can reach the address: something in front of it speaks TLS
    #[arg(long)]
    insecure_http: bool,
    /// Another name that the server is called by; may be given several times
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Break nothing on this host: faults are for connected agents alone
    #[arg(long)]
    no_local_agent: bool,
}

impl ServeArgs {
    fn tls(&self) -> Option<TlsConfig> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(TlsConfig::Files { certificate: certificate.clone(), key: key.clone() })
            }
            _ => self.tls.then_some(TlsConfig::OwnAuthority),
        }
    }
}

/// Reads `127.0.0.1:8081`, `localhost:8081` or a bare `:8081`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = match text.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.replacen("localhost:", "127.0.0.1:", 1),
    };
    full.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:8081".to_owned())
}

/// Does it.
pub(crate) async fn run(args: &ServeArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let mut signals = Signals::new()?;
    let service = connect::service(settings, Listen::Tcp(args.listen), Owner::Server);
    let config = ServerConfig {
        tls: args.tls(),
        insecure_http: args.insecure_http,
        names: args.names.clone(),
        node: service.node.clone().filter(|_| !args.no_local_agent),
        ..service
    };
    let started = Box::pin(connect::start(config, out)).await;
    let server = started.map_err(connect::start_failure)?;
    greet(&server, settings, out);
    let signal = signals.next().await;
    out.note(&format!("{signal}: stopping every run and reverting every fault"));
    let mut shutdown = std::pin::pin!(server.shutdown());
    let reports = loop {
        tokio::select! {
            reports = &mut shutdown => break reports,
            _ = signals.next() => out.note("still reverting; faults are undone even if this process is killed"),
        }
    };
    let mut incomplete = false;
    for report in &reports {
        let took = report.took.as_secs_f64() * 1000.0;
        if report.unproven.is_empty() {
            out.note(&format!(
                "run {}: {} reverted, proven after {took:.0} ms",
                report.run,
                show::faults(report.reverted)
            ));
        } else {
            incomplete = true;
            let names: Vec<&str> = report.unproven.iter().map(|id| id.0.as_str()).collect();
            complain(&format!("run {}: the undo of {} is not proven: act now", report.run, names.join(", ")));
        }
    }
    out.note(&format!("stopped; runs that were active: {}", reports.len()));
    Ok(if incomplete { REVERT_INCOMPLETE } else { 0 })
}

fn greet(server: &RunningServer, settings: &Settings, out: &Output) {
    let (address, state) = (&server.address, &settings.state.value);
    out.note(&format!("chaos {} listens on {address}", env!("CARGO_PKG_VERSION")));
    out.note(&format!("state folder {}", state.display()));
    out.note(&format!("token {}", connect::token_path(state).display()));
    out.note("try: chaos health; chaos targets; chaos run --type pod_kill --target-app APP");
    out.note("end: Ctrl-C or SIGTERM; every fault is reverted first");
}

/// Says what was found of a dead process and undone.
pub(crate) fn say_swept(reports: &[InjectionReport], out: &Output) {
    if reports.is_empty() {
        return;
    }
    out.note("a process died and left these faults; this is what became of them:");
    out.note(&super::recover::table(reports));
    if reports.iter().any(super::recover::is_unproven) {
        complain("an undo is not proven: act now; `chaos recover` tries again");
    }
}
