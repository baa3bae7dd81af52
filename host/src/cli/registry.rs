//! `bartizan push` and `bartizan pull`: a provider's module into a registry, and out of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use bartizan_registry::{
    Authorities, CredentialSource, Keyless, Login, PrivateKey, PublicKey, Reference, Registry, RegistryError, Signers,
    parse_reference,
};
use bartizan_runtime::{Config, Runtime};

#[derive(Debug, clap::Args)]
pub(crate) struct PushArgs {
    /// Provider module.
    #[arg(value_name = "FILE")]
    pub(crate) module: PathBuf,
    /// Where to, as registry.example.com/providers/minio:1.0.0.
    #[arg(value_name = "REFERENCE", value_parser = parse_reference)]
    pub(crate) reference: Reference,
    /// Sign it with this private key (PEM): one of `cosign generate-key-pair`, whose password is in COSIGN_PASSWORD, or one without.
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) how: How,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    /// Where from, as registry.example.com/providers/minio:1.0.0 or with @sha256:... at the end.
    #[arg(value_name = "REFERENCE", value_parser = parse_reference)]
    pub(crate) reference: Reference,
    /// File to write; default: the last part of the repository with .wasm at the end, in this folder.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) signed: Signed,
    #[command(flatten)]
    pub(crate) how: How,
}

/// Who must have signed it: anybody, if nothing is said.
#[derive(Debug, clap::Args)]
pub(crate) struct Signed {
    /// Public key (PEM) of which one must have signed it (may be repeated).
    #[arg(long = "key", value_name = "FILE", conflicts_with = "trusted_root")]
    keys: Vec<PathBuf>,
    /// Who must have signed it without a key: the subject of the certificate, an e-mail address or the URI of a workflow.
    #[arg(long, value_name = "IDENTITY", requires_all = ["certificate_oidc_issuer", "trusted_root"])]
    certificate_identity: Option<String>,
    /// The OpenID Connect issuer that knows them.
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// The authorities and logs that are trusted (JSON), as `cosign trusted-root create` writes it.
    #[arg(long, value_name = "FILE", requires = "certificate_identity")]
    trusted_root: Option<PathBuf>,
}

impl Signed {
    /// Those who may have.
    ///
    /// # Errors
    /// If a file is not what it should be.
    pub(crate) fn signers(&self) -> anyhow::Result<Option<Signers>> {
        let Self { keys, certificate_identity, certificate_oidc_issuer, trusted_root } = self;
        if let (Some(identity), Some(issuer), Some(file)) =
            (certificate_identity, certificate_oidc_issuer, trusted_root)
        {
            let context = || format!("--trusted-root {}", file.display());
            let root = std::fs::read_to_string(file).with_context(context)?;
            let keyless = Keyless::new(issuer, identity, &root).with_context(context)?;
            for unchecked in keyless.unchecked() {
                eprintln!("not checked, since {} lists nobody who could say it: {unchecked}", file.display());
            }
            return Ok(Some(Signers::Keyless(Box::new(keyless))));
        }
        let keys: Vec<PublicKey> = keys.iter().map(|file| public_key(file)).collect::<anyhow::Result<_>>()?;
        Ok(Some(keys).filter(|keys| !keys.is_empty()).map(Signers::Keys))
    }
}

/// How a registry is asked. Credentials are those of Docker's configuration file.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// Speak HTTP without TLS.
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Certificates (PEM) of authorities to trust beside those that this machine does.
    #[arg(long, value_name = "FILE", env = "BARTIZAN_REGISTRY_CA")]
    pub(crate) registry_ca: Option<PathBuf>,
}

/// Checks a module as the host would, and pushes it.
///
/// # Errors
/// If it cannot be read, or the registry does not take it.
pub(crate) async fn push(args: &PushArgs) -> anyhow::Result<ExitCode> {
    let PushArgs { module: file, reference, sign, how } = args;
    // Before anything is pushed.
    let key = sign.as_deref().map(private_key).transpose()?;
    anyhow::ensure!(
        reference.digest().is_none(),
        "{reference}: a digest is what comes of a push; write a tag, as in {}:1.0.0",
        reference.repository()
    );
    let bytes = std::fs::read(file).with_context(|| format!("module {}", file.display()))?;
    let runtime = Runtime::new(Config::default())?;
    let loaded = match crate::catalog::module::load(&runtime, &bytes, &|| true) {
        Ok(loaded) => loaded,
        Err(reason) => {
            eprintln!("error: module {}: {reason}", file.display());
            return Ok(ExitCode::FAILURE);
        }
    };
    let registry = connect_to_push(reference, how)?;
    let pushed = match registry.push(bytes.into()).await {
        Ok(pushed) => pushed,
        Err(failure) => return refused(failure),
    };
    if let Some(key) = &key
        && let Err(failure) = registry.sign(&pushed.manifest, key).await
    {
        eprintln!("pushed {reference}@{}, and not signed", pushed.manifest);
        return refused(failure);
    }
    println!("{reference}@{}", pushed.manifest);
    let (name, version) = (&loaded.info.manifest.name, &loaded.info.manifest.version);
    eprintln!("pushed {name} {version}; spec.module.digest pins it: {}", pushed.module);
    if let Some(key) = &key {
        eprintln!("signed with the key {}", key.public().fingerprint());
    }
    Ok(ExitCode::SUCCESS)
}

