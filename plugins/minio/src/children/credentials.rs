//! The administrator's credentials: always in a Secret, never in a pod's spec.

use bartizan_sdk::json::{WriteJson, lazy, optional};
use bartizan_sdk::storage::CredentialsSource;
use bartizan_sdk::{config_hash, object, secret_data};

use super::metadata::labels;
use crate::plan::{ACCESS_KEY_VARIABLE, Plan, SECRET_KEY_VARIABLE};

/// The keys of the Secret, whether it is created here or referenced.
const USERNAME: &str = "username";
const PASSWORD: &str = "password";

/// The lengths of generated values: those of MinIO's own tools.
const GENERATED: [(&str, u16); 2] = [(USERNAME, 20), (PASSWORD, 40)];

/// The name of the Secret that the servers read.
pub(super) fn secret_name(plan: &Plan<'_>) -> String {
    match plan.credentials {
        CredentialsSource::Secret(name) => name.to_owned(),
        CredentialsSource::Inline { .. } | CredentialsSource::Generated => format!("{}-credentials", plan.layout.name),
    }
}

/// The Secret, unless the spec references an existing one. The host adds generated values.
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

/// The keys of the Secret whose values the host generates, with their lengths.
pub(super) fn generated(plan: &Plan<'_>) -> impl Iterator<Item = (&'static str, u16)> {
    let generated = matches!(plan.credentials, CredentialsSource::Generated);
    GENERATED.into_iter().filter(move |_| generated)
}

/// A hash that restarts the servers when it changes, because a running server does not notice a change of its Secret.
pub(super) fn hash(plan: &Plan<'_>) -> String {
    let inline = match plan.credentials {
        CredentialsSource::Inline { access_key, secret_key } => Some((access_key, secret_key)),
        // Generated values never change, and referenced ones are not read.
        CredentialsSource::Secret(_) | CredentialsSource::Generated => None,
    };
    config_hash(&(secret_name(plan), inline))
}

/// The environment of a server, in a fixed order: credentials first, then the variables of the spec.
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
