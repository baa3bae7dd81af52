//! The errors of this crate. Texts say what to fix.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why a module could not be fetched or pushed. The variant decides what follows, the text is for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// The reference does not exist.
    #[error("{0}")]
    Missing(String),
    /// The registry cannot be reached, or refuses access. A later attempt may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The registry is too busy to answer (429, 503).
    #[error("{message}")]
    Busy {
        /// What it answered.
        message: String,
        /// The delay that it asks for (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// It exists but is not a module, or is damaged.
    #[error("{0}")]
    Invalid(String),
    /// Nobody who is trusted has signed it.
    #[error("{0}")]
    Unverified(String),
    /// The reference resolved to a module of this digest, not to the one that was pinned.
    #[error("the module is {0}, not the one that is pinned")]
    OtherDigest(String),
}

/// Why a copy failed.
#[derive(Debug, Error)]
pub enum TransferError {
    /// At the registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// At the file.
    #[error("{0}")]
    File(#[from] io::Error),
}

/// Why a key cannot be used. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// It is no public key of the only sort.
    #[error("it is no public key of ECDSA on P-256 in PEM, as `cosign public-key` prints it")]
    NotPublic,
    /// It is no private key of that sort.
    #[error("it is no private key of ECDSA on P-256 in PEM, as `cosign generate-key-pair` writes it")]
    NotPrivate,
    /// It is encrypted with another password.
    #[error("its password is another")]
    OtherPassword,
}

/// Why a trusted root cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrustedRootError {
    /// It is none, or something in it is none.
    #[error("it is no trusted root of Sigstore: {0}")]
    Unreadable(String),
    /// Nobody could sign.
    #[error("it names no certificate authority")]
    NoAuthority,
    /// Nobody could say when it was signed.
    #[error("it names neither a log nor a time stamp authority, of which one must say when a signature was made")]
    NoTime,
}

impl RegistryError {
    /// A registry is too busy.
    pub(crate) fn busy(registry: &str, code: u16, retry_after: Option<Duration>) -> Self {
        let words = match code {
            429 => "answered 429 (too many requests)".to_owned(),
            code => format!("answered {code}"),
        };
        let asks = retry_after.map(|delay| format!(" and asks to wait {} s", delay.as_secs())).unwrap_or_default();
        Self::Busy { message: format!("registry {registry} {words}{asks}"), retry_after }
    }
}

/// Why a manifest does not name a module that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ManifestError {
    /// The manifest is too large.
    #[error("its manifest has {bytes} bytes, which is too large")]
    TooLarge {
        /// Size of the manifest in bytes.
        bytes: usize,
    },
    /// The manifest is not JSON of the right form.
    #[error("its manifest cannot be read: {cause}")]
    Unreadable {
        /// The parser's message.
        cause: String,
    },
    /// The reference resolves to an index.
    #[error("it is an image index; name the manifest of the module by its digest")]
    Index,
    /// There is more than one WebAssembly layer.
    #[error("it has more than one WebAssembly layer; push each module separately")]
    SeveralModules,
    /// There is no WebAssembly layer.
    #[error("it has no WebAssembly layer ({found}, none is {expected}); push the module with bartizan push")]
    NoModule {
        /// The layers that there are, as a clause.
        found: String,
        /// The media type that one of them should have.
        expected: &'static str,
    },
    /// The digest of the layer uses another algorithm.
    #[error("the digest of its module is not SHA-256; push it with bartizan push")]
    NotSha256,
    /// The module is too large.
    #[error("the module has {bytes} bytes, more than the limit of {limit}; build it optimised and stripped")]
    ModuleTooLarge {
        /// Size of the module in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

impl From<ManifestError> for RegistryError {
    fn from(error: ManifestError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// A string that is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{reference}\" is not a reference of a registry ({cause}): write it as registry.example.com/providers/minio:1.0.0"
)]
pub struct ReferenceError {
    /// The string.
    pub reference: String,
    /// The parser's message.
    pub cause: String,
}

impl From<ReferenceError> for RegistryError {
    fn from(error: ReferenceError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Why credentials cannot be read. The text quotes nothing of them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// The source is not a Docker configuration.
    #[error("{source_name} is not a Docker configuration (line {line}, column {column})")]
    NotDockerConfig {
        /// Where it came from.
        source_name: String,
        /// Line of the error.
        line: usize,
        /// Column of the error.
        column: usize,
    },
    /// The `auth` of an entry cannot be decoded.
    #[error("{source_name}: auths[\"{key}\"].auth is not user:password in base64")]
    BadEntry {
        /// Where it came from.
        source_name: String,
        /// Key of the entry.
        key: String,
    },
}

impl From<CredentialsError> for RegistryError {
    fn from(error: CredentialsError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Why a file of certificate authorities cannot be used.
#[derive(Debug, Error)]
pub enum AuthoritiesError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not PEM.
    #[error("{}: is not PEM: {cause}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        cause: String,
    },
    /// The file holds no certificate.
    #[error("{}: holds no certificate in PEM form", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
}
