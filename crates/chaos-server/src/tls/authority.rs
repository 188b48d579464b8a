//! Our own certificate authority: made once below the state folder, it signs a new server certificate at every start.
//!
//! Owns `tls/ca.pem` and `tls/ca.key`. The key of a server certificate is never on disk.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::{Span, Zoned, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::sign::CertifiedKey;

use super::{TlsError, certified};

/// Name of the authority.
const AUTHORITY: &str = "chaos own authority";
/// How long the authority lasts.
const AUTHORITY_YEARS: i32 = 20;
/// How long a server certificate lasts; a new one is made at every start and every hour.
const SERVER_DAYS: i32 = 90;
/// The most names of a certificate.
const NAMES_MAX: usize = 100;

/// The certificate of our own authority (PEM), which clients and agents are given to trust.
pub fn ca_path(state_dir: &Path) -> PathBuf {
    state_dir.join("tls").join("ca.pem")
}

/// A new server certificate for these names, signed by the authority, which is made when there is none.
pub(super) fn issue(state_dir: &Path, names: &[String]) -> Result<CertifiedKey, TlsError> {
    let failed = |error: rcgen::Error| TlsError::new("make", "a server certificate", error);
    let issuer = Issuer::new(authority(), load_or_create(state_dir)?);
    let key = KeyPair::generate().map_err(failed)?;
    let names: Vec<String> = names.iter().take(NAMES_MAX).cloned().collect();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    let today = today();
    let day = |later| {
        let date = today.saturating_add(Span::new().days(later));
        date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (params.not_before, params.not_after) = (day(-1), day(SERVER_DAYS));
    params.distinguished_name = name("chaos");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    certified(vec![certificate.der().clone()], key.into())
        .map_err(|error| TlsError::new("use", "a server certificate", error))
}

/// The key of the authority. The certificate is made before the key is kept, so that there is never a key without one.
fn load_or_create(state_dir: &Path) -> Result<KeyPair, TlsError> {
    let (public, private) = (ca_path(state_dir), ca_path(state_dir).with_extension("key"));
    match std::fs::read_to_string(&private) {
        Ok(text) => {
            return KeyPair::from_pem(&text)
                .map_err(|error| TlsError::new("read the key", private.display(), error));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(TlsError::of_file("read the key", &private)(error)),
    }
    let failed = |error: rcgen::Error| TlsError::new("make", "an authority", error);
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = authority();
    let year = i32::from(today().year());
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + AUTHORITY_YEARS, 1, 1);
    let certificate = params.self_signed(&key).map_err(failed)?;
    let folder = state_dir.join("tls");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(TlsError::of_file("make the folder", &folder))?;
    write(&public, &certificate.pem()).map_err(TlsError::of_file("write", &public))?;
    write(&private, &key.serialize_pem()).map_err(TlsError::of_file("write", &private))?;
    Ok(key)
}

/// What is the same whenever the authority is looked at: its name and what it may sign.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn today() -> Date {
    Zoned::now().with_time_zone(TimeZone::UTC).date()
}

/// Whole or not at all, and for nobody else to read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}
