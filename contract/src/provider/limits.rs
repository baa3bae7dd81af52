//! The resource limits of a provider.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field::FieldError;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Limits as users write them. Absent ones have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProviderLimits {
    /// Wall-clock time of one call, from 10ms to 1m. Default: 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = DURATION), extend("x-kubernetes-validations" = [{
        "rule": "duration(self) >= duration('10ms') && duration(self) <= duration('1m')",
        "message": "must be from 10ms to 1m",
    }]))]
    pub timeout: Option<String>,
    /// Memory of one call, from 1Mi to 4Gi. Default: 64Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = BYTES), extend("x-kubernetes-validations" = [{
        "rule": "quantity(self).compareTo(quantity('1Mi')) >= 0 && quantity(self).compareTo(quantity('4Gi')) <= 0",
        "message": "must be from 1Mi to 4Gi",
    }]))]
    pub memory: Option<String>,
    /// Maximum size of a request, from 64Ki to 64Mi. Default: 8Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = BYTES), extend("x-kubernetes-validations" = [{
        "rule": "quantity(self).compareTo(quantity('64Ki')) >= 0 && quantity(self).compareTo(quantity('64Mi')) <= 0",
        "message": "must be from 64Ki to 64Mi",
    }]))]
    pub request_bytes: Option<String>,
    /// Maximum size of a response, from 64Ki to 64Mi. Default: 4Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = BYTES), extend("x-kubernetes-validations" = [{
        "rule": "quantity(self).compareTo(quantity('64Ki')) >= 0 && quantity(self).compareTo(quantity('64Mi')) <= 0",
        "message": "must be from 64Ki to 64Mi",
    }]))]
    pub response_bytes: Option<String>,
    /// Maximum number of children of one parent, from 1 to 10,000. Default: 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub children: Option<u32>,
    /// Maximum number of concurrent calls, from 1 to 64. Default: 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub concurrency: Option<u32>,
}

/// What [`parse_duration`] accepts, for the API server.
const DURATION: &str = r"^([0-9]+(\.[0-9]{1,3})?(ms|s|m))+$";
/// What [`parse_bytes`] accepts, for the API server.
const BYTES: &str = r"^[0-9]+(\.[0-9]{1,3})?(Ki|Mi|Gi|k|M|G)?$";
/// The maximum length of an amount: more than needed, but short enough that nothing overflows.
const AMOUNT_LENGTH: usize = 20;
/// The maximum number of decimals.
const MOST_DECIMALS: usize = 3;
/// The denominator of the decimals.
const THOUSAND: u128 = 1000;

/// Limits as the host applies them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveLimits {
    /// Wall-clock time of one call.
    pub timeout: Duration,
    /// Memory of one call.
    pub memory_bytes: u64,
    /// Maximum size of a request.
    pub request_bytes: u64,
    /// Maximum size of a response.
    pub response_bytes: u64,
    /// Maximum number of children of one parent.
    pub children: u32,
    /// Maximum number of concurrent calls.
    pub concurrency: u32,
}

impl Default for EffectiveLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            memory_bytes: 64 * MIB,
            request_bytes: 8 * MIB,
            response_bytes: 4 * MIB,
            children: 1000,
            concurrency: 16,
        }
    }
}

impl ProviderLimits {
    /// The limits with defaults for absent ones. Paths begin at `spec.limits`.
    ///
    /// # Errors
    /// The first limit that is malformed or out of bounds.
    pub fn effective(&self) -> Result<EffectiveLimits, FieldError> {
        let default = EffectiveLimits::default();
        Ok(EffectiveLimits {
            timeout: match &self.timeout {
                Some(text) => timeout(text).map_err(|message| at("timeout", message))?,
                None => default.timeout,
            },
            memory_bytes: bytes(
                "memory",
                self.memory.as_deref(),
                default.memory_bytes,
                (MIB, "1Mi"),
                (4 * GIB, "4Gi"),
            )?,
            request_bytes: payload("requestBytes", self.request_bytes.as_deref(), default.request_bytes)?,
            response_bytes: payload("responseBytes", self.response_bytes.as_deref(), default.response_bytes)?,
            children: count("children", self.children, default.children, 10_000)?,
            concurrency: count("concurrency", self.concurrency, default.concurrency, 64)?,
        })
    }
}

