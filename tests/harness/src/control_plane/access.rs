//! Access to a running control plane: kubeconfigs, clients, kubectl, the audit log.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{
    audit::{self, AuditMark, AuditRequest},
    kubeconfig::Credential,
    kubectl::{KubectlOutput, kubectl_command, run},
};

use super::{components::AUDIT_LOG, running::ControlPlane};

/// How long a service account's token lasts: longer than any test or demo.
const TOKEN_SECONDS: i64 = 24 * 3600;

/// A client for a kubeconfig without hidden retries, which would make a test pass over an error, or count twice.
pub(super) async fn client_for(kubeconfig: &Path) -> Result<Client> {
    let document =
        Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let mut config = Config::from_custom_kubeconfig(document, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("cannot use {}", kubeconfig.display()))?;
    config.default_retry = false;
    Client::try_from(config).context("cannot make an API client")
}

impl ControlPlane {
    /// The kubeconfig of a user who may do everything, whatever RBAC says.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.layout.admin
    }

    /// Writes a kubeconfig for a user who authenticates with a client certificate and is in these groups, at most
    /// two, besides `system:authenticated`. The user has no rights except those that a test binds.
    ///
    /// # Errors
    /// When there are more than two groups, or the file cannot be written.
    pub fn kubeconfig_for_user(&self, name: &str, groups: &[&str]) -> Result<PathBuf> {
        let identity = self.layout.authority.client(name, groups)?;
        self.layout.kubeconfigs.write(&format!("user-{name}"), name, "default", &Credential::Certificate(&identity))
    }

    /// Writes a kubeconfig for an existing ServiceAccount, with a token that the API server issues for 24 hours.
    ///
    /// # Errors
    /// When the account does not exist, or the file cannot be written.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        let token = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("cannot get a token for the ServiceAccount {namespace}/{name}"))?
            .status
            .and_then(|status| status.token)
            .context("the API server answered a token request without a token")?;
        let user = format!("system:serviceaccount:{namespace}:{name}");
        self.layout.kubeconfigs.write(&user, &user, namespace, &Credential::Token(&token))
    }

    /// A client with the admin's rights and without retries. All clones share one connection pool.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client for one of this cluster's kubeconfigs, without retries.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client_for(&self, kubeconfig: &Path) -> Result<Client> {
        client_for(kubeconfig).await
    }

    /// `kubectl` as the admin; arguments are to be added.
    pub fn kubectl(&self) -> Command {
        self.kubectl_as(self.admin_kubeconfig())
    }

    /// `kubectl` with another kubeconfig; arguments are to be added.
    pub fn kubectl_as(&self, kubeconfig: &Path) -> Command {
        kubectl_command(&self.program, kubeconfig, &self.layout.folder.join("kube-cache"))
    }

    /// Runs `kubectl` as the admin and returns what it printed on stdout.
    ///
    /// # Errors
    /// When it ends with another exit code than 0; what it printed on stderr is
    /// in the error.
    pub async fn kubectl_ok(&self, arguments: &[&str], stdin: Option<&str>) -> Result<String> {
        self.kubectl_output(arguments, stdin).await?.success()
    }

    /// Runs `kubectl` as the admin to its end, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be run at all.
    pub async fn kubectl_output(&self, arguments: &[&str], stdin: Option<&str>) -> Result<KubectlOutput> {
        run(self.kubectl(), arguments, stdin).await
    }

    /// The audit log of the API server, one JSON document per line.
    pub fn audit_log(&self) -> PathBuf {
        self.layout.folder.join(AUDIT_LOG)
    }

    /// The requests of a user so far, in the order of their arrival, one entry each, including watches that are still
    /// open. The last line about a request may be written a moment after its client got the response.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn audit_requests(&self, user: &str) -> Result<Vec<AuditRequest>> {
        self.audit_requests_since(user, AuditMark::default())
    }

    /// The current end of the audit log.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn audit_mark(&self) -> Result<AuditMark> {
        audit::mark(&self.audit_log())
    }

    /// Like [`ControlPlane::audit_requests`], without the requests that had
    /// arrived before the mark.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn audit_requests_since(&self, user: &str, mark: AuditMark) -> Result<Vec<AuditRequest>> {
        audit::requests(&self.audit_log(), mark, user)
    }
    /// Visits the requests of a user since the mark one by one, as they arrived and without their responses, and
    /// returns the mark to resume from. For logs that are too long to be held in memory.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn audit_visit_since(
        &self,
        user: &str,
        mark: AuditMark,
        visitor: impl FnMut(AuditRequest),
    ) -> Result<AuditMark> {
        audit::visit(&self.audit_log(), mark, user, visitor)
    }
}
