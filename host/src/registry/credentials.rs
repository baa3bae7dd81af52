//! Who a registry is asked as: the entries of Docker's configuration file, which a pull secret holds too. No I/O.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use oci_client::Reference;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

/// Names of Docker's own registry, of which its configuration file knows several.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Where credentials come from, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: none were named.
    Nowhere,
    /// A Secret in the host's namespace.
    Secret(String),
    /// Docker's configuration file.
    File(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("nowhere"),
            Self::Secret(name) => write!(f, "Secret {name}"),
            Self::File(path) => f.write_str(path),
        }
    }
}

/// Who a registry is asked as. Never printed: its `Debug` hides what is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    /// For the registry.
    pub(crate) auth: RegistryAuth,
    /// Where that was looked for.
    pub(crate) place: Place,
    /// Why there are no credentials although something is said of the registry.
    pub(crate) unusable: Option<String>,
}

impl Login {
    /// As nobody.
    pub(crate) fn anonymous(place: Place) -> Self {
        Self { auth: RegistryAuth::Anonymous, place, unusable: None }
    }

    /// Whether there are credentials.
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

/// The login for a reference that Docker's configuration holds: of several entries that fit, the one with the longest path.
///
/// # Errors
/// If it is no such configuration, or its entry is damaged: in words that quote nothing of it.
pub(crate) fn login(config: &[u8], reference: &Reference, place: Place) -> Result<Login, String> {
    // serde's own words may quote a value.
    let config: DockerConfig = serde_json::from_slice(config).map_err(|error| {
        format!("{place} is not a Docker configuration (line {}, column {})", error.line(), error.column())
    })?;
    let fitting = config.auths.iter().filter(|(key, _)| fits(key, reference));
    let Some((key, entry)) = fitting.max_by_key(|(key, _)| key.len()) else {
        let helper = config.cred_helpers.iter().find(|(key, _)| fits(key, reference)).map(|(_, helper)| helper);
        let unusable = helper.or(config.creds_store.as_ref()).map(|helper| unusable_helper(helper));
        return Ok(Login { unusable, ..Login::anonymous(place) });
    };
    let auth = if !entry.registrytoken.is_empty() {
        RegistryAuth::Bearer(entry.registrytoken.clone())
    } else if !entry.auth.is_empty() {
        let decoded = BASE64_STANDARD.decode(entry.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (user, password) =
            pair.ok_or_else(|| format!("{place}: auths[\"{key}\"].auth is not user:password in base64"))?;
        RegistryAuth::Basic(user.to_owned(), password.trim_end_matches('\0').to_owned())
    } else if !entry.username.is_empty() {
        RegistryAuth::Basic(entry.username.clone(), entry.password.clone())
    } else {
        // `docker login` leaves an empty entry beside what a helper keeps.
        let unusable = if entry.identitytoken.is_empty() {
            config.cred_helpers.get(key).or(config.creds_store.as_ref()).map(|helper| unusable_helper(helper))
        } else {
            Some("it holds an identity token, which is not supported".to_owned())
        };
        return Ok(Login { unusable, ..Login::anonymous(place) });
    };
    Ok(Login { auth, place, unusable: None })
}

fn unusable_helper(helper: &str) -> String {
    format!("it leaves credentials to the helper docker-credential-{helper}, which is not supported")
}

/// Whether an entry is for this registry, and for this path in it if it names one. Keys may look like URLs.
fn fits(key: &str, reference: &Reference) -> bool {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let is_hub = |name: &str| DOCKER_HUB.contains(&name);
    let same = host == reference.registry() || (is_hub(host) && is_hub(reference.registry()));
    // What Docker's own registry was called when it had versions.
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
        let place = Place::Secret("pull".to_owned());
        let login = login(config.to_string().as_bytes(), &reference.parse().unwrap(), place)?;
        Ok((login.auth, login.unusable))
    }

    #[test]
    fn the_entry_with_the_longest_fitting_path_is_taken_in_every_form_that_docker_writes() {
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
    fn what_cannot_be_used_is_said_and_nothing_secret_with_it() {
        let helper = "it leaves credentials to the helper docker-credential-desktop, which is not supported";
        let nobody = |why: &str| Ok((RegistryAuth::Anonymous, Some(why.to_owned())));
        for config in [
            json!({"credsStore": "desktop"}),
            json!({"credsStore": "desktop", "auths": {"example.com": {}}}),
            json!({"credHelpers": {"example.com": "desktop"}}),
        ] {
            assert_eq!(found(&config, "example.com/x"), nobody(helper));
        }
        let token = json!({"auths": {"example.com": {"identitytoken": "hush"}}});
        assert_eq!(found(&token, "example.com/x"), nobody("it holds an identity token, which is not supported"));
        for (config, expected) in [
            (
                json!({"auths": {"example.com": {"auth": "hush"}}}),
                "Secret pull: auths[\"example.com\"].auth is not user:password in base64",
            ),
            (json!({"auths": "hush"}), "Secret pull is not a Docker configuration (line 1, column 15)"),
        ] {
            assert_eq!(found(&config, "example.com/x"), Err(expected.to_owned()));
        }
        let login = Login { auth: basic("a", "hush"), place: Place::Nowhere, unusable: None };
        assert!(!format!("{login:?}").contains("hush"));
    }
}
