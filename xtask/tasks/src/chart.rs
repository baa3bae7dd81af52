//! `cargo xtask chart`: the charts of a release, whose values name what was released by digest.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use bartizan_contract::digest as digests;
use bartizan_harness::build;

use crate::folder;

/// `cargo xtask chart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The host's image, as REPOSITORY@sha256:...
    #[arg(long, value_name = "REFERENCE", value_parser = pinned)]
    image: Pinned,
    /// The module of a provider, as NAME=REPOSITORY:TAG@sha256:... (may be repeated)
    #[arg(long = "module", value_name = "NAME=REFERENCE", value_parser = module)]
    modules: Vec<(String, Pinned)>,
    /// Folder to write the charts to
    #[arg(long, value_name = "DIR", default_value = "target/charts")]
    output: PathBuf,
}

/// A reference with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pinned {
    place: String,
    digest: String,
}

fn pinned(text: &str) -> Result<Pinned, String> {
    match text.split_once('@') {
        Some((place, digest)) if digests::digits(digest).is_some() && !place.is_empty() => {
            Ok(Pinned { place: place.to_owned(), digest: digest.to_owned() })
        }
        _ => Err("names no digest: write it as registry.example.com/bartizan@sha256:...".to_owned()),
    }
}

fn module(text: &str) -> Result<(String, Pinned), String> {
    let (name, reference) = text.split_once('=').ok_or("is not NAME=REFERENCE")?;
    Ok((name.to_owned(), pinned(reference)?))
}

/// Copies the charts, and says there what was released.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut names: Vec<&String> = args.modules.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    ensure!(names.len() == args.modules.len(), "a provider has two modules");
    let sources = build::workspace_root().join("deploy/chart");
    let output = std::path::absolute(&args.output)?;
    ensure!(!output.starts_with(&sources) && !sources.starts_with(&output), "--output: the sources are there");
    for chart in ["bartizan", "bartizan-crds"] {
        let (from, to) = (sources.join(chart), args.output.join(chart));
        if to.exists() {
            std::fs::remove_dir_all(&to).with_context(|| to.display().to_string())?;
        }
        folder::copy(&from, &to)?;
        println!("wrote {}", to.display());
    }
    let file = args.output.join("bartizan/values.yaml");
    let values = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    std::fs::write(&file, released(&values, args)?).with_context(|| file.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// The values with the comments that they have.
fn released(values: &str, args: &Args) -> Result<String> {
    let Pinned { place, digest } = &args.image;
    // Its tag says less than its digest.
    let slash = place.rfind('/').unwrap_or_default();
    let repository = place[slash..].rfind(':').map_or(place.as_str(), |colon| &place[..slash + colon]);
    let mut text = set(values, &["image:", "repository: bartizan"], &format!("repository: {repository}"))?;
    text = set(&text, &["image:", "digest: \"\""], &format!("digest: {digest}"))?;
    for (name, Pinned { place, digest }) in &args.modules {
        let path = ["providers:", &format!("{name}:"), "reference: \"\""];
        text = set(&text, &path, &format!("reference: {place}@{digest}"))?;
    }
    Ok(text)
}

/// Replaces the last of these lines, which follow one another, by another one.
fn set(text: &str, path: &[&str], by: &str) -> Result<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut at = 0;
    for line in path {
        let depth = if at == 0 { 0 } else { indent(&lines[at]) + 1 };
        let block = lines.iter().enumerate().skip(at + usize::from(at > 0));
        let mut block = block.take_while(|(_, known)| known.trim().is_empty() || indent(known) >= depth);
        let found = block.find(|(_, known)| known.trim() == *line).map(|(at, _)| at);
        at = found.with_context(|| format!("values.yaml has no line \"{line}\" where it was expected"))?;
    }
    lines[at] = format!("{}{by}", " ".repeat(indent(&lines[at])));
    Ok(format!("{}\n", lines.join("\n")))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use serde_yaml_ng::Value;

    use super::*;

    #[test]
    fn the_charts_of_a_release_name_what_was_released() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let digest = format!("sha256:{}", "0a".repeat(32));
        let of = |name: &str| format!("registry.example.com:5000/bartizan/{name}:0.1.0@{digest}");
        let named =
            |name: &str| module(&format!("{name}={}", of(&format!("providers/{name}")))).map_err(anyhow::Error::msg);
        let args = Args {
            image: pinned(&of("bartizan")).map_err(anyhow::Error::msg)?,
            modules: vec![named("minio")?, named("cassandra")?],
            output: folder.path().to_owned(),
        };
        run(&args)?;
        let values = std::fs::read_to_string(folder.path().join("bartizan/values.yaml"))?;
        let values: Value = serde_yaml_ng::from_str(&values)?;
        assert_eq!(values["image"]["repository"], "registry.example.com:5000/bartizan/bartizan");
        assert_eq!(values["image"]["digest"], digest.as_str());
        for name in ["minio", "cassandra"] {
            assert_eq!(values["providers"][name]["module"]["reference"], of(&format!("providers/{name}")).as_str());
        }
        assert!(folder.path().join("bartizan-crds/templates/providers.bartizan.dev.yaml").exists());
        let place = folder.path().to_owned();
        let unknown = Args { modules: vec![named("nfs")?], image: args.image.clone(), output: place };
        let twice = Args { modules: vec![named("minio")?, named("minio")?], ..args };
        assert!(run(&twice).is_err_and(|error| error.to_string().contains("two modules")));
        assert!(run(&unknown).is_err_and(|error| error.to_string().contains("nfs:")));
        assert!(pinned("registry.example.com/bartizan:0.1.0").is_err());
        Ok(())
    }

    /// What `bartizan save` takes from a release is what the workflow pushes.
    #[test]
    fn what_a_release_pushes_is_what_is_saved_of_one() -> Result<()> {
        let read = |file: &str| std::fs::read_to_string(build::workspace_root().join(file));
        let (workflow, saved) = (read(".github/workflows/release.yml")?, read("host/src/cli/transfer.rs")?);
        for (pushed, name) in [
            ("${REGISTRY}/bartizan", "\"bartizan\""),
            ("${REGISTRY}/providers/${module}", "\"providers/minio\""),
            ("for module in minio cassandra", "\"providers/cassandra\""),
            ("oci://${REGISTRY}/charts", "\"charts/bartizan\""),
            ("for chart in bartizan bartizan-crds", "\"charts/bartizan-crds\""),
        ] {
            ensure!(
                workflow.contains(pushed) && saved.contains(name),
                "{pushed} is not pushed, or {name} is not saved"
            );
        }
        Ok(())
    }
}
