//! A parent as people name it on the command line, and who serves it, with the rights of whoever asks.

use std::fmt;

use anyhow::Context as _;
use bartizan_contract::GroupKind;
use bartizan_contract::provider::Provider;
use bartizan_engine::provider::claims::{Claim, arbitrate};
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt as _};

use crate::cli::host_client::Output;
use crate::cli::names::object_name;
use crate::kubernetes::error::api_message;
use crate::kubernetes::resources::{self, Named};
use crate::providers::object;

/// Which parent, and how to print what is known of it.
#[derive(Debug, clap::Args)]
pub(crate) struct ParentArgs {
    /// The parent, as objectstore/my-store or objectstore.minio.rook.io/my-store.
    #[arg(value_name = "KIND/NAME")]
    pub(crate) parent: Subject,
    /// Namespace of the parent; default: that of the kubeconfig's context, or "default" if the host is named by its address.
    #[arg(short, long, value_name = "NAMESPACE", value_parser = object_name)]
    pub(crate) namespace: Option<String>,
    /// Print all of it as JSON or YAML.
    #[arg(short, long, value_enum)]
    pub(crate) output: Option<Output>,
}

/// A parent as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The word for its kind.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
}

impl std::str::FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').filter(|(kind, name)| object_name(kind).is_ok() && object_name(name).is_ok());
        let (kind, name) = parts.ok_or("write it as KIND/NAME, as in objectstore/my-store")?;
        Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
    }
}

/// A parent in a cluster, whether it exists or not.
pub(crate) struct Parent<'a> {
    pub(crate) client: &'a Client,
    /// Everything that the cluster serves.
    pub(crate) served: Vec<Named>,
    /// Its kind.
    pub(crate) named: Named,
    /// `None` if it is cluster-scoped.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
}

impl<'a> Parent<'a> {
    /// By what people call it.
    ///
    /// # Errors
    /// If the cluster does not answer, or the word names no kind, or several ([`resources::NotFound`]).
    pub(crate) async fn find(client: &'a Client, subject: &'a Subject, namespace: &'a str) -> anyhow::Result<Self> {
        let served = resources::served(client).await.map_err(api_message).context("the kinds of the cluster")?;
        let named = resources::find(&served, &subject.kind)?.clone();
        let namespace = named.resource.namespaced.then_some(namespace);
        Ok(Self { client, served, named, namespace, name: &subject.name })
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> GroupKind {
        GroupKind::from(&self.named.kind)
    }

    /// The object; `None` if there is none.
    ///
    /// # Errors
    /// If whoever asks may not see it.
    pub(crate) async fn get(&self) -> anyhow::Result<Option<DynamicObject>> {
        self.named.api(self.client, self.namespace).get_opt(self.name).await.map_err(api_message)
    }

    /// The Provider that serves it, as it is now; `None` if nobody claims it.
    ///
    /// # Errors
    /// If whoever asks may not see Providers.
    pub(crate) async fn provider(&self, found: &DynamicObject) -> anyhow::Result<Option<Provider>> {
        let providers = providers(self.client).await?;
        let claims = claims(&providers);
        let serves = arbitrate(&claims, &self.kind(), found.namespace().as_deref(), found.labels()).serves;
        Ok(serves.and_then(|name| providers.iter().find(|provider| provider.metadata.name == name)).cloned())
    }
}

/// For people: `ObjectStore.minio.rook.io my-store in namespace rook-minio`.
impl fmt::Display for Parent<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.kind(), self.name)?;
        self.namespace.map_or(Ok(()), |namespace| write!(out, " in namespace {namespace}"))
    }
}

/// All Providers, as far as this version understands them.
pub(crate) async fn providers(client: &Client) -> anyhow::Result<Vec<Provider>> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &object::resource());
    let listed = api.list(&ListParams::default()).await.map_err(api_message);
    let listed = listed.context("Providers cannot be listed (deploy/crds has their CustomResourceDefinition)")?;
    listed.items.into_iter().map(object::parse).collect()
}

/// What each Provider claims.
pub(crate) fn claims(providers: &[Provider]) -> Vec<Claim> {
    let owned =
        |provider: &Provider| provider.status.active.as_ref().map(|active| active.owns.clone()).unwrap_or_default();
    providers.iter().filter_map(|provider| Claim::new(provider, &owned(provider)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_named_by_kind_and_name() {
        let parse = |text: &str| text.parse::<Subject>();
        let subject = Subject { kind: "objectstore.minio.rook.io".to_owned(), name: "my-store".to_owned() };
        assert_eq!(parse("objectstore.minio.rook.io/my-store"), Ok(subject));
        for bad in ["", "objectstore", "objectstore/", "/x", "a/b/c", "a/b c", "a/b&kind=c"] {
            assert_eq!(parse(bad).unwrap_err(), "write it as KIND/NAME, as in objectstore/my-store", "{bad}");
        }
    }
}
