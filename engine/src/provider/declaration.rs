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
    /// Names of the modules in the folder, without their ending.
    pub stems: BTreeSet<String>,
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
        let file = wanted.annotations.get(FILE_ANNOTATION);
        if file != Some(from) && self.stems.contains(stem(from)) {
            let and_by = file.cloned().unwrap_or_default();
            return Verdict::DeclaredTwice { by: from.clone(), and_by };
        }
        // After a restart nothing is written that is there. What the file no longer declares, it declared before in this process.
        let is_there =
            contains(&metadata.labels, &wanted.labels) && contains(&metadata.annotations, &wanted.annotations);
        if existing.spec == self.provider.spec && is_there && !self.rewrites {
            return Verdict::UpToDate;
        }
        Verdict::Write
    }
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

/// A file's name without its ending.
#[must_use]
pub fn stem(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
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
    #[case::is_declared_twice(
        Some(from("other.yaml", false)), false,
        Verdict::DeclaredTwice { by: "other.yaml".to_owned(), and_by: "minio.yaml".to_owned() }
    )]
    fn a_declaration_is_written_unless_the_cluster_has_it_or_another(
        #[case] existing: Option<Provider>,
        #[case] rewrites: bool,
        #[case] expected: Verdict,
    ) {
        let stems = ["minio", "other"].map(str::to_owned).into();
        let file = "minio.wasm".to_owned();
        let declaration = Declaration { file, provider: from("minio.yaml", false), rewrites, stems };
        assert_eq!(declaration.verdict(existing.as_ref()), expected);
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
        };
        let wanted = for_both_versions(&module, Some(&existing), served).unwrap();
        assert_eq!(wanted.spec.grants == existing.spec.grants, keeps);
    }
}
