//! Times as Kubernetes writes them: RFC 3339 in UTC, to the second.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// Now, as `2026-01-01T00:00:00Z`.
pub(crate) fn now() -> String {
    format(Timestamp::now())
}

/// The time so long from now.
pub(crate) fn in_future(after: Duration) -> String {
    format(Timestamp::now() + after)
}

fn format(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_in_utc_without_fractions_of_a_second() {
        let time = Timestamp::from_millisecond(1_767_225_600_999).unwrap();
        assert_eq!(format(time), "2026-01-01T00:00:00Z");
    }
}
