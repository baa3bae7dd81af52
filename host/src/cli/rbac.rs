//! `bartizan rbac`: the RBAC rules that a provider needs, each with its reason.

mod document;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Context as _;
use bartizan_contract::names::ACCOUNT_NAMESPACE;
use bartizan_contract::provider::Provider;
use bartizan_contract::{GroupKind, Kind, ProviderManifest, RelatedAccess};
use bartizan_engine::status_shape::StatusShape;
use clap::ValueEnum;
use serde_json::{Value, json};

use self::document::Scope;
use crate::cli::names::{Account, account};
use crate::kubernetes::crds;

/// What all objects of this project carry.
const PART_OF: &str = "app.kubernetes.io/part-of";
const PROJECT: &str = "bartizan";
/// The same as YAML.
const LABELS: &str = "  labels:\n    app.kubernetes.io/part-of: bartizan\n";
/// API group of roles and bindings.
const RBAC: &str = "rbac.authorization.k8s.io";
/// What is said of a ClusterRole that reads Secrets.
const READS_ALL_SECRETS: &str = "# Secrets of all namespaces, the host's own among them: a Provider with this role is accepted only with\n\
                                 # spec.allowHostSecrets. Rights in the namespaces that it serves avoid that: --namespace, or a Provider\n\
                                 # with spec.namespaces (-f).\n";
/// The verbs on objects that are only read.
const READ: &[&str] = &["get", "list", "watch"];
/// The verbs on children: watched by label, read before they are adopted, applied (create and patch), pruned.
const WRITE: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

#[derive(Debug, clap::Args)]
pub(crate) struct RbacArgs {
    /// Provider module.
    #[arg(value_name = "FILE")]
    pub(crate) module: std::path::PathBuf,
    /// ServiceAccount that gets the rights, as namespace/name; default: bartizan-providers/provider-NAME, which is printed as well.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = account)]
    pub(crate) account: Option<Account>,
    /// Rights in this namespace only (may be repeated), as a Role in each; default: a ClusterRole.
    #[arg(short, long = "namespace", value_name = "NAMESPACE", conflicts_with = "filename")]
    pub(crate) namespaces: Vec<String>,
    /// Provider that the module is for, in YAML or JSON: only what it grants, where it grants that, for its account.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) filename: Option<std::path::PathBuf>,
    /// YAML with the reasons as comments, or JSON.
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    pub(crate) output: Format,
}

/// How to print the roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people and kubectl.
    Yaml,
    /// For programs.
    Json,
}

/// A rule of a role, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Sentences, one per line.
    reason: Vec<String>,
    group: String,
    resources: Vec<String>,
    verbs: Vec<&'static str>,
}

/// Prints the rules of a module.
///
/// # Errors
/// If it is no module, or has cluster-scoped parents and is to serve some namespaces, or the Provider cannot be read.
pub(crate) fn print(args: &RbacArgs) -> anyhow::Result<()> {
    let manifest = crate::catalog::module::manifest_of(&args.module)?;
    let asked = match &args.filename {
        None => Asked::new(&manifest, args.account.as_ref(), &args.namespaces)?,
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
            let provider = document::provider(&text).with_context(|| file.display().to_string())?;
            Asked::of(&manifest, args.account.as_ref(), &provider)?
        }
    };
    print!("{}", asked.render(&manifest, args.output)?);
    Ok(())
}

/// Which rights are printed.
struct Asked {
    account: Account,
    /// Whether the account is printed, too.
    makes_account: bool,
    scopes: Vec<Scope>,
}

impl Asked {
    /// All that a module asks for, in these namespaces, or everywhere.
    fn new(manifest: &ProviderManifest, account: Option<&Account>, namespaces: &[String]) -> anyhow::Result<Self> {
        check_scope(manifest, namespaces, "leave out --namespace")?;
        let whole = |namespace: Option<&String>| Scope { namespace: namespace.cloned(), manifest: manifest.clone() };
        let scopes = match namespaces {
            [] => vec![whole(None)],
            some => some.iter().map(|namespace| whole(Some(namespace))).collect(),
        };
        let (account, makes_account) = account_or(account, format!("provider-{}", manifest.name));
        Ok(Self { account, makes_account, scopes })
    }

    /// What a Provider grants of that.
    fn of(manifest: &ProviderManifest, account: Option<&Account>, provider: &Provider) -> anyhow::Result<Self> {
        let spec = &provider.spec;
        check_scope(manifest, &spec.namespaces, "leave out spec.namespaces")?;
        let (account, makes_account) = account_or(account, provider.service_account_name());
        let mut scopes = document::scopes(manifest, spec);
        scopes.retain(|scope| !rules(&scope.manifest).is_empty());
        let is_wide = |scope: &Scope| scope.namespace.is_none() && scope.manifest.sees_secrets();
        anyhow::ensure!(
            spec.allow_host_secrets || !scopes.iter().any(is_wide),
            "it would read the Secrets of all namespaces, the host's own among them, and not be accepted: name the namespaces that it \
             serves in spec.namespaces, or say spec.allowHostSecrets"
        );
        Ok(Self { account, makes_account, scopes })
    }
}

