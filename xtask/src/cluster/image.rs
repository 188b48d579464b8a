//! Images made from files: one layer, in the layout that the Open Container Initiative gives archives.
//!
//! Never asks a registry, and never runs a program. What goes in is in memory, since images here are a few programs.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The kinds of document in an image.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Where programs are looked for in a container.
const SEARCH_PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// An image to be written.
pub(super) struct Image {
    name: String,
    entry: String,
    entries: Vec<Entry>,
}

/// Something in an image: an absolute path and what is there.
struct Entry {
    path: String,
    kind: Kind,
}

enum Kind {
    Program(Vec<u8>),
    Link(String),
    /// A folder that everybody may write to.
    Open,
}

impl Image {
    /// An image that is called `name` and starts the program at `entry` unless told otherwise. It has a `/tmp`.
    pub(super) fn new(name: &str, entry: &str) -> Self {
        let entries = vec![Entry { path: "/tmp".to_owned(), kind: Kind::Open }];
        Self { name: name.to_owned(), entry: entry.to_owned(), entries }
    }

    /// With a program that everybody may run.
    pub(super) fn with_program(self, path: &str, content: Vec<u8>) -> Self {
        self.with(path, Kind::Program(content))
    }

    /// With a symbolic link.
    pub(super) fn with_link(self, path: &str, target: &str) -> Self {
        self.with(path, Kind::Link(target.to_owned()))
    }

    fn with(mut self, path: &str, kind: Kind) -> Self {
        self.entries.push(Entry { path: path.to_owned(), kind });
        self
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            let path = entry.path.trim_start_matches('/');
            let mut header = tar::Header::new_gnu();
            header.set_mtime(0);
            header.set_size(0);
            match &entry.kind {
                Kind::Program(content) => {
                    header.set_mode(0o755);
                    header.set_size(content.len() as u64);
                    archive.append_data(&mut header, path, content.as_slice())
                }
                Kind::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    archive.append_link(&mut header, path, target)
                }
                Kind::Open => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(0o1777);
                    archive.append_data(&mut header, path, std::io::empty())
                }
            }
            .with_context(|| format!("adding {} to an image", entry.path))?;
        }
        archive.into_inner().context("ending an image")
    }
}

/// Writes an image as one file that `ctr images import` and others take.
pub(super) fn write(image: &Image, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let mut archive = tar::Builder::new(std::io::BufWriter::new(file));
    let layer = image.layer()?;
    let config = document(&json!({
        "architecture": architecture(),
        "os": "linux",
        "config": { "Entrypoint": [image.entry], "Env": [SEARCH_PATH] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    }));
    let manifest = document(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(CONFIG, &config),
        "layers": [described(LAYER, &layer)],
    }));
    let mut listed = described(MANIFEST, &manifest);
    let tag = image.name.rsplit(':').next().unwrap_or_default();
    listed["annotations"] =
        json!({ "io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag });
    add(&mut archive, "oci-layout", &document(&json!({ "imageLayoutVersion": "1.0.0" })))?;
    add(&mut archive, "index.json", &document(&json!({ "schemaVersion": 2, "manifests": [listed] })))?;
    for blob in [&config, &manifest, &layer] {
        add(&mut archive, &format!("blobs/{}", digest(blob).replace(':', "/")), blob)?;
    }
    let file = archive.into_inner().context("ending an archive")?.into_inner();
    let file = file.map_err(std::io::IntoInnerError::into_error).context("writing an archive")?;
    file.sync_all().with_context(|| format!("writing {}", path.display()))
}

fn add(archive: &mut tar::Builder<impl Write>, path: &str, content: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content).with_context(|| format!("adding {path} to an archive"))
}

fn document(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn described(kind: &str, content: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest(content), "size": content.len() })
}

fn digest(content: &[u8]) -> String {
    let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digest}")
}

/// This machine's, in the words of images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    fn read(path: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(File::open(path).unwrap());
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content);
        }
        files
    }

    #[test]
    fn every_blob_of_an_image_is_found_by_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        let image = Image::new("localhost/a:1", "/bin/a")
            .with_program("/bin/a", b"program".to_vec())
            .with_link("/bin/b", "a");
        write(&image, &path).unwrap();
        let files = read(&path);
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let blob = |described: &Value| {
            let content =
                &files[&format!("blobs/{}", described["digest"].as_str().unwrap().replace(':', "/"))];
            assert_eq!(digest(content), described["digest"]);
            assert_eq!(content.len() as u64, described["size"]);
            content.clone()
        };
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "localhost/a:1");
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/bin/a"]));
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let layer = folder.path().join("layer.tar");
        std::fs::write(&layer, blob(&manifest["layers"][0])).unwrap();
        let names: Vec<_> = read(&layer).into_keys().collect();
        assert_eq!(names, ["bin/a", "bin/b", "tmp"]);
    }

    #[test]
    fn the_same_content_makes_the_same_image() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<_> = ["one", "two"]
            .map(|name| {
                let path = folder.path().join(name);
                write(&Image::new("localhost/a:1", "/a").with_program("/a", vec![1; 100]), &path).unwrap();
                std::fs::read(path).unwrap()
            })
            .to_vec();
        assert_eq!(files[0], files[1]);
    }
}
