//! Who may call (contract §4), and what every answer has in common.
//!
//! Owns the checks of `Host`, `Origin` and token, the time limit of answers and the form of problems. It knows no route.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chaos_api::ProblemCode;
use tokio::time::timeout;

use crate::app::App;
use crate::error::{ApiError, with_instance};
use crate::limits::ANSWER_TIMEOUT;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process on this machine, over TCP, at this address of ours.
    Tcp {
        /// Ours.
        local: SocketAddr,
    },
    /// A process with this user id, said by the kernel.
    Unix {
        /// It is us or root.
        trusted: bool,
    },
}

/// Every request goes through here.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request<Body>, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = match allowed(&app, &request) {
        Err(refusal) => refusal.into_response(),
        Ok(()) => match timeout(ANSWER_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let detail = format!("no answer within {}s", ANSWER_TIMEOUT.as_secs());
                ApiError::new(ProblemCode::GatewayTimeout, detail).into_response()
            }
        },
    };
    with_instance(response, &path)
}

fn allowed(app: &App, request: &Request<Body>) -> Result<(), ApiError> {
    let peer = request.extensions().get::<Peer>().copied();
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    match peer {
        None => Err(ApiError::new(ProblemCode::Forbidden, "who is calling is not known")),
        Some(Peer::Unix { trusted }) => {
            if request.headers().contains_key(header::ORIGIN) {
                return Err(ApiError::new(
                    ProblemCode::Forbidden,
                    "a web page has no business on this socket",
                ));
            }
            if trusted { Ok(()) } else { authorised(app, request.headers()) }
        }
        Some(Peer::Tcp { local }) => {
            own_host(request, local)?;
            own_origin(request.headers(), local)?;
            if writes { authorised(app, request.headers()) } else { Ok(()) }
        }
    }
}

fn authorised(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let refused = |detail: &str| Err(ApiError::new(ProblemCode::Unauthorized, detail));
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return refused(
            "a write needs one `Authorization: Bearer` header; `chaos` finds the token by itself",
        );
    };
    let given = value.to_str().ok().and_then(|text| text.split_once(' '));
    match given {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && app.token.matches(token.trim()) => {
            Ok(())
        }
        _ => refused("the token is not the one of this server"),
    }
}

/// A name that resolves to us is not enough: a web page can make its own name do that.
fn own_host(request: &Request<Body>, local: SocketAddr) -> Result<(), ApiError> {
    let mut hosts: Vec<&str> = request.uri().authority().map(Authority::as_str).into_iter().collect();
    for value in request.headers().get_all(header::HOST) {
        hosts.push(value.to_str().map_err(|_| ApiError::bad_request("the Host header is not readable"))?);
    }
    if hosts.is_empty() {
        return Err(ApiError::bad_request("the request has no Host header"));
    }
    match hosts.into_iter().find(|host| !is_ours(host, local)) {
        None => Ok(()),
        Some(host) => {
            Err(ApiError::new(ProblemCode::Forbidden, format!("the host {host:?} is not this server")))
        }
    }
}

fn own_origin(headers: &HeaderMap, local: SocketAddr) -> Result<(), ApiError> {
    for value in headers.get_all(header::ORIGIN) {
        let origin = value.to_str().unwrap_or_default();
        let own = origin.strip_prefix("http://").is_some_and(|host| {
            is_ours(host, local)
                && authority(host).is_some_and(|(_, port)| port.unwrap_or(80) == local.port())
        });
        if !own {
            let detail = format!("the origin {origin:?} is not this server");
            return Err(ApiError::new(ProblemCode::Forbidden, detail));
        }
    }
    Ok(())
}

/// Host and port of `host[:port]`, without brackets.
fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let authority: Authority = text.parse().ok()?;
    let bare = authority.as_str() == authority.host();
    if authority.as_str().contains('@') || (!bare && authority.port_u16().is_none()) {
        return None;
    }
    let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
    Some((host, authority.port_u16()))
}

fn is_ours(text: &str, local: SocketAddr) -> bool {
    authority(text).is_some_and(|(host, _)| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip == local.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_ours() {
        let local: SocketAddr = "127.0.0.1:8081".parse().expect("an address");
        for host in
            ["localhost", "localhost:8081", "127.0.0.1:8081", "127.0.0.2", "[::1]:8081", "LOCALHOST:1"]
        {
            assert!(is_ours(host, local), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "a@localhost",
            "0.0.0.0",
            "localhost:99999x",
        ] {
            assert!(!is_ours(host, local), "{host}");
        }
    }

    #[test]
    fn only_our_own_pages_may_call() {
        let local: SocketAddr = "127.0.0.1:8081".parse().expect("an address");
        let check = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            own_origin(&headers, local).is_ok()
        };
        assert!(check("http://localhost:8081"));
        assert!(check("http://127.0.0.1:8081"));
        for origin in [
            "null",
            "http://localhost:3000",
            "https://localhost:8081",
            "http://evil.example",
            "http://localhost",
            "file://",
        ] {
            assert!(!check(origin), "{origin}");
        }
    }
}
