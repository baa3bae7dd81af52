//! The preview of a hand-over: what a provider would change of a parent that another one serves, if that let go of it now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::grants::Grants;
use crate::intent::Intent;
use crate::managed_fields;
use crate::object::{ObjectKey, Observed};
use crate::preview::{Action, Change, FieldChange, Prediction, compare_all};

/// Whether an object is a child of this parent as another provider serves it: what it would release, and this one could adopt.
#[must_use]
pub fn is_handed_over(child: &Observed, parent: &Observed, provider: &str, grants: &Grants) -> bool {
    child.owner_uid.as_deref() == Some(parent.uid.as_str())
        && child.provider.as_deref().is_some_and(|other| other != provider)
        && child.applied_by_a_provider
        && child.controller_uid.as_deref().is_none_or(|uid| uid == parent.uid)
        && grants.reach(&child.key, parent)
}

/// Such a child as this provider has it once it was adopted. It is marked as retained, as what is released is: what this provider
/// does not want stays.
#[must_use]
pub fn as_adopted(mut child: Observed, parent: &Observed, provider: &str) -> Arc<Observed> {
    child.provider = Some(provider.to_owned());
    (child.applied_by_host, child.labelled_by_host) = (true, true);
    // Whatever the intent of the other one was, it is not this one's.
    (child.intent, child.written_by_others_since) = (None, false);
    child.marks.retained_for = Some(parent.key.title());
    Arc::new(child)
}

/// What the managed fields of a child say, and the field manager of the provider that applied it.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The field manager.
    pub manager: String,
    /// The managed fields.
    pub managed_fields: Value,
}

/// What would become of the children. What was `applied` to them goes where this provider leaves it out; `taken` are those of the desired
/// children that exist and are not handed over.
///
/// A hand-over makes nothing anew: a child with an immutable field that would have to change is refused, whatever its author asked for.
#[must_use]
pub fn changes(
    mut predicted: Prediction,
    children: &[Arc<Observed>],
    applied: &BTreeMap<ObjectKey, Applied>,
    taken: BTreeSet<ObjectKey>,
) -> Vec<Change> {
    predicted.plan.taken.extend(taken);
    let left_out = |intent: &Intent, live: &Value| {
        let found = applied.get(&intent.key).and_then(|Applied { manager, managed_fields }| {
            managed_fields::left_out(live, managed_fields, manager, &intent.object)
        });
        let gone = |(path, before)| FieldChange { path, before: Some(before), after: None };
        found.into_iter().flatten().map(gone).collect()
    };
    let mut changes = compare_all(&predicted, None, children, &left_out);
    for change in &mut changes {
        change.fields.iter_mut().for_each(without_the_hosts);
        change.fields.retain(|field| !is_of_host(&field.path) && field.before != field.after);
        if change.action == Action::Recreate {
            change.action = Action::Refuse;
        }
    }
    changes.retain(|change| change.action != Action::Update || !change.fields.is_empty());
    changes
}

/// Takes what only says whose child it is out of labels or annotations that change as a whole.
fn without_the_hosts(field: &mut FieldChange) {
    if !matches!(field.path.as_str(), "/metadata/labels" | "/metadata/annotations") {
        return;
    }
    for side in [&mut field.before, &mut field.after] {
        let Some(Value::Object(map)) = side else { continue };
        map.retain(|name, _| !name.starts_with("bartizan.dev/"));
        if map.is_empty() {
            *side = None;
        }
    }
}

