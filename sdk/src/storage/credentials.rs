//! Who may log in as administrator: keys given inline, a Secret that exists, or keys that the host makes.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Fault;

/// Keys as people give them: both inline, or the name of a Secret with the keys `username` and `password`, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The user name, inline.
    #[serde(default)]
    pub access_key: Option<String>,
    /// The password, inline.
    #[serde(default)]
    pub secret_key: Option<String>,
    /// Name of a Secret with the keys `username` and `password`.
    #[serde(default)]
    pub name: Option<String>,
    /// Namespace of that Secret; it must be the parent's, since pods can use no other.
    #[serde(default)]
    pub namespace: Option<String>,
}

/// Where the keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialsSource<'a> {
    /// From the parent.
    Inline {
        /// The user name.
        access_key: &'a str,
        /// The password.
        secret_key: &'a str,
    },
    /// From a Secret of this name in the parent's namespace.
    Secret(&'a str),
    /// Nobody gave any: the host makes them.
    Generated,
}

impl Credentials {
    /// Where the keys of a parent in `namespace` come from; `path` is the field that holds these credentials.
    ///
    /// # Errors
    /// The field at fault, when they are incomplete, ambiguous, or in another namespace.
    pub fn source(&self, path: &str, namespace: &str) -> Result<CredentialsSource<'_>, Fault> {
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let text = |text: &'static str| Err(Fault::new(path, text));
        let field = |name: &str, message: String| Err(Fault::new(format!("{path}.{name}"), message));
        let inline = (given(&self.access_key), given(&self.secret_key));
        match (inline, given(&self.name)) {
            ((true, _) | (_, true), true) => text("must be inline keys or the name of a Secret, not both"),
            ((true, false), _) => field("secretKey", "is required where accessKey is given".to_owned()),
            ((false, true), _) => field("accessKey", "is required where secretKey is given".to_owned()),
            ((true, true), false) => Ok(CredentialsSource::Inline {
                access_key: self.access_key.as_deref().unwrap_or_default(),
                secret_key: self.secret_key.as_deref().unwrap_or_default(),
            }),
            ((false, false), true) => match &self.namespace {
                Some(other) if !other.is_empty() && other != namespace => field(
                    "namespace",
                    format!(
                        "must be \"{namespace}\", the namespace of the pods that use the Secret, but is \"{other}\""
                    ),
                ),
                _ => Ok(CredentialsSource::Secret(self.name.as_deref().unwrap_or_default())),
            },
            ((false, false), false) if given(&self.namespace) => {
                field("name", "is required where namespace is given".to_owned())
            }
            ((false, false), false) => Ok(CredentialsSource::Generated),
        }
    }
}
