//! How a provider declares kinds: the one that it owns and those that it writes or reads.

use k8s_openapi::Resource;

/// The scope of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Objects belong to a namespace.
    Namespaced,
    /// Objects are cluster-scoped.
    Cluster,
}

/// A column of `kubectl get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: &'static str,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub type_: &'static str,
    /// The JSONPath of the value, such as `.status.ready`.
    pub path: &'static str,
    /// Whether only `-o wide` shows it.
    pub wide: bool,
}

impl Column {
    /// The age of the object, which is the last column of every kind.
    pub const AGE: Self = Self { name: "Age", type_: "date", path: ".metadata.creationTimestamp", wide: false };

    /// Whether the object can be used as its spec wants it; every kind begins with this column and the next.
    pub const READY: Self =
        Self { name: "Ready", type_: "string", path: ".status.conditions[?(@.type==\"Ready\")].status", wide: false };
    /// Whether its children are as its provider wants them.
    pub const SYNCED: Self =
        Self { name: "Synced", type_: "string", path: ".status.conditions[?(@.type==\"Synced\")].status", wide: false };

    /// A column of strings.
    #[must_use]
    pub const fn text(name: &'static str, path: &'static str) -> Self {
        Self { name, type_: "string", path, wide: false }
    }

    /// A column of integers.
    #[must_use]
    pub const fn integer(name: &'static str, path: &'static str) -> Self {
        Self { name, type_: "integer", path, wide: false }
    }

    /// Shows the column only with `-o wide`.
    #[must_use]
    pub const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }
}

/// A restriction of the names of parents, for the sake of their children's names. The API server enforces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRule {
    /// The maximum length.
    pub max_length: usize,
    /// A regular expression for the whole name.
    pub pattern: &'static str,
}

/// The kind that a provider owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentKind {
    /// The API group: `minio.rook.io`.
    pub group: &'static str,
    /// The version within the group: `v1alpha1`.
    pub version: &'static str,
    /// The kind: `ObjectStore`.
    pub kind: &'static str,
    /// The plural resource name: `objectstores`.
    pub plural: &'static str,
    /// The scope.
    pub scope: Scope,
    /// Short names for kubectl.
    pub short_names: &'static [&'static str],
    /// The columns of `kubectl get`.
    pub columns: &'static [Column],
    /// The restriction of names; absent: any name that Kubernetes allows.
    pub names: Option<NameRule>,
}

impl ParentKind {
    /// A namespaced kind.
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

    /// Sets the short names.
    #[must_use]
    pub const fn short_names(self, short_names: &'static [&'static str]) -> Self {
        Self { short_names, ..self }
    }

    /// Sets the columns of `kubectl get`.
    #[must_use]
    pub const fn columns(self, columns: &'static [Column]) -> Self {
        Self { columns, ..self }
    }

    /// Restricts the names.
    #[must_use]
    pub const fn names(self, names: NameRule) -> Self {
        Self { names: Some(names), ..self }
    }

    /// The `apiVersion`: `minio.rook.io/v1alpha1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}

/// A kind that a provider writes or reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildKind {
    /// The API group: `apps`; empty for the core group.
    pub group: &'static str,
    /// The version within the group: `v1`.
    pub version: &'static str,
    /// The kind: `StatefulSet`.
    pub kind: &'static str,
}

impl ChildKind {
    /// The kind of a typed object.
    #[must_use]
    pub const fn of<R: Resource>() -> Self {
        Self { group: R::GROUP, version: R::VERSION, kind: R::KIND }
    }

    /// The key of the kind in a request: `StatefulSet.apps/v1`, `Secret.v1`.
    #[must_use]
    pub fn key(&self) -> String {
        self.to_contract().to_string()
    }

    /// Whether a [`key`](Self::key) is that of this kind.
    pub(crate) fn is_key(&self, key: &[u8]) -> bool {
        // Most other keys differ in length.
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

    /// The `apiVersion`: `apps/v1`; `v1` for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        self.to_contract().api_version()
    }

    pub(crate) fn to_contract(self) -> bartizan_contract::Kind {
        bartizan_contract::Kind::new(self.group, self.version, self.kind)
    }
}
