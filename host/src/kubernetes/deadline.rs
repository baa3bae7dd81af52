//! The deadline of every request to the API server.

use std::time::Duration;

/// Longest time for one request. The API server itself gives up after 60 s; a reconcile should not wait that long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Sends a request that no writer sends, with the same deadline.
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
