//! Speaking to a registry: resolve, download, push. Everything has a deadline, and nothing is taken for more than it was
//! announced as.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::HeaderValue;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError};
use oci_client::manifest::OciDescriptor;
use oci_client::{Client, Reference, RegistryOperation};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::credentials::Login;
use super::digest_of;
use super::failure::{Failure, explain};
use super::manifest::{self, ACCEPTED, Layer, MANIFEST};

/// Longest time to a connection, and without a byte.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);
/// Longest time for what has a few bytes, and for a module.
const SHORT: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(300);
/// Longest manifest, as registries bound them, too.
const MANIFEST_BYTES: usize = 4 << 20;
/// A proxy that nobody can be: at port 0 nothing listens.
const NOWHERE: &str = "http://127.0.0.1:0";

/// Authorities that registries may be signed by, beside those that this machine trusts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authorities(Vec<Vec<u8>>);

impl Authorities {
    /// Those of a PEM file; none without one.
    ///
    /// # Errors
    /// If it cannot be read, or holds no certificate.
    pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else { return Ok(Self::default()) };
        let title = || format!("--registry-ca {}", file.display());
        let pem = std::fs::read(file).with_context(title)?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let all = all.map_err(|error| anyhow::anyhow!("is not PEM: {error}")).with_context(title)?;
        anyhow::ensure!(!all.is_empty(), "{}: holds no certificate in PEM form", title());
        Ok(Self(all.iter().map(|certificate| certificate.to_vec()).collect()))
    }
}

/// Reads a reference as people write them.
///
/// # Errors
/// If it is none: in words.
pub(crate) fn parse_reference(text: &str) -> Result<Reference, String> {
    let advice = "write it as registry.example.com/providers/minio:1.0.0";
    text.parse()
        .map_err(|error| format!("\"{text}\" is not a reference to something in a registry ({error}): {advice}"))
}

/// What a reference stands for at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Digest of the manifest.
    pub(crate) manifest: String,
    /// The module that it names.
    pub(crate) layer: Layer,
}

/// What was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// Digest of the manifest.
    pub(crate) manifest: String,
    /// Digest of the module.
    pub(crate) module: String,
}

/// One repository of a registry, as somebody.
pub(crate) struct Registry {
    client: Client,
    reference: Reference,
    plain_http: bool,
    login: Login,
}

impl Registry {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// If this machine cannot speak TLS.
    pub(crate) fn new(
        reference: Reference,
        plain_http: bool,
        authorities: &Authorities,
        login: Login,
    ) -> Result<Self, Failure> {
        static CRYPTOGRAPHY: Once = Once::new();
        CRYPTOGRAPHY.call_once(|| {
            // If somebody was faster, theirs does as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let extra =
            authorities.0.iter().map(|der| Certificate { encoding: CertificateEncoding::Der, data: der.clone() });
        let proxies = if plain_http { Proxies::default() } else { Proxies::for_tls(|name| std::env::var(name).ok()) };
        let config = ClientConfig {
            protocol: if plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
            extra_root_certificates: extra.collect(),
            // Not every registry knows how to take a blob in pieces.
            use_monolithic_push: true,
            platform_resolver: None,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("bartizan/", env!("CARGO_PKG_VERSION")),
            https_proxy: proxies.https,
            http_proxy: proxies.http,
            no_proxy: proxies.no,
            ..ClientConfig::default()
        };
        // The library panics on a machine that trusts no authority at all, as in an image without certificates.
        let client = catch_unwind(AssertUnwindSafe(|| Client::try_from(config)));
        let no_tls = || {
            let advice = "install ca-certificates, or name a file of them in SSL_CERT_FILE";
            Failure::Unavailable(format!("no TLS, since this machine trusts no certificate authority: {advice}"))
        };
        match client {
            Ok(Ok(client)) => Ok(Self { client, reference, plain_http, login }),
            Ok(Err(_)) | Err(_) => Err(no_tls()),
        }
    }

    /// Asks what the reference stands for. What it names may have `limit` bytes.
    ///
    /// # Errors
    /// If that is no module, or the registry cannot be asked.
    pub(crate) async fn resolve(&self, limit: usize) -> Result<Resolved, Failure> {
        self.within(SHORT, async {
            self.log_in(RegistryOperation::Pull).await?;
            let (bytes, _) = self.client.pull_manifest_raw(&self.reference, &self.login.auth, &ACCEPTED).await?;
            Ok(bytes)
        })
        .await
        .and_then(|bytes| {
            if bytes.len() > MANIFEST_BYTES {
                return Err(Failure::Invalid(format!("its manifest has {} bytes, which is too many", bytes.len())));
            }
            let layer = manifest::layer_of(&bytes, limit).map_err(Failure::Invalid)?;
            Ok(Resolved { manifest: digest_of(&bytes), layer })
        })
    }

    /// Downloads a module, and checks that it is the one that the manifest named.
    ///
    /// # Errors
    /// If it is not, or the registry cannot be asked.
    pub(crate) async fn download(&self, layer: &Layer) -> Result<Bytes, Failure> {
        self.within(LONG, self.blob(layer)).await
    }

    async fn blob(&self, layer: &Layer) -> Result<Bytes, OciDistributionError> {
        let size = i64::try_from(layer.size).unwrap_or(i64::MAX);
        let descriptor = OciDescriptor { digest: layer.digest.clone(), size, ..OciDescriptor::default() };
        let mut stream = self.client.pull_blob_stream(&self.reference, &descriptor).await?.stream;
        let mut bytes = BytesMut::with_capacity(layer.size);
        while let Some(part) = stream.next().await {
            let part = part?;
            if bytes.len() + part.len() > layer.size {
                let actual = format!("more than the {} bytes of its manifest", layer.size);
                return Err(DigestError::VerificationError { expected: layer.digest.clone(), actual }.into());
            }
            bytes.extend_from_slice(&part);
        }
        let actual = digest_of(&bytes);
        if actual != layer.digest {
            return Err(DigestError::VerificationError { expected: layer.digest.clone(), actual }.into());
        }
        Ok(bytes.freeze())
    }

    /// Puts a module there.
    ///
    /// # Errors
    /// If the registry cannot be asked, or does not take it.
    pub(crate) async fn push(&self, module: Bytes, is_component: bool) -> Result<Pushed, Failure> {
        let written = manifest::written(&module, is_component);
        let (manifest, digest) = (digest_of(&written.manifest), written.module.clone());
        self.within(LONG, async {
            self.log_in(RegistryOperation::Push).await?;
            self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.login.auth).await;
            for (bytes, digest) in
                [(Bytes::from(written.config.clone()), digest_of(&written.config)), (module, written.module)]
            {
                if !self.client.blob_exists(&self.reference, &digest).await? {
                    self.client.push_blob(&self.reference, bytes, &digest).await?;
                }
            }
            let kind = HeaderValue::from_static(MANIFEST);
            self.client.push_manifest_raw(&self.reference, written.manifest, kind).await
        })
        .await?;
        Ok(Pushed { manifest, module: digest })
    }

    /// Gets a token if the registry hands out such. Left to the library, an error here would come back as a refusal later.
    async fn log_in(&self, operation: RegistryOperation) -> Result<(), OciDistributionError> {
        self.client.auth(&self.reference, &self.login.auth, operation).await?;
        Ok(())
    }

    async fn within<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, OciDistributionError>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(time, work).await {
            Ok(result) => result.map_err(|error| self.explain(error)),
            Err(_) => {
                let (registry, seconds) = (self.reference.registry(), time.as_secs());
                Err(Failure::Unavailable(format!("registry {registry} was not done within {seconds} s")))
            }
        }
    }

