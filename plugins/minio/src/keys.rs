//! The administrator's keys. Servers with different keys reject one another, and what one of them has encrypted, such as users and
//! policies, cannot be read with another: the keys of a running store never change. So a store keeps the keys that it was made with in a
//! Secret of its own, wherever they came from, and a fingerprint of them at its StatefulSet. While anything does not match, nothing is
//! written to it or to the servers, and `CredentialsReady=False` says what to do.

use std::borrow::Cow;

use bartizan_sdk::k8s_openapi::api::apps::v1::StatefulSet;
use bartizan_sdk::k8s_openapi::api::core::v1::{Secret, Service};
use bartizan_sdk::observed::{ObjectView, SecretView, StatefulSetView};
use bartizan_sdk::storage::CredentialsSource;
use bartizan_sdk::{ChildKind, Condition, ConditionStatus, Failure, Request, config_hash, secret_data};

use crate::plan::Plan;
use crate::spec::ObjectStoreSpec;

/// The keys of the Secret, of the one that is made here and of one that the spec names.
pub(crate) const USERNAME: &str = "username";
pub(crate) const PASSWORD: &str = "password";
/// The fingerprint of the keys that the store was made with.
pub(crate) const FINGERPRINT: &str = "minio.rook.io/credentials-hash";

/// A user name and a password, each as a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    pub(crate) username: Cow<'a, str>,
    pub(crate) password: Cow<'a, str>,
}

/// What becomes of the store's own Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Own<'a> {
    /// The host makes keys, or keeps those that it made.
    Generate,
    /// It has these keys.
    Given(Pair<'a>),
    /// It stays as it is.
    Keep,
    /// It does not exist, and is not made.
    Absent,
}

/// The keys of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys<'a> {
    /// What becomes of the store's own Secret.
    pub(crate) own: Own<'a>,
    /// The fingerprint to record.
    pub(crate) fingerprint: Option<String>,
    /// Why the servers cannot be made, or do not run with the keys that the spec asks for.
    pub(crate) fault: Option<KeyFault>,
    /// What becomes of the servers.
    pub(crate) servers: Servers,
}

/// What becomes of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Servers {
    /// They are as the spec says.
    Run,
    /// They stay as they are: a server that is restarted now would run with other keys, or with none.
    Keep,
    /// There are none, and none are made.
    Wait,
}

/// A reason of `CredentialsReady=False` and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyFault {
    reason: &'static str,
    message: String,
}

impl KeyFault {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }

    /// What is wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// The keys that the spec asks for.
enum Wanted<'a> {
    Generated,
    These(Pair<'a>),
    /// They are not there.
    Missing(KeyFault),
}

impl<'a> Pair<'a> {
    fn of(secret: &SecretView<'a>) -> Option<Self> {
        Some(Self { username: secret.token(USERNAME)?, password: secret.token(PASSWORD)? })
    }

    fn fingerprint(&self) -> String {
        config_hash(&(&self.username, &self.password))
    }
}

impl Keys<'_> {
    /// The condition `CredentialsReady`.
    pub(crate) fn condition(&self) -> Condition {
        const TYPE: &str = "CredentialsReady";
        match &self.fault {
            None => Condition::new(TYPE, ConditionStatus::True, "CredentialsReady", ""),
            Some(KeyFault { reason, message }) => Condition::new(TYPE, ConditionStatus::False, reason, message.clone()),
        }
    }
}

/// The name of the store's own Secret.
pub(crate) fn secret_name(store: &str) -> String {
    format!("{store}-credentials")
}

/// The Secret that the spec names.
pub(crate) fn referenced<'a>(plan: &Plan<'a>) -> Option<&'a str> {
    match plan.credentials {
        CredentialsSource::Secret(name) => Some(name),
        CredentialsSource::Inline { .. } | CredentialsSource::Generated => None,
    }
}

/// Decides on the keys of a store; `made` are its servers, if there are any.
///
/// # Errors
/// If a Secret cannot be read.
pub(crate) fn of<'a>(
    plan: &Plan<'a>,
    request: &'a Request<'_, ObjectStoreSpec>,
    made: Option<&StatefulSetView<'_>>,
) -> Result<Keys<'a>, Failure> {
    let name = secret_name(request.name());
    let wanted = wanted(plan, request)?;
    let own = match request.child::<SecretView<'_>>(&name)? {
        Some(own) => Some(own),
        // Somebody took its labels off, or another provider has not released it yet.
        None => {
            let found = request.related::<SecretView<'_>>(&name)?;
            // One of an earlier store without claims goes with that.
            let is_ours = |secret: &SecretView<'_>| {
                !secret.metadata.has_owner() || secret.metadata.is_owned_by("uid", &request.metadata.uid)
            };
            found.filter(is_ours)
        }
    };
    let own = own.filter(|secret| !secret.metadata.is_deleting);
    let headless = request.child::<ObjectView<'_, Service>>(request.name())?;
    let records = [made.map(|made| &made.metadata), headless.as_ref().map(|headless| &headless.metadata)];
    let recorded =
        records.into_iter().flatten().find_map(|metadata| metadata.annotation(FINGERPRINT)).map(Cow::into_owned);
    let pair = own.as_ref().and_then(Pair::of);
    let keys = match pair {
        Some(pair) if recorded.as_ref().is_none_or(|recorded| *recorded == pair.fingerprint()) => {
            running(pair, &wanted, &name)
        }
        None if made.is_none() && recorded.is_none() => first(wanted, own.is_some()),
        _ => lost(wanted, recorded, own.is_some(), &name),
    };
    let servers = if made.is_none() && keys.servers == Servers::Keep { Servers::Wait } else { keys.servers };
    Ok(Keys { servers, ..keys })
}

