//! Every request to the API server has a deadline.

use std::time::Duration;

/// Longest time that one request may take. The API server itself gives up after 60 s; a reconcile should not wait so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A request outside of a reconcile, within the same deadline.
///
/// # Errors
/// If it fails, or the API server does not answer in time.
pub(crate) async fn in_time<T, E: Into<anyhow::Error>>(
    request: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => anyhow::bail!("the API server did not answer within {} s", DEADLINE.as_secs()),
    }
}
