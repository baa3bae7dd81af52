//! The tasks of every day.

use anyhow::{Result, ensure};
use bartizan_e2e::Provider;

use crate::Site;

/// All of them, in the order in which they come up.
pub(crate) async fn all(site: &mut Site) -> Result<()> {
    load_by_file_and_config_map(site).await?;
    six_broken_stores(site).await?;
    a_held_upgrade_is_approved_in_git_and_rolled_back(site).await?;
    a_limit(site).await?;
    suspend(site).await?;
    two_tenants(site).await?;
    drain_a_replica(site).await
}

/// Besides the registry, from which MinIO came.
async fn load_by_file_and_config_map(site: &mut Site) -> Result<()> {
    let Site { shell, programs, .. } = site;
    shell.begin("load a module by a file of the folder");
    let hello = programs.module(Provider::Hello)?.display().to_string();
    shell.types(&format!("bartizan crds {hello} | kubectl apply -f -")).await?;
    shell.types(&format!("bartizan rbac {hello} | kubectl apply -f -")).await?;
    let map = "kubectl -n bartizan-system create configmap";
    let apply = "--dry-run=client -o yaml | kubectl apply --server-side -f -";
    shell.types(&format!("{map} bartizan-providers --from-file=hello.wasm={hello} {apply}")).await?;
    shell.sees("kubectl get provider hello", "True").await?;
    shell.types("kubectl apply -f examples/hello/greeting.yaml").await?;
    shell.sees("kubectl get configmap hello -o yaml", "Hello, world!").await?;

    shell.begin("load a module by a ConfigMap");
    let scripted = programs.module(Provider::Scripted)?.display().to_string();
    shell.types(&format!("bartizan crds {scripted} | kubectl apply -f -")).await?;
    shell.types(&format!("{map} scripted --from-file=scripted.wasm={scripted} {apply}")).await?;
    let file = shell.path("scripted.yaml");
    let spec = "module: {configMap: {name: scripted, key: scripted.wasm}}\n  namespaces: [default]\n";
    let provider = |grants: &str| {
        format!(
            "apiVersion: bartizan.dev/v1alpha1\nkind: Provider\nmetadata: {{name: scripted}}\nspec:\n  {spec}  grants:\n{grants}"
        )
    };
    let children = "    children:\n      - {group: \"\", kinds: [ConfigMap, Secret, Service]}\n      - {group: apps, kinds: [StatefulSet]}\n";
    std::fs::write(&file, provider(children))?;
    shell.types(&format!("kubectl apply -f {file}")).await?;
    shell.sees("bartizan status", "ConfigMap is not in spec.grants.related").await?;
    let others = "    descendants:\n      - {group: \"\", kinds: [Pod, PersistentVolumeClaim]}\n    related:\n      - {group: \"\", kinds: [ConfigMap, Secret]}\n";
    std::fs::write(&file, provider(&format!("{children}{others}")))?;
    shell.types(&format!("kubectl apply -f {file}")).await?;
    shell.sees("bartizan status", "Serving=False Forbidden").await?;
    shell.types(&format!("bartizan rbac {scripted} -f {file} | kubectl apply -f -")).await?;
    shell.sees("kubectl get provider scripted", "True").await?;
    Ok(())
}

fn store(name: &str, spec: &str) -> String {
    let metadata = format!("{{\"name\": \"{name}\", \"namespace\": \"rook-minio\"}}");
    let kind = "\"apiVersion\": \"minio.rook.io/v1alpha1\", \"kind\": \"ObjectStore\"";
    format!("kubectl apply -f - <<< '{{{kind}, \"metadata\": {metadata}, \"spec\": {spec}}}'")
}