/// The account that was named, or the provider's own one, which is printed as well.
fn account_or(named: Option<&Account>, own: String) -> (Account, bool) {
    match named {
        Some(account) => (account.clone(), false),
        None => (Account { namespace: ACCOUNT_NAMESPACE.to_owned(), name: own }, true),
    }
}

/// Rights in namespaces are not enough for parents outside of them.
fn check_scope(manifest: &ProviderManifest, namespaces: &[String], advice: &str) -> anyhow::Result<()> {
    let outside = manifest.crds.iter().find(|crd| crd.pointer("/spec/scope").is_some_and(|scope| scope == "Cluster"));
    if let (Some(crd), false) = (outside, namespaces.is_empty()) {
        let name = crds::name(crd);
        anyhow::bail!("{name} are cluster-scoped, so that rights in namespaces are not enough: {advice}");
    }
    Ok(())
}

impl Asked {
    fn render(&self, manifest: &ProviderManifest, format: Format) -> anyhow::Result<String> {
        let Self { account, makes_account, scopes } = self;
        let for_people = roles_for_people(manifest);
        if format == Format::Json {
            let made = makes_account.then(|| service_account(account));
            let roles = scopes.iter().flat_map(|Scope { namespace, manifest }| {
                objects(manifest, &rules(manifest), account, namespace.as_deref())
            });
            let items: Vec<Value> = made.into_iter().chain(roles).chain(for_people).collect();
            let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
            return Ok(format!("{}\n", serde_json::to_string_pretty(&list)?));
        }
        let (name, version) = (&manifest.name, &manifest.version);
        let mut text =
            format!("# The rights that the provider \"{name}\" {version} needs, as `bartizan rbac` prints them.\n");
        if *makes_account {
            let Account { namespace, name } = account;
            let _ = write!(
                text,
                "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n  namespace: {namespace}\n{LABELS}\
                 automountServiceAccountToken: false\n---\n"
            );
        }
        for (position, Scope { namespace, manifest }) in scopes.iter().enumerate() {
            if position > 0 {
                text.push_str("---\n");
            }
            if namespace.is_none() && manifest.sees_secrets() {
                text.push_str(READS_ALL_SECRETS);
            }
            text.push_str(&yaml(manifest, &rules(manifest), account, namespace.as_deref()));
        }
        if !for_people.is_empty() {
            text.push_str("---\n# For people: part of the cluster's own roles view, edit and admin.\n");
            let roles: Vec<String> = for_people.iter().map(serde_yaml_ng::to_string).collect::<Result<_, _>>()?;
            text.push_str(&roles.join("---\n"));
        }
        Ok(text)
    }
}

/// The roles by which people who have `view`, `edit` or `admin` in a namespace have it for the provider's kinds, too. None for kinds
/// outside of namespaces. Where a parent may hold a secret, who may only view sees it no more than a Secret.
fn roles_for_people(manifest: &ProviderManifest) -> Vec<Value> {
    let text = |crd: &Value, pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut plurals: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for crd in manifest.crds.iter().filter(|crd| text(crd, "/spec/scope") != "Cluster") {
        plurals.entry(text(crd, "/spec/group")).or_default().push(text(crd, "/spec/names/plural"));
    }
    let role = |right: &str, into: &[&str], verbs: &[&str]| {
        let mut labels = json!({PART_OF: PROJECT});
        for role in into {
            labels[format!("rbac.authorization.k8s.io/aggregate-to-{role}")] = "true".into();
        }
        let rule = |(group, plurals)| json!({"apiGroups": [group], "resources": plurals, "verbs": verbs});
        let rules: Vec<Value> = plurals.iter().map(rule).collect();
        json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole",
            "metadata": {"name": format!("bartizan-{}-{right}", manifest.name), "labels": labels}, "rules": rules,
        })
    };
    if plurals.is_empty() {
        return Vec::new();
    }
    let viewers: &[&str] = if manifest.sensitive.is_empty() { &["admin", "edit", "view"] } else { &["admin", "edit"] };
    vec![
        role("view", viewers, READ),
        role("edit", &["admin", "edit"], &["create", "delete", "deletecollection", "patch", "update"]),
    ]
}

