//! The test cluster's own certificate authority: one CA, the API server's certificate, client certificates, a token key.

use anyhow::{Context, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// The object identifier of the attribute organizationName (X.520).
const ORGANIZATION_NAME: [u64; 4] = [2, 5, 4, 10];

/// A certificate and its private key, both as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The key pair that service account tokens are signed and checked with, as PEM.
pub(crate) struct TokenKey {
    pub(crate) private: String,
    pub(crate) public: String,
}

impl TokenKey {
    pub(crate) fn new() -> Result<Self> {
        let key = KeyPair::generate().context("cannot make the token key")?;
        Ok(Self { private: key.serialize_pem(), public: key.public_key_pem() })
    }
}

/// Signs everything in one cluster. Created for each, so that a kubeconfig of one cluster is useless in another.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let key = KeyPair::generate().context("cannot make the CA's key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bartizan test cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).context("cannot make the CA's certificate")?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The CA's certificate as PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The API server's certificate: for the loopback address, and for the names
    /// by which pods would call it.
    pub(crate) fn server(&self) -> Result<Identity> {
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let mut params = CertificateParams::new(names.map(str::to_owned))?;
        params.subject_alt_names.push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A client certificate: to Kubernetes the common name is the user and each
    /// organization is a group. At most two groups.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        // rcgen's distinguished name holds one value per attribute type. The same
        // attribute spelled by its number counts as another type, hence a second.
        let types = [DnType::OrganizationName, DnType::CustomDnType(ORGANIZATION_NAME.to_vec())];
        if groups.len() > types.len() {
            bail!("a client certificate for {user} can name {} groups, not {}", types.len(), groups.len());
        }
        for (kind, group) in types.into_iter().zip(groups) {
            params.distinguished_name.push(kind, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot sign a certificate")?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
