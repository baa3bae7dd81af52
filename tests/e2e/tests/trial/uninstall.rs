//! It is taken away, in three orders: nothing is lost without `--yes`, and nothing hangs that `bartizan uninstall` cannot free.

use anyhow::{Result, ensure};

use crate::Site;

const UID: &str = "kubectl -n rook-minio get statefulset my-store -o jsonpath={.metadata.uid}";

/// Each after another installation, which takes up again what the one before left.
pub(crate) async fn in_three_orders(site: &mut Site) -> Result<()> {
    let before = site.shell.types(UID).await?;

    site.shell.begin("uninstall, then the releases");
    site.shell.is_told("bartizan uninstall", 0, "Nothing was changed.").await?;
    site.shell.is_told("bartizan uninstall --yes", 0, "released").await?;
    stays(site, &before).await?;
    releases(site).await?;
    stays(site, &before).await?;

    site.install().await?;
    site.first_store().await?;
    stays(site, &before).await?;
    site.shell.begin("the releases, then uninstall");
    releases(site).await?;
    site.shell.types("kubectl get objectstore my-store -n rook-minio").await?;
    site.shell.is_told("bartizan uninstall --yes", 0, "released").await?;
    stays(site, &before).await?;

    site.install().await?;
    site.first_store().await?;
    site.shell.begin("Provider and namespace by hand, then uninstall");
    site.shell.types("kubectl delete provider minio --wait=false").await?;
    site.shell.sees("bartizan status", "RemovalBlocked").await?;
    site.shell.types("kubectl delete namespace bartizan-system --timeout=90s").await?;
    site.shell.types("kubectl get objectstore my-store -n rook-minio").await?;
    site.shell.is_told("bartizan uninstall", 0, "objectstore").await?;
    site.shell.is_told("bartizan uninstall --yes", 0, "released").await?;
    stays(site, &before).await?;
    site.shell.is_told("kubectl get crd providers.bartizan.dev", 1, "NotFound").await?;
    Ok(())
}

/// The StatefulSet of the first store is the one that it was.
async fn stays(site: &mut Site, uid: &str) -> Result<()> {
    ensure!(site.shell.types(UID).await? == uid, "the StatefulSet is another one");
    Ok(())
}

async fn releases(site: &mut Site) -> Result<()> {
    site.shell.types("helm uninstall bartizan --namespace bartizan-system --wait --timeout=90s").await?;
    site.shell.types("helm uninstall bartizan-crds --wait --timeout=90s").await?;
    Ok(())
}
