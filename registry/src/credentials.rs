//! Credentials for a registry, from a Docker configuration file; a pull secret holds the same. No I/O.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_client::Reference;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

use crate::error::CredentialsError;

/// Names of Docker Hub that occur in configuration files.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Where credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// Nowhere: none are configured.
    None,
    /// A Secret in the host's namespace, by its name.
    Secret(String),
    /// A Docker configuration file, by its path.
    File(String),
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("nowhere"),
            Self::Secret(name) => write!(f, "Secret {name}"),
            Self::File(path) => f.write_str(path),
        }
    }
}

/// The login at a registry. Its `Debug` shows no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The credentials.
    pub(crate) auth: RegistryAuth,
    /// Where they were looked up.
    pub(crate) source: CredentialSource,
    /// Why there are none although the source mentions the registry.
    pub(crate) unusable: Option<String>,
}

impl Login {
    /// A login without credentials.
    #[must_use]
    pub fn anonymous(source: CredentialSource) -> Self {
        Self { auth: RegistryAuth::Anonymous, source, unusable: None }
    }

    /// The login for a reference in a Docker configuration: of several matching entries, the one with the longest path.
    ///
    /// # Errors
    /// If the configuration or the entry is malformed. The error quotes nothing of it.
    pub fn from_docker_config(
        config: &[u8],
        reference: &Reference,
        source: CredentialSource,
    ) -> Result<Self, CredentialsError> {
        // serde's own message may quote a value.
        let config: DockerConfig = match serde_json::from_slice(config) {
            Ok(config) => config,
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                return Err(CredentialsError::NotDockerConfig { source_name: source.to_string(), line, column });
            }
        };
        let matching = config.auths.iter().filter(|(key, _)| matches(key, reference));
        let Some((key, entry)) = matching.max_by_key(|(key, _)| key.len()) else {
            let helper = config.cred_helpers.iter().find(|(key, _)| matches(key, reference)).map(|(_, helper)| helper);
            let unusable = helper.or(config.creds_store.as_ref()).map(|helper| unusable_helper(helper));
            return Ok(Self { unusable, ..Self::anonymous(source) });
        };
        let auth = if !entry.registrytoken.is_empty() {
            RegistryAuth::Bearer(entry.registrytoken.clone())
        } else if !entry.auth.is_empty() {
            let Some((user, password)) = decode_pair(&entry.auth) else {
                return Err(CredentialsError::BadEntry { source_name: source.to_string(), key: key.clone() });
            };
            RegistryAuth::Basic(user, password)
        } else if !entry.username.is_empty() {
            RegistryAuth::Basic(entry.username.clone(), entry.password.clone())
        } else {
            // `docker login` leaves an empty entry for credentials that a helper keeps.
            let unusable = if entry.identitytoken.is_empty() {
                config.cred_helpers.get(key).or(config.creds_store.as_ref()).map(|helper| unusable_helper(helper))
            } else {
                Some("it holds an identity token, which is not supported".to_owned())
            };
            return Ok(Self { unusable, ..Self::anonymous(source) });
        };
        Ok(Self { auth, source, unusable: None })
    }

    /// Whether there are no credentials.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.auth == RegistryAuth::Anonymous
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// User and password of an entry's `auth`.
fn decode_pair(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64_STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

fn unusable_helper(helper: &str) -> String {
    format!("it leaves credentials to the helper docker-credential-{helper}, which is not supported")
}

/// Whether an entry is for this registry, and for this path in it if it names one. Keys may look like URLs.
fn matches(key: &str, reference: &Reference) -> bool {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let is_hub = |name: &str| DOCKER_HUB.contains(&name);
    let same = host == reference.registry() || (is_hub(host) && is_hub(reference.registry()));
    // Docker Hub's key ends with the version of its API.
    let whole = ["", "v1", "v2"].contains(&path);
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    same && (whole || reference.repository().strip_prefix(path).is_some_and(below))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn basic(user: &str, password: &str) -> RegistryAuth {
        RegistryAuth::Basic(user.to_owned(), password.to_owned())
    }

    fn found(config: &Value, reference: &str) -> Result<(RegistryAuth, Option<String>), String> {
        let source = CredentialSource::Secret("pull".to_owned());
        let login = Login::from_docker_config(config.to_string().as_bytes(), &reference.parse().unwrap(), source);
        login.map(|login| (login.auth, login.unusable)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_entry_with_the_longest_matching_path_is_used_in_every_form() {
        let config = json!({"auths": {
            "example.com": {"auth": BASE64_STANDARD.encode("a:b:c")},
            "https://example.com/team": {"username": "team", "password": "t"},
            "example.com/tea": {"username": "wrong", "password": "w"},
            "localhost:5000": {"registrytoken": "token"},
            "https://index.docker.io/v1/": {"auth": BASE64_STANDARD.encode("hub:h")},
        }});
        for (reference, expected) in [
            ("example.com/other/x:1", basic("a", "b:c")),
            ("example.com/team/x:1", basic("team", "t")),
            ("localhost:5000/x", RegistryAuth::Bearer("token".to_owned())),
            ("docker.io/library/x", basic("hub", "h")),
            ("elsewhere.com/x", RegistryAuth::Anonymous),
        ] {
            assert_eq!(found(&config, reference), Ok((expected, None)), "{reference}");
        }
    }

    #[test]
    fn unusable_credentials_are_reported_without_secrets() {
        let helper = "it leaves credentials to the helper docker-credential-desktop, which is not supported";
        let anonymous = |why: &str| Ok((RegistryAuth::Anonymous, Some(why.to_owned())));
        for config in [
            json!({"credsStore": "desktop"}),
            json!({"credsStore": "desktop", "auths": {"example.com": {}}}),
            json!({"credHelpers": {"example.com": "desktop"}}),
        ] {
            assert_eq!(found(&config, "example.com/x"), anonymous(helper));
        }
        let token = json!({"auths": {"example.com": {"identitytoken": "hush"}}});
        assert_eq!(found(&token, "example.com/x"), anonymous("it holds an identity token, which is not supported"));
        for (config, expected) in [
            (
                json!({"auths": {"example.com": {"auth": "hush"}}}),
                "Secret pull: auths[\"example.com\"].auth is not user:password in base64",
            ),
            (json!({"auths": "hush"}), "Secret pull is not a Docker configuration (line 1, column 15)"),
        ] {
            assert_eq!(found(&config, "example.com/x"), Err(expected.to_owned()));
        }
        let login = Login { auth: basic("a", "hush"), source: CredentialSource::None, unusable: None };
        assert!(!format!("{login:?}").contains("hush"));
    }
}
