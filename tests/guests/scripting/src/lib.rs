//! The library behind the providers `scripted`, `scripted-finalizing` and `scripted-cluster-scoped`: they answer as
//! the spec of their parent says, so that tests can exercise every field of the contract. They use the WIT of the
//! contract and nothing else of this project.
//!
//! `spec.answers` is a list of `{when, answer}` and `{when, fail}`. The first entry whose `when` matches the request
//! wins; if none does, the provider holds.
//!
//! - `when`: `finalizing`, `namespaceTerminating` (true or false); `edition` (of the module, see [`Provider::manifest`]); `children`, `related`, `descendants` (lists of
//!   `ConfigMap.v1 namespace/name`, all of which must be in the request); `absent` (the same, none of which may be among
//!   the children); `kinds` (what `cluster.kinds` must say). What is left out matches everything.
//! - `answer`: a ReconcileResponse; apiVersion and kind are added if it has none. It goes to the host as it is, mistakes
//!   included.
//! - `fail`: `{code, message, field, retryAfterSeconds}`.
//!
//! In the texts of an answer (values, not keys) and in a failure's message, `$(parent.name)`, `$(parent.secret)`,
//! `$(secret:namespace/name:key)` and `$(config:namespace/name:key)` are replaced by the values in the request, from
//! related objects before children; by an empty text if there is none. Any other `$(...)` stays, since pods use the
//! same form.
//!
//! With `spec.echo: true`, `status.seen` lists what was in the request. Other fields of the spec are ignored, but a
//! misspelt one within `answers` is a failure that names it.

mod contract;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod provider;
mod reconcile;
mod request;
mod script;
mod text;

pub use contract::Failure;
pub use provider::{CLUSTER_SCOPED, FINALIZING, Provider, SCRIPTED};
pub use reconcile::reconcile;

/// Exports one of the providers as the functions of a component.
#[macro_export]
macro_rules! export {
    ($provider:expr) => {
        const _: () = {
            struct Component;
            impl $crate::guest::Guest for Component {
                fn describe() -> Vec<u8> {
                    $provider.manifest().to_string().into_bytes()
                }
                fn reconcile(request: Vec<u8>) -> Result<Vec<u8>, $crate::guest::GuestFailure> {
                    $crate::guest::reconcile(&request)
                }
            }
    $crate::guest::export_component!(Component with_types_in $crate::guest::bindings);
        };
    };
}

#[cfg(test)]
mod tests;
