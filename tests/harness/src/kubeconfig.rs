//! Writes self-contained kubeconfig files, so that they can be copied.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::certificates::Identity;

/// The credential in a kubeconfig.
pub(crate) enum Credential<'a> {
    Certificate(&'a Identity),
    Token(&'a str),
}

/// Where the kubeconfigs of one cluster are written, and what they share.
pub(crate) struct Kubeconfigs {
    pub(crate) folder: PathBuf,
    pub(crate) server: String,
    /// The CA's certificate as PEM.
    pub(crate) authority: String,
}

impl Kubeconfigs {
    /// Writes the kubeconfig of one user and returns its path. `file` names the file, `namespace` is kubectl's
    /// default namespace.
    pub(crate) fn write(
        &self,
        file: &str,
        user: &str,
        namespace: &str,
        credential: &Credential<'_>,
    ) -> Result<PathBuf> {
        let credential = match credential {
            Credential::Certificate(identity) => json!({
                "client-certificate-data": BASE64_STANDARD.encode(&identity.certificate),
                "client-key-data": BASE64_STANDARD.encode(&identity.key),
            }),
            Credential::Token(token) => json!({ "token": token }),
        };
        let document = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "bartizan", "cluster": {
                "server": self.server,
                "certificate-authority-data": BASE64_STANDARD.encode(&self.authority),
            } }],
            "users": [{ "name": user, "user": credential }],
            "contexts": [{ "name": "bartizan", "context": {
                "cluster": "bartizan", "user": user, "namespace": namespace,
            } }],
            "current-context": "bartizan",
        });
        let path = self.folder.join(format!("{}.yaml", file_name(file)));
        write_private(&path, &yaml(&document)?)?;
        Ok(path)
    }
}

fn yaml(document: &Value) -> Result<String> {
    serde_yaml_ng::to_string(document).context("cannot write a kubeconfig as YAML")
}

/// A user name as a file name: `system:serviceaccount:a:b` has colons, at which a KUBECONFIG list would be split.
fn file_name(user: &str) -> String {
    user.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' }).collect()
}

/// Writes a file that only its owner may read: it holds a key or a token.
pub(crate) fn write_private(path: &Path, content: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
