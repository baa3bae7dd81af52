//! The actions of a run of the chaos rig and their intended result, from a seed alone.

use std::time::Duration;

use serde_json::{Value, json};

/// The namespace of all objects.
pub(super) const NAMESPACE: &str = "default";

/// The Secret for stores with keys of their own.
pub(super) const KEYS: &str = "keys";

/// The kind of a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Store,
    Greeting,
}

/// The intended state of a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Counts the edits.
    pub(super) revision: u32,
    /// Whether a store names keys of its own. What it was made with stays.
    pub(super) own_keys: bool,
}

/// A parent, whether it exists at the moment or not.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) wanted: Option<Wanted>,
}

impl Parent {
    /// Its spec. Optional fields that are not set are null, for a merge patch.
    pub(super) fn spec(&self, wanted: Wanted) -> Value {
        let revision = wanted.revision.to_string();
        match self.kind {
            Kind::Greeting => json!({"name": format!("world {revision}")}),
            Kind::Store => json!({
                "scope": {"nodeCount": 4},
                "image": format!("example.com/minio:{revision}"),
                "serviceAnnotations": {"example.com/revision": revision},
                "credentials": wanted.own_keys.then(|| json!({"name": KEYS})),
            }),
        }
    }

    /// `Kind/name` of each child that it should have, in order.
    pub(super) fn children(&self) -> Vec<String> {
        let name = &self.name;
        match self.kind {
            Kind::Greeting => vec![format!("ConfigMap/{name}")],
            Kind::Store => {
                vec![
                    format!("PodDisruptionBudget/{name}"),
                    format!("Secret/{name}-credentials"),
                    format!("Service/{name}"),
                    format!("Service/{name}-service"),
                    format!("StatefulSet/{name}"),
                ]
            }
        }
    }
}

/// An action of people or machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Create a parent.
    Create(usize),
    /// Edit its spec.
    Edit(usize),
    /// Delete it.
    Delete(usize),
    /// Delete a child of it (`Kind/name`), whether it exists or not.
    DeleteChild(String),
    /// Remove the host's labels from a child, whether it exists or not.
    StripLabels(String),
    /// Kill the host and start another one.
    KillHost,
}

/// The intended state of all parents, and the source of the next action.
pub(super) struct World {
    random: fastrand::Rng,
    pub(super) parents: Vec<Parent>,
}

impl World {
    /// The initial state for this seed: five stores and five greetings, none of which exists yet.
    pub(super) fn new(seed: u64) -> Self {
        let parent = |number: usize| {
            let (kind, name) =
                if number.is_multiple_of(2) { (Kind::Store, "store") } else { (Kind::Greeting, "greeting") };
            Parent { kind, name: format!("{name}-{number}"), wanted: None }
        };
        Self { random: fastrand::Rng::with_seed(seed), parents: (0..10).map(parent).collect() }
    }

    /// The next action, and the pause before it. Updates the intended state.
    pub(super) fn next(&mut self) -> (Duration, Action) {
        let pause = Duration::from_millis(self.random.u64(20..300));
        if self.random.u8(0..100) < 1 {
            return (pause, Action::KillHost);
        }
        let number = self.random.usize(0..self.parents.len());
        let what = self.random.u8(0..100);
        let changes_keys = self.random.u8(0..100) < 40;
        let parent = &mut self.parents[number];
        let Some(wanted) = &mut parent.wanted else {
            let own_keys = parent.kind == Kind::Store && changes_keys;
            parent.wanted = Some(Wanted { revision: 1, own_keys });
            return (pause, Action::Create(number));
        };
        match what {
            0..20 => {
                parent.wanted = None;
                (pause, Action::Delete(number))
            }
            20..70 => {
                wanted.revision += 1;
                if parent.kind == Kind::Store && changes_keys {
                    wanted.own_keys = !wanted.own_keys;
                }
                (pause, Action::Edit(number))
            }
            _ => {
                let child = self.random.choice(parent.children()).unwrap_or_default();
                // Keys that are lost never come back: who deletes them has to give them back.
                let deletes = what < 88 && !child.starts_with("Secret/");
                (pause, if deletes { Action::DeleteChild(child) } else { Action::StripLabels(child) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(seed: u64) -> Vec<(Duration, Action)> {
        let mut world = World::new(seed);
        (0..1000).map(|_| world.next()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_run() {
        assert_eq!(actions(3), actions(3));
        assert_ne!(actions(3), actions(4));
    }

    #[test]
    fn a_run_has_every_action_and_each_is_possible() {
        let mut world = World::new(5);
        let mut exists = [false; 10];
        let mut seen = [0; 6];
        for _ in 0..2000 {
            let kind = match world.next().1 {
                Action::Create(number) => {
                    assert!(!std::mem::replace(&mut exists[number], true));
                    0
                }
                Action::Delete(number) => {
                    assert!(std::mem::replace(&mut exists[number], false));
                    1
                }
                Action::Edit(number) => {
                    assert!(exists[number]);
                    2
                }
                Action::DeleteChild(child) => {
                    assert!(child.contains('/'));
                    3
                }
                Action::StripLabels(_) => 4,
                Action::KillHost => 5,
            };
            seen[kind] += 1;
        }
        assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
    }

    #[test]
    fn children_are_in_the_order_of_a_snapshot() {
        let world = World::new(1);
        let children = world.parents[0].children();
        assert!(children.is_sorted(), "{children:?}");
        assert_eq!(children[1], "Secret/store-0-credentials");
    }
}
