//! `cargo xtask image`: the host's image, from scratch and the same for the same sources, with buildah, which needs no daemon.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use bartizan_harness::build;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use crate::steps::Steps;

/// The target of a static program.
const TARGET: &str = "x86_64-unknown-linux-musl";
/// The same, in the names of environment variables.
const TARGET_IN_NAMES: &str = "x86_64_unknown_linux_musl";
/// The largest image that is worth a release, in bytes as it is stored in a registry.
const MOST: u64 = 40 * 1024 * 1024;

/// `cargo xtask image`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Push it to this repository as well, with the version as its tag
    #[arg(long, value_name = "REPOSITORY")]
    push: Option<String>,
}

/// An image that was built.
pub(crate) struct Image {
    /// The archive, as `buildah` and `skopeo` read it (`oci-archive:`).
    pub(crate) archive: PathBuf,
    /// The digest of its manifest.
    pub(crate) digest: String,
    /// Size of its layers, compressed, in bytes.
    pub(crate) size: u64,
    /// Where buildah has it, under this name.
    storage: Storage,
    name: String,
}

/// Builds it, and says where it is.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(missing) = missing() {
        bail!("{missing}");
    }
    let image = build(&program()?)?;
    let Image { archive, digest, size, .. } = &image;
    println!("{} ({:.1} MiB) {digest}", archive.display(), mebibytes(*size));
    ensure!(*size < MOST, "an image of {size} bytes is too large");
    if let Some(repository) = &args.push {
        let to = format!("docker://{repository}:{}", env!("CARGO_PKG_VERSION"));
        let digest = image.storage.push(&image.name, &to)?;
        println!("pushed {repository}:{}@{digest}", env!("CARGO_PKG_VERSION"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether two builds have one digest, and the program runs from the root file system of the image.
pub(crate) fn check(steps: &Steps) -> Result<bool> {
    if let Some(missing) = missing() {
        steps.left_out(&format!("the image: {missing}"));
        return Ok(true);
    }
    let program = program()?;
    let (first, second) = (build(&program)?, build(&program)?);
    println!("image: {:.1} MiB, {} and {}", mebibytes(first.size), first.digest, second.digest);
    let root = tempfile::Builder::new().prefix("bartizan-rootfs-").tempdir().context("no temporary folder")?;
    unpack(&second.archive, root.path())?;
    let version =
        Command::new(root.path().join("bartizan")).arg("--version").output().context("its program does not run")?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    println!("{version}");
    let is_right = version == format!("bartizan {}", env!("CARGO_PKG_VERSION"));
    Ok(first.digest == second.digest && second.size < MOST && is_right && serves(&root.path().join("bartizan"))?)
}

/// Unpacks the layers of an image, which have no file in common.
fn unpack(archive: &Path, root: &Path) -> Result<()> {
    let layout = tempfile::Builder::new().prefix("bartizan-layout-").tempdir().context("no temporary folder")?;
    tar(&["--extract".as_ref(), "--file".as_ref(), archive.as_ref(), "--directory".as_ref(), layout.path().as_ref()])?;
    let read = |file: &Path| -> Result<Value> { Ok(serde_json::from_slice(&std::fs::read(file)?)?) };
    let blob = |descriptor: &Value| -> Result<PathBuf> {
        let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?;
        Ok(layout.path().join("blobs").join(digest.replace(':', "/")))
    };
    let manifest = read(&blob(&read(&layout.path().join("index.json"))?["manifests"][0])?)?;
    for layer in manifest["layers"].as_array().context("an image without layers")? {
        let blob = blob(layer)?;
        tar(&["--extract".as_ref(), "--file".as_ref(), blob.as_ref(), "--directory".as_ref(), root.as_ref()])?;
    }
    Ok(())
}

fn tar(arguments: &[&OsStr]) -> Result<()> {
    let output = Command::new("tar").args(arguments).output().context("tar cannot be run")?;
    ensure!(output.status.success(), "tar: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Whether this program serves a provider on the control plane, as the tests of the dev build do.
fn serves(program: &Path) -> Result<bool> {
    let mut tests = build::cargo();
    tests.args(["test", "--quiet", "--workspace", "--test", "scenarios", "--", "repair::"]);
    tests.env("BARTIZAN_TEST_HOST", program);
    Ok(tests.status().context("cargo cannot be run")?.success())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// What this machine lacks for it.
pub(crate) fn missing() -> Option<String> {
    let lacks = |program: &str| Command::new(program).arg("--version").output().is_err();
    ["buildah", "musl-gcc"].into_iter().find(|program| lacks(program)).map(|program| {
        format!("there is no {program} on this machine: install the Debian packages buildah and musl-tools")
    })
}

/// The host as one static program. Its paths are not those of this machine, so that everybody builds the same.
pub(crate) fn program() -> Result<PathBuf> {
    let added = Command::new("rustup").current_dir(build::workspace_root()).args(["target", "add", TARGET]).output();
    let added = added.context("rustup cannot be run")?;
    ensure!(added.status.success(), "rustup target add {TARGET}: {}", String::from_utf8_lossy(&added.stderr).trim());
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = cargo_home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo"))).context("no HOME")?;
    let map = |separator: &str, flag: &str| {
        let workspace = build::workspace_root();
        [(home.as_path(), "/cargo"), (workspace.as_path(), "/bartizan")]
            .map(|(from, to)| format!("{flag}={}={to}", from.display()))
            .join(separator)
    };
    let target_dir = build::target_dir().join("image");
    let mut cargo = build::cargo();
    cargo.args(["build", "--release", "--locked", "--package", "bartizan", "--target", TARGET, "--target-dir"]);
    cargo.arg(&target_dir);
    cargo.env(format!("CARGO_TARGET_{}_RUSTFLAGS", TARGET_IN_NAMES.to_uppercase()), map(" ", "--remap-path-prefix"));
    cargo.env(format!("CC_{TARGET_IN_NAMES}"), "musl-gcc");
    cargo.env(format!("CFLAGS_{TARGET_IN_NAMES}"), map(" ", "-ffile-prefix-map"));
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "symbols").env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    let built = cargo.status().context("cargo cannot be run")?;
    ensure!(built.success(), "the host could not be built for {TARGET}");
    Ok(target_dir.join(TARGET).join("release/bartizan"))
}

/// Builds the image of a program.
pub(crate) fn build(program: &Path) -> Result<Image> {
    let context = tempfile::Builder::new().prefix("bartizan-image-").tempdir().context("no temporary folder")?;
    std::fs::copy(program, context.path().join("bartizan")).with_context(|| program.display().to_string())?;
    std::fs::write(context.path().join("ca-certificates.crt"), authorities())?;
    let version = env!("CARGO_PKG_VERSION");
    let (revision, time) = (git(&["rev-parse", "HEAD"])?, git(&["log", "-1", "--format=%ct"])?);
    let storage = Storage::new()?;
    let name = format!("bartizan:{version}");
    let dockerfile = build::workspace_root().join("deploy/image/Dockerfile");
    let (version, revision) = (format!("VERSION={version}"), format!("REVISION={revision}"));
    let arguments = [
        "bud",
        "--quiet",
        "--identity-label=false",
        "--isolation",
        "chroot",
        "--format",
        "oci",
        "--timestamp",
        &time,
        "--build-arg",
        &version,
        "--build-arg",
        &revision,
        "--tag",
        &name,
        "--file",
    ];
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    storage.buildah(&[&arguments[..], &[dockerfile.as_ref(), context.path().as_ref()]].concat())?;
    let archive = build::target_dir().join("image").join(format!("bartizan-{}.tar", env!("CARGO_PKG_VERSION")));
    if archive.exists() {
        std::fs::remove_file(&archive)?;
    }
    let digest = storage.push(&name, &format!("oci-archive:{}:{name}", archive.display()))?;
    let size = std::fs::metadata(&archive)?.len();
    Ok(Image { archive, digest, size, storage, name })
}

/// The authorities that Mozilla trusts, as the pinned crate has them: those of the machine would make another image everywhere.
fn authorities() -> String {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            // Base64 is ASCII; writing to a string cannot fail.
            let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").current_dir(build::workspace_root()).args(arguments).output();
    let output = output.context("git cannot be run")?;
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Where buildah keeps what it works on, for one run.
struct Storage {
    folder: TempDir,
}

impl Storage {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bartizan-buildah-").tempdir().context("no temporary folder")?;
        Ok(Self { folder })
    }

    /// Brings an image to a place, and returns the digest that its manifest has there.
    fn push(&self, image: &str, to: &str) -> Result<String> {
        let file = self.folder.path().join("digest");
        self.buildah(&["push", "--quiet", &format!("--digestfile={}", file.display()), image, to])?;
        std::fs::read_to_string(&file).context("buildah wrote no digest")
    }

    /// Runs buildah, and returns what it printed.
    fn buildah(&self, arguments: &[impl AsRef<OsStr>]) -> Result<String> {
        let mut buildah = Command::new("buildah");
        buildah.arg("--root").arg(self.folder.path().join("root"));
        buildah.arg("--runroot").arg(self.folder.path().join("run"));
        buildah.args(["--storage-driver", "vfs"]).args(arguments);
        let output = buildah.output().context("buildah cannot be run")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{buildah:?}: {}", error.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
