//! Who must have signed a module of a registry, as a Provider says it: keys, or an identity with a trusted root in a ConfigMap.

use bartizan_contract::provider::{Keyless, TrustedRootKey, Verification};
use bartizan_registry::{self as registry, PublicKey, RegistryError, Signers};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tracing::warn;

use crate::kubernetes::deadline::in_time;
use crate::kubernetes::error::chain;

/// Reads what is named.
///
/// # Errors
/// If a key is none, or there is no trusted root: nobody is trusted then.
pub(super) async fn signers(client: &Client, namespace: &str, verify: &Verification) -> Result<Signers, RegistryError> {
    let Some(keyless) = &verify.keyless else { return keys(&verify.keys).map(Signers::Keys) };
    let Keyless { issuer, identity, trusted_root } = keyless;
    let TrustedRootKey { name, key } = &trusted_root.config_map;
    let title = format!("ConfigMap {name} in namespace {namespace} (spec.module.oci.verify.keyless.trustedRoot)");
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = in_time(config_maps.get_opt(name)).await;
    let found =
        found.map_err(|error| RegistryError::Unavailable(format!("{title} could not be read: {}", chain(&*error))))?;
    let found = found.ok_or_else(|| RegistryError::Unverified(format!("there is no {title}")))?;
    let root = found.data.and_then(|mut data| data.remove(key));
    let root = root.ok_or_else(|| RegistryError::Unverified(format!("{title} has no key {key} in its data")))?;
    let keyless = registry::Keyless::new(issuer, identity, &root)
        .map_err(|error| RegistryError::Unverified(format!("{title}: {key}: {error}")))?;
    for unchecked in keyless.unchecked() {
        warn!(config_map = name, "not checked, since the trusted root lists nobody who could say it: {unchecked}");
    }
    Ok(Signers::Keyless(Box::new(keyless)))
}

fn keys(pems: &[String]) -> Result<Vec<PublicKey>, RegistryError> {
    let read = |(position, pem): (usize, &String)| {
        let field = format!("spec.module.oci.verify.keys[{position}]");
        PublicKey::parse(pem).map_err(|error| RegistryError::Unverified(format!("{field}: {error}")))
    };
    pems.iter().enumerate().map(read).collect()
}
