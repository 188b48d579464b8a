//! The certificates of a cluster and the files that name them.
//!
//! An authority is made for each cluster, signs everything, and goes with the cluster.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};

use super::network;
use super::state::State;

/// The group of those who may do everything.
const MASTERS: &str = "system:masters";

/// A certificate for a server, a client, or both.
struct Subject<'a> {
    file: &'a str,
    name: &'a str,
    group: Option<&'a str>,
    addresses: &'a [&'a str],
}

/// Makes everything below `pki/`, and a kubeconfig for each part of the cluster.
pub(super) fn create(state: &State) -> Result<()> {
    let folder = state.path("pki");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let authority = authority(&folder)?;
    let service_accounts = KeyPair::generate().context("making a key")?;
    write(&folder.join("accounts.key"), &service_accounts.serialize_pem())?;
    write(&folder.join("accounts.pub"), &service_accounts.public_key_pem())?;
    let local = format!("https://127.0.0.1:{}", state.port);
    let inside = format!("https://{}", network::API_SERVER);
    let server = ["kubernetes.default.svc", "localhost", "127.0.0.1", network::API_SERVICE, network::CONTROL];
    issue(
        &folder,
        &authority,
        &Subject { file: "apiserver", name: "kube-apiserver", group: None, addresses: &server },
    )?;
    let clients = [
        ("admin", "admin", Some(MASTERS)),
        ("controllers", "system:kube-controller-manager", None),
        ("scheduler", "system:kube-scheduler", None),
        ("proxy", "system:kube-proxy", None),
        ("front", "front-proxy", None),
    ];
    for (file, name, group) in clients {
        issue(&folder, &authority, &Subject { file, name, group, addresses: &[] })?;
        config(state, file, file, &inside)?;
    }
    for node in &state.nodes {
        let name = format!("system:node:{}", node.name);
        let subject = Subject {
            file: &node.name,
            name: &name,
            group: Some("system:nodes"),
            addresses: &[&node.address()],
        };
        issue(&folder, &authority, &subject)?;
        config(state, &node.name, &node.name, &inside)?;
    }
    config(state, "host", "admin", &local)
}

fn authority(folder: &Path) -> Result<Issuer<'static, KeyPair>> {
    let key = KeyPair::generate().context("making a key")?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).context("making an authority")?;
    write(&folder.join("ca.pem"), &certificate.pem())?;
    // The controller that signs requests of kubelets and users needs it.
    write(&folder.join("ca.key"), &key.serialize_pem())?;
    Ok(Issuer::new(params, key))
}

fn issue(folder: &Path, authority: &Issuer<'_, KeyPair>, subject: &Subject<'_>) -> Result<()> {
    let key = KeyPair::generate().context("making a key")?;
    let names: Vec<String> = subject.addresses.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).context("naming a certificate")?;
    params.distinguished_name.push(DnType::CommonName, subject.name);
    if let Some(group) = subject.group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, authority).context("signing a certificate")?;
    write(&folder.join(format!("{}.pem", subject.file)), &certificate.pem())?;
    write(&folder.join(format!("{}.key", subject.file)), &key.serialize_pem())
}

/// `NAME.kubeconfig`, in which every path is relative to it.
fn config(state: &State, name: &str, identity: &str, server: &str) -> Result<()> {
    let cluster = json!({ "server": server, "certificate-authority": "pki/ca.pem" });
    let user = json!({
        "client-certificate": format!("pki/{identity}.pem"),
        "client-key": format!("pki/{identity}.key"),
    });
    write(&state.path(&format!("{name}.kubeconfig")), &document(&state.name, &cluster, &user).to_string())
}

fn document(name: &str, cluster: &Value, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "clusters": [{ "name": name, "cluster": cluster }],
        "users": [{ "name": name, "user": user }],
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}
