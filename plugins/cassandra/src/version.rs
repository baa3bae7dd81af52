//! Versions of the database and the upgrade path: an older version cannot read the data of a newer one, and each series reads the
//! data of the previous series only.

use bartizan_sdk::Version;

use crate::spec::Mode;

/// Cassandra's series, each of which reads the data of the previous one.
const SERIES: [(u32, u32); 4] = [(3, 11), (4, 0), (4, 1), (5, 0)];
/// ScyllaDB's major versions count from 1 up, and are years since 2024.
const FIRST_YEAR: u32 = 2000;

fn series(version: Version) -> Option<usize> {
    SERIES.iter().position(|series| *series == (version.major, version.minor))
}

/// The message of the fault of a version by itself.
pub(crate) fn fault(mode: Mode, text: &str) -> Option<String> {
    match Version::parse(text) {
        None => Some(format!("must be a version such as 4.1.3, but is \"{text}\"")),
        Some(version) if mode == Mode::Cassandra && series(version).is_none() => {
            let known = SERIES.map(|(major, minor)| format!("{major}.{minor}")).join(", ");
            Some(format!("must belong to one of the series {known}, but is \"{text}\""))
        }
        Some(_) => None,
    }
}

/// The message of the fault of a version that a cluster whose members run `running` cannot change to.
pub(crate) fn step_fault(mode: Mode, running: &[Version], wanted: Version) -> Option<String> {
    let (oldest, newest) = (running.iter().min()?, running.iter().max()?);
    if wanted < *newest {
        return Some(format!(
            "cannot be downgraded from {newest} to {wanted}: an older version cannot read the data of a newer one"
        ));
    }
    let skipped = match mode {
        Mode::Cassandra => {
            let next = series(*oldest)? + 1;
            SERIES.get(next).filter(|_| series(wanted) > Some(next)).map(|(major, minor)| format!("{major}.{minor}"))
        }
        Mode::Scylla => {
            let next = oldest.major + 1;
            (wanted.major > next && wanted.major < FIRST_YEAR).then(|| next.to_string())
        }
    }?;
    Some(format!(
        "cannot be upgraded from {oldest} to {wanted} directly: upgrade to {skipped} first, and continue once all members have it"
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Mode::Cassandra, &["3.11.1"], "4.0.1", "")]
    #[case(Mode::Cassandra, &["4.0.1", "4.1.0"], "4.1.2", "")]
    #[case(Mode::Cassandra, &["4.1.2"], "5.0.0", "")]
    #[case(Mode::Cassandra, &[], "5.0.0", "")]
    #[case(Mode::Cassandra, &["3.11.1"], "4.1.0", "cannot be upgraded from 3.11.1 to 4.1.0 directly: upgrade to 4.0 first, and continue once all members have it")]
    #[case(Mode::Cassandra, &["4.0.1", "4.1.0"], "5.0.0", "cannot be upgraded from 4.0.1 to 5.0.0 directly: upgrade to 4.1 first, and continue once all members have it")]
    #[case(Mode::Cassandra, &["4.0.1", "4.1.0"], "4.0.1", "cannot be downgraded from 4.1.0 to 4.0.1: an older version cannot read the data of a newer one")]
    #[case(Mode::Cassandra, &["4.1.3"], "4.1.2", "cannot be downgraded from 4.1.3 to 4.1.2: an older version cannot read the data of a newer one")]
    #[case(Mode::Scylla, &["4.6.0"], "5.0.0", "")]
    #[case(Mode::Scylla, &["6.2.0"], "2025.1.0", "")]
    #[case(Mode::Scylla, &["4.6.0"], "6.0.0", "cannot be upgraded from 4.6.0 to 6.0.0 directly: upgrade to 5 first, and continue once all members have it")]
    #[case(Mode::Scylla, &["5.0.0"], "4.6.0", "cannot be downgraded from 5.0.0 to 4.6.0: an older version cannot read the data of a newer one")]
    fn a_series_follows_the_one_before(
        #[case] mode: Mode,
        #[case] running: &[&str],
        #[case] wanted: &str,
        #[case] fault: &str,
    ) {
        let running: Vec<_> = running.iter().filter_map(|text| Version::parse(text)).collect();
        let found = step_fault(mode, &running, Version::parse(wanted).unwrap());
        assert_eq!(found.unwrap_or_default(), fault);
    }
}