    fn explain(&self, error: OciDistributionError) -> Failure {
        match &error {
            OciDistributionError::RequestError(error)
                if !self.plain_http && error.url().is_some_and(|url| url.scheme() == "http") =>
            {
                let registry = self.reference.registry();
                Failure::Unavailable(format!(
                    "registry {registry} wants tokens to be got without TLS, which is not done"
                ))
            }
            _ => explain(error, &self.reference, &self.login),
        }
    }
}

/// The way out of this machine. None: what the environment says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Proxies {
    https: Option<String>,
    http: Option<String>,
    no: Option<String>,
}

impl Proxies {
    /// Where TLS was not given up, what goes without it ends nowhere: a registry may send a client on to wherever it likes, also
    /// with credentials. The library has no other way to forbid that, and takes nothing from the environment beside it.
    fn for_tls(environment: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| environment(name).filter(|value| !value.is_empty()));
        let https = first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
        // It would be an exception from nowhere, too.
        let no = https.as_ref().and_then(|_| first(&["NO_PROXY", "no_proxy"]));
        Self { https, http: Some(NOWHERE.to_owned()), no }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_or_said_to_be_none() {
        let reference = parse_reference("registry.example.com/providers/minio:1.0.0").unwrap();
        assert_eq!((reference.registry(), reference.repository()), ("registry.example.com", "providers/minio"));
        let error = parse_reference("Example.com/A B").unwrap_err();
        assert!(error.starts_with("\"Example.com/A B\" is not a reference to something in a registry ("), "{error}");
        assert!(error.ends_with("): write it as registry.example.com/providers/minio:1.0.0"), "{error}");
    }

    #[test]
    fn where_tls_is_spoken_nothing_gets_out_without_it() {
        let found = |set: &[(&str, &str)]| {
            Proxies::for_tls(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        let proxies = |https: Option<&str>, no: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Proxies { https: owned(https), http: Some(NOWHERE.to_owned()), no: owned(no) }
        };
        assert_eq!(found(&[("NO_PROXY", "*"), ("HTTP_PROXY", "http://a")]), proxies(None, None));
        assert_eq!(
            found(&[("HTTPS_PROXY", ""), ("ALL_PROXY", "http://a"), ("no_proxy", "b")]),
            proxies(Some("http://a"), Some("b"))
        );
    }

    #[test]
    fn a_file_of_authorities_holds_some() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        assert!(Authorities::read(None).unwrap().0.is_empty());
        std::fs::write(&file, "no certificate").unwrap();
        let error = format!("{:#}", Authorities::read(Some(&file)).unwrap_err());
        assert!(error.ends_with("ca.pem: holds no certificate in PEM form"), "{error}");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert_eq!(Authorities::read(Some(&file)).unwrap().0, [vec![0, 0, 0]]);
    }
}
