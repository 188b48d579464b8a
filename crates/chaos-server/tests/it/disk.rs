//! A disk that can be full.

use std::io::Write;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A file system of its own with little room, unmounted at the end whatever happens.
pub(crate) struct SmallDisk {
    _folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl SmallDisk {
    #[expect(clippy::print_stderr, reason = "who runs the tests is told what was not tested")]
    pub(crate) fn mount() -> Option<Self> {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let options = Some("size=24m,mode=0700");
        if let Err(error) = mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), options) {
            eprintln!("skipped: no file system can be mounted here: {error}");
            return None;
        }
        Some(Self { _folder: folder, path })
    }

    pub(crate) fn fill(&self) {
        let mut file = std::fs::File::create(self.path.join("filler")).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            let chunk = vec![0; size];
            while file.write_all(&chunk).is_ok() {}
        }
    }

    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.path.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}
