//! How many agents are let in, and how many sockets that say nothing, over real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos_agent::link::{Agent, Dialler, introduce};
use chaos_agent::local::Limits;
use chaos_api::{ProblemCode, StopRequest};
use chaos_core::access::Role;
use chaos_core::run::Phase;
use chaos_server::limits::NEW_AGENTS_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::node::ScriptedNode;
use crate::support::{PATIENCE, Service, exchange, key};

/// What agents wait before they dial again.
const RETRY_AFTER: Duration = Duration::from_millis(50);
const AGENTS: usize = 1000;

/// A handshake; the server closes the connection unless it is upgraded.
fn handshake(service: &Service, token: &str) -> String {
    format!(
        "GET /api/v1/agents/connect HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
         connection: upgrade, close\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        service.authority()
    )
}

/// A socket that was upgraded and over which nothing is said.
async fn silent(service: &Service, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(service.authority()).await.unwrap();
    stream.write_all(handshake(service, token).as_bytes()).await.unwrap();
    let mut head = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("an answer in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&head), "HTTP/1.1 101");
    stream
}

/// An agent that dials until it is cancelled, as the program does.
async fn dial_for_ever(agent: Agent, dialler: Dialler, token: String) {
    let mut wait = RETRY_AFTER;
    loop {
        if dialler.serve(&agent, Some(&token)).await.is_ok() {
            wait = RETRY_AFTER;
        }
        sleep(wait).await;
        wait += wait / 2;
    }
}

fn agent(name: &str) -> Agent {
    let introduction = introduce(name, &format!("folder of {name}"), &Limits::default());
    Agent::new(Arc::new(ScriptedNode::default()) as _, introduction, 1, Vec::new())
}

async fn until_connected(service: &Service, agents: usize) {
    let line = format!("\nchaos_agents_connected {agents}\n");
    let deadline = Instant::now() + PATIENCE;
    while !service.client.metrics().await.unwrap().contains(&line) {
        assert!(Instant::now() < deadline, "{agents} agents are connected");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_say_no_hello_are_bounded_and_what_is_active_is_still_stopped() {
    let service = Service::start().await;
    let token = service.token("leaked", Role::Agent).await.token;
    service.run("active", "1h").await;
    service.until("active", Phase::Active).await;
    let mut sockets = Vec::new();
    for _ in 0..NEW_AGENTS_MAX {
        sockets.push(silent(&service, &token).await);
    }
    let answer = exchange(service.authority(), handshake(&service, &token).as_bytes()).await;
    let problem = answer.problem();
    assert_eq!((problem.code, answer.status), (ProblemCode::TooManyAgents, 503), "{problem:?}");
    assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
    let stopped = service.client.stop(&key("active"), &StopRequest::default()).await.unwrap();
    assert!(stopped.is_complete() && stopped.runs.len() == 1, "{stopped:?}");

    // Their places are given back.
    drop(sockets);
    let dialler = Dialler::new(service.server.address.parse().unwrap(), None).unwrap();
    let dialling = tokio::spawn(dial_for_ever(agent("node-1"), dialler, token));
    until_connected(&service, 1).await;
    dialling.abort();
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_agents_that_come_back_at_the_same_moment_are_all_taken() {
    let service = Service::start().await;
    let token = service.token("all", Role::Agent).await.token;
    let dialler = Dialler::new(service.server.address.parse().unwrap(), None).unwrap();
    let agents: Vec<Agent> = (0..AGENTS).map(|number| agent(&format!("node-{number}"))).collect();
    for time in ["come", "come back"] {
        let begin = Instant::now();
        let mut links = JoinSet::new();
        for agent in &agents {
            links.spawn(dial_for_ever(agent.clone(), dialler.clone(), token.clone()));
        }
        until_connected(&service, AGENTS).await;
        println!("{AGENTS} agents {time} within {:?}", begin.elapsed());
        links.shutdown().await;
        until_connected(&service, 0).await;
    }
    service.shutdown().await;
}
