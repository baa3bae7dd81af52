//! What an upgrade would change: the changes for each parent, counted and, as far as there is room, listed.

use bartizan_contract::provider::{ActiveModule, CandidateChanges};
use serde::{Deserialize, Serialize};

use crate::object::ObjectKey;
use crate::preview::{Action, Change, Outlook};

/// The most bytes of changes that are kept to be shown. All are counted.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// What a version would change for all parents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// When the last parent was looked at, RFC 3339.
    pub time: String,
    /// Parents that were looked at.
    pub looked_at: u32,
    /// What would change, counted.
    pub changes: CandidateChanges,
    /// Parents for which something would change, or for which there is no acceptable answer.
    pub parents: Vec<ParentPreview>,
    /// Parents for which something would change, and that are only counted: there are too many to keep.
    pub left_out: u32,
    /// Size of `parents`.
    #[serde(skip)]
    pub bytes: usize,
}

/// What a version would change for one parent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentPreview {
    /// The parent: `ObjectStore.minio.rook.io rook-minio/my-store`.
    pub parent: String,
    /// Why the version has no acceptable answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Whether the version that serves has none either, for the same reason: that is no reason to wait.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_before: bool,
    /// What would become of its children.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// What an upgrade would change, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradePlan {
    /// The version that serves, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveModule>,
    /// The version that would.
    pub candidate: ActiveModule,
    /// What approves it.
    pub approval: String,
    /// What of its CRDs does not fit those of the one that serves; where that is not at hand, those of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crds: Vec<String>,
    /// What it asks for beyond the one that serves: `to write Secret`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<String>,
    /// What would change for the parents.
    #[serde(flatten)]
    pub preview: Preview,
}

impl Preview {
    /// A kind whose parents cannot be looked at, and why: that is no reason to think that nothing would change.
    #[must_use]
    pub fn unseen(crd: &str, reason: &str, time: &str) -> Self {
        let parent = format!("CustomResourceDefinition {crd}");
        let mut preview = Self::default();
        preview.changes.fail += 1;
        preview.list(ParentPreview { parent, failure: Some(reason.to_owned()), ..ParentPreview::default() });
        preview.finish(time);
        preview
    }

    /// Takes note of one parent.
    pub fn add(&mut self, parent: &ObjectKey, outlook: Outlook) {
        self.looked_at += 1;
        let mut entry = ParentPreview { parent: parent.title(), ..ParentPreview::default() };
        match outlook {
            Outlook::Changes(changes) if changes.is_empty() => return,
            Outlook::Changes(changes) => {
                self.changes.parents += 1;
                self.count(&changes);
                entry.changes = changes;
            }
            Outlook::AsBefore(failure) => (entry.failure, entry.as_before) = (Some(failure.message), true),
            Outlook::Fails(failure) => {
                self.changes.fail += 1;
                entry.failure = Some(failure.message);
            }
            Outlook::Unknown(failure) => {
                self.changes.unknown += 1;
                entry.failure = Some(failure.message);
            }
        }
        self.list(entry);
    }

    fn count(&mut self, changes: &[Change]) {
        for change in changes {
            *match change.action {
                Action::Create => &mut self.changes.create,
                Action::Update => &mut self.changes.update,
                Action::Recreate => &mut self.changes.recreate,
                Action::Delete => &mut self.changes.delete,
                Action::Release => &mut self.changes.release,
                Action::Refuse => &mut self.changes.refuse,
            } += 1;
        }
    }

    fn list(&mut self, entry: ParentPreview) {
        let size = serde_json::to_vec(&entry).map_or(0, |bytes| bytes.len());
        if self.bytes + size > KEPT_BYTES {
            // What changes nothing is not missed.
            self.left_out += u32::from(!entry.as_before);
        } else {
            self.bytes += size;
            self.parents.push(entry);
        }
    }

    /// All parents were looked at, by this time (RFC 3339).
    pub fn finish(&mut self, time: &str) {
        time.clone_into(&mut self.time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preview::NoPrediction;
    use bartizan_contract::{Kind, Reason};

    #[test]
    fn everything_is_counted_and_what_is_too_much_is_not_kept() {
        let key = |name: &str| ObjectKey::new(&Kind::new("minio.rook.io", "v1", "ObjectStore"), Some("n"), name);
        let change =
            |action| Change { action, child: "x".repeat(KEPT_BYTES / 3), because_of: None, fields: Vec::new() };
        let mut preview = Preview::default();
        let failure = || NoPrediction { reason: Reason::Invalid, message: "no".to_owned() };
        preview.add(&key("a"), Outlook::Changes(Vec::new()));
        preview.add(&key("b"), Outlook::Fails(failure()));
        for name in ["c", "d", "e"] {
            preview.add(&key(name), Outlook::Changes(vec![change(Action::Delete)]));
        }
        preview.add(&key("f"), Outlook::AsBefore(failure()));
        preview.add(&key("g"), Outlook::Unknown(failure()));
        preview.finish("2026-01-01T00:00:00Z");
        assert_eq!((preview.looked_at, preview.left_out), (7, 1));
        let counted = CandidateChanges { parents: 3, delete: 3, fail: 1, unknown: 1, ..CandidateChanges::default() };
        assert_eq!(preview.changes, counted);
        let kept: Vec<&str> = preview.parents.iter().map(|kept| kept.parent.as_str()).collect();
        assert_eq!(kept, ["b", "c", "d", "f", "g"].map(|name| format!("ObjectStore.minio.rook.io n/{name}")));
        assert_eq!(preview.parents.iter().filter(|kept| kept.as_before).count(), 1);
        assert!(!preview.time.is_empty());
    }
}
