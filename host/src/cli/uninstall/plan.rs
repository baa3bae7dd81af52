//! What an uninstall would do: plain data, and its text.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use bartizan_engine::provider::upgrade_hold::counted_of;
use serde::Serialize;

/// Most objects that are listed by name, of each kind; JSON and YAML have all.
const MOST: usize = 10;
/// How the host's own finalizers begin, on parents and on Providers.
const FINALIZERS: &str = "finalizer.bartizan.dev/";

/// Finalizers that the garbage collector takes off by itself.
const COLLECTED: [&str; 2] = ["foregroundDeletion", "orphan"];

/// Whether a finalizer is the host's, so that nobody else takes it off.
pub(super) fn is_ours(finalizer: &str) -> bool {
    finalizer.starts_with(FINALIZERS)
}

/// Whether a finalizer is that of another controller, which alone knows when it may go.
pub(super) fn is_of_another(finalizer: &str) -> bool {
    !is_ours(finalizer) && !COLLECTED.contains(&finalizer)
}

/// An object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Named {
    /// Kind and group: `ObjectStore.minio.rook.io`.
    pub(super) kind: String,
    /// Its namespace, if it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    /// Its name.
    pub(super) name: String,
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        write!(out, "{} {place}{}", self.kind, self.name)
    }
}

/// A parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parent {
    #[serde(flatten)]
    pub(super) object: Named,
    /// Whether it goes with its kind.
    pub(super) goes: bool,
    /// Whether it is being deleted already.
    pub(super) deleting: bool,
    /// Children that stay, without an owner.
    pub(super) children: usize,
    /// Finalizers of others, which only these take off: its kind stays for as long, if it was to go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) finalizers: Vec<String>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    /// Who holds the lease, for people.
    pub(super) lease: String,
    /// Whether a host works.
    pub(super) works: bool,
    /// Its Deployments, which are stopped first.
    pub(super) deployments: Vec<Named>,
    /// The parents of all kinds.
    pub(super) parents: Vec<Parent>,
    /// Providers.
    pub(super) providers: Vec<String>,
    /// CustomResourceDefinitions that go.
    pub(super) crds: Vec<String>,
    /// Those that would go, but for objects with finalizers of other controllers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) held: Vec<String>,
    /// Everything else that goes.
    pub(super) objects: Vec<Named>,
    /// What stays, and why.
    pub(super) stays: Vec<String>,
}

impl Plan {
    /// Whether there is nothing to remove.
    pub(super) fn is_empty(&self) -> bool {
        self.deployments.is_empty() && self.providers.is_empty() && self.crds.is_empty() && self.objects.is_empty()
    }

    /// The parents whose kind cannot go before somebody else has taken a finalizer off.
    pub(super) fn hangs(&self) -> impl Iterator<Item = &Parent> {
        self.parents.iter().filter(|parent| !parent.finalizers.is_empty())
    }

    /// The text for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "Lease: {}", self.lease);
        if self.is_empty() {
            text.push_str("There is nothing of Bartizan in this cluster.\n");
            return text;
        }
        let lost = self.parents.iter().filter(|parent| parent.goes);
        section(
            &mut text,
            "Would be lost, with their specs (children stay as they are, and nobody serves them)",
            lost.map(|parent| {
                let deleting = if parent.deleting { ", is being deleted" } else { "" };
                (parent.object.kind.as_str(), format!("{} ({}{deleting})", parent.object, counted(parent.children)))
            }),
        );
        let kept = self.parents.iter().filter(|parent| !parent.goes);
        section(
            &mut text,
            "Would be let go of",
            kept.map(|parent| {
                (parent.object.kind.as_str(), format!("{} ({})", parent.object, counted(parent.children)))
            }),
        );
        section(
            &mut text,
            "Would hang, and is left",
            self.hangs().map(|parent| {
                let finalizers = parent.finalizers.join(", ");
                (
                    parent.object.kind.as_str(),
                    format!("{}: finalizer {finalizers} of another controller", parent.object),
                )
            }),
        );
        let of_kind = |kind: &'static str, names: &[String]| {
            names.iter().map(|name| (kind, format!("{kind} {name}"))).collect::<Vec<_>>()
        };
        let objects = self.deployments.iter().chain(&self.objects);
        let goes = of_kind("Provider", &self.providers)
            .into_iter()
            .chain(of_kind("CustomResourceDefinition", &self.crds))
            .chain(objects.map(|object| (object.kind.as_str(), object.to_string())));
        section(&mut text, "Would be deleted", goes);
        section(&mut text, "Stays", self.stays.iter().map(|stays| ("", stays.clone())));
        text.push_str("\nNothing was changed. To do it: bartizan uninstall --yes\n");
        text
    }
}

