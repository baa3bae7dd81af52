//! Validates documents that do not come from the API server, as the schema and rules of the CRD would.

use std::collections::BTreeSet;

use super::grants::{GrantedNamespaces, Grants};
use super::spec::{ModuleSource, ProviderSpec};
use crate::digest;
use crate::field::{
    FieldError, is_dns_label, is_dns_subdomain, is_group, is_kind, not_a_dns_label, not_a_dns_subdomain,
};

impl ProviderSpec {
    /// All errors of a spec. Paths begin at `spec`. The syntax of sources other than files and the number of items in lists are
    /// checked by the API server only.
    #[must_use]
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Errors::default();
        self.module.check(&mut errors);
        if let Some(name) = self.service_account_name.as_ref().filter(|name| !is_dns_subdomain(name)) {
            errors.add("spec.serviceAccountName", not_a_dns_subdomain(name));
        }
        for (index, claim) in self.parents.iter().enumerate() {
            let path = format!("spec.parents[{index}]");
            errors.group(&path, &claim.group);
            errors.kind(&format!("{path}.kind"), &claim.kind);
            let kind = claim.group_kind();
            if self.parents.iter().take(index).any(|other| other.group_kind() == kind) {
                errors.add(&path, format!("{kind} is listed twice: combine the selectors into one"));
            }
            if let Err(error) = claim.selector.check() {
                errors.0.push(error.below(&format!("{path}.selector")));
            }
        }
        errors.namespaces("spec.namespaces", &self.namespaces);
        self.grants.check(&mut errors);
        if let Err(error) = self.limits.effective() {
            errors.0.push(error);
        }
        errors.0
    }
}

impl ModuleSource {
    fn check(&self, errors: &mut Errors) {
        if let Err(error) = self.source() {
            errors.0.push(error);
        }
        if let Some(file) = self.file.as_ref().filter(|file| !is_file_name(file)) {
            errors.add(
                "spec.module.file",
                format!(
                    "\"{file}\" is not the name of a module in the folder: up to 253 letters, digits, '-', '_' and '.', with \
                     .wasm at the end"
                ),
            );
        }
        if let Some(digest) = self.digest.as_ref().filter(|digest| digest::digits(digest).is_none()) {
            let message =
                format!("\"{digest}\" is not a digest: write sha256: and 64 hexadecimal digits in lower case");
            errors.add("spec.module.digest", message);
        }
    }
}

/// Equivalent to the pattern `FILE_NAME`.
fn is_file_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let inner = |c: char| first(c) || c == '-' || c == '.';
    let stem = name.strip_suffix(".wasm").unwrap_or_default();
    name.len() <= 253 && stem.starts_with(first) && stem.chars().all(inner)
}

impl Grants {
    fn check(&self, errors: &mut Errors) {
        for (index, grant) in self.children.iter().enumerate() {
            let path = format!("spec.grants.children[{index}]");
            errors.kinds(&path, &grant.group, &grant.kinds);
            errors.granted(&path, &grant.namespaces);
            if grant.namespaces == GrantedNamespaces::All {
                let message = "All is for related kinds only: write Parent or a list of namespaces";
                errors.add(&format!("{path}.namespaces"), message.to_owned());
            }
        }
        for (index, grant) in self.descendants.iter().enumerate() {
            errors.kinds(&format!("spec.grants.descendants[{index}]"), &grant.group, &grant.kinds);
        }
        for (index, grant) in self.related.iter().enumerate() {
            let path = format!("spec.grants.related[{index}]");
            errors.kinds(&path, &grant.group, &grant.kinds);
            errors.granted(&path, &grant.namespaces);
        }
        for (index, name) in self.pods.service_account_names.iter().enumerate() {
            if !is_dns_subdomain(name) {
                errors.add(&format!("spec.grants.pods.serviceAccountNames[{index}]"), not_a_dns_subdomain(name));
            }
        }
    }
}

#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, path: &str, message: String) {
        self.0.push(FieldError::new(path, message));
    }

    fn group(&mut self, path: &str, group: &str) {
        if group == "*" {
            self.add(
                &format!("{path}.group"),
                "\"*\" is not an API group: name each, there are no wildcards".to_owned(),
            );
        } else if !is_group(group) {
            let message = format!("\"{group}\" is not an API group: write it as apps, or \"\" for the core group");
            self.add(&format!("{path}.group"), message);
        }
    }

    fn kind(&mut self, path: &str, kind: &str) {
        if kind == "*" {
            self.add(path, "\"*\" is not a kind: name each, there are no wildcards".to_owned());
        } else if !is_kind(kind) {
            self.add(path, format!("\"{kind}\" is not a kind: write it as StatefulSet"));
        }
    }

    fn kinds(&mut self, path: &str, group: &str, kinds: &[String]) {
        self.group(path, group);
        if kinds.is_empty() {
            self.add(&format!("{path}.kinds"), "must name at least one kind".to_owned());
        }
        for (index, kind) in kinds.iter().enumerate() {
            self.kind(&format!("{path}.kinds[{index}]"), kind);
        }
        self.duplicates(&format!("{path}.kinds"), kinds);
    }

    fn granted(&mut self, path: &str, namespaces: &GrantedNamespaces) {
        if let GrantedNamespaces::Named(names) = namespaces {
            let path = format!("{path}.namespaces");
            if names.is_empty() {
                self.add(&path, "must name at least one namespace, or be Parent".to_owned());
            }
            self.namespaces(&path, names);
        }
    }

    fn namespaces(&mut self, path: &str, names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            if !is_dns_label(name) {
                self.add(&format!("{path}[{index}]"), not_a_dns_label(name));
            }
        }
        self.duplicates(path, names);
    }

    fn duplicates(&mut self, path: &str, texts: &[String]) {
        let mut seen = BTreeSet::new();
        for (index, text) in texts.iter().enumerate() {
            if !seen.insert(text) {
                self.add(&format!("{path}[{index}]"), format!("\"{text}\" is listed twice"));
            }
        }
    }
}
