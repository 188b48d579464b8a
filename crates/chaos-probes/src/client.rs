//! HTTP clients and what they have in common: no redirects, no proxy, no address that is refused, bounded bodies, errors
//! without secrets.
//!
//! Owns connections. It never judges an answer.

use std::error::Error as _;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, Url};

use crate::address::{AddressPolicy, NotResolved, Resolver};
use crate::measured::shortened;

/// The most bytes that are read of the answer to a probe or a query.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Connections to one host that are kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 1024;
/// How long a connection is kept for the next request: short, so that one to a dead target isn't found again.
const IDLE_FOR: Duration = Duration::from_secs(10);

/// A client for each scheme, made when it is first needed: the one for `https` reads all certificates of the system,
/// and can't be made where there are none.
pub(crate) struct Clients {
    resolver: Resolver,
    plain: OnceLock<Result<Client, String>>,
    secure: OnceLock<Result<Client, String>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Clients {
    /// Clients that reach what the policy allows.
    pub(crate) fn new(addresses: AddressPolicy) -> Self {
        Self::with(Resolver::new(addresses))
    }

    /// Clients that look names up with this.
    pub(crate) fn with(resolver: Resolver) -> Self {
        Self { resolver, plain: OnceLock::new(), secure: OnceLock::new() }
    }

    /// What names are looked up with.
    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The client for that URL.
    pub(crate) fn of(&self, url: &Url) -> Result<Client, String> {
        self.resolver.check(url)?;
        match url.scheme() {
            "http" => self.plain.get_or_init(|| self.build(Client::builder().tls_certs_only([]))),
            "https" => self.secure.get_or_init(|| self.build(Client::builder())),
            other => return Err(format!("no client for {other}://, only for http:// and https://")),
        }
        .clone()
    }

    fn build(&self, builder: ClientBuilder) -> Result<Client, String> {
        build(builder.dns_resolver(self.resolver.clone()))
    }
}

fn build(builder: ClientBuilder) -> Result<Client, String> {
    builder
        // What a redirect names was checked by nobody.
        .redirect(Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .pool_idle_timeout(IDLE_FOR)
        .user_agent(concat!("chaos-probe/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("no HTTP client: {}", cause(&error)))
}

/// Reads a URL, and says what is wrong without repeating it: it may hold a password.
pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| format!("not a URL: {error}"))
}

/// What went wrong with a request, in words without URL, header or credentials.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    let what = if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else if error.is_builder() {
        "no request can be made of it"
    } else {
        "no answer"
    };
    format!("{what}: {}", cause(error))
}

/// Why the address was refused, when that is what went wrong: then nothing was sent.
pub(crate) fn refusal(error: &reqwest::Error) -> Option<String> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(NotResolved::Refused(refusal)) = cause.downcast_ref() {
            return Some(refusal.clone());
        }
        source = cause.source();
    }
    None
}

/// The innermost cause: the outer ones say less, and the outermost prints the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut deepest = error.source();
    while let Some(next) = deepest.and_then(|error| error.source()) {
        deepest = Some(next);
    }
    deepest.map_or_else(|| "unknown cause".to_owned(), |error| shortened(&error.to_string()))
}

/// A body, or as much of it as is read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// There was more than was to be read.
    pub(crate) cut: bool,
}

/// Reads at most `bytes_max` of an answer; with `keep` false only counts them.
pub(crate) async fn read_body(
    mut response: Response,
    keep: bool,
    bytes_max: usize,
) -> Result<Body, reqwest::Error> {
    let (mut bytes, mut length) = (Vec::new(), 0_usize);
    while let Some(chunk) = response.chunk().await? {
        length = length.saturating_add(chunk.len());
        if length > bytes_max {
            return Ok(Body { bytes, cut: true });
        }
        if keep {
            bytes.extend_from_slice(&chunk);
        }
    }
    Ok(Body { bytes, cut: false })
}
