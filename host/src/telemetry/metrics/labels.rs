//! The labels of metrics: Providers, kinds and a few fixed words, never parents, whose number is unbounded.

use prometheus_client::encoding::EncodeLabelSet;

/// Labels that name a Provider.
pub(super) trait Labels {
    /// Its name.
    fn provider(&self) -> &str;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
        pub(super) struct $name {
            pub(super) provider: String,
            $(pub(super) $field: $type,)*
        }

        impl Labels for $name {
            fn provider(&self) -> &str {
                &self.provider
            }
        }
    )*};
}

labels! {
    OfProvider {}
    OfResult { result: &'static str }
    OfVerb { verb: &'static str }
    OfWatch { kind: String }
    OfParents { kind: String, synced: &'static str }
    OfCalls { calls: &'static str }
    /// As Flux labels conditions: of the three statuses of each type, one is 1.
    OfCondition { r#type: String, status: &'static str }
    OfVersion { version: String, digest: String }
}

/// A module that was loaded or refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfLoad {
    pub(super) source: &'static str,
    pub(super) result: &'static str,
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfLease {
    pub(super) name: &'static str,
}

/// A request to the API server, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfRequest {
    pub(super) verb: &'static str,
    pub(super) code: String,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfBuild {
    pub(super) version: &'static str,
}
