//! Providers that the folder declares. One that somebody else created wins over the file, and one that somebody deleted stays away
//! until its file changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_contract::names::FILE_ANNOTATION;
use bartizan_contract::provider::Provider;

/// A module of the folder, and the Provider that is declared for it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredModule {
    /// Name of the file, as `minio.wasm`.
    pub file: String,
    /// The Provider; `None` if that is not known, since it comes of the module's manifest and the module cannot be loaded.
    pub provider: Option<Provider>,
    /// Digest of the module, where the Provider comes of its manifest.
    pub by_manifest_of: Option<Arc<str>>,
    /// Why the file declares nothing, if a Provider should say so.
    pub note: Option<FolderNote>,
}

/// What the folder declares of a Provider and does not take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderNote {
    /// Name of the Provider; `None`: those that the folder made for the module.
    pub provider: Option<String>,
    /// What it means for the Provider.
    pub kind: NoteKind,
    /// For people.
    pub message: String,
}

/// What it means for a Provider that a declaration does not take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// A copy of its module is ignored: it is as its own file says.
    Copy,
    /// A document says something else, and it stays as it is.
    Conflict,
    /// Its document is wrong, and it stays as it was.
    Wrong,
}

/// A Provider that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// The module's file.
    pub file: String,
    /// The Provider.
    pub provider: Provider,
    /// Whether this process wrote it before, and it says something else now.
    pub rewrites: bool,
    /// The files in the folder.
    pub files: BTreeSet<String>,
}

/// What is done about a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is written.
    Write,
    /// It is there as declared.
    UpToDate,
    /// The Provider in the cluster was not made from the folder, and wins.
    InClusterWins,
    /// A document declares it: no manifest takes its place, also once the document is gone.
    DocumentDecides {
        /// The document.
        by: String,
        /// The module with the manifest.
        and_by: String,
    },
    /// Two files of the folder declare it.
    DeclaredTwice {
        /// The file that the Provider in the cluster was made from.
        by: String,
        /// The other one.
        and_by: String,
    },
}

impl Declaration {
    /// What is done, given the Provider of this name in the cluster.
    #[must_use]
    pub fn verdict(&self, existing: Option<&Provider>) -> Verdict {
        let Some(existing) = existing else { return Verdict::Write };
        let (metadata, wanted) = (&existing.metadata, &self.provider.metadata);
        let Some(from) = metadata.annotations.get(FILE_ANNOTATION) else { return Verdict::InClusterWins };
        let file = wanted.annotations.get(FILE_ANNOTATION).unwrap_or(&self.file);
        let (by, and_by) = (from.clone(), file.clone());
        // A manifest asks for all that it may want: a document is narrower, or was meant to be.
        match (is_document(file), is_document(from)) {
            (false, true) => return Verdict::DocumentDecides { by, and_by },
            (true, false) => {}
            _ if file != from && self.files.contains(from) => {
                return Verdict::DeclaredTwice { by, and_by };
            }
            _ => {}
        }
        // After a restart nothing is written that is there. What the file no longer declares, it declared before in this process.
        let is_there =
            contains(&metadata.labels, &wanted.labels) && contains(&metadata.annotations, &wanted.annotations);
        if existing.spec == self.provider.spec && is_there && !self.rewrites {
            return Verdict::UpToDate;
        }
        Verdict::Write
    }

    /// What the Provider says of a declaration that does not take effect; `None` if there is nothing to say.
    #[must_use]
    pub fn note(&self, verdict: &Verdict, existing: Option<&Provider>) -> Option<FolderNote> {
        let note = |kind: NoteKind, message: String| {
            Some(FolderNote { provider: Some(self.provider.metadata.name.clone()), kind, message })
        };
        let file = self.provider.metadata.annotations.get(FILE_ANNOTATION).unwrap_or(&self.file);
        match verdict {
            Verdict::Write | Verdict::UpToDate => None,
            // That a manifest would declare it, too, is usual where Providers are applied.
            Verdict::InClusterWins if !is_document(file) => None,
            Verdict::InClusterWins if existing.is_some_and(|existing| existing.spec == self.provider.spec) => None,
            Verdict::InClusterWins => note(
                NoteKind::Conflict,
                format!(
                    "{file} in the host's folder declares it otherwise, and is not used, since somebody else applied this Provider: \
                     remove {file}; or delete the Provider and write the file again, which makes it anew"
                ),
            ),
            Verdict::DocumentDecides { by, and_by } if self.files.contains(by) => note(
                NoteKind::Copy,
                format!(
                    "{and_by} in the host's folder is the module of this Provider, too, and is not used: {by} decides"
                ),
            ),
            Verdict::DocumentDecides { .. } => None,
            Verdict::DeclaredTwice { by, and_by } if is_document(and_by) => note(
                NoteKind::Conflict,
                format!("{by} and {and_by} in the host's folder both declare it, and {and_by} is not used: remove one"),
            ),
            Verdict::DeclaredTwice { by, and_by } => note(
                NoteKind::Copy,
                format!(
                    "{and_by} in the host's folder is the module of this Provider, too, and is not used: {by} decides"
                ),
            ),
        }
    }

