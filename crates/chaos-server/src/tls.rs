//! TLS of the listener: with given files, or with an authority of our own that is made at the first start.
//!
//! Owns which certificate is shown, and that it is a current one as long as the service runs. It accepts no connection.

mod authority;
mod names;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

pub use authority::ca_path;
pub(crate) use names::names;

/// Time between two looks whether there is a newer certificate. Ours is made anew each time, long before its end.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(3600);

/// Where the certificate of the service comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsConfig {
    /// From files (PEM), which are read again every hour, so that a renewal needs no restart.
    Files {
        /// The certificate, then those that lead to its authority.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// From our own authority below the state folder, made at the first start. Its certificate, [`ca_path`], is what
    /// clients and agents are given to trust.
    OwnAuthority,
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
#[error("TLS: cannot {action} {what}: {reason}")]
pub struct TlsError {
    action: &'static str,
    what: String,
    reason: String,
}

impl TlsError {
    fn new(action: &'static str, what: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { action, what: what.to_string(), reason: reason.to_string() }
    }

    fn of_file(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::new(action, path.display(), error)
    }
}

/// The certificate that is shown, as it is now.
pub(crate) struct Certificates {
    source: Source,
    current: RwLock<Arc<CertifiedKey>>,
}

enum Source {
    Files { certificate: PathBuf, key: PathBuf },
    Own { state_dir: PathBuf, names: Vec<String> },
}

impl Certificates {
    /// Reads or makes it; `names` are those that our own one is for.
    pub(crate) fn load(
        config: &TlsConfig,
        state_dir: &Path,
        names: Vec<String>,
    ) -> Result<Arc<Self>, TlsError> {
        let source = match config.clone() {
            TlsConfig::Files { certificate, key } => Source::Files { certificate, key },
            TlsConfig::OwnAuthority => Source::Own { state_dir: state_dir.to_owned(), names },
        };
        let current = RwLock::new(Arc::new(source.read()?));
        Ok(Arc::new(Self { source, current }))
    }

    /// Reads or makes it again. When that fails, the one that is there stays.
    pub(crate) fn renew(&self) {
        match self.source.read() {
            Ok(key) => *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key),
            Err(error) => tracing::error!("the certificate is not renewed: {error}"),
        }
    }

    /// What accepts connections with it.
    pub(crate) fn acceptor(self: Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new("set up", "the protocol", error))?
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Certificates {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl Source {
    fn read(&self) -> Result<CertifiedKey, TlsError> {
        match self {
            Self::Files { certificate, key } => read_files(certificate, key),
            Self::Own { state_dir, names } => authority::issue(state_dir, names),
        }
    }
}

fn read_files(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain: Result<Vec<CertificateDer<'_>>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| TlsError::new("read the certificate", certificate.display(), error))?;
    if chain.is_empty() {
        return Err(TlsError::new("read the certificate", certificate.display(), "there is none in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| TlsError::new("read the private key", key.display(), error))?;
    certified(chain, private)
        .map_err(|error| TlsError::new("use the certificate", certificate.display(), error))
}

/// A certificate with its key, which must belong together.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, &provider())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read_again_and_a_broken_one_does_not_take_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        let write = || {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
            std::fs::write(&certificate, made.cert.pem()).expect("written");
            std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
            made.cert.der().clone()
        };
        let first = write();
        let config = TlsConfig::Files { certificate: certificate.clone(), key: key.clone() };
        let certificates = Certificates::load(&config, folder.path(), Vec::new()).expect("loaded");
        let shown = || certificates.current.read().expect("not poisoned").cert.first().cloned();
        assert_eq!(shown(), Some(first));
        let second = write();
        certificates.renew();
        assert_eq!(shown(), Some(second.clone()));
        std::fs::write(&key, "nothing").expect("written");
        certificates.renew();
        assert_eq!(shown(), Some(second));
    }

    #[test]
    fn our_own_certificate_is_another_one_each_time_of_the_same_authority() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = vec!["localhost".to_owned(), "192.0.2.1".to_owned()];
        let certificates = Certificates::load(&TlsConfig::OwnAuthority, folder.path(), names).expect("made");
        let shown = || certificates.current.read().expect("not poisoned").cert.first().cloned();
        let (first, authority) = (shown(), std::fs::read(ca_path(folder.path())).expect("written"));
        certificates.renew();
        assert_ne!(shown(), first);
        assert_eq!(std::fs::read(ca_path(folder.path())).expect("there"), authority);
    }
}
