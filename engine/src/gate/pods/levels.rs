//! The Pod Security Standards, field by field, as Kubernetes 1.36 implements them (k8s.io/pod-security-admission), with the
//! relaxations for pods in their own user namespace and for Windows. A field of an unexpected type counts as set: the API server
//! rejects it anyway.

use bartizan_contract::provider::PodLevel;
use serde_json::Value;

use super::template::{Template, containers, items};

/// A field value that a level does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// Path in the pod.
    pub(super) path: String,
    /// The rule, phrased so that `at level ...` can follow.
    pub(super) rule: String,
    /// The level that allows it.
    pub(super) needs: PodLevel,
}

impl Violation {
    /// A violation of Baseline, and so of Restricted.
    pub(super) fn of_baseline(path: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { path: path.into(), rule: rule.into(), needs: PodLevel::Privileged }
    }

    fn of_restricted(path: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { path: path.into(), rule: rule.into(), needs: PodLevel::Baseline }
    }
}

/// Capabilities that containers may add under Baseline: those that container runtimes grant by default.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// The one capability that containers may add under Restricted.
const BIND_SERVICE: &str = "NET_BIND_SERVICE";
/// Sysctls that are namespaced to the pod.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];
/// SELinux types that are allowed.
const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
/// Allowed profile types of seccomp and AppArmor.
const PROFILES: [&str; 2] = ["RuntimeDefault", "Localhost"];
/// Volumes that Restricted allows.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
/// Prefix of the annotations that set AppArmor profiles before there was a field.
const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Checks a pod against a level.
pub(super) fn check(template: &Template<'_>, level: PodLevel) -> Result<(), Violation> {
    if level == PodLevel::Privileged {
        return Ok(());
    }
    app_armor_annotations(template.metadata)?;
    let below_spec = |violation: Violation| Violation { path: format!("spec.{}", violation.path), ..violation };
    baseline(template.spec).map_err(below_spec)?;
    if level == PodLevel::Restricted { restricted(template.spec).map_err(below_spec) } else { Ok(()) }
}

fn baseline(pod: &Value) -> Result<(), Violation> {
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if is_set(pod.get(field)) {
            return Err(Violation::of_baseline(field, "must be false or left out"));
        }
    }
    for (path, volume) in items(pod, "volumes") {
        if volume.get("hostPath").is_some_and(|source| !source.is_null()) {
            return Err(Violation::of_baseline(
                format!("{path}.hostPath"),
                "a directory of a node is not allowed as a volume",
            ));
        }
    }
    baseline_context(pod, "")?;
    for (position, sysctl) in pod.pointer("/securityContext/sysctls").and_then(list).into_iter().flatten().enumerate() {
        let name = text(sysctl.get("name"));
        if !SYSCTLS.contains(&name) {
            let rule = format!("sysctl \"{name}\" is not allowed");
            return Err(Violation::of_baseline(format!("securityContext.sysctls[{position}].name"), rule));
        }
    }
    let in_user_namespace = in_user_namespace(pod);
    for (path, container) in containers(pod) {
        baseline_context(container, &format!("{path}."))?;
        baseline_container(container, &path, in_user_namespace)?;
    }
    Ok(())
}

/// Fields of a securityContext that pods and containers share.
fn baseline_context(object: &Value, path: &str) -> Result<(), Violation> {
    let Some(context) = object.get("securityContext") else { return Ok(()) };
    let path = format!("{path}securityContext");
    if is_set(context.pointer("/windowsOptions/hostProcess")) {
        return Err(Violation::of_baseline(format!("{path}.windowsOptions.hostProcess"), "must be false or left out"));
    }
    for profile in ["seccompProfile", "appArmorProfile"] {
        let Some(given) = context.get(profile).filter(|given| !given.is_null()) else { continue };
        if !PROFILES.contains(&text(given.get("type"))) {
            let rule = "must be RuntimeDefault or Localhost, or left out";
            return Err(Violation::of_baseline(format!("{path}.{profile}.type"), rule));
        }
    }
    let selinux = |field: &str| context.get("seLinuxOptions").and_then(|options| options.get(field));
    if !selinux("type").is_none_or(|type_| type_.is_null() || SELINUX_TYPES.contains(&text(Some(type_)))) {
        let rule = "must be one of container_t, container_init_t, container_kvm_t, container_engine_t, or left out";
        return Err(Violation::of_baseline(format!("{path}.seLinuxOptions.type"), rule));
    }
    for field in ["user", "role"] {
        if selinux(field).is_some_and(|value| !value.is_null() && value != "") {
            return Err(Violation::of_baseline(format!("{path}.seLinuxOptions.{field}"), "must be left out"));
        }
    }
    Ok(())
}

fn baseline_container(container: &Value, path: &str, in_user_namespace: bool) -> Result<(), Violation> {
    if is_set(container.pointer("/securityContext/privileged")) {
        return Err(Violation::of_baseline(format!("{path}.securityContext.privileged"), "must be false or left out"));
    }
    added(container, path, &CAPABILITIES, Violation::of_baseline)?;
    if !in_user_namespace && has_proc_mount(container) {
        return Err(Violation::of_baseline(format!("{path}.securityContext.procMount"), "must be Default or left out"));
    }
    for (port, value) in items(container, "ports") {
        if value.get("hostPort").is_some_and(|port| !port.is_null() && *port != 0) {
            return Err(Violation::of_baseline(format!("{path}.{port}.hostPort"), "must be left out"));
        }
    }
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"];
    for handler in probes.into_iter().chain(["lifecycle/postStart", "lifecycle/preStop"]) {
        for action in ["httpGet", "tcpSocket"] {
            if container.pointer(&format!("/{handler}/{action}/host")).is_some_and(|host| !host.is_null() && host != "")
            {
                let handler = handler.replace('/', ".");
                return Err(Violation::of_baseline(format!("{path}.{handler}.{action}.host"), "must be left out"));
            }
        }
    }
    Ok(())
}

