//! The client of a registry: resolve, download, push. Every operation has a deadline, and no more bytes are read than the
//! manifest announced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Once, OnceLock};
use std::time::Duration;

use bartizan_contract::digest::digest_of;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::HeaderValue;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::{NoProxy, Proxy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::credentials::Login;
use crate::error::{AuthoritiesError, ManifestError, ReferenceError, RegistryError};
use crate::explain::explain;
use crate::manifest::{self, ACCEPTED, Artifact, Layer, MANIFEST};
use crate::session::Session;

/// Longest time to connect, and longest time without a byte.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);
/// Longest time for small requests, and for a module.
pub(crate) const SHORT: Duration = Duration::from_secs(30);
pub(crate) const LONG: Duration = Duration::from_secs(300);
/// Largest manifest; registries have the same bound.
const MANIFEST_BYTES: usize = 4 << 20;
const USER_AGENT: &str = concat!("bartizan/", env!("CARGO_PKG_VERSION"));
/// A proxy that cannot exist: nothing listens at port 0.
const NOWHERE: &str = "http://127.0.0.1:0";

/// Certificate authorities to trust in addition to those of this machine, in DER form.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<Vec<u8>>);

impl Authorities {
    /// Reads the certificates of a PEM file; none if no file is named.
    ///
    /// # Errors
    /// If the file cannot be read, or holds no certificate.
    pub fn read(file: Option<&Path>) -> Result<Self, AuthoritiesError> {
        let Some(path) = file else { return Ok(Self::default()) };
        let pem = std::fs::read(path).map_err(|source| AuthoritiesError::Read { path: path.to_owned(), source })?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let all = all.map_err(|error| AuthoritiesError::NotPem { path: path.to_owned(), cause: error.to_string() })?;
        if all.is_empty() {
            return Err(AuthoritiesError::NoCertificate { path: path.to_owned() });
        }
        Ok(Self(all.iter().map(|certificate| certificate.to_vec()).collect()))
    }
}

/// Parses a reference such as `registry.example.com/providers/minio:1.0.0`.
///
/// # Errors
/// If it is not one.
pub fn parse_reference(text: &str) -> Result<Reference, ReferenceError> {
    text.parse().map_err(|error: oci_client::ParseError| ReferenceError {
        reference: text.to_owned(),
        cause: error.to_string(),
    })
}

/// What a reference resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Digest of the manifest.
    pub manifest: String,
    /// The layer that holds the module.
    pub layer: Layer,
}

/// Digests of what was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Digest of the manifest.
    pub manifest: String,
    /// Digest of the module.
    pub module: String,
}

/// One repository of a registry, with the credentials to use there.
pub struct Registry {
    client: Client,
    reference: Reference,
    plain_http: bool,
    login: Login,
    /// A client like the library's, for what that does not tell.
    own: reqwest::Client,
    /// What the registry was shown first.
    presented: OnceLock<RegistryAuth>,
}

impl Registry {
    /// Sets the client up, without connecting.
    ///
    /// # Errors
    /// If TLS cannot be set up on this machine.
    pub fn new(
        reference: Reference,
        plain_http: bool,
        authorities: &Authorities,
        login: Login,
    ) -> Result<Self, RegistryError> {
        Self::with_silence(reference, plain_http, authorities, login, Some(SILENCE))
    }

    /// For uploads, during which a registry says nothing: each has a deadline by its size.
    ///
    /// # Errors
    /// If TLS cannot be set up on this machine.
    pub fn for_uploads(
        reference: Reference,
        plain_http: bool,
        authorities: &Authorities,
        login: Login,
    ) -> Result<Self, RegistryError> {
        Self::with_silence(reference, plain_http, authorities, login, None)
    }

