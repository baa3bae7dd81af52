//! Which crates may depend on which, and which rooms of the host may import which.

use std::collections::BTreeMap;

/// Folders of crates, and the folders of those that each may depend on. Plugins and examples, at the end, are built on the SDK.
pub(crate) const LAYERS: [(&str, &[&str]); 10] = [
    ("contract", &[]),
    ("engine", &["contract"]),
    ("runtime", &["contract"]),
    ("registry", &["contract"]),
    ("sdk", &["contract"]),
    ("simulation", &["contract", "engine"]),
    ("host", &["contract", "engine", "runtime", "registry", "simulation"]),
    ("plugins/minio", &["sdk"]),
    ("plugins/cassandra", &["sdk"]),
    ("examples/hello", &["sdk"]),
];

/// The rooms of the host: each may import from itself and from those before it.
pub(crate) const ROOMS: [&str; 10] =
    ["telemetry", "kubernetes", "endpoints", "catalog", "reconcile", "controller", "providers", "run", "cli", "main"];

/// Folders below which crates are for tests and tasks, and may depend on everything.
pub(crate) const FREE: [&str; 2] = ["tests/", "xtask"];

/// The members of the workspace, from its Cargo.toml.
pub(crate) fn members(workspace: &str) -> Vec<String> {
    let list = workspace.split_once("members = [").map_or("", |(_, rest)| rest.split(']').next().unwrap_or_default());
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Names of the workspace's own crates, and their folders, from its Cargo.toml.
pub(crate) fn folders(workspace: &str) -> BTreeMap<String, String> {
    let lines = workspace.lines().filter_map(|line| line.split_once('='));
    lines.filter_map(|(name, value)| Some((name.trim().to_owned(), path(value)?))).collect()
}

/// The folder in `{ path = "folder" }`.
fn path(value: &str) -> Option<String> {
    let rest = value.split_once("path = \"")?.1;
    Some(rest.split('"').next()?.to_owned())
}

/// Folders of the workspace's own crates that a crate depends on, from its Cargo.toml. What its tests depend on does not count:
/// that is not part of the crate.
pub(crate) fn dependencies(manifest: &str, folders: &BTreeMap<String, String>) -> Vec<String> {
    let mut counts = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            counts = section.contains("dependencies") && !section.contains("dev-dependencies");
        } else if counts && let Some((key, value)) = line.split_once('=') {
            let name = key.trim().trim_end_matches(".workspace");
            // A path is relative to the crate, whatever its depth.
            let direct = path(value).map(|path| path.trim_start_matches("../").to_owned());
            found.extend(direct.or_else(|| folders.get(name).cloned()));
        }
    }
    found
}

#[test]
fn dependencies_of_all_kinds_but_those_of_tests_are_found() {
    let workspace = "
members = [
    \"contract\", \"engine\",
]
[workspace.dependencies]
bartizan-contract = { path = \"contract\" }
bartizan-engine = { path = \"engine\" }
serde = { version = \"1\" } # no path
";
    assert_eq!(members(workspace), ["contract", "engine"]);
    let folders = folders(workspace);
    let manifest = "
[package]
name = \"bartizan-engine\"
[dependencies]
bartizan-contract.workspace = true
serde.workspace = true
[target.'cfg(unix)'.dependencies]
other = { path = \"../runtime\", features = [] }
[dev-dependencies]
bartizan-engine.workspace = true
";
    assert_eq!(dependencies(manifest, &folders), ["contract", "runtime"]);
}
