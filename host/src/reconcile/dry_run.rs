//! What another version of a provider would change: it is asked about every parent, and nothing is written.

use bartizan_contract::provider::{ActiveModule, CandidateChanges};
use bartizan_engine::ObjectKey;
use bartizan_engine::crd_compat::Incompatibility;
use bartizan_engine::decide::{DecideInput, Decision, Execute, decide};
use bartizan_engine::plan::{FinalizerStep, Memory};
use bartizan_engine::preview::{Action, Change, Prediction};
use bartizan_engine::snapshot::{Question, Snapshot, Supplied};
use serde::{Deserialize, Serialize};

use crate::reconcile::provider_call;
use crate::reconcile::shared::Shared;
use crate::telemetry::timestamp;
use crate::version::VersionId;

/// The most bytes of changes that are kept to be shown. All are counted.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// What a version answered about one parent.
pub(crate) enum Look {
    /// It asks to see more.
    More(Supplied),
    /// What it would do, or why it has no acceptable answer.
    Prediction(Result<Prediction, String>),
}

/// Asks a version about one parent. Nothing is remembered of earlier writes: the version would begin anew.
pub(crate) async fn look(shared: &Shared, snapshot: &Snapshot) -> Look {
    let (context, question) = (&*shared.context, Question::Serve(FinalizerStep::Keep));
    let answer = match provider_call::call(shared, snapshot.request(context, question)).await {
        Ok(answer) => answer,
        Err(error) => return Look::Prediction(Err(error.to_string())),
    };
    let (issued, memory) = (snapshot.issued(), Memory::default());
    Look::Prediction(
        match decide(&DecideInput { context, snapshot, question, issued: &issued, memory: &memory }, answer) {
            Decision::Supply(supplied) => return Look::More(supplied),
            Decision::Execute(execute) => {
                let Execute { plan, intents, .. } = *execute;
                Ok(Prediction { intents, plan })
            }
            Decision::Hold(_) => Err("it would hold: nothing but the status is written".to_owned()),
            Decision::Refuse(refusal) => {
                Err(format!("the answer of provider {} would be refused: {refusal}", shared.provider()))
            }
            // The gate refuses the first, since it was not asked to finish, and the second is for a namespace that goes.
            Decision::MarkFinalized(_) | Decision::RemoveFinalizer(_) => Ok(Prediction::default()),
        },
    )
}

/// What a version would change for all parents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preview {
    /// When the last parent was looked at, RFC 3339.
    pub(crate) time: String,
    /// Parents that were looked at.
    pub(crate) looked_at: u32,
    /// What would change, counted.
    pub(crate) changes: CandidateChanges,
    /// Parents for which something would change, or that would fail.
    pub(crate) parents: Vec<ParentPreview>,
    /// Parents for which something would change, and that are only counted: there are too many to keep.
    pub(crate) left_out: u32,
    /// Size of `parents`.
    #[serde(skip)]
    pub(crate) bytes: usize,
}

/// What a version would change for one parent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ParentPreview {
    /// The parent: `ObjectStore.minio.rook.io rook-minio/my-store`.
    pub(crate) parent: String,
    /// Why the version has no acceptable answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
    /// What would become of its children.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) changes: Vec<Change>,
}

/// What an upgrade would change, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpgradePlan {
    /// The version that serves, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) active: Option<ActiveModule>,
    /// The version that would.
    pub(crate) candidate: ActiveModule,
    /// What approves it.
    pub(crate) approval: String,
    /// What of its CRDs does not fit those of the one that serves; where that is not at hand, those of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) crds: Vec<String>,
    /// What would change for the parents.
    #[serde(flatten)]
    pub(crate) preview: Preview,
}

/// What of a preview is told to whoever decides.
#[derive(Clone, Debug)]
pub(crate) struct Previewed {
    /// Name of the provider.
    pub(crate) provider: String,
    /// The version that was asked.
    pub(crate) id: VersionId,
    /// What it would change.
    pub(crate) preview: Preview,
    /// What of its CRDs does not fit those of the cluster, if these were compared.
    pub(crate) crds: Option<Vec<Incompatibility>>,
}

impl Preview {
    /// A kind whose parents cannot be looked at, and why: that is no reason to think that nothing would change.
    pub(crate) fn unseen(crd: &str, reason: &str) -> Self {
        let parent = format!("CustomResourceDefinition {crd}");
        let unseen = ParentPreview { parent, failure: Some(reason.to_owned()), changes: Vec::new() };
        let changes = CandidateChanges { fail: 1, ..CandidateChanges::default() };
        let mut preview = Self { changes, parents: vec![unseen], ..Self::default() };
        preview.finish();
        preview
    }

    /// Takes note of one parent.
    pub(crate) fn add(&mut self, parent: &ObjectKey, found: Result<Vec<Change>, String>) {
        self.looked_at += 1;
        let (failure, changes) = match found {
            Ok(changes) if changes.is_empty() => return,
            Ok(changes) => (None, changes),
            Err(failure) => (Some(failure), Vec::new()),
        };
        self.changes.parents += u32::from(!changes.is_empty());
        self.changes.fail += u32::from(failure.is_some());
        for change in &changes {
            *match change.action {
                Action::Create => &mut self.changes.create,
                Action::Update => &mut self.changes.update,
                Action::Recreate => &mut self.changes.recreate,
                Action::Delete => &mut self.changes.delete,
                Action::Release => &mut self.changes.release,
                Action::Refuse => &mut self.changes.refuse,
            } += 1;
        }
        let entry = ParentPreview { parent: parent.title(), failure, changes };
        let size = serde_json::to_vec(&entry).map_or(0, |bytes| bytes.len());
        if self.bytes + size > KEPT_BYTES {
            self.left_out += 1;
        } else {
            self.bytes += size;
            self.parents.push(entry);
        }
    }

    /// All parents were looked at.
    pub(crate) fn finish(&mut self) {
        self.time = timestamp::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bartizan_contract::Kind;

    #[test]
    fn everything_is_counted_and_what_is_too_much_is_not_kept() {
        let key = |name: &str| ObjectKey::new(&Kind::new("minio.rook.io", "v1", "ObjectStore"), Some("n"), name);
        let change =
            |action| Change { action, child: "x".repeat(KEPT_BYTES / 3), because_of: None, fields: Vec::new() };
        let mut preview = Preview::default();
        preview.add(&key("a"), Ok(Vec::new()));
        preview.add(&key("b"), Err("no".to_owned()));
        for name in ["c", "d", "e"] {
            preview.add(&key(name), Ok(vec![change(Action::Delete)]));
        }
        preview.finish();
        assert_eq!((preview.looked_at, preview.left_out), (5, 1));
        assert_eq!(preview.changes, CandidateChanges { parents: 3, delete: 3, fail: 1, ..CandidateChanges::default() });
        let kept: Vec<&str> = preview.parents.iter().map(|kept| kept.parent.as_str()).collect();
        assert_eq!(
            kept,
            ["ObjectStore.minio.rook.io n/b", "ObjectStore.minio.rook.io n/c", "ObjectStore.minio.rook.io n/d"]
        );
        assert!(!preview.time.is_empty());
    }
}