/// Whether a field only says whose child it is.
fn is_of_host(path: &str) -> bool {
    ["/metadata/labels/bartizan.dev~1", "/metadata/annotations/bartizan.dev~1", "/metadata/ownerReferences"]
        .iter()
        .any(|of_host| path.starts_with(of_host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bartizan_contract::{Kind, OnImmutableChange};
    use serde_json::json;

    use crate::grants::Grant;
    use crate::plan::tests::intent;
    use crate::plan::{FinalizerStep, Memory, PlanInput, plan};

    fn parent() -> Observed {
        let object = json!({
            "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore",
            "metadata": {"name": "s", "namespace": "n", "uid": "p", "resourceVersion": "1"}
        });
        Observed::project(object, "bartizan/two").unwrap()
    }

    fn child(name: &str, labels: &Value, manager: &str) -> Observed {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {
                "name": name, "namespace": "n", "uid": name, "resourceVersion": "1", "labels": labels,
                "managedFields": [{"manager": manager, "operation": "Apply", "time": "2026-01-01T00:00:00Z"}]
            },
            "spec": {"replicas": 1, "serviceName": "a", "minReadySeconds": 5}
        });
        Observed::project(object, "bartizan/two").unwrap()
    }

    fn grants() -> Grants {
        let kind = Kind::new("apps", "v1", "StatefulSet");
        Grants { children: BTreeMap::from([(kind, Grant::of_parent(true))]), ..Grants::default() }
    }

    fn labels(owner: &str, provider: &str) -> Value {
        json!({"bartizan.dev/owner-uid": owner, "bartizan.dev/provider": provider})
    }

    #[test]
    fn what_another_provider_applied_for_this_parent_is_handed_over() {
        let is_handed_over = |child: &Observed| is_handed_over(child, &parent(), "two", &grants());
        assert!(is_handed_over(&child("a", &labels("p", "one"), "bartizan/one")));
        assert!(!is_handed_over(&child("a", &labels("p", "two"), "bartizan/two")), "it is its own");
        assert!(!is_handed_over(&child("a", &labels("q", "one"), "bartizan/one")), "it is another parent's");
        assert!(!is_handed_over(&child("a", &labels("p", "one"), "kubectl")), "it is forged");
        let mut moved = child("a", &labels("p", "one"), "bartizan/one");
        moved.key.namespace = Some("m".into());
        assert!(!is_handed_over(&moved), "it is where this provider may not write");
    }

    #[test]
    fn nothing_is_deleted_or_made_anew_by_a_hand_over() {
        let adopted = |name: &str| as_adopted(child(name, &labels("p", "one"), "bartizan/one"), &parent(), "two");
        let children = ["same", "scaled", "renamed", "unwanted"].map(adopted);
        let desired = |name: &str, spec: Value| {
            let object = json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": {"name": name, "namespace": "n"}, "spec": spec,
            });
            let mut intent = intent("StatefulSet", name, 0);
            (intent.object, intent.on_immutable_change) = (object, OnImmutableChange::Recreate);
            intent
        };
        let intents = vec![
            desired("same", json!({"replicas": 1, "serviceName": "a"})),
            desired("scaled", json!({"replicas": 2, "serviceName": "a"})),
            desired("renamed", json!({"replicas": 1, "serviceName": "b"})),
            desired("new", json!({})),
            desired("taken", json!({})),
        ];
        let (memory, none) = (Memory::default(), BTreeSet::new());
        let plan = plan(&PlanInput {
            provider: "two",
            parent: &parent(),
            intents: &intents,
            children: &children,
            keep: &none,
            memory: &memory,
            finalizer: FinalizerStep::Keep,
            unsure: &none,
            resting: &none,
        });
        let taken = BTreeSet::from([intents[4].key.clone()]);
        // The labels that say whose child it is are no change; what the other one applied beside is.
        let fields = json!({
            "f:metadata": {"f:labels": {"f:bartizan.dev/owner-uid": {}}},
            "f:spec": {"f:replicas": {}, "f:minReadySeconds": {}},
        });
        let managed_fields = json!([{"manager": "bartizan/one", "operation": "Apply", "fieldsV1": fields}]);
        let applied = |number: usize| {
            let manager = "bartizan/one".to_owned();
            (children[number].key.clone(), Applied { manager, managed_fields: managed_fields.clone() })
        };
        let applied = BTreeMap::from([applied(0), applied(1)]);
        let changes = changes(Prediction { intents, plan }, &children, &applied, taken);
        let seen: Vec<(Action, &str)> = changes.iter().map(|change| (change.action, change.child.as_str())).collect();
        let expected = [
            (Action::Update, "StatefulSet n/same"),
            (Action::Update, "StatefulSet n/scaled"),
            (Action::Refuse, "StatefulSet n/renamed"),
            (Action::Create, "StatefulSet n/new"),
            (Action::Refuse, "StatefulSet n/taken"),
            (Action::Release, "StatefulSet n/unwanted"),
        ];
        assert_eq!(seen, expected);
        let fields = |change: &Change| change.fields.iter().map(|field| field.path.clone()).collect::<Vec<_>>();
        assert_eq!(fields(&changes[0]), ["/spec/minReadySeconds"]);
        assert_eq!(fields(&changes[1]), ["/spec/replicas", "/spec/minReadySeconds"]);
        assert_eq!(changes[2].because_of.as_deref(), Some("/spec/serviceName"));
    }
}
