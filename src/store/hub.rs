//! The cache of the Hugging Face hub: a snapshot holds links, and what they lead to lies among the blobs of its repository.
//!
//! ```text
//! models--owner--name/blobs/SHA
//! models--owner--name/snapshots/REVISION/onnx/model.onnx -> ../../../blobs/SHA
//! ```
//!
//! Where there are no links (Windows, some copies and shared disks) the files lie in the snapshot themselves, and blobs may be missing.

use std::path::Path;

/// Whether a file belongs to a folder: it lies in it, or the folder is (in) a snapshot and the file is a blob of the same repository.
/// Both paths are canonical, so that no link hides where they are.
pub fn belongs(folder: &Path, file: &Path) -> bool {
    file.starts_with(folder) || repository(folder).is_some_and(|repository| file.parent() == Some(repository.join("blobs").as_path()))
}

/// The repository that a folder is in a snapshot of.
fn repository(folder: &Path) -> Option<&Path> {
    // Above a snapshot is `snapshots`, which itself is none.
    let snapshots = folder.ancestors().skip(1).filter(|above| above.ends_with("snapshots"));
    snapshots.filter_map(Path::parent).find(|repository| is_repository(repository))
}

/// Whether a folder is one of the cache's repositories.
pub fn is_repository(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let kind = ["models--", "datasets--", "spaces--"].iter().any(|kind| name.starts_with(kind));
    kind && folder.join("snapshots").is_dir()
}

/// Whether a path is a link to a file that is not there: of a download that was not finished, or a copy without the blobs.
pub fn dangles(path: &Path) -> bool {
    path.is_symlink() && !path.exists()
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_a_snapshot_lead_to_blobs_of_its_own_repository() {
        let outer = tempfile::tempdir().expect("a folder");
        let hub = outer.path().canonicalize().expect("canonical");
        let (one, other) = (hub.join("datasets--a--one"), hub.join("datasets--a--other"));
        for repository in [&one, &other] {
            create_dir_all(repository.join("blobs/deep")).expect("made");
            create_dir_all(repository.join("snapshots/0123/train/cat")).expect("made");
            write(repository.join("blobs/abcd"), "x").expect("written");
            write(repository.join("blobs/deep/abcd"), "x").expect("written");
        }
        let inside = one.join("snapshots/0123/train");
        assert!(belongs(&inside, &one.join("blobs/abcd")) && belongs(&inside, &inside.join("cat/1.jpg")));
        for outside in [other.join("blobs/abcd"), one.join("blobs/deep/abcd"), hub.join("secret"), one.join("snapshots/0123/other")] {
            assert!(!belongs(&inside, &outside), "{}", outside.display());
        }
        assert!(!belongs(&one.join("snapshots"), &one.join("blobs/abcd")), "no snapshot");
        assert!(is_repository(&one) && !is_repository(&inside));
        // Copied without blobs, and without links.
        let copied = hub.join("models--a--copied");
        create_dir_all(copied.join("snapshots/0123")).expect("made");
        assert!(is_repository(&copied) && !belongs(&copied.join("snapshots/0123"), &one.join("blobs/abcd")));
        symlink("../../blobs/abcd", copied.join("snapshots/0123/model.onnx")).expect("linked");
        assert!(dangles(&copied.join("snapshots/0123/model.onnx")));
        assert!(!dangles(&copied) && !dangles(&copied.join("nothing")) && !dangles(&one.join("blobs/abcd")));
        // A folder that only looks like a repository: its blobs are somewhere else.
        let fake = hub.join("models--a--fake");
        create_dir_all(fake.join("snapshots/0123")).expect("made");
        symlink(&hub, fake.join("blobs")).expect("linked");
        write(hub.join("secret"), "x").expect("written");
        assert!(!belongs(&fake.join("snapshots/0123"), &fake.join("blobs/secret").canonicalize().expect("canonical")));
    }
}
