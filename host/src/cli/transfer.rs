//! `bartizan save` and `bartizan load`: modules and images out of a registry into one file, and from that into another registry, for sites
//! without a network.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use bartizan_registry::{ArchiveReader, ArchiveWriter, Reference, Saved, Signers, TransferError, parse_reference};

use crate::cli::registry::{How, Signed, connect, connect_to_push, part_of, refused};

#[derive(Debug, clap::Args)]
pub(crate) struct SaveArgs {
    /// File to write: an OCI image layout in a tar archive.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What to save: modules, the host's own image, any artefact. Its signatures come with it. Default: the release of this version, which
    /// is the host's image, the modules of its providers, and the charts.
    #[arg(value_name = "REFERENCE", value_parser = parse_reference)]
    pub(crate) references: Vec<Reference>,
    /// Where the release is, as registry.example.com/bartizan. Default: where this program was released.
    #[arg(long, value_name = "REGISTRY", env = "BARTIZAN_RELEASE", value_parser = registry)]
    pub(crate) release: Option<String>,
    #[command(flatten)]
    pub(crate) signed: Signed,
    #[command(flatten)]
    pub(crate) how: How,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// File that `bartizan save` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Registry to push to, as registry.internal:5000, or registry.internal/mirror. Repositories, tags and digests stay what they were.
    #[arg(long, value_name = "REGISTRY", value_parser = registry)]
    pub(crate) registry: String,
    #[command(flatten)]
    pub(crate) how: How,
}

/// Where this program was released: set where it is built (`.github/workflows/release.yml`).
const RELEASED_AT: Option<&str> = option_env!("BARTIZAN_RELEASED_AT");
/// What a release has below its registry, each under the version as its tag.
const RELEASE: [&str; 5] =
    ["bartizan", "providers/minio", "providers/cassandra", "charts/bartizan", "charts/bartizan-crds"];

/// What there is of the release of this version.
fn released(place: Option<&str>) -> anyhow::Result<Vec<Reference>> {
    let place = place.or(RELEASED_AT).context(
        "nothing says what to save: name references, or the registry of a release (--release registry.example.com/bartizan)",
    )?;
    let tag = env!("CARGO_PKG_VERSION");
    RELEASE.iter().map(|name| Ok(parse_reference(&format!("{place}/{name}:{tag}"))?)).collect()
}

fn registry(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    // What stands in front of a repository is right if a repository may stand behind it.
    let parsed = parse_reference(&format!("{text}/a")).map_err(|_| "is not the name of a registry".to_owned())?;
    match parsed.registry() {
        first if text.split('/').next() == Some(first) => Ok(text.to_owned()),
        _ => Err("is not the name of a registry: write it as registry.example.com or localhost:5000".to_owned()),
    }
}

/// Copies artefacts into a file.
///
/// # Errors
/// If a registry cannot be asked, or the file not be written. There is no file then.
pub(crate) async fn save(args: &SaveArgs) -> anyhow::Result<ExitCode> {
    let SaveArgs { file, references, release, signed, how } = args;
    let signers = signed.signers()?;
    let references = if references.is_empty() { released(release.as_deref())? } else { references.clone() };
    let fresh = part_of(file);
    let saved = save_to(&fresh, &references, signers.as_ref(), how).await;
    let written = match saved {
        Ok(ExitCode::SUCCESS) => std::fs::rename(&fresh, file)
            .map(|()| ExitCode::SUCCESS)
            .with_context(|| format!("{} cannot be written", file.display())),
        other => other,
    };
    if !matches!(written, Ok(ExitCode::SUCCESS)) {
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

async fn save_to(
    file: &Path,
    references: &[Reference],
    signers: Option<&Signers>,
    how: &How,
) -> anyhow::Result<ExitCode> {
    let context = || format!("{} cannot be written", file.display());
    let mut archive = ArchiveWriter::create(file).with_context(context)?;
    for reference in references {
        match bartizan_registry::save(&connect(reference, how)?, signers, &mut archive).await {
            Ok(Saved { digest, signatures, left_out }) => {
                println!("{}", reference.clone_with_digest(digest));
                eprintln!("{reference}: {signatures} signatures");
                for reason in left_out {
                    eprintln!("{reference}: left out a signature: {reason}");
                }
            }
            Err(TransferError::Registry(failure)) => return refused(failure),
            Err(TransferError::File(error)) => return Err(error).with_context(context),
        }
    }
    archive.finish().with_context(context)?;
    Ok(ExitCode::SUCCESS)
}

/// Copies what is in a file to a registry.
///
/// # Errors
/// If the file cannot be read, or the registry cannot be asked. What was pushed before stays there.
pub(crate) async fn load(args: &LoadArgs) -> anyhow::Result<ExitCode> {
    let LoadArgs { file, registry, how } = args;
    let context = || file.display().to_string();
    let archive = ArchiveReader::open(file).with_context(context)?;
    // All names are right before anything is pushed.
    let mut targets = Vec::new();
    for (name, entry) in archive.named() {
        targets.push((target(registry, name).with_context(context)?, entry));
    }
    anyhow::ensure!(!targets.is_empty(), "{}: nothing in it has a name", file.display());
    for (target, entry) in targets {
        match bartizan_registry::load(&connect_to_push(&target, how)?, &archive, entry).await {
            Ok(digest) => println!("{}", target.clone_with_digest(digest)),
            Err(TransferError::Registry(failure)) => return refused(failure),
            Err(TransferError::File(error)) => return Err(error).with_context(context),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The same repository and tag in another registry.
fn target(registry: &str, name: &str) -> anyhow::Result<Reference> {
    let from = parse_reference(name)?;
    // Other tools may write a tag alone there, or a repository without a registry.
    anyhow::ensure!(
        name.starts_with(&format!("{}/", from.registry())),
        "\"{name}\" (org.opencontainers.image.ref.name) names no registry with a repository: save it with bartizan save"
    );
    let place = format!("{registry}/{}", from.repository());
    let text = match (from.tag(), from.digest()) {
        (_, Some(digest)) => format!("{place}@{digest}"),
        (Some(tag), None) => format!("{place}:{tag}"),
        (None, None) => place,
    };
    Ok(parse_reference(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_keeps_its_name_and_tag_in_another_registry() {
        let moved = |registry: &str, from: &str| target(registry, from).unwrap().to_string();
        assert_eq!(moved("mirror:5000", "example.com/providers/minio:1.0.0"), "mirror:5000/providers/minio:1.0.0");
        let digest = format!("sha256:{}", "0a".repeat(32));
        let pinned = format!("example.com/minio@{digest}");
        assert_eq!(moved("mirror.internal/all", &pinned), format!("mirror.internal/all/minio@{digest}"));
        for unnamed in ["1.0.0", "latest", "minio:1.0.0"] {
            assert!(target("mirror:5000", unnamed).is_err(), "{unnamed}");
        }
    }

    #[test]
    fn a_registry_is_told_from_a_repository() {
        assert_eq!(registry("localhost:5000/"), Ok("localhost:5000".to_owned()));
        assert_eq!(registry("mirror.internal/all"), Ok("mirror.internal/all".to_owned()));
        for bad in ["", "mirror", "https://mirror.internal", "a b"] {
            assert!(registry(bad).is_err(), "{bad}");
        }
    }
}
