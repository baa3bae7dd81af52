//! The time from an edit of a healthy parent to its status: alone, then beside a thousand parents of the same provider for which it crashes.

use anyhow::{Context as _, Result};
use bartizan_e2e::{ModuleCopy, Original};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use kube::api::PostParams;
use kube::core::DynamicObject;
use serde_json::json;

use super::args::Args;
use super::isolation::{PARENTS, edits};
use super::progress::show;
use super::world::{Parents, WRITERS, World};
use crate::percentile::rounded;

/// Parents for which the provider crashes.
const POISON: usize = 1000;
/// Their namespace.
const NAMESPACE: &str = "poison";

pub(crate) async fn measure(args: &Args) -> Result<f64> {
    let world = World::new().await?;
    let faulty = std::fs::read(&args.faulty).with_context(|| format!("--faulty {}", args.faulty.display()))?;
    let copy = ModuleCopy::new(Original::FAULTY, &faulty, 0, &json!({}), &world.providers())?;
    let copies = [copy.clone()];
    let host = world.host(&args.host, &copies).await?;
    let mut parents = Parents::watch(&world, &copies);
    parents.converge(PARENTS).await?;

    let alone = edits(&mut parents, 1, args.edits).await?;
    world.cluster.kubectl_ok(&["create", "namespace", NAMESPACE], None).await?;
    let api: Api<DynamicObject> = Api::namespaced_with(world.cluster.client(), NAMESPACE, &copy.resource);
    let created = (0..POISON).map(|number| {
        let (api, resource) = (&api, &copy.resource);
        async move {
            let parent = json!({
                "apiVersion": resource.api_version, "kind": resource.kind,
                "metadata": {"name": format!("poison-{number}")}, "spec": {"how": "Trap"},
            });
            api.create(&PostParams::default(), &serde_json::from_value(parent)?).await?;
            anyhow::Ok(())
        }
    });
    stream::iter(created).buffer_unordered(WRITERS).try_collect::<()>().await?;
    let beside = edits(&mut parents, 1, args.edits).await?;
    show("edits alone and beside a thousand poison parents, p99", &(alone, beside));
    drop(parents);
    host.stop().await?;
    world.cluster.stop().await?;
    Ok(rounded(beside.as_secs_f64() / alone.as_secs_f64().max(1e-6), 2))
}