    /// What the Provider says if it was written, and is not what the document says, since somebody else set more.
    #[must_use]
    pub fn note_of_rest(&self, written: &Provider) -> Option<FolderNote> {
        let file = self.provider.metadata.annotations.get(FILE_ANNOTATION).filter(|file| is_document(file))?;
        let fields =
            |spec| serde_json::to_value(spec).ok().and_then(|spec| spec.as_object().cloned()).unwrap_or_default();
        let (wanted, is) = (fields(&self.provider.spec), fields(&written.spec));
        let differing: Vec<&str> =
            is.iter().filter(|(name, is)| wanted.get(*name) != Some(*is)).map(|(name, _)| name.as_str()).collect();
        (!differing.is_empty()).then(|| FolderNote {
            provider: Some(self.provider.metadata.name.clone()),
            kind: NoteKind::Conflict,
            message: format!(
                "somebody else set more than {file} in the host's folder declares, and that stays in force: spec.{}",
                differing.join(", spec.")
            ),
        })
    }

    /// What the Provider says if fields of it, which the document would change, are somebody else's.
    #[must_use]
    pub fn owned_by_others(&self, conflict: &str) -> FolderNote {
        let file = self.provider.metadata.annotations.get(FILE_ANNOTATION).unwrap_or(&self.file);
        let message = format!(
            "{file} in the host's folder declares it otherwise, and is not used, since somebody else applied these fields: {conflict}"
        );
        FolderNote { provider: Some(self.provider.metadata.name.clone()), kind: NoteKind::Conflict, message }
    }
}

/// Whether a file of the folder is a document, and no module.
pub(super) fn is_document(file: &str) -> bool {
    !file.ends_with(".wasm")
}

/// The Provider as it is to be written while another module than the declared one may still serve: that one keeps what it was
/// granted.
#[must_use]
pub fn for_both_versions(
    module: &DeclaredModule,
    existing: Option<&Provider>,
    served: Option<&str>,
) -> Option<Provider> {
    let mut wanted = module.provider.clone()?;
    if let (Some(next), Some(existing)) = (&module.by_manifest_of, existing)
        && existing.metadata.annotations.contains_key(FILE_ANNOTATION)
    {
        let active = existing.status.active.as_ref().map(|active| active.digest.as_str());
        if served.or(active).is_some_and(|digest| digest != &**next) {
            wanted.spec.grants = wanted.spec.grants.or(&existing.spec.grants);
        }
    }
    Some(wanted)
}

