//! What proves to a host who asks it: never a credential of the API server.

use std::path::PathBuf;

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{AttachParams, PostParams};
use kube::{Api, Client};
use tokio::io::AsyncReadExt as _;

use crate::cli::names::{Account, account};
use crate::endpoints::one_time_key;
use crate::endpoints::viewer::{AUDIENCE, KEY_SCHEME};
use crate::kubernetes::error::api_message;

/// Time for which a token is asked: the least that the API server issues.
const TOKEN_SECONDS: i64 = 600;
/// Prints a one-time key in the container of the host.
const MAKE_KEY: [&str; 2] = ["/bartizan", "debug-key"];
/// Longest answer of it.
const MOST_KEY_BYTES: u64 = 4096;

/// Who asks.
#[derive(Debug, clap::Args)]
pub(crate) struct ProofArgs {
    /// Ask as this ServiceAccount, which is shown what it may get; you need the right to create a token for it. Default: with a
    /// one-time key from the host's container, for which you need the right to run programs there (get and create on pods/exec).
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = account)]
    service_account: Option<Account>,
    /// The host's file with the secret of one-time keys, if it runs on this machine.
    #[arg(long, value_name = "FILE", env = "BARTIZAN_DEBUG_KEY_FILE")]
    debug_key_file: Option<PathBuf>,
}

/// What proves who asks.
pub(crate) enum Proof {
    /// Nothing: anybody may see it.
    None,
    /// The value of the header Authorization.
    Header(String),
    /// A one-time key from the container of the host, if it runs in one.
    KeyOfPod,
}

impl Proof {
    /// The value of the header Authorization, if it is known.
    pub(crate) fn header(&self) -> Option<String> {
        match self {
            Self::Header(value) => Some(value.clone()),
            Self::None | Self::KeyOfPod => None,
        }
    }
}

impl ProofArgs {
    /// What is to prove who asks. The cluster is needed for a token only.
    ///
    /// # Errors
    /// If there is no token for the account, or the file cannot be read.
    pub(crate) async fn prove(&self, client: impl AsyncFnOnce() -> anyhow::Result<Client>) -> anyhow::Result<Proof> {
        let Some(Account { namespace, name }) = &self.service_account else {
            return match &self.debug_key_file {
                Some(file) => Ok(Proof::Header(format!("{KEY_SCHEME} {}", one_time_key::make(file)?))),
                None => Ok(Proof::KeyOfPod),
            };
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client().await?, namespace);
        let spec = TokenRequestSpec {
            audiences: Some(vec![AUDIENCE.to_owned()]),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await.map_err(api_message);
        let answer = answer.with_context(|| format!("--service-account {namespace}/{name}"))?;
        let token = answer.status.and_then(|status| status.token).context("the API server issued no token")?;
        Ok(Proof::Header(format!("Bearer {token}")))
    }
}

/// The value of the header Authorization with a one-time key, made in the container of the host.
///
/// # Errors
/// If the container cannot be run in, or makes none.
pub(crate) async fn key_from(pods: &Api<Pod>, name: &str, container: Option<String>) -> anyhow::Result<String> {
    let wanted = AttachParams { container, ..AttachParams::default().stdin(false).stdout(true).stderr(true) };
    let context =
        "no one-time key from its container: this takes get and create on pods/exec there, or --service-account";
    let mut run = pods.exec(name, MAKE_KEY, &wanted).await.map_err(api_message).context(context)?;
    let (mut key, mut said) = (String::new(), String::new());
    if let Some(output) = run.stdout() {
        output.take(MOST_KEY_BYTES).read_to_string(&mut key).await.context(context)?;
    }
    if let Some(output) = run.stderr() {
        output.take(MOST_KEY_BYTES).read_to_string(&mut said).await.context(context)?;
    }
    let ended = match run.take_status() {
        Some(status) => status.await,
        None => None,
    };
    let key = key.trim();
    if key.is_empty() {
        let why = ended.and_then(|status| status.message).unwrap_or_default();
        return Err(anyhow::anyhow!("{} {}", why.trim(), said.trim()).context(context));
    }
    Ok(format!("{KEY_SCHEME} {key}"))
}