/// The Secrets to read: that of the store, and the one that the spec names.
pub(crate) fn related(plan: &Plan<'_>) -> Vec<String> {
    let own = secret_name(&plan.layout.name);
    std::iter::once(own).chain(referenced(plan).map(str::to_owned)).collect()
}

fn wanted<'a>(plan: &Plan<'a>, request: &'a Request<'_, ObjectStoreSpec>) -> Result<Wanted<'a>, Failure> {
    Ok(match plan.credentials {
        CredentialsSource::Generated => Wanted::Generated,
        CredentialsSource::Inline { access_key, secret_key } => {
            Wanted::These(Pair { username: secret_data(access_key).into(), password: secret_data(secret_key).into() })
        }
        CredentialsSource::Secret(name) if !request.serves(SECRET)? => Wanted::Missing(KeyFault::new(
            "SecretNotReadable",
            format!(
                "spec.credentials.name: the Provider may not read Secret {name}; its spec.grants.related must have Secrets"
            ),
        )),
        CredentialsSource::Secret(name) => match request.related::<SecretView<'_>>(name)? {
            None => Wanted::Missing(KeyFault::new(
                "SecretNotFound",
                format!(
                    "spec.credentials.name: Secret {name} does not exist; create it with the keys {USERNAME} and {PASSWORD}"
                ),
            )),
            Some(secret) => match Pair::of(&secret) {
                Some(pair) => Wanted::These(pair),
                None => {
                    let missing = [USERNAME, PASSWORD].into_iter().filter(|key| secret.token(key).is_none());
                    let missing = missing.collect::<Vec<_>>().join(" and ");
                    let message = format!("spec.credentials.name: Secret {name} has no value for {missing}");
                    Wanted::Missing(KeyFault::new("SecretIncomplete", message))
                }
            },
        },
    })
}

/// The store has its keys: they stay, whatever is asked for now.
fn running<'a>(pair: Pair<'a>, wanted: &Wanted<'a>, name: &str) -> Keys<'a> {
    let fault = match wanted {
        Wanted::These(other) if *other != pair => Some(KeyFault::new(
            "RotationPending",
            format!(
                "the store keeps the keys that it was made with (Secret {name}), since servers with different keys reject one another; \
                 those of spec.credentials are not used: put the former ones back (to begin a new store with them, delete the store, its \
                 claims and the Secret)"
            ),
        )),
        _ => None,
    };
    let fingerprint = Some(pair.fingerprint());
    let own = match wanted {
        Wanted::Generated => Own::Generate,
        Wanted::These(_) | Wanted::Missing(_) => Own::Given(pair),
    };
    Keys { own, fingerprint, fault, servers: Servers::Run }
}

/// There is neither a store nor a Secret with both keys.
fn first(wanted: Wanted<'_>, is_there: bool) -> Keys<'_> {
    match wanted {
        Wanted::Generated => Keys { own: Own::Generate, fingerprint: None, fault: None, servers: Servers::Run },
        Wanted::These(pair) => {
            let fingerprint = Some(pair.fingerprint());
            Keys { own: Own::Given(pair), fingerprint, fault: None, servers: Servers::Run }
        }
        Wanted::Missing(fault) => {
            let own = if is_there { Own::Keep } else { Own::Absent };
            Keys { own, fingerprint: None, fault: Some(fault), servers: Servers::Wait }
        }
    }
}

/// The servers run with keys that their Secret does not have any more.
fn lost<'a>(wanted: Wanted<'a>, recorded: Option<String>, is_there: bool, name: &str) -> Keys<'a> {
    match wanted {
        // Before fingerprints were recorded, the servers had what the spec asks for.
        Wanted::These(pair) if recorded.as_ref().is_none_or(|recorded| *recorded == pair.fingerprint()) => {
            let fingerprint = Some(pair.fingerprint());
            Keys { own: Own::Given(pair), fingerprint, fault: None, servers: Servers::Run }
        }
        _ => {
            let (own, reason, what) = match is_there {
                true => (Own::Keep, "SecretChanged", "does not have the keys that the servers run with"),
                false => (Own::Absent, "SecretMissing", "is gone, with the keys that the servers run with"),
            };
            let advice = match is_there {
                true => format!(
                    "put the former ones back; or, if all servers run with these, remove the annotation {FINGERPRINT} from the StatefulSet"
                ),
                false => {
                    "create a Secret of another name with these keys, and name it in spec.credentials.name".to_owned()
                }
            };
            let message = format!(
                "Secret {name} {what}: nothing is put in their place, since new keys cannot read the store; {advice}"
            );
            Keys { own, fingerprint: recorded, fault: Some(KeyFault::new(reason, message)), servers: Servers::Keep }
        }
    }
}

/// The kind of the Secret.
pub(crate) const SECRET: ChildKind = ChildKind::of::<Secret>();
/// The kind of the servers.
pub(crate) const SERVERS: ChildKind = ChildKind::of::<StatefulSet>();