fn app_armor_annotations(metadata: &Value) -> Result<(), Violation> {
    let annotations = metadata.get("annotations").and_then(Value::as_object).into_iter().flatten();
    for (key, value) in annotations.filter(|(key, _)| key.starts_with(APPARMOR_ANNOTATION)) {
        let profile = text(Some(value));
        if !(profile.is_empty() || profile == "runtime/default" || profile.starts_with("localhost/")) {
            let rule = "must be runtime/default or localhost/..., or left out";
            return Err(Violation::of_baseline(format!("metadata.annotations[{key}]"), rule));
        }
    }
    Ok(())
}

fn restricted(pod: &Value) -> Result<(), Violation> {
    for (path, volume) in items(pod, "volumes") {
        let sources = volume.as_object().into_iter().flatten();
        let mut sources = sources.filter(|(field, source)| *field != "name" && !source.is_null());
        if let Some((source, _)) = sources.find(|(source, _)| !VOLUMES.contains(&source.as_str())) {
            let rule = format!("a volume must be one of {}", VOLUMES.join(", "));
            return Err(Violation::of_restricted(format!("{path}.{source}"), rule));
        }
    }
    let is_windows = pod.pointer("/os/name").is_some_and(|name| name == "windows");
    let of_pod = pod.get("securityContext").unwrap_or(&Value::Null);
    if !in_user_namespace(pod) {
        must_not_be_root(of_pod, "")?;
    }
    for (path, container) in containers(pod) {
        let context = container.get("securityContext").unwrap_or(&Value::Null);
        let at = |field: &str| format!("{path}.securityContext.{field}");
        if has_proc_mount(container) {
            return Err(Violation::of_restricted(at("procMount"), "must be Default or left out"));
        }
        if !in_user_namespace(pod) {
            must_not_be_root(context, &format!("{path}."))?;
            let non_root = context.get("runAsNonRoot").filter(|value| !value.is_null()).or(of_pod.get("runAsNonRoot"));
            if non_root != Some(&Value::Bool(true)) {
                let rule = "must be true, here or in the securityContext of the pod";
                return Err(Violation::of_restricted(at("runAsNonRoot"), rule));
            }
        }
        if is_windows {
            continue;
        }
        if context.get("allowPrivilegeEscalation") != Some(&Value::Bool(false)) {
            return Err(Violation::of_restricted(at("allowPrivilegeEscalation"), "must be false"));
        }
        let dropped = context.pointer("/capabilities/drop").and_then(list);
        if !dropped.is_some_and(|dropped| dropped.iter().any(|capability| capability == "ALL")) {
            return Err(Violation::of_restricted(at("capabilities.drop"), "must contain ALL"));
        }
        added(container, &path, &[BIND_SERVICE], Violation::of_restricted)?;
        // The profile itself was checked under Baseline: every profile that passed there is sufficient here.
        let has_profile = |context: &Value| context.get("seccompProfile").is_some_and(|profile| !profile.is_null());
        if !has_profile(context) && !has_profile(of_pod) {
            let rule = "must be RuntimeDefault or Localhost, here or in the securityContext of the pod";
            return Err(Violation::of_restricted(at("seccompProfile.type"), rule));
        }
    }
    Ok(())
}

fn must_not_be_root(context: &Value, path: &str) -> Result<(), Violation> {
    let at = |field: &str| format!("{path}securityContext.{field}");
    if context.get("runAsNonRoot").is_some_and(|value| !value.is_null() && value != true) {
        return Err(Violation::of_restricted(at("runAsNonRoot"), "must be true"));
    }
    if context.get("runAsUser").is_some_and(|user| !user.is_null() && user.as_u64().is_none_or(|user| user == 0)) {
        return Err(Violation::of_restricted(at("runAsUser"), "must not be 0"));
    }
    Ok(())
}

fn added(
    container: &Value,
    path: &str,
    allowed: &[&str],
    violation: impl Fn(String, String) -> Violation,
) -> Result<(), Violation> {
    let added = container.pointer("/securityContext/capabilities/add").and_then(list).into_iter().flatten();
    for (position, capability) in added.enumerate() {
        let capability = text(Some(capability));
        if !allowed.contains(&capability) {
            let path = format!("{path}.securityContext.capabilities.add[{position}]");
            return Err(violation(path, format!("capability \"{capability}\" is not allowed")));
        }
    }
    Ok(())
}

/// Whether root in the pod is an unprivileged user on the node.
fn in_user_namespace(pod: &Value) -> bool {
    pod.get("hostUsers") == Some(&Value::Bool(false))
}

fn has_proc_mount(container: &Value) -> bool {
    let mount = container.pointer("/securityContext/procMount");
    mount.is_some_and(|mount| !mount.is_null() && mount != "Default")
}

fn is_set(value: Option<&Value>) -> bool {
    value.is_some_and(|value| !value.is_null() && *value != false)
}

fn list(value: &Value) -> Option<&Vec<Value>> {
    value.as_array()
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}