/// The rules for a provider's manifest.
pub(crate) fn rules(manifest: &ProviderManifest) -> Vec<Rule> {
    let mut rules = Vec::new();
    for crd in &manifest.crds {
        parent_rules(crd, manifest.finalizes, &mut rules);
    }
    if manifest.finalizes {
        let reason = vec!["Whether a parent's namespace is being deleted, and everything in it with it.".to_owned()];
        let (group, resources) = (String::new(), vec!["namespaces".to_owned()]);
        rules.push(Rule { reason, group, resources, verbs: vec!["get"] });
    }
    let plurals = Plurals::of(manifest);
    let mut seen: Vec<Kind> = Vec::new();
    let children = manifest.children.iter().map(|asked| (asked.kind(), asked.optional));
    let (rights, children): (Vec<_>, Vec<_>) = children.partition(|(kind, _)| kind.group == RBAC);
    plurals.add(children, "Its children: watched, applied, pruned", WRITE, &mut seen, &mut rules);
    for rule_of_rights in by_group(rights, &mut seen) {
        rules.push(plurals.rule(rule_of_rights, "Its children that grant rights: watched, applied, pruned", WRITE, &[
            "The API server lets an account grant only rights that it has itself. The manifest does not list those: add the rules of",
            "every role that it writes or binds to this role. The verbs escalate (on roles) and bind (on roles that it binds, by",
            "resourceNames) lift this restriction, but amount to every right in the cluster: prefer the rules.",
        ]));
    }
    let descendants = manifest.descendants.iter().map(|asked| (asked.kind(), asked.optional)).collect();
    plurals.add(descendants, "Descendants of its children", READ, &mut seen, &mut rules);
    let of_access = |access| manifest.related.iter().filter(move |asked| asked.access == access);
    for (access, reason) in [
        (RelatedAccess::Opaque, "Related objects that it may ask for"),
        (RelatedAccess::Plaintext, "Related objects that it may ask for, Secrets with their plain values"),
    ] {
        let related = of_access(access).map(|asked| (asked.kind(), asked.optional)).collect();
        plurals.add(related, reason, READ, &mut seen, &mut rules);
    }
    rules
}

fn parent_rules(crd: &Value, finalizes: bool, rules: &mut Vec<Rule>) {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (group, plural) = (text("/spec/group"), text("/spec/names/plural"));
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let storage = versions.into_iter().find(|version| version.get("storage") == Some(&Value::Bool(true)));
    let has_status = storage.is_some_and(|version| version.pointer("/subresources/status").is_some());
    let mut rule = |resource: String, verbs: &[&'static str], reason: &[&str]| {
        let reason = reason.iter().map(|&line| line.to_owned()).collect();
        rules.push(Rule { reason, group: group.clone(), resources: vec![resource], verbs: verbs.to_vec() });
    };
    // Without a subresource, the status is written with the object.
    let patches_for_status = !has_status && storage.is_some_and(|version| StatusShape::of(version).has_room());
    if finalizes || patches_for_status {
        let reason = match (finalizes, patches_for_status) {
            (true, true) => {
                "patched to add and remove the host's finalizer, and to write their status, which is no subresource."
            }
            (true, false) => "patched to add and remove the host's finalizer.",
            (false, _) => "patched to write their status, which is no subresource.",
        };
        rule(plural.clone(), &["get", "list", "watch", "patch"], &[&format!("Its parents: watched; {reason}")]);
    } else {
        rule(plural.clone(), READ, &["Its parents: watched."]);
    }
    if has_status {
        rule(format!("{plural}/status"), &["patch"], &["Their status."]);
    }
    if !finalizes {
        rule(
            format!("{plural}/finalizers"),
            &["update"],
            &[
                "Children block their parent's deletion, so that they are deleted first. Clusters with",
                "OwnerReferencesPermissionEnforcement require this right; the host never changes finalizers of these parents.",
            ],
        );
    }
}

/// Kinds of one group that are needed for the same reason.
struct GroupKinds {
    group: String,
    optional: bool,
    kinds: Vec<Kind>,
}

/// Kinds by group, with optional ones apart, and without those that have a rule already.
fn by_group(asked: Vec<(Kind, bool)>, seen: &mut Vec<Kind>) -> Vec<GroupKinds> {
    let mut groups: BTreeMap<(bool, String), Vec<Kind>> = BTreeMap::new();
    for (kind, optional) in asked {
        if !seen.iter().any(|other| other.same_group_kind(&kind)) {
            seen.push(kind.clone());
            groups.entry((optional, kind.group.clone())).or_default().push(kind);
        }
    }
    groups.into_iter().map(|((optional, group), kinds)| GroupKinds { group, optional, kinds }).collect()
}

/// The plurals of kinds.
struct Plurals(BTreeMap<GroupKind, String>);

