//! What a provider says about kinds: the one that it owns, as a value in a constant, and those that it writes.

use k8s_openapi::Resource;

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}

/// A column of `kubectl get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub type_: &'static str,
    /// Where the value stands, as `.status.ready`.
    pub path: &'static str,
    /// Whether only `-o wide` shows it.
    pub wide: bool,
}

impl Column {
    /// How old the object is: the last column of every kind.
    pub const AGE: Self = Self { name: "Age", type_: "date", path: ".metadata.creationTimestamp", wide: false };

    /// A column of text.
    #[must_use]
    pub const fn text(name: &'static str, path: &'static str) -> Self {
        Self { name, type_: "string", path, wide: false }
    }

    /// A column of whole numbers.
    #[must_use]
    pub const fn integer(name: &'static str, path: &'static str) -> Self {
        Self { name, type_: "integer", path, wide: false }
    }

    /// Shown by `-o wide` only.
    #[must_use]
    pub const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }
}

/// What names parents may have, where the names of their children need it: the API server refuses others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRule {
    /// Most characters.
    pub max_length: usize,
    /// Regular expression over the whole name.
    pub pattern: &'static str,
}

/// The kind that a provider owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentKind {
    /// API group: `minio.rook.io`.
    pub group: &'static str,
    /// API version: `v1alpha1`.
    pub version: &'static str,
    /// `ObjectStore`.
    pub kind: &'static str,
    /// `objectstores`.
    pub plural: &'static str,
    /// Whether its objects live in namespaces.
    pub scope: Scope,
    /// Names for people in a hurry.
    pub short_names: &'static [&'static str],
    /// Columns of `kubectl get`.
    pub columns: &'static [Column],
    /// What names its objects may have; absent: any that Kubernetes allows.
    pub names: Option<NameRule>,
}

impl ParentKind {
    /// A kind whose objects live in namespaces.
    #[must_use]
    pub const fn namespaced(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        let (short_names, columns, names) = (&[], &[], None);
        Self { group, version, kind, plural, scope: Scope::Namespaced, short_names, columns, names }
    }

    /// Its short names.
    #[must_use]
    pub const fn short_names(self, short_names: &'static [&'static str]) -> Self {
        Self { short_names, ..self }
    }

    /// Its columns in `kubectl get`.
    #[must_use]
    pub const fn columns(self, columns: &'static [Column]) -> Self {
        Self { columns, ..self }
    }

    /// What names its objects may have.
    #[must_use]
    pub const fn names(self, names: NameRule) -> Self {
        Self { names: Some(names), ..self }
    }

    /// `minio.rook.io/v1alpha1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}

/// A kind that a provider writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildKind {
    /// `apps`; empty for the core group.
    pub group: &'static str,
    /// `v1`.
    pub version: &'static str,
    /// `StatefulSet`.
    pub kind: &'static str,
}

impl ChildKind {
    /// The kind of a typed object.
    #[must_use]
    pub const fn of<R: Resource>() -> Self {
        Self { group: R::GROUP, version: R::VERSION, kind: R::KIND }
    }

    /// As a key of a request's children: `StatefulSet.apps/v1`, `Secret.v1`.
    #[must_use]
    pub fn key(&self) -> String {
        self.to_contract().to_string()
    }

    /// Whether it is the kind of such a key.
    pub(crate) fn is_key(&self, key: &[u8]) -> bool {
        // Most keys are of another length.
        let separators = if self.group.is_empty() { 1 } else { 2 };
        if key.len() != self.kind.len() + self.group.len() + self.version.len() + separators {
            return false;
        }
        let rest = key.strip_prefix(self.kind.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
        let version = match self.group {
            "" => rest,
            group => rest.and_then(|rest| rest.strip_prefix(group.as_bytes())).and_then(|rest| rest.strip_prefix(b"/")),
        };
        version == Some(self.version.as_bytes())
    }

    /// `apps/v1`; `v1` for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        self.to_contract().api_version()
    }

    pub(crate) fn to_contract(self) -> bartizan_contract::Kind {
        bartizan_contract::Kind::new(self.group, self.version, self.kind)
    }
}