async fn six_broken_stores(site: &mut Site) -> Result<()> {
    const FOUR: &str = "{\"scope\": {\"nodeCount\": 4}}";
    let Site { shell, .. } = site;
    shell.begin("six stores that are broken, each in another way");
    // Refused at once; refused by the provider; a Secret that is not there; a name that is taken; a quota; and rights that are taken away.
    shell.is_told(&store("typo", "{\"scope\": {\"nodeCout\": 4}}"), 1, "spec.scope.nodeCount: Required value").await?;
    shell.types(&store("odd", "{\"scope\": {\"nodeCount\": 3}}")).await?;
    shell.types(&store("keyless", "{\"scope\": {\"nodeCount\": 4}, \"credentials\": {\"name\": \"absent\"}}")).await?;
    shell.types("kubectl -n rook-minio create service clusterip taken-service --tcp=9000").await?;
    shell.types(&store("taken", FOUR)).await?;
    shell
        .sees("bartizan status", "rook-minio/taken: Synced=False NameTaken: Service rook-minio/taken-service exists")
        .await?;
    shell.types("kubectl -n rook-minio create quota none --hard=count/statefulsets.apps=0,count/poddisruptionbudgets.policy=0").await?;
    let probe =
        "kubectl -n rook-minio create poddisruptionbudget probe --selector=a=b --min-available=1 --dry-run=server";
    shell.sees(probe, "exceeded quota").await?;
    shell.types(&store("over-quota", FOUR)).await?;
    for (name, reason) in [
        ("odd", "Valid=False InvalidSpec: spec.scope.nodeCount: must be an even number"),
        ("keyless", "Ready=False CredentialsNotReady: spec.credentials.name: Secret absent does not exist"),
        ("over-quota", "Synced=False Forbidden: StatefulSet rook-minio/over-quota could not be written"),
    ] {
        shell.sees("bartizan status", &format!("rook-minio/{name}: {reason}")).await?;
    }
    let asked = site.asked("explain objectstore/odd -n rook-minio").await?;
    site.shell.sees(&asked, "nodeCount").await?;
    let Site { shell, .. } = site;
    shell.types("kubectl delete clusterrolebinding bartizan-provider-minio").await?;
    shell.types(&store("forbidden", FOUR)).await?;
    let status = shell.sees("bartizan status", "Serving=False Forbidden").await?;
    ensure!(status.contains("cannot list resource") || status.contains("may not list"), "{status}");
    shell.types("helm upgrade bartizan deploy/chart/bartizan --namespace bartizan-system --reuse-values").await?;
    shell.types("kubectl -n rook-minio delete quota none").await?;
    shell.types("kubectl wait --for=condition=Ready --timeout=90s objectstore/forbidden -n rook-minio").await?;
    shell.types("kubectl wait --for=condition=Ready --timeout=60s provider/minio").await?;
    Ok(())
}

async fn a_held_upgrade_is_approved_in_git_and_rolled_back(site: &mut Site) -> Result<()> {
    let [before, next] = site.modules.clone();
    let Site { shell, .. } = site;
    let patch = |spec: &str| format!("kubectl patch provider minio --type=merge -p '{{\"spec\": {spec}}}'");
    shell.begin("an upgrade that is held");
    shell.types(&patch("{\"upgrade\": {\"policy\": \"Manual\"}}")).await?;
    shell.types(&patch(&format!("{{\"module\": {{\"oci\": {{\"reference\": \"{next}\"}}}}}}"))).await?;
    shell.sees("bartizan status", "0.1.1").await?;
    shell.types("kubectl wait --for=condition=UpgradeHeld --timeout=60s provider/minio").await?;
    shell
        .sees("kubectl get events --field-selector involvedObject.name=minio", "bartizan approve provider/minio")
        .await?;
    // The note of each, also where one of the same reason was published before.
    shell.sees("kubectl get events --field-selector involvedObject.name=minio", "0.1.1@sha256:").await?;
    let diff = site.asked("diff provider/minio").await?;
    site.shell.types(&diff).await?;

    let Site { shell, .. } = site;
    shell.begin("approve it in Git");
    let approval = shell.types("kubectl get provider minio -o jsonpath={.status.candidate.approval}").await?;
    shell.types(&patch(&format!("{{\"upgrade\": {{\"approved\": \"{}\"}}}}", approval.trim()))).await?;
    shell.sees("kubectl get provider minio", "0.1.1").await?;
    let active = shell.sees("kubectl get provider minio -o jsonpath={.status.active}", "approvedBy").await?;
    ensure!(active.contains("\"version\":\"0.1.1\""), "{active}");
    shell
        .sees(
            "kubectl get provider minio -o jsonpath='{.status.conditions[?(@.type==\"UpgradeHeld\")].status}'",
            "False",
        )
        .await?;

    shell.begin("roll back");
    let digest = shell.types("kubectl get provider minio -o jsonpath={.status.previous.digest}").await?;
    let digest = digest.trim();
    shell
        .types(&patch(&format!(
            "{{\"module\": {{\"digest\": \"{digest}\"}}, \"upgrade\": {{\"approved\": \"{digest}\"}}}}"
        )))
        .await?;
    shell.sees("kubectl get provider minio", "0.1.0").await?;
    let loaded = "kubectl get provider minio -o jsonpath='{.status.conditions[?(@.type==\"Loaded\")].status}'";
    shell.sees(loaded, "True").await?;
    let back =
        format!("{{\"module\": {{\"digest\": null, \"oci\": {{\"reference\": \"{before}\"}}}}, \"upgrade\": null}}");
    shell.types(&patch(&back)).await?;
    Ok(())
}

