//! The administrator's keys: always in a Secret, never in a pod.

use bartizan_sdk::json::{WriteJson, lazy, optional};
use bartizan_sdk::storage::CredentialsSource;
use bartizan_sdk::{config_hash, object, secret_data};

use super::labels;
use crate::validation::Plan;

/// What MinIO reads its administrator's name from.
pub(crate) const ACCESS_KEY_VARIABLE: &str = "MINIO_ROOT_USER";
/// What MinIO reads its administrator's password from.
pub(crate) const SECRET_KEY_VARIABLE: &str = "MINIO_ROOT_PASSWORD";

/// Keys of the Secret, ours and referenced ones.
const USERNAME: &str = "username";
const PASSWORD: &str = "password";

/// Characters of generated keys: as many as MinIO's own tools make.
const GENERATED: [(&str, u16); 2] = [(USERNAME, 20), (PASSWORD, 40)];

/// Name of the Secret that the servers read.
pub(super) fn secret_name(plan: &Plan<'_>) -> String {
    match plan.credentials {
        CredentialsSource::Secret(name) => name.to_owned(),
        CredentialsSource::Inline { .. } | CredentialsSource::Generated => format!("{}-credentials", plan.layout.name),
    }
}

/// The Secret, unless somebody else made it. Generated values are left out: the host puts them in.
pub(super) fn secret(plan: &Plan<'_>) -> Option<impl WriteJson> {
    let data = match plan.credentials {
        CredentialsSource::Secret(_) => return None,
        CredentialsSource::Generated => None,
        CredentialsSource::Inline { access_key, secret_key } => {
            Some(object!({USERNAME: secret_data(access_key), PASSWORD: secret_data(secret_key)}))
        }
    };
    let data = optional(data);
    Some(object!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(plan),
            "namespace": plan.layout.namespace,
            "labels": labels(&plan.layout),
        },
        "type": "Opaque",
        "data": data,
    }))
}

/// Keys of the Secret whose values the host makes, with their lengths.
pub(super) fn generated(plan: &Plan<'_>) -> impl Iterator<Item = (&'static str, u16)> {
    let generated = matches!(plan.credentials, CredentialsSource::Generated);
    GENERATED.into_iter().filter(move |_| generated)
}

/// What restarts the servers when it changes: a running server does not see that its Secret did.
pub(super) fn hash(plan: &Plan<'_>) -> String {
    let inline = match plan.credentials {
        CredentialsSource::Inline { access_key, secret_key } => Some((access_key, secret_key)),
        // Generated values never change, and referenced ones are not looked at.
        CredentialsSource::Secret(_) | CredentialsSource::Generated => None,
    };
    config_hash(&(secret_name(plan), inline))
}

/// The environment of a server, always in the same order: first the keys, then what people add.
pub(super) fn environment(plan: &Plan<'_>) -> impl WriteJson {
    let name = secret_name(plan);
    lazy(move |writer| {
        writer.begin_list();
        for (variable, key) in [(ACCESS_KEY_VARIABLE, USERNAME), (SECRET_KEY_VARIABLE, PASSWORD)] {
            let name = &name;
            writer.item(&object!({"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}));
        }
        plan.spec.env.iter().for_each(|variable| writer.item(variable));
        writer.end_list();
    })
}
