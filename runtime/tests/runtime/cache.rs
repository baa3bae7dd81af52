//! Compiled modules on disk: found again, and not used if anything is wrong with them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bartizan_runtime::{Config, Limits, Module, Runtime};
use tempfile::TempDir;

use crate::modules::{MANIFEST, core, module};

fn runtime(dir: &Path) -> Runtime {
    Runtime::new(Config { cache_dir: Some(dir.to_owned()), concurrent_calls: 1, ..Config::default() }).unwrap()
}

fn load(dir: &Path) -> Module {
    let module = runtime(dir).load(&module(&core(MANIFEST, "", "unreachable"))).unwrap();
    assert_eq!(module.describe(&Limits::default()).unwrap().manifest.name, "written");
    module
}

fn folder() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("modules");
    (parent, dir)
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The one file with compiled code.
fn code(dir: &Path) -> PathBuf {
    entries(dir).into_iter().find(|path| path.extension().is_some_and(|extension| extension == "cwasm")).unwrap()
}

#[test]
fn a_module_is_compiled_once() {
    let (_parent, dir) = folder();
    assert!(!load(&dir).from_cache());
    assert!(load(&dir).from_cache());
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in entries(&dir) {
        assert_eq!(fs::metadata(&entry).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_damaged_entry_is_compiled_again_and_overwritten() {
    let (_parent, dir) = folder();
    load(&dir);
    let entry = code(&dir);
    let good = fs::read(&entry).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bad in [&b""[..], b"x", &good[..good.len() / 2], &flipped, &[b'x'; 100_000]] {
        fs::write(&entry, bad).unwrap();
        assert!(!load(&dir).from_cache());
        assert!(fs::read(&entry).unwrap() == good);
        assert!(load(&dir).from_cache());
    }
}

#[test]
fn an_entry_without_its_checksum_is_not_run() {
    let (_parent, dir) = folder();
    load(&dir);
    fs::remove_file(code(&dir).with_extension("crc32")).unwrap();
    assert!(!load(&dir).from_cache());
    assert!(load(&dir).from_cache());
}

#[test]
fn an_entry_that_others_can_write_to_is_not_run() {
    let (_parent, dir) = folder();
    load(&dir);
    let entry = code(&dir);
    fs::set_permissions(&entry, Permissions::from_mode(0o666)).unwrap();
    assert!(!load(&dir).from_cache());
    assert_eq!(fs::metadata(&entry).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(load(&dir).from_cache());
}

#[test]
fn a_folder_that_others_can_write_to_is_not_used() {
    let (_parent, dir) = folder();
    fs::create_dir(&dir).unwrap();
    for mode in [0o770, 0o702, 0o1777] {
        fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
        assert!(!load(&dir).from_cache());
        assert!(entries(&dir).is_empty());
    }
}

#[test]
fn a_folder_that_cannot_be_used_costs_only_time() {
    let (parent, dir) = folder();
    fs::write(&dir, "a file").unwrap();
    assert!(!load(&dir).from_cache());
    let target = parent.path().join("target");
    fs::create_dir(&target).unwrap();
    let link = parent.path().join("link");
    symlink(&target, &link).unwrap();
    assert!(!load(&link).from_cache());
    assert!(entries(&target).is_empty());
    assert!(!load(Path::new("/proc/bartizan")).from_cache());
}

#[test]
fn a_refused_module_leaves_no_entry() {
    let (_parent, dir) = folder();
    let foreign = wat::parse_str("(component (import \"acme:disk/files\" (instance)))").unwrap();
    assert!(runtime(&dir).load(&foreign).is_err());
    assert!(entries(&dir).is_empty());
}

#[test]
fn the_oldest_entries_are_removed() {
    let (_parent, dir) = folder();
    let runtime = runtime(&dir);
    for number in 0..140 {
        fs::write(dir.join(format!("old-{number}.cwasm")), "old").unwrap();
    }
    runtime.load(&module(&core(MANIFEST, "", "unreachable"))).unwrap();
    assert_eq!(entries(&dir).len(), 128);
    assert!(load(&dir).from_cache());
}

#[test]
fn what_was_loaded_once_is_recalled_by_its_digest_without_its_bytes() {
    let (_parent, dir) = folder();
    let loaded = load(&dir);
    let recalled = runtime(&dir).recall(loaded.digest()).unwrap();
    assert_eq!((recalled.digest(), recalled.from_cache()), (loaded.digest(), true));
    assert_eq!(recalled.describe(&Limits::default()).unwrap().manifest.name, "written");
    assert!(runtime(&dir).recall(&format!("sha256:{}", "0".repeat(64))).is_none());
    let (_other_parent, other) = folder();
    assert!(runtime(&other).recall(loaded.digest()).is_none());
}
