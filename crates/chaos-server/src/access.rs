//! Who calls (contract §4), and what every answer has in common.
//!
//! Owns the way from a connection and its headers to a [`Caller`], the time limit of answers and the form of problems.
//! What a caller may do is [`enforce`]'s, by the permission that each operation declares.

pub(crate) mod enforce;
mod hosts;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chaos_api::ProblemCode;
use chaos_core::access::{Actor, Permission, Role};
use tokio::time::timeout;

use crate::app::App;
use crate::error::{ApiError, with_instance};
use crate::limits::ANSWER_TIMEOUT;
use crate::tokens::{ANONYMOUS, LOCAL};

use hosts::Called;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process somewhere, over TCP.
    Tcp {
        /// Ours.
        local: SocketAddr,
        /// Theirs.
        remote: SocketAddr,
    },
    /// A process on this machine, over a socket in the file system.
    Unix {
        /// Its user, said by the kernel, when that is us or root.
        trusted: Option<&'static str>,
    },
}

impl Peer {
    fn address(self) -> Option<IpAddr> {
        match self {
            Self::Tcp { remote, .. } => Some(remote.ip()),
            Self::Unix { .. } => None,
        }
    }

    /// Nothing between us and it has left this machine.
    fn is_loopback(self) -> bool {
        matches!(self, Self::Tcp { local, remote } if local.ip().is_loopback() && remote.ip().is_loopback())
    }
}

/// Who asks for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Name and role.
    pub(crate) actor: Actor,
    /// Id of its token; those of this machine need none.
    pub(crate) token: Option<String>,
    /// A token or the kernel says who it is; otherwise it is whoever reads on this machine.
    pub(crate) known: bool,
}

impl Caller {
    fn known(name: impl Into<String>, role: Role) -> Self {
        Self { actor: Actor { name: name.into(), role }, token: None, known: true }
    }

    /// Refuses what its role does not allow.
    ///
    /// # Errors
    /// 401 when it is not known, 403 that names the role and what it lacks when it is.
    pub(crate) fn require(&self, permission: Permission) -> Result<(), ApiError> {
        let Actor { name, role } = &self.actor;
        if role.may(permission) {
            return Ok(());
        }
        if !self.known {
            return Err(ApiError::new(ProblemCode::Unauthorized, NEEDS_TOKEN));
        }
        let others: Vec<&str> =
            Role::ALL.into_iter().filter(|role| role.may(permission)).map(Role::name).collect();
        let detail = format!(
            "{name} has the role {role}, which lacks the permission {permission}; roles that have it: {}",
            others.join(", ")
        );
        Err(ApiError::new(ProblemCode::RoleMissing, detail))
    }
}

/// What a request says of who sends it.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// Somebody.
    Caller(Caller),
    /// Nobody that is let in.
    Nobody(&'static str),
    /// Somebody whose token is not taken.
    WrongToken(&'static str),
}

const NEEDS_TOKEN: &str = "one `Authorization: Bearer` header with a token is needed; `chaos` finds the token of this \
    machine by itself, `chaos token create` makes others";

/// Every request goes through here.
pub(crate) async fn guard(State(app): State<Arc<App>>, mut request: Request<Body>, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = match identify(&app, &request) {
        Err(refusal) => refusal.into_response(),
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            match timeout(ANSWER_TIMEOUT, next.run(request)).await {
                Ok(response) => response,
                Err(_) => {
                    let detail = format!("no answer within {}s", ANSWER_TIMEOUT.as_secs());
                    ApiError::new(ProblemCode::GatewayTimeout, detail).into_response()
                }
            }
        }
    };
    with_instance(response, &path)
}

/// Who calls; a request that no honest caller sends is an error.
fn identify(app: &App, request: &Request<Body>) -> Result<Identity, ApiError> {
    let forbidden = |detail: &str| Err(ApiError::new(ProblemCode::Forbidden, detail));
    let headers = request.headers();
    match request.extensions().get::<Peer>().copied() {
        None => forbidden("who is calling is not known"),
        Some(Peer::Unix { .. }) if headers.contains_key(header::ORIGIN) => {
            forbidden("a web page has no business on this socket")
        }
        // Whoever may read the state folder needs no token of it.
        Some(Peer::Unix { trusted: Some(user) }) => {
            Ok(Identity::Caller(Caller::known(format!("unix:{user}"), Role::Admin)))
        }
        Some(Peer::Unix { trusted: None }) => Ok(by_token(app, headers, false)),
        Some(peer @ Peer::Tcp { local, .. }) => {
            let called = hosts::own_host(request, local, &app.names)?;
            hosts::own_origin(headers, local)?;
            // A server in between makes everybody look as if they were here; it calls us by another name.
            Ok(by_token(app, headers, peer.is_loopback() && called == Called::ThisMachine))
        }
    }
}

fn by_token(app: &App, headers: &HeaderMap, reads_without: bool) -> Identity {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value,
        (None, _) if reads_without => {
            let actor = Actor { name: ANONYMOUS.to_owned(), role: Role::Viewer };
            return Identity::Caller(Caller { actor, token: None, known: false });
        }
        (None, _) => return Identity::Nobody(NEEDS_TOKEN),
        (Some(_), Some(_)) => return Identity::WrongToken("there are two `Authorization` headers"),
    };
    match value.to_str().ok().and_then(|text| text.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim();
            if app.token.matches(token) {
                return Identity::Caller(Caller::known(LOCAL, Role::Admin));
            }
            match app.tokens.find(token, app.clock().now()) {
                Ok(record) => {
                    let caller = Caller::known(record.name, record.role);
                    Identity::Caller(Caller { token: Some(record.id), ..caller })
                }
                Err(reason) => Identity::WrongToken(reason),
            }
        }
        _ => Identity::WrongToken("the `Authorization` header is no bearer token"),
    }
}

/// Who asks for a path that does not exist; whoever may not even read learns nothing of paths.
///
/// # Errors
/// 401.
pub(crate) fn reader(request: &Request<Body>) -> Result<(), ApiError> {
    let unauthorized = |detail: &str| Err(ApiError::new(ProblemCode::Unauthorized, detail));
    let writes = !matches!(request.method().as_str(), "GET" | "HEAD" | "OPTIONS");
    match request.extensions().get::<Identity>() {
        Some(Identity::Caller(caller)) if caller.known || !writes => Ok(()),
        Some(Identity::Nobody(reason) | Identity::WrongToken(reason)) => unauthorized(reason),
        _ => unauthorized(NEEDS_TOKEN),
    }
}
