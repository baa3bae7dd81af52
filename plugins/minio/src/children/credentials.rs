//! The administrator's credentials: always in a Secret, never in a pod's spec.

use bartizan_sdk::json::{WriteJson, lazy, optional};
use bartizan_sdk::{OnDelete, Response, Treatment, config_hash, object};

use super::metadata::labels;
use crate::keys::{Keys, Own, PASSWORD, SECRET, USERNAME, secret_name};
use crate::plan::{ACCESS_KEY_VARIABLE, Plan, SECRET_KEY_VARIABLE};

/// The lengths of generated values: those of MinIO's own tools.
const GENERATED: [(&str, u16); 2] = [(USERNAME, 20), (PASSWORD, 40)];

/// Adds the store's own Secret. It stays as long as the data that cannot be read without it.
pub(super) fn add(mut response: Response, plan: &Plan<'_>, keys: &Keys<'_>) -> Response {
    let secret_name = secret_name(&plan.layout.name);
    let name = secret_name.as_str();
    let data = match &keys.own {
        Own::Absent => return response,
        Own::Keep => return response.keep(SECRET, name),
        Own::Generate => None,
        Own::Given(pair) => Some(object!({USERNAME: pair.username, PASSWORD: pair.password})),
    };
    let is_generated = data.is_none();
    let on_delete = if plan.layout.claims.is_empty() { OnDelete::Delete } else { OnDelete::Retain };
    let secret = object!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": plan.layout.namespace, "labels": labels(&plan.layout)},
        "type": "Opaque",
        "data": optional(data),
    });
    response = response.child_with(Treatment { on_delete, ..Treatment::default() }, secret);
    for (key, length) in GENERATED.into_iter().filter(|_| is_generated) {
        response = response.generate(name, key, length);
    }
    response
}

/// A hash that restarts the servers when it changes: a running server does not notice a change of its Secret. Their keys never do.
pub(super) fn hash(plan: &Plan<'_>) -> String {
    config_hash(&(secret_name(&plan.layout.name), None::<()>))
}

/// The environment of a server, in a fixed order: credentials first, then the variables of the spec.
pub(super) fn environment(plan: &Plan<'_>) -> impl WriteJson {
    let name = secret_name(&plan.layout.name);
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