fn at(name: &str, message: String) -> FieldError {
    FieldError::new(format!("spec.limits.{name}"), message)
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    let bounds = Duration::from_millis(10)..=Duration::from_secs(60);
    if bounds.contains(&timeout) { Ok(timeout) } else { Err(format!("is {text}, must be from 10ms to 1m")) }
}

fn payload(name: &str, text: Option<&str>, default: u64) -> Result<u64, FieldError> {
    bytes(name, text, default, (64 * KIB, "64Ki"), (64 * MIB, "64Mi"))
}

fn bytes(
    name: &str,
    text: Option<&str>,
    default: u64,
    least: (u64, &str),
    most: (u64, &str),
) -> Result<u64, FieldError> {
    let Some(text) = text else { return Ok(default) };
    let amount = parse_bytes(text).map_err(|message| at(name, message))?;
    if (least.0..=most.0).contains(&amount) {
        return Ok(amount);
    }
    Err(at(name, format!("is {text}, must be from {} to {}", least.1, most.1)))
}

fn count(name: &str, count: Option<u32>, default: u32, most: u32) -> Result<u32, FieldError> {
    match count {
        None => Ok(default),
        Some(count) if (1..=most).contains(&count) => Ok(count),
        Some(count) => Err(at(name, format!("is {count}, must be from 1 to {most}"))),
    }
}

/// Parses a number of bytes as a Kubernetes quantity: `64Mi`, `1.5Gi`, `1500k`, `1048576`. Rounds up to a whole byte.
///
/// # Errors
/// The problem, and the expected form.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let parse = || {
        let (thousandths, suffix) = number(text)?;
        let factor = match suffix {
            "" => 1,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "Ki" => KIB,
            "Mi" => MIB,
            "Gi" => GIB,
            _ => return None,
        };
        u64::try_from((thousandths * u128::from(factor)).div_ceil(THOUSAND)).ok()
    };
    let amount = if text.len() <= AMOUNT_LENGTH { parse() } else { None };
    amount.ok_or_else(|| {
        format!(
            "\"{text}\" is not an amount of bytes: write a number with the suffix Ki, Mi, Gi, k, M, G or none, as 64Mi"
        )
    })
}

/// Parses a duration as Kubernetes writes them: `1s`, `500ms`, `1.5s`, `1m30s`.
///
/// # Errors
/// The problem, and the expected form.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let parse = || {
        let mut rest = text;
        let mut micros = 0;
        while !rest.is_empty() {
            let (thousandths, after) = number(rest)?;
            let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, next) = after.split_at(end);
            let unit_micros = match unit {
                "ms" => 1_000,
                "s" => 1_000_000,
                "m" => 60_000_000,
                _ => return None,
            };
            micros += thousandths * unit_micros / THOUSAND;
            rest = next;
        }
        u64::try_from(micros).ok().map(Duration::from_micros)
    };
    let duration = if (1..=AMOUNT_LENGTH).contains(&text.len()) { parse() } else { None };
    duration.ok_or_else(|| {
        format!("\"{text}\" is not a duration: write numbers with the units ms, s and m, as 500ms, 1s or 1m30s")
    })
}

/// The number at the start of a text of at most [`AMOUNT_LENGTH`] characters, in thousandths, and the rest of the text.
fn number(text: &str) -> Option<(u128, &str)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits(text));
    let (decimals, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (decimals, rest) = rest.split_at(digits(rest));
            (Some(decimals), rest)
        }
        None => (None, rest),
    };
    if whole.is_empty() || decimals.is_some_and(|decimals| !(1..=MOST_DECIMALS).contains(&decimals.len())) {
        return None;
    }
    let decimals: u128 = format!("{:0<MOST_DECIMALS$}", decimals.unwrap_or_default()).parse().ok()?;
    Some((whole.parse::<u128>().ok()? * THOUSAND + decimals, rest))
}