async fn a_limit(site: &mut Site) -> Result<()> {
    let Site { shell, .. } = site;
    shell.begin("a limit");
    let limit = |children: &str| {
        format!(
            "kubectl patch provider minio --type=merge -p '{{\"spec\": {{\"limits\": {{\"children\": {children}}}}}}}'"
        )
    };
    shell.types(&limit("1")).await?;
    shell.types("kubectl -n rook-minio annotate objectstore my-store bartizan.dev/reconcile=now --overwrite").await?;
    shell.sees("bartizan status", "rook-minio/my-store: Synced=False").await?;
    shell.types(&limit("null")).await?;
    shell.types("kubectl wait --for=condition=Synced --timeout=60s objectstore/my-store -n rook-minio").await?;
    Ok(())
}

async fn suspend(site: &mut Site) -> Result<()> {
    let Site { shell, .. } = site;
    shell.begin("suspend a provider, and let it go on");
    shell.types("kubectl patch provider minio --type=merge -p '{\"spec\": {\"suspend\": true}}'").await?;
    let synced =
        "kubectl -n rook-minio get objectstore my-store -o jsonpath='{.status.conditions[?(@.type==\"Synced\")]}'";
    let said = shell.sees(synced, "Suspended").await?;
    ensure!(said.contains("\"status\":\"Unknown\""), "{said}");
    shell.sees("bartizan status", "Suspended").await?;
    shell.types("kubectl patch provider minio --type=merge -p '{\"spec\": {\"suspend\": null}}'").await?;
    shell.types("kubectl wait --for=condition=Synced --timeout=60s objectstore/my-store -n rook-minio").await?;
    Ok(())
}

async fn two_tenants(site: &mut Site) -> Result<()> {
    let Site { shell, .. } = site;
    shell.begin("two tenants");
    for (user, team) in [("alice", "shop"), ("bob", "bank")] {
        shell.types(&format!("kubectl create namespace {team}")).await?;
        shell.types(&format!("kubectl -n {team} create rolebinding {user} --clusterrole=edit --user={user}")).await?;
    }
    let apply = |user: &str, team: &str| {
        format!("sed s/rook-minio/{team}/ examples/minio/object-store-minimal.yaml | kubectl --as={user} apply -f -")
    };
    shell.sees("kubectl --as=alice -n shop auth can-i create objectstores.minio.rook.io", "yes").await?;
    shell.types(&apply("alice", "shop")).await?;
    shell.is_told(&apply("bob", "shop"), 1, "forbidden").await?;
    shell.types(&apply("bob", "bank")).await?;
    for (user, team) in [("alice", "shop"), ("bob", "bank")] {
        let wait = "wait --for=condition=Ready --timeout=90s objectstore/my-store";
        shell.types(&format!("kubectl --as={user} -n {team} {wait}")).await?;
    }
    shell.is_told("kubectl --as=bob -n shop get secrets", 1, "forbidden").await?;
    Ok(())
}

async fn drain_a_replica(site: &mut Site) -> Result<()> {
    site.shell.begin("drain a replica");
    let holder = "kubectl -n bartizan-system get lease bartizan -o jsonpath={.spec.holderIdentity}";
    let before = site.shell.types(holder).await?;
    site.kubelet.drain(before.trim()).await?;
    let status = site.shell.sees("bartizan status", "lease: held by").await?;
    ensure!(status.contains("minio"), "{status}");
    let Site { shell, .. } = site;
    shell.types("kubectl -n shop patch objectstore my-store --type=merge -p '{\"spec\": {\"annotations\": {\"team\": \"shop\"}}}'").await?;
    shell.sees("kubectl -n shop get statefulset my-store -o yaml", "team: shop").await?;
    let after = shell.types(holder).await?;
    ensure!(after != before, "{after} leads still");
    Ok(())
}
