//! Where a server is: a URL, or a Unix socket on this machine.
//!
//! Owns the text form. It never opens a connection.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A base URL without a path, `http://` or `https://`.
    Http(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A text that names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the address of a server: {text:?}: {reason}; expected http://HOST:PORT, https://HOST or unix:/PATH"
)]
pub struct EndpointError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Endpoint {
    /// The beginning of every URL of requests.
    pub(crate) fn base(&self) -> &str {
        match self {
            Self::Http(url) => url,
            Self::Unix(_) => "http://localhost",
        }
    }

    /// It is on this machine, so that no proxy belongs in between.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Http(url) => Url::parse(url).is_ok_and(|url| match url.host_str() {
                Some("localhost") => true,
                Some(host) => {
                    host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
                }
                None => false,
            }),
        }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Http(url) if url.starts_with("https://"))
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads `unix:/path`, a URL, or `host:port`.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = |reason: String| EndpointError { text: text.to_owned(), reason };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(wrong("the path of a socket starts with /".into()))
            };
        }
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&full).map_err(|error| wrong(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(format!("the scheme {} is not spoken", url.scheme())));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a path".into()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("a token does not belong into the address".into()));
        }
        Ok(Self::Http(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_from_what_is_printed() {
        for (text, printed) in [
            ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
            ("localhost:8081", "http://localhost:8081"),
            ("https://chaos.example", "https://chaos.example"),
            ("unix:/run/chaos/socket", "unix:/run/chaos/socket"),
            ("unix:///run/chaos/socket", "unix:/run/chaos/socket"),
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), printed);
            assert_eq!(printed.parse(), Ok(endpoint));
        }
        for text in ["", "ftp://a", "http://a/b", "unix:relative", "http://user:secret@a"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_what_is_on_this_machine_is_local() {
        for (text, local) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://10.0.0.1:1", false),
        ] {
            assert_eq!(text.parse::<Endpoint>().expect(text).is_local(), local, "{text}");
        }
    }
}