fn counted(children: usize) -> String {
    counted_of(u32::try_from(children).unwrap_or(u32::MAX), "child", "children")
}

/// A title and its lines, of each kind only so many.
fn section<'a>(text: &mut String, title: &str, lines: impl IntoIterator<Item = (&'a str, String)>) {
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    let mut is_first = true;
    for (kind, line) in lines {
        if std::mem::take(&mut is_first) {
            let _ = writeln!(text, "\n{title}:");
        }
        let shown = shown.entry(kind).or_default();
        *shown += 1;
        if *shown <= MOST {
            let _ = writeln!(text, "  {line}");
        }
    }
    for (kind, all) in shown.into_iter().filter(|(_, all)| *all > MOST) {
        let _ = writeln!(text, "  and {} more of {kind}", all - MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(name: &str, goes: bool, finalizers: &[&str]) -> Parent {
        Parent {
            object: Named { kind: "Thing.x".to_owned(), namespace: Some("n".to_owned()), name: name.to_owned() },
            goes,
            children: 2,
            finalizers: finalizers.iter().map(|name| (*name).to_owned()).collect(),
            ..Parent::default()
        }
    }

    #[test]
    fn what_would_be_lost_and_what_would_hang_is_said() {
        let mut parents = vec![parent("a", true, &[]), parent("b", false, &["example.com/x"])];
        parents[1].children = 1;
        let plan = Plan {
            lease: "nobody holds bartizan-system/bartizan".to_owned(),
            parents,
            providers: vec!["minio".to_owned()],
            crds: vec!["things.x".to_owned()],
            objects: vec![Named { kind: "Namespace".to_owned(), namespace: None, name: "bartizan-system".to_owned() }],
            stays: vec!["CustomResourceDefinition others.x: it is not labelled".to_owned()],
            ..Plan::default()
        };
        let expected = "Lease: nobody holds bartizan-system/bartizan\n\
            \n\
            Would be lost, with their specs (children stay as they are, and nobody serves them):\n\
            \x20 Thing.x n/a (2 children)\n\
            \n\
            Would be let go of:\n\
            \x20 Thing.x n/b (1 child)\n\
            \n\
            Would hang, and is left:\n\
            \x20 Thing.x n/b: finalizer example.com/x of another controller\n\
            \n\
            Would be deleted:\n\
            \x20 Provider minio\n\
            \x20 CustomResourceDefinition things.x\n\
            \x20 Namespace bartizan-system\n\
            \n\
            Stays:\n\
            \x20 CustomResourceDefinition others.x: it is not labelled\n\
            \n\
            Nothing was changed. To do it: bartizan uninstall --yes\n";
        assert_eq!(plan.text(), expected);
    }

    #[test]
    fn of_many_parents_some_are_named_and_all_are_counted() {
        let parents = (0..12).map(|number| parent(&format!("p{number:02}"), true, &[])).collect();
        let plan = Plan { parents, providers: vec!["minio".to_owned()], ..Plan::default() };
        let text = plan.text();
        assert!(
            text.contains("Thing.x n/p09 ") && !text.contains("p10") && text.contains("  and 2 more of Thing.x\n"),
            "{text}"
        );
        assert!(Plan::default().text().contains("There is nothing of Bartizan in this cluster."));
    }

    #[test]
    fn the_hosts_own_finalizers_are_known() {
        for ours in ["finalizer.bartizan.dev/minio", "finalizer.bartizan.dev/parents"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["foregroundDeletion", "kubernetes.io/pvc-protection", "bartizan.development/x"] {
            assert!(!is_ours(other), "{other}");
        }
        assert!(is_of_another("example.com/x") && !is_of_another("orphan"));
    }
}
