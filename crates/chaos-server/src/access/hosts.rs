//! Which names a request may call us by, so that a web page can't reach a server of this machine.
//!
//! Owns the checks of `Host` and `Origin`. It knows no token.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::http::{HeaderMap, Request, header, uri::Authority};
use chaos_api::ProblemCode;

use crate::error::ApiError;

/// What a request calls us, if it may. On an address that only this machine reaches, the name must be this machine's or
/// one of `names`: one that resolves to us is not enough, a web page can make its own name do that. Elsewhere any name
/// may be ours, and everything needs a token, which a web page does not have.
///
/// # Errors
/// No name, or a foreign one.
pub(super) fn own_host(
    request: &Request<Body>,
    local: SocketAddr,
    names: &[String],
) -> Result<Called, ApiError> {
    let mut hosts: Vec<&str> = request.uri().authority().map(Authority::as_str).into_iter().collect();
    for value in request.headers().get_all(header::HOST) {
        hosts.push(value.to_str().map_err(|_| ApiError::bad_request("the Host header is not readable"))?);
    }
    if hosts.is_empty() {
        return Err(ApiError::bad_request("the request has no Host header"));
    }
    if hosts.iter().all(|host| is_ours(host, local)) {
        return Ok(Called::ThisMachine);
    }
    let foreign = |host: &&&str| local.ip().is_loopback() && !is_ours(host, local) && !is_named(host, names);
    match hosts.iter().find(foreign) {
        None => Ok(Called::Otherwise),
        Some(host) => {
            Err(ApiError::new(ProblemCode::Forbidden, format!("the host {host:?} is not this server")))
        }
    }
}

/// How a request calls us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Called {
    /// By a name or an address of this machine.
    ThisMachine,
    /// By a name that others know it by.
    Otherwise,
}

/// Refuses pages that did not come from us.
///
/// # Errors
/// A foreign origin.
pub(super) fn own_origin(headers: &HeaderMap, local: SocketAddr) -> Result<(), ApiError> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    for value in headers.get_all(header::ORIGIN) {
        let origin = value.to_str().unwrap_or_default();
        let own = [("http://", 80), ("https://", 443)].into_iter().any(|(scheme, usual)| {
            let Some((name, port)) = origin.strip_prefix(scheme).and_then(authority) else { return false };
            let port = port.unwrap_or(usual);
            // Behind another server the name that we are called by is the page's.
            let same_as_host = host
                .and_then(authority)
                .is_some_and(|(called, at)| called == name && at.unwrap_or(usual) == port);
            same_as_host || (scheme == "http://" && is_this_machine(&name, local) && port == local.port())
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

fn is_this_machine(host: &str, local: SocketAddr) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip == local.ip())
}

fn is_ours(text: &str, local: SocketAddr) -> bool {
    authority(text).is_some_and(|(host, _)| is_this_machine(&host, local))
}

fn is_named(text: &str, names: &[String]) -> bool {
    authority(text).is_some_and(|(host, _)| names.iter().any(|name| name.eq_ignore_ascii_case(&host)))
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
    fn a_machine_is_called_by_its_own_names_unless_it_was_given_others() {
        let called = |local: &str, host: &str, names: &[&str]| {
            let request = Request::builder().uri("/").header(header::HOST, host).body(Body::empty());
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let local = local.parse().expect("an address");
            own_host(&request.expect("a request"), local, &names).ok()
        };
        assert_eq!(called("127.0.0.1:80", "localhost", &[]), Some(Called::ThisMachine));
        assert_eq!(called("127.0.0.1:80", "chaos.example", &[]), None);
        assert_eq!(called("127.0.0.1:80", "Chaos.example:443", &["chaos.example"]), Some(Called::Otherwise));
        assert_eq!(called("192.0.2.1:80", "chaos.example", &[]), Some(Called::Otherwise));
        assert_eq!(called("192.0.2.1:80", "192.0.2.1", &[]), Some(Called::ThisMachine));
    }

    #[test]
    fn behind_another_server_a_page_of_the_same_name_may_call() {
        let local: SocketAddr = "127.0.0.1:8081".parse().expect("an address");
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "chaos.example".parse().expect("a value"));
        headers.insert(header::ORIGIN, "https://chaos.example".parse().expect("a value"));
        assert!(own_origin(&headers, local).is_ok());
        headers.insert(header::ORIGIN, "https://chaos.example:444".parse().expect("a value"));
        assert!(own_origin(&headers, local).is_err());
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
