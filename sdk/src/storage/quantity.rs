//! Quantities of Kubernetes: `500m`, `2Gi`, `1e3`. The API server normalizes them (`1024Mi` becomes `1Gi`), so they must be
//! compared by value, never as text.

use serde_json::Value;

/// Nanos per unit. A nano is the smallest amount that Kubernetes represents.
const NANOS: i128 = 1_000_000_000;

/// Further decimals would be lost anyway.
const MOST_DECIMALS: usize = 18;

/// The amount in nanos, rounded up as Kubernetes does; nothing if the text is not a quantity.
#[must_use]
pub fn parse(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && decimals.is_empty()) || decimals.contains('.') {
        return None;
    }
    let decimals = decimals.get(..MOST_DECIMALS).unwrap_or(decimals);
    let digits: i128 = match decimals {
        "" => whole.parse().ok()?,
        decimals => [whole, decimals].concat().parse().ok()?,
    };
    let (up, down) = factor(suffix)?;
    let down = down.checked_mul(power(10, u32::try_from(decimals.len()).ok()?)?)?;
    let up = digits.checked_mul(up)?.checked_mul(NANOS)?;
    let amount = up / down + i128::from(up % down != 0);
    Some(if negative { -amount } else { amount })
}

/// The amount of a JSON string or number in nanos.
#[must_use]
pub fn nanos(amount: &Value) -> Option<i128> {
    match amount {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => None,
    }
}

/// The amount in whole units (bytes, cores), rounded up.
#[must_use]
pub fn whole(text: &str) -> Option<i128> {
    parse(text).map(|nanos| nanos / NANOS + i128::from(nanos % NANOS > 0))
}

/// The multiplier and divisor of a suffix.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANOS),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (power(10, 3)?, 1),
        "M" => (power(10, 6)?, 1),
        "G" => (power(10, 9)?, 1),
        "T" => (power(10, 12)?, 1),
        "P" => (power(10, 15)?, 1),
        "E" => (power(10, 18)?, 1),
        "Ki" => (power(1024, 1)?, 1),
        "Mi" => (power(1024, 2)?, 1),
        "Gi" => (power(1024, 3)?, 1),
        "Ti" => (power(1024, 4)?, 1),
        "Pi" => (power(1024, 5)?, 1),
        "Ei" => (power(1024, 6)?, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let scale = power(10, exponent.unsigned_abs())?;
            if exponent < 0 { (1, scale) } else { (scale, 1) }
        }
    })
}

fn power(base: i128, exponent: u32) -> Option<i128> {
    base.checked_pow(exponent)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::parse;

    #[rstest]
    #[case("1", "1000m")]
    #[case("1024Mi", "1Gi")]
    #[case("0.5", "500m")]
    #[case(".5", "500m")]
    #[case("1.", "1")]
    #[case("1e3", "1k")]
    #[case("1E3", "1k")]
    #[case("1500e-3", "1.5")]
    #[case("+1", "1")]
    #[case("1.5Gi", "1536Mi")]
    #[case("0.1n", "1n")]
    fn equal_amounts_are_equal(#[case] one: &str, #[case] other: &str) {
        assert!(parse(one).is_some(), "{one} is a quantity");
        assert_eq!(parse(one), parse(other));
    }

    #[rstest]
    #[case("1Gi", "1G")]
    #[case("-1", "1")]
    #[case("1E", "1")]
    fn different_amounts_differ(#[case] one: &str, #[case] other: &str) {
        assert!(parse(one).is_some() && parse(other).is_some());
        assert_ne!(parse(one), parse(other));
    }

    #[rstest]
    fn what_is_not_a_quantity_is_nothing(
        #[values("", "-", ".", "Gi", "1gi", "1 Gi", "1.2.3", "5oo", "1e", "1ee3", "--1", "1KiB", "0x1")] text: &str,
    ) {
        assert_eq!(parse(text), None);
    }
}