/// Whether all of these labels or annotations are there, among others.
fn contains(there: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| there.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn provider(annotations: Value, suspend: bool) -> Provider {
        serde_json::from_value(json!({
            "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider",
            "metadata": {"name": "minio", "annotations": annotations},
            "spec": {"module": {"file": "minio.wasm"}, "suspend": suspend},
        }))
        .unwrap()
    }

    fn from(file: &str, suspend: bool) -> Provider {
        provider(json!({"bartizan.dev/file": file}), suspend)
    }

    #[rstest]
    #[case::is_missing(None, false, Verdict::Write)]
    #[case::is_somebody_elses(Some(provider(json!({}), false)), false, Verdict::InClusterWins)]
    #[case::is_there(Some(from("minio.yaml", false)), false, Verdict::UpToDate)]
    #[case::lost_something(Some(from("minio.yaml", false)), true, Verdict::Write)]
    #[case::differs(Some(from("minio.yaml", true)), false, Verdict::Write)]
    #[case::was_renamed(Some(from("gone.yaml", false)), false, Verdict::Write)]
    #[case::is_of_a_manifest(Some(from("minio.wasm", false)), false, Verdict::Write)]
    #[case::is_of_a_copy(Some(from("other.wasm", true)), false, Verdict::Write)]
    #[case::was_yml(Some(from("minio.yml", true)), false, Verdict::Write)]
    #[case::is_declared_twice(
        Some(from("other.yaml", false)), false,
        Verdict::DeclaredTwice { by: "other.yaml".to_owned(), and_by: "minio.yaml".to_owned() }
    )]
    fn a_declaration_is_written_unless_the_cluster_has_it_or_another(
        #[case] existing: Option<Provider>,
        #[case] rewrites: bool,
        #[case] expected: Verdict,
    ) {
        let files = ["minio.wasm", "minio.yaml", "other.wasm", "other.yaml"].map(str::to_owned).into();
        let file = "minio.wasm".to_owned();
        let declaration = Declaration { file, provider: from("minio.yaml", false), rewrites, files };
        assert_eq!(declaration.verdict(existing.as_ref()), expected);
    }

    #[rstest]
    #[case::beside_it("minio.yaml")]
    #[case::of_another_module("other.yaml")]
    #[case::that_is_gone("gone.yaml")]
    fn no_manifest_takes_the_place_of_a_document(#[case] document: &str) {
        let files = ["minio.wasm", "minio.yaml", "other.wasm", "other.yaml"].map(str::to_owned).into();
        let file = "minio.wasm".to_owned();
        let declaration = Declaration { file, provider: from("minio.wasm", false), rewrites: false, files };
        let expected = Verdict::DocumentDecides { by: document.to_owned(), and_by: "minio.wasm".to_owned() };
        assert_eq!(declaration.verdict(Some(&from(document, true))), expected);
    }

    #[test]
    fn what_does_not_take_effect_is_said_on_the_provider() {
        let declaration = |file: &str| {
            let files = ["minio.wasm", "minio.yaml", "other.wasm", "other.yaml", "copy.wasm"].map(str::to_owned).into();
            Declaration { file: "minio.wasm".to_owned(), provider: from(file, false), rewrites: false, files }
        };
        let kind = |file: &str, existing: Provider| {
            let declaration = declaration(file);
            let verdict = declaration.verdict(Some(&existing));
            declaration.note(&verdict, Some(&existing)).map(|note| note.kind)
        };
        let applied = |suspend| provider(json!({}), suspend);
        assert_eq!(kind("minio.yaml", applied(true)), Some(NoteKind::Conflict));
        assert_eq!(kind("minio.yaml", applied(false)), None, "it is what the document says");
        assert_eq!(kind("minio.wasm", applied(true)), None, "a manifest is no document");
        assert_eq!(kind("minio.yaml", from("other.yaml", true)), Some(NoteKind::Conflict));
        assert_eq!(kind("copy.wasm", from("other.wasm", true)), Some(NoteKind::Copy));
        assert_eq!(kind("copy.wasm", from("other.yaml", true)), Some(NoteKind::Copy));
        assert_eq!(kind("copy.wasm", from("gone.yaml", true)), None, "that the document is gone is said already");
    }

    #[rstest]
    #[case::another_module_serves(Some("sha256:old"), true)]
    #[case::the_declared_module_serves(Some("sha256:new"), false)]
    #[case::nothing_serves(None, false)]
    fn grants_are_kept_while_the_module_before_serves(#[case] served: Option<&str>, #[case] keeps: bool) {
        let mut existing = from("minio.wasm", false);
        existing.spec.grants =
            serde_json::from_value(json!({"children": [{"group": "apps", "kinds": ["StatefulSet"]}]})).unwrap();
        let module = DeclaredModule {
            file: "minio.wasm".to_owned(),
            provider: Some(from("minio.wasm", false)),
            by_manifest_of: Some("sha256:new".into()),
            note: None,
        };
        let wanted = for_both_versions(&module, Some(&existing), served).unwrap();
        assert_eq!(wanted.spec.grants == existing.spec.grants, keeps);
    }
}