/// Pulls a module, checks that it is what its digests say, and writes it.
///
/// # Errors
/// If the registry cannot be asked, or the file not be written.
pub(crate) async fn pull(args: &PullArgs) -> anyhow::Result<ExitCode> {
    let PullArgs { reference, output, signed, how } = args;
    let signers = signed.signers()?;
    let registry = connect(reference, how)?;
    let pulled = async {
        let resolved = registry.resolve(Config::default().module_bytes).await?;
        if let Some(signers) = &signers {
            registry.verify(&resolved.manifest, signers).await?;
        }
        let module = registry.download(&resolved.layer).await?;
        Ok((resolved, module))
    };
    let (resolved, module) = match pulled.await {
        Ok(pulled) => pulled,
        Err(failure) => return refused(failure),
    };
    let file = output.clone().unwrap_or_else(|| file_for(reference));
    write(&file, &module).with_context(|| format!("{} cannot be written", file.display()))?;
    println!("{}", resolved.layer.digest);
    eprintln!("wrote {} from {}", file.display(), reference.clone_with_digest(resolved.manifest));
    Ok(ExitCode::SUCCESS)
}

fn private_key(file: &Path) -> anyhow::Result<PrivateKey> {
    let context = || format!("--sign {}", file.display());
    let pem = std::fs::read_to_string(file).with_context(context)?;
    let password = std::env::var("COSIGN_PASSWORD").unwrap_or_default();
    PrivateKey::parse(&pem, password.as_bytes()).with_context(context)
}

fn public_key(file: &Path) -> anyhow::Result<PublicKey> {
    let context = || format!("--key {}", file.display());
    PublicKey::parse(&std::fs::read_to_string(file).with_context(context)?).with_context(context)
}

/// What the registry holds was looked at and refused, or it could not be asked.
pub(crate) fn refused(failure: RegistryError) -> anyhow::Result<ExitCode> {
    match failure {
        RegistryError::Invalid(_) | RegistryError::Unverified(_) | RegistryError::OtherDigest(_) => {
            eprintln!("error: {failure}");
            Ok(ExitCode::FAILURE)
        }
        RegistryError::Missing(_) | RegistryError::Unavailable(_) | RegistryError::Busy { .. } => Err(failure.into()),
    }
}

/// A registry to take something from.
pub(crate) fn connect(reference: &Reference, how: &How) -> anyhow::Result<Registry> {
    Ok(Registry::new(reference.clone(), how.plain_http, &how.authorities()?, login(reference)?)?)
}

/// A registry to bring something to.
pub(crate) fn connect_to_push(reference: &Reference, how: &How) -> anyhow::Result<Registry> {
    Ok(Registry::for_uploads(reference.clone(), how.plain_http, &how.authorities()?, login(reference)?)?)
}

impl How {
    fn authorities(&self) -> anyhow::Result<Authorities> {
        Authorities::read(self.registry_ca.as_deref()).map_err(|error| anyhow::anyhow!("--registry-ca {error}"))
    }
}

/// The login of Docker's configuration file, if there is one.
fn login(reference: &Reference) -> anyhow::Result<Login> {
    let folder = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".docker"));
    let Some(file) = folder.or_else(home).map(|folder| folder.join("config.json")) else {
        return Ok(Login::anonymous(CredentialSource::File("~/.docker/config.json".to_owned())));
    };
    let source = CredentialSource::File(file.display().to_string());
    match std::fs::read(&file) {
        Ok(config) => Ok(Login::from_docker_config(&config, reference, source)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Login::anonymous(source)),
        Err(error) => Err(error).with_context(|| source.to_string()),
    }
}

fn file_for(reference: &Reference) -> PathBuf {
    let name = reference.repository().rsplit('/').next().unwrap_or_default();
    PathBuf::from(format!("{name}.wasm"))
}

/// Where a file is written before it gets its name.
pub(crate) fn part_of(file: &Path) -> PathBuf {
    let mut part = file.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    part.into()
}

/// Whole or not at all: a host may be looking at the folder.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = part_of(file);
    let written = std::fs::write(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_written_under_the_last_part_of_its_repository() {
        let file = |text: &str| file_for(&text.parse().unwrap());
        assert_eq!(file("example.com/providers/minio:1.0.0"), Path::new("minio.wasm"));
        assert_eq!(file("localhost:5000/minio"), Path::new("minio.wasm"));
    }
}