    fn with_silence(
        reference: Reference,
        plain_http: bool,
        authorities: &Authorities,
        login: Login,
        silence: Option<Duration>,
    ) -> Result<Self, RegistryError> {
        static CRYPTOGRAPHY: Once = Once::new();
        CRYPTOGRAPHY.call_once(|| {
            // If one is installed already, it serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let extra =
            authorities.0.iter().map(|der| Certificate { encoding: CertificateEncoding::Der, data: der.clone() });
        let proxies = if plain_http { Proxies::default() } else { Proxies::for_tls(|name| std::env::var(name).ok()) };
        let config = ClientConfig {
            protocol: if plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
            extra_root_certificates: extra.collect(),
            // Not every registry supports chunked uploads.
            use_monolithic_push: true,
            platform_resolver: None,
            connect_timeout: Some(CONNECT),
            read_timeout: silence,
            user_agent: USER_AGENT,
            https_proxy: proxies.https.clone(),
            http_proxy: proxies.http.clone(),
            no_proxy: proxies.no.clone(),
            ..ClientConfig::default()
        };
        // The library panics on a machine without any trusted authority, as in an image without certificates.
        let client = catch_unwind(AssertUnwindSafe(|| Client::try_from(config)));
        let no_tls = || {
            let advice = "install ca-certificates, or set SSL_CERT_FILE";
            RegistryError::Unavailable(format!(
                "TLS cannot be set up, since this machine trusts no certificate authority: {advice}"
            ))
        };
        match client {
            Ok(Ok(client)) => {
                let own = proxies.client(authorities).ok_or_else(no_tls)?;
                Ok(Self { client, reference, plain_http, login, own, presented: OnceLock::new() })
            }
            Ok(Err(_)) | Err(_) => Err(no_tls()),
        }
    }

    /// Resolves the reference to a manifest and its module, which may have up to `limit` bytes.
    ///
    /// # Errors
    /// If it does not exist or is not a module, or the registry is unavailable.
    pub async fn resolve(&self, limit: usize) -> Result<Resolved, RegistryError> {
        self.within(SHORT, async {
            self.log_in(RegistryOperation::Pull).await?;
            self.pull(&self.reference).await
        })
        .await
        .and_then(|bytes| {
            let layer = manifest::layer_of(&bytes, limit)?;
            Ok(Resolved { manifest: digest_of(&bytes), layer })
        })
    }

    /// Downloads a module and verifies its digest.
    ///
    /// # Errors
    /// If the digest differs, or the registry is unavailable.
    pub async fn download(&self, layer: &Layer) -> Result<Bytes, RegistryError> {
        self.within(LONG, async {
            match self.blob(layer).await {
                Ok(bytes) => Ok(bytes),
                Err(error) => {
                    let again = self.session(&self.reference).blob(&layer.digest);
                    Err(self.failed(error, &self.reference, Some(again)).await)
                }
            }
        })
        .await
    }

    /// A manifest as it is.
    pub(crate) async fn pull(&self, place: &Reference) -> Result<Bytes, RegistryError> {
        match self.client.pull_manifest_raw(place, self.auth(), &ACCEPTED).await {
            Ok((bytes, _)) if bytes.len() <= MANIFEST_BYTES => Ok(bytes),
            Ok((bytes, _)) => Err(ManifestError::TooLarge { bytes: bytes.len() }.into()),
            Err(error) => Err(self.failed(error, place, Some(self.session(place).manifest())).await),
        }
    }

    /// The same; `None`: there is none.
    pub(crate) async fn find(&self, place: &Reference) -> Result<Option<Bytes>, RegistryError> {
        match self.pull(place).await {
            Err(RegistryError::Missing(_)) => Ok(None),
            found => found.map(Some),
        }
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

    /// Pushes a module.
    ///
    /// # Errors
    /// If the registry is unavailable, or rejects it.
    pub async fn push(&self, module: Bytes) -> Result<Pushed, RegistryError> {
        let artifact = Artifact::new(&module);
        let (manifest, digest) = (digest_of(&artifact.manifest), artifact.module.clone());
        self.within(LONG, async {
            self.log_in(RegistryOperation::Push).await?;
            let blobs = [Bytes::from(artifact.config), module];
            self.upload(&self.reference, blobs, artifact.manifest).await
        })
        .await?;
        Ok(Pushed { manifest, module: digest })
    }

    /// Uploads a manifest of our own, and before it the blobs that it names.
    pub(crate) async fn upload(
        &self,
        place: &Reference,
        blobs: [Bytes; 2],
        manifest: Vec<u8>,
    ) -> Result<(), RegistryError> {
        for bytes in blobs {
            let digest = digest_of(&bytes);
            if !self.has(&digest).await? {
                self.put(&digest, bytes).await?;
            }
        }
        self.put_manifest(place, manifest, HeaderValue::from_static(MANIFEST)).await
    }

    /// Whether there is this blob.
    pub(crate) async fn has(&self, digest: &str) -> Result<bool, RegistryError> {
        let asked = self.client.blob_exists(&self.reference, digest).await;
        asked.map_err(|error| self.explain(error, &self.reference))
    }

    /// Uploads a blob.
    pub(crate) async fn put(&self, digest: &str, bytes: Bytes) -> Result<(), RegistryError> {
        let put = self.client.push_blob(&self.reference, bytes, digest).await;
        put.map(drop).map_err(|error| self.explain(error, &self.reference))
    }

    /// Uploads a manifest whose blobs are there.
    pub(crate) async fn put_manifest(
        &self,
        place: &Reference,
        bytes: Vec<u8>,
        media_type: HeaderValue,
    ) -> Result<(), RegistryError> {
        // The library panics if a registry answers without a location, unless the address ends with a tag: it is the same address.
        let at = place.digest().map_or_else(|| place.clone(), |digest| self.tagged(digest.to_owned()));
        let put = self.client.push_manifest_raw(&at, bytes, media_type).await;
        put.map(drop).map_err(|error| self.explain(error, place))
    }

    /// What it is about.
    pub(crate) fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Another tag of its repository.
    pub(crate) fn tagged(&self, tag: String) -> Reference {
        Reference::with_tag(self.reference.registry().to_owned(), self.reference.repository().to_owned(), tag)
    }

    /// Logs in, and tells the library what to present.
    pub(crate) async fn log_in(&self, operation: RegistryOperation) -> Result<(), RegistryError> {
        let actions = match operation {
            RegistryOperation::Pull => "pull",
            RegistryOperation::Push => "pull,push",
        };
        let auth = self.session(&self.reference).log_in(actions).await?;
        let told = self.client.auth(&self.reference, &auth, operation).await;
        told.map_err(|error| self.explain(error, &self.reference))?;
        // The first one is that of `resolve`, with which everything else is pulled, too.
        let _ = self.presented.set(auth);
        Ok(())
    }

    /// What the registry was shown.
    pub(crate) fn auth(&self) -> &RegistryAuth {
        self.presented.get().unwrap_or(&self.login.auth)
    }

    pub(crate) fn session<'a>(&'a self, image: &'a Reference) -> Session<'a> {
        let Self { own, plain_http, login, .. } = self;
        Session { client: own, image, plain_http: *plain_http, login }
    }

    pub(crate) async fn within<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        match tokio::time::timeout(time, work).await {
            Ok(result) => result,
            Err(_) => {
                let (registry, seconds) = (self.reference.registry(), time.as_secs());
                Err(RegistryError::Unavailable(format!("registry {registry} did not finish within {seconds} s")))
            }
        }
    }

    /// What an error means, with the delay that a busy registry asks for when the request is made once more.
    async fn failed(&self, error: OciDistributionError, place: &Reference, again: Option<String>) -> RegistryError {
        let error = self.explain(error, place);
        match (&error, again) {
            (RegistryError::Busy { .. }, Some(address)) => {
                self.session(place).refusal(&address, self.auth()).await.unwrap_or(error)
            }
            _ => error,
        }
    }

    fn explain(&self, error: OciDistributionError, place: &Reference) -> RegistryError {
        match &error {
            OciDistributionError::RequestError(error)
                if !self.plain_http && error.url().is_some_and(|url| url.scheme() == "http") =>
            {
                let registry = self.reference.registry();
                RegistryError::Unavailable(format!("registry {registry} issues tokens without TLS, which is refused"))
            }
            _ => explain(error, place, &self.login),
        }
    }
}

/// The proxies to use. `None`: those of the environment.
#[derive(Debug, Default, PartialEq, Eq)]
struct Proxies {
    https: Option<String>,
    http: Option<String>,
    no: Option<String>,
}

impl Proxies {
    /// With TLS, every plain HTTP request goes to a proxy that does not exist: a registry may redirect a client to any address,
    /// credentials included. The library has no other way to forbid that, and then ignores the environment.
    fn for_tls(environment: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| environment(name).filter(|value| !value.is_empty()));
        let https = first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
        // Without a proxy, NO_PROXY would exempt plain HTTP from the one above.
        let no = https.as_ref().and_then(|_| first(&["NO_PROXY", "no_proxy"]));
        Self { https, http: Some(NOWHERE.to_owned()), no }
    }

    /// A client like the library's own.
    fn client(&self, authorities: &Authorities) -> Option<reqwest::Client> {
        let certificates: Result<Vec<_>, _> =
            authorities.0.iter().map(|der| reqwest::Certificate::from_der(der)).collect();
        let mut builder = reqwest::Client::builder()
            .tls_certs_merge(certificates.ok()?)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(USER_AGENT);
        let exempt = || self.no.as_deref().and_then(NoProxy::from_string);
        if let Some(proxy) = &self.https {
            builder = builder.proxy(Proxy::https(proxy).ok()?.no_proxy(exempt()));
        }
        if let Some(proxy) = &self.http {
            // No exceptions: with TLS, this one keeps everything from leaving without.
            let exempt = if *proxy == NOWHERE { None } else { exempt() };
            builder = builder.proxy(Proxy::http(proxy).ok()?.no_proxy(exempt));
        }
        builder.build().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_parsed_or_refused_with_advice() {
        let reference = parse_reference("registry.example.com/providers/minio:1.0.0").unwrap();
        assert_eq!((reference.registry(), reference.repository()), ("registry.example.com", "providers/minio"));
        let error = parse_reference("Example.com/A B").unwrap_err().to_string();
        assert!(error.starts_with("\"Example.com/A B\" is not a reference of a registry ("), "{error}");
        assert!(error.ends_with("): write it as registry.example.com/providers/minio:1.0.0"), "{error}");
    }

    #[test]
    fn with_tls_no_plain_http_request_leaves_the_machine() {
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
    fn a_file_of_authorities_holds_at_least_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        assert!(Authorities::read(None).unwrap().0.is_empty());
        std::fs::write(&file, "no certificate").unwrap();
        let error = Authorities::read(Some(&file)).unwrap_err().to_string();
        assert!(error.ends_with("ca.pem: holds no certificate in PEM form"), "{error}");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert_eq!(Authorities::read(Some(&file)).unwrap().0, [vec![0, 0, 0]]);
    }
}