impl Plurals {
    /// Those in the CRDs of the module.
    fn of(manifest: &ProviderManifest) -> Self {
        let text = |crd: &Value, pointer| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let known = |crd| {
            let kind = GroupKind { group: text(crd, "/spec/group"), kind: text(crd, "/spec/names/kind") };
            (kind, text(crd, "/spec/names/plural"))
        };
        Self(manifest.crds.iter().map(known).collect())
    }

    fn add(
        &self,
        asked: Vec<(Kind, bool)>,
        reason: &str,
        verbs: &[&'static str],
        seen: &mut Vec<Kind>,
        rules: &mut Vec<Rule>,
    ) {
        rules.extend(by_group(asked, seen).into_iter().map(|wanted| self.rule(wanted, reason, verbs, &[])));
    }

    fn rule(&self, wanted: GroupKinds, reason: &str, verbs: &[&'static str], more: &[&str]) -> Rule {
        let served = if wanted.optional { ", where they are served" } else { "" };
        let mut reason = vec![format!("{reason}{served}.")];
        reason.extend(more.iter().map(|&line| line.to_owned()));
        let mut resources = Vec::new();
        for kind in wanted.kinds {
            match self.0.get(&GroupKind::from(&kind)) {
                Some(plural) => resources.push(plural.clone()),
                None => {
                    let plural = guessed(&kind.kind);
                    if !is_built_in(&kind.group) {
                        reason.push(format!(
                            "The plural {plural} of {} is a guess; see `kubectl api-resources`.",
                            kind.kind
                        ));
                    }
                    resources.push(plural);
                }
            }
        }
        resources.sort();
        Rule { reason, group: wanted.group, resources, verbs: verbs.to_vec() }
    }
}

/// Whether Kubernetes itself serves the group: for its kinds the guess is right.
fn is_built_in(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// The regular plural of a kind.
fn guessed(kind: &str) -> String {
    let singular = kind.to_lowercase();
    let before_y = singular.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']));
    match before_y {
        // Its kind is a plural already.
        _ if singular == "endpoints" => singular,
        Some(stem) => format!("{stem}ies"),
        None if ["s", "x", "ch", "sh"].iter().any(|end| singular.ends_with(end)) => format!("{singular}es"),
        None => format!("{singular}s"),
    }
}

/// Name of the role. Several Providers may use one module with different accounts, and several modules one account, so that each pair
/// has its own role.
fn name_of(manifest: &ProviderManifest, account: &Account) -> String {
    let own = format!("provider-{}", manifest.name);
    if account.name == own { format!("bartizan-{own}") } else { format!("bartizan-{}-{}", account.name, manifest.name) }
}

/// A ServiceAccount that only the host impersonates.
fn service_account(account: &Account) -> Value {
    let Account { namespace, name } = account;
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": {PART_OF: PROJECT}},
        "automountServiceAccountToken": false,
    })
}

/// A role and its binding.
fn objects(manifest: &ProviderManifest, rules: &[Rule], account: &Account, namespace: Option<&str>) -> [Value; 2] {
    let name = name_of(manifest, account);
    let mut metadata = json!({"name": name, "labels": {PART_OF: PROJECT}});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| json!({"apiGroups": [rule.group], "resources": rule.resources, "verbs": rule.verbs}))
        .collect();
    let version = format!("{RBAC}/v1");
    let subject = json!({"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace});
    [
        json!({"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules}),
        json!({
            "apiVersion": version, "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name}, "subjects": [subject],
        }),
    ]
}

/// A role and its binding as YAML, with the reasons.
fn yaml(manifest: &ProviderManifest, rules: &[Rule], account: &Account, namespace: Option<&str>) -> String {
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    let name = name_of(manifest, account);
    let head = |kind: &str| {
        let namespace = namespace.map(|namespace| format!("  namespace: {namespace}\n")).unwrap_or_default();
        format!("apiVersion: {RBAC}/v1\nkind: {kind}\nmetadata:\n  name: {name}\n{namespace}{LABELS}")
    };
    let mut text = format!("{}rules:\n", head(kind));
    // Writing to a string cannot fail.
    for Rule { reason, group, resources, verbs } in rules {
        for line in reason {
            let _ = writeln!(text, "  # {line}");
        }
        let group = if group.is_empty() { "\"\"" } else { group };
        let (resources, verbs) = (resources.join(", "), verbs.join(", "));
        let _ = writeln!(text, "  - apiGroups: [{group}]\n    resources: [{resources}]\n    verbs: [{verbs}]");
    }
    let Account { namespace, name: account } = account;
    let _ = write!(
        text,
        "---\n{}roleRef:\n  apiGroup: {RBAC}\n  kind: {kind}\n  name: {name}\nsubjects:\n  - kind: ServiceAccount\n    name: {account}\n    \
         namespace: {namespace}\n",
        head(&format!("{kind}Binding")),
    );
    text
}

#[cfg(test)]
mod tests;
