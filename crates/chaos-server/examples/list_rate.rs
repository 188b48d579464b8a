//! How many answers a second a service gives: liveness, the list of experiments with ten thousand of them, one page.
//!
//! `cargo run --release -p chaos-server --example list_rate`

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos_agent::local::{LocalConfig, LocalNode};
use chaos_api::{Client, CreateQuery};
use chaos_core::spec::{Experiment, parse_documents};
use chaos_server::{Listen, ServerConfig, start};
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Experiments that are listed.
const EXPERIMENTS: usize = 10_000;
/// Connections that ask at the same time.
const CONNECTIONS: usize = 8;
/// How long each path is asked for.
const WINDOW: Duration = Duration::from_secs(3);

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let node = LocalNode::new(LocalConfig::new(folder.path()));
    let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
    let server = start(ServerConfig::new(folder.path().to_owned(), listen, Arc::new(node))).await?;
    let client = Client::new(server.address.parse()?)?.with_token(server.token().secret());
    let begin = Instant::now();
    let mut registering = stream::iter(0..EXPERIMENTS)
        .map(|number| {
            let client = &client;
            async move {
                let query = CreateQuery { start: Some(false), ..CreateQuery::default() };
                client.create(&document(number).into(), &query).await
            }
        })
        .buffer_unordered(64);
    while let Some(registered) = registering.next().await {
        registered?;
    }
    println!("{EXPERIMENTS} registered in {:.1} s", begin.elapsed().as_secs_f64());
    let authority = server.address.trim_start_matches("http://").to_owned();
    let mut base = None;
    for path in ["/health", "/api/v1/experiments", "/api/v1/experiments?limit=1000", "/api/v1/lever"] {
        let rate = rate(&authority, path, server.token().secret()).await?;
        let base = *base.get_or_insert(rate);
        println!("{path}: {rate:.0} a second, {:.0} % of the first", 100.0 * rate / base);
    }
    server.shutdown().await;
    Ok(())
}

fn document(number: usize) -> Experiment {
    let text = format!(
        "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: {{ name: listed-{number:05}, labels: {{ team: platform }} }}\n\
         spec: {{ target: {{ host: {{ app: orchestrator }} }}, faults: [ {{ process_pause: {{}} }} ] }}\n"
    );
    match parse_documents(&text) {
        Ok(mut documents) => documents.remove(0),
        Err(errors) => panic!("{errors:?}"),
    }
}

async fn rate(authority: &str, path: &str, token: &str) -> Result<f64, Failure> {
    let ask = || ask(authority.to_owned(), path.to_owned(), token.to_owned());
    let answers: usize = try_join_all((0..CONNECTIONS).map(|_| tokio::spawn(ask())))
        .await?
        .into_iter()
        .sum::<Result<usize, Failure>>()?;
    Ok(answers as f64 / WINDOW.as_secs_f64())
}

/// Asks over one connection, one request after the other.
async fn ask(authority: String, path: String, token: String) -> Result<usize, Failure> {
    let mut stream = TcpStream::connect(&authority).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {token}\r\n\r\n");
    let (begin, mut answers, mut bytes) = (Instant::now(), 0, vec![0; 1 << 20]);
    while begin.elapsed() < WINDOW {
        stream.write_all(request.as_bytes()).await?;
        let mut read = 0;
        loop {
            read += stream.read(&mut bytes[read..]).await?;
            let text = &bytes[..read];
            let Some(head) = text.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
            let lines = String::from_utf8_lossy(&text[..head]).to_ascii_lowercase();
            if !lines.starts_with("http/1.1 200") {
                return Err(lines.into());
            }
            let length =
                lines.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if read == head + 4 + length.ok_or("no length")? {
                break;
            }
        }
        answers += 1;
    }
    Ok(answers)
}
